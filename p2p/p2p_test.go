package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
)

func start(t *testing.T, seed byte, hear func(context.Context, []byte) (bool, bool)) *Host {
	t.Helper()
	h, err := New(t.Context(), Config{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)), Hear: hear})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// A chain of three: what the middle one refuses does not reach the last.
func TestGossipIsValidatedBeforeItIsPassedOn(t *testing.T) {
	heard := make(chan string, 16)
	a := start(t, 1, nil)
	b := start(t, 2, func(_ context.Context, d []byte) (bool, bool) {
		bad := bytes.HasPrefix(d, []byte("bad"))
		return !bad, bad
	})
	c := start(t, 3, func(_ context.Context, d []byte) (bool, bool) { heard <- string(d); return true, false })
	for _, link := range [][2]*Host{{a, b}, {b, c}} {
		if err := link[0].Connect(t.Context(), link[1].Addr()); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]bool{}
	for i := 0; !got["good"]; i++ {
		_ = a.Publish(t.Context(), fmt.Appendf(nil, "bad %d", i))
		_ = a.Publish(t.Context(), []byte("good"))
		select {
		case m := <-heard:
			got[m] = true
		case <-time.After(100 * time.Millisecond): // the mesh is still forming
		case <-t.Context().Done():
			t.Fatal("nothing was heard")
		}
	}
	for m := range got {
		if m != "good" {
			t.Errorf("%q was passed on", m)
		}
	}
}

func TestRequestKnowsWhoAsks(t *testing.T) {
	a, b := start(t, 1, nil), start(t, 2, nil)
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
	a, b := start(t, 1, nil), start(t, 2, nil)
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
	h, err := New(t.Context(), Config{Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
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
