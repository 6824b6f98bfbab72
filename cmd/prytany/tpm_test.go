package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

func TestMissingSwtpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := startNetwork(t.Context(), networkOptions{home: t.TempDir(), workers: 4, tee: string(attest.TPM), patience: committee.Embedded, log: slog.New(slog.DiscardHandler)})
	if task.CodeOf(err) != "tpm-missing" {
		t.Errorf("%v", err)
	}
}

// A worker from elsewhere has its TPM prove itself to the devnet's activator
// over a stream; a TPM of another maker is refused.
func TestWorkerBringsItsTPM(t *testing.T) {
	skipInShort(t)
	if err := swtpm.Missing(); err != nil {
		t.Skip(err)
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	w := newTown(t, networkOptions{workers: 4, tee: string(attest.TPM), log: log})
	foreign, err := swtpm.OpenCA(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		ca   *swtpm.CA
		code string
	}{{"known", w.tpms.ca, ""}, {"foreign", foreign, "activation-refused"}} {
		k, err := openWorker(t.Context(), filepath.Join(t.TempDir(), row.name), "", blobSpace, []string{task.RuntimeWasm}, nil, log)
		if err != nil {
			t.Fatal(err)
		}
		defer k.close()
		state := filepath.Join(t.TempDir(), "tpm")
		if err := row.ca.Setup(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		chip, err := swtpm.Start(state)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = chip.Stop() })
		if err := k.host.Connect(t.Context(), w.bootstrap()[0]); err != nil {
			t.Fatal(err)
		}
		s := &session{}
		s.Broker.Addr = w.broker.host.Addr()
		err = k.nodeTPM(context.Background(), s, w.platform, w.values, chip.Socket, "")
		if task.CodeOf(err) != row.code {
			t.Fatalf("%s: %v, want %q", row.name, err, row.code)
		}
		if row.code != "" {
			continue
		}
		c := attest.Context{Chain: w.params.Chain, Round: task.PreRun, Node: k.node.ID()}
		ev, err := attest.Make(*k.tpm, c, attest.Keys{Sign: task.Key{1}}, task.Hash{}, attest.EmptyState, task.Hash{})
		if err != nil {
			t.Fatal(err)
		}
		want := attest.Expected{Context: c, Kind: k.node.TEE.Kind, Chip: k.node.TEE.Identity, State: attest.EmptyState, Now: time.Now().Unix()}
		if a := attest.Appraise(ev, want, task.Policy{}, w.values); a.Verdict != task.OK {
			t.Errorf("%s: %s", a.Reason, a.Detail)
		}
	}
	simulated := w.values
	simulated.Kinds = slices.Clone(simulated.Kinds[:0])
	if err := w.workers[0].nodeTPM(t.Context(), &session{}, w.platform, simulated, "", ""); task.CodeOf(err) != "kind-refused" {
		t.Errorf("on a chain without TPMs: %v", err)
	}
}
