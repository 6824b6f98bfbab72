package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

func start(t *testing.T, seed byte) *Host {
	t.Helper()
	h, err := New(Config{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func TestRequestKnowsWhoAsks(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	key := task.Key(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)).Public().(ed25519.PublicKey))
	b.Handle("/test/1", func(_ context.Context, from task.Key, q []byte) ([]byte, error) {
		if from != key {
			return nil, errors.New("a stranger")
		}
		return append([]byte("re: "), q...), nil
	})
	got, err := a.Request(t.Context(), b.Addr(), "/test/1", []byte("hi"))
	if err != nil || string(got) != "re: hi" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Request(t.Context(), a.Addr(), "/test/1", []byte("hi")); err == nil {
		t.Error("a protocol that nobody handles gave an answer")
	}
}

func TestSendSurvivesABrokenStream(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	heard := make(chan string, 8)
	b.Receive("/test/2", func(_ task.Key, m []byte) { heard <- string(m) })
	send := func(m string) {
		t.Helper()
		if err := a.Send(t.Context(), b.Addr(), "/test/2", []byte(m)); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != m {
			t.Fatalf("heard %q, sent %q", got, m)
		}
	}
	send("one")
	for _, s := range a.streams {
		_ = s.s.Reset()
	}
	send("two")
}

func TestFramesAreBounded(t *testing.T) {
	if _, err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, MaxMessage+1))); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("oversize: %v", err)
	}
	if err := writeFrame(&bytes.Buffer{}, make([]byte, MaxMessage+1)); !errors.Is(err, task.ErrTooLarge) {
		t.Errorf("oversize: %v", err)
	}
	if _, err := readFrame(bytes.NewReader([]byte{0, 0, 0, 9, 1})); err == nil {
		t.Error("a truncated frame was read")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := readFrame(bytes.NewReader(b)); err == nil && len(m)+4 > len(b) {
			t.Fatal("read more than there is")
		}
	})
}

func TestFree(t *testing.T) {
	h, err := New(Config{Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
	if err != nil {
		t.Fatal(err)
	}
	addr, _, _ := strings.Cut(h.Addr(), "/p2p/")
	if Free(addr) {
		t.Errorf("%s is free while a host listens there", addr)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if !Free(addr) || Free("nowhere") {
		t.Errorf("%s is not free", addr)
	}
}
