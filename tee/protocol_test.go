package tee

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/prytany/prytany/task"
)

func TestFramesAreBounded(t *testing.T) {
	if _, err := ReadFrame[Request](bytes.NewReader(binary.BigEndian.AppendUint32(nil, MaxFrame+1))); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	var b bytes.Buffer
	_ = WriteFrame(&b, Request{Exit: &Exit{Nonce: task.Hash{1}}})
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4 && binary.BigEndian.Uint32(raw) > uint32(len(raw)) {
			return // a short frame; only its allocation would be measured
		}
		if q, err := ReadFrame[Request](bytes.NewReader(raw)); err == nil {
			var again bytes.Buffer
			if WriteFrame(&again, q) != nil || !bytes.HasPrefix(raw, again.Bytes()) {
				t.Fatal("accepted bytes that are not its encoding")
			}
		}
	})
}
