package host

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
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

func TestMissingSwtpm(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Start(t.Context(), Config{Home: t.TempDir(), Workers: 4, TEE: attest.TPM, Patience: committee.Embedded, Log: slog.New(slog.DiscardHandler)})
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
	w, err := Start(context.Background(), Config{Home: t.TempDir(), Workers: 4, TEE: attest.TPM, Patience: committee.Embedded, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Stop() })
	foreign, err := swtpm.OpenCA(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		ca   *swtpm.CA
		code string
	}{{"known", w.tpms.ca, ""}, {"foreign", foreign, "activation-refused"}} {
		k, err := openWorker(t.Context(), filepath.Join(t.TempDir(), row.name), "", peer.Space, []string{task.RuntimeWasm}, nil, log)
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
		if err := k.Peer.Host.Connect(t.Context(), w.Bootstrap()[0]); err != nil {
			t.Fatal(err)
		}
		c := WorkerConfig{TPM: chip.Socket, Activator: w.BrokerPeer.Host.Addr()}
		err = k.ownTPM(context.Background(), c, w.Params.Chain, w.platform.program.Measurement, w.Values)
		if task.CodeOf(err) != row.code {
			t.Fatalf("%s: %v, want %q", row.name, err, row.code)
		}
		if row.code != "" {
			continue
		}
		of := attest.Context{Chain: w.Params.Chain, Round: task.PreRun, Node: k.Node.ID()}
		ev, err := attest.Make(*k.tpm, of, attest.Keys{Sign: task.Key{1}}, task.Hash{}, attest.EmptyState, task.Hash{})
		if err != nil {
			t.Fatal(err)
		}
		want := attest.Expected{Context: of, Kind: k.Node.TEE.Kind, Chip: k.Node.TEE.Identity, State: attest.EmptyState, Now: time.Now().Unix()}
		if a := attest.Appraise(ev, want, task.Policy{}, w.Values); a.Verdict != task.OK {
			t.Errorf("%s: %s", a.Reason, a.Detail)
		}
	}
	simulated := w.Values
	simulated.Kinds = slices.Clone(simulated.Kinds[:0])
	if err := w.Workers[0].ownTPM(t.Context(), WorkerConfig{}, w.Params.Chain, w.platform.program.Measurement, simulated); task.CodeOf(err) != "kind-refused" {
		t.Errorf("on a chain without TPMs: %v", err)
	}
}
