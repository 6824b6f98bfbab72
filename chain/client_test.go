package chain

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// A peer that takes the connection and says nothing costs no more than the
// time that the caller gives it.
func TestDialOfASilentPeerEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 16)
	go func() {
		defer close(taken)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := Dial(ctx, "http://"+l.Addr().String(), Trust{}, nil)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("still dialling")
	}
	_ = l.Close()
	for c := range taken {
		_ = c.Close()
	}
}
