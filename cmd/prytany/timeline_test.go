package main

import (
	"io"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
)

// Whoever has the result first, Alice or the chain, what led to it is the run.
func TestTheRunIsWhatLedToTheResult(t *testing.T) {
	names := func(first, second string) (all []string) {
		l := newTimeline(&app{err: io.Discard})
		for _, s := range []string{first, second} {
			if s == stepRun {
				l.mark(s, "")
			} else {
				l.event(t.Context(), nil, ledger.Event{Phase: ledger.Reviewing})
			}
			time.Sleep(time.Millisecond)
		}
		for _, s := range l.steps {
			all = append(all, s.name)
		}
		return all
	}
	if got := names(stepRun, "result"); got[0] != stepRun || got[1] != "result on the chain" {
		t.Errorf("Alice first: %q", got)
	}
	if got := names("result", stepRun); got[0] != stepRun || got[1] != "result to Alice" {
		t.Errorf("the chain first: %q", got)
	}
}
