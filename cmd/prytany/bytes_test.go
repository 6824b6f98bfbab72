package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
)

// BenchmarkTask measures what a task of 16 seats writes into the chain, one at a
// time: transactions and bytes of each kind, of a task that goes well, of one with
// a verifier that says FAULT to what is good, and of one whose first executor stops
// working when its enclave was found good.
func BenchmarkTask(b *testing.B) {
	for _, story := range []struct {
		name    string
		corrupt func(node.Config) node.Config
	}{
		{"ok", nil},
		{"dispute", (&cast{role: lyingVerifier}).corrupt},
		{"silent", leavesEarly},
	} {
		b.Run(story.name, func(b *testing.B) {
			l := &load{town: newTown(b, host.Config{
				Workers: 10, RPC: "127.0.0.1:0", Corrupt: story.corrupt,
				Params: func(p *ledger.Params) { p.ReleaseBlocks, p.RunGraceBlocks = 40, 20 },
			})}
			limits := small
			limits.Gas, limits.WallMillis = 1_000_000, 1000
			l.f = l.publish("noop", noop, limits)
			count := written{}
			for b.Loop() {
				from := l.Client.Height()
				r, err := l.alice.Post(b.Context(), l.job(l.f, "x"))
				if err != nil {
					b.Fatal(err)
				}
				l.ends(b, r)
				for h := from + 1; h <= l.Client.Height(); h++ {
					count.add(b, l, h)
				}
			}
			count.report(b)
		})
	}
}

// ends waits for the end of a task that ends well.
func (l *load) ends(b *testing.B, r *owner.Run) {
	_, err := r.Result(b.Context(), func(ledger.Event) {})
	if err != nil {
		l.dump(b, r)
		b.Fatal(err)
	}
	if _, err := r.Settled(b.Context(), nil); err != nil {
		b.Fatal(err)
	}
	if err := r.Forget(); err != nil {
		b.Fatal(err)
	}
}

// leavesEarly is a worker that does no more for a task's first view once it is to
// ask for keys.
func leavesEarly(n node.Config) node.Config {
	start := n.Enclaves
	n.Enclaves = func(ctx context.Context, f task.Function) (node.Enclave, error) {
		e, err := start(ctx, f)
		return &sleeper{Enclave: e}, err
	}
	return n
}

// sleeper is an enclave whose host never runs it in the first view.
type sleeper struct {
	node.Enclave
	first bool
}

func (s *sleeper) Begin(t task.Task, f task.Function, c attest.Context, nonce task.Hash, fault uint8) (genuine, decoy, seal []byte, err error) {
	s.first = c.View == 0
	return s.Enclave.Begin(t, f, c, nonce, fault)
}

func (s *sleeper) Run(files [][]byte, image []byte) (task.SignedResult, []byte, error) {
	if s.first {
		return task.SignedResult{}, nil, task.Refuse("asleep", "this host runs nothing")
	}
	return s.Enclave.Run(files, image)
}

// written is what stands in some blocks, by kind.
type written map[string]struct{ txs, bytes int }

func (w written) add(tb testing.TB, l *load, height uint64) {
	for _, raw := range l.transactions(tb, height) {
		kind := "beacon"
		if tx, err := task.VerifyTx(raw, l.Params.Chain); err == nil {
			kind = tx.Tx().Body.Kind()
		}
		n := w[kind]
		n.txs, n.bytes = n.txs+1, n.bytes+len(raw)
		w[kind] = n
	}
}

// report gives the totals, and shows each kind.
func (w written) report(b *testing.B) {
	var txs, bytes int
	var kinds []string
	for kind, n := range w {
		kinds = append(kinds, kind)
		if kind != "beacon" { // not anybody's transaction
			txs += n.txs
		}
		bytes += n.bytes
	}
	slices.Sort(kinds)
	var table strings.Builder
	each := func(n int) float64 { return float64(n) / float64(b.N) }
	for _, kind := range kinds {
		n := w[kind]
		fmt.Fprintf(&table, "%-12s %6.2f txs %8.0f bytes a task, %6.0f each\n", kind, each(n.txs), each(n.bytes), float64(n.bytes)/float64(n.txs))
	}
	b.Log("\n" + table.String())
	b.ReportMetric(each(txs), "txs/task")
	b.ReportMetric(each(bytes)/1000, "kB/task")
}

// transactions are those of a block.
func (l *load) transactions(tb testing.TB, height uint64) [][]byte {
	reply, err := http.Get(fmt.Sprintf("%s/block?height=%d", l.Chain.RPC(), height))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = reply.Body.Close() }()
	var block struct {
		Result struct {
			Block struct{ Data struct{ Txs [][]byte } }
		}
	}
	if err := json.NewDecoder(reply.Body).Decode(&block); err != nil {
		tb.Fatal(err)
	}
	return block.Result.Block.Data.Txs
}
