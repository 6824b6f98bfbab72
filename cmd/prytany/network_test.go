package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/rogpeppe/go-internal/testscript"
)

// builtPrograms tells the processes that a test starts where the enclave
// programs are: they may have no cache of their own.
const builtPrograms = "PRYTANY_TEST_PROGRAMS"

// namedRelease is what the program says outside of tests.
var namedRelease = goRelease

// The test binary is `prytany` in the scripts. The enclaves are the real
// programs, built once for this state of the source.
func TestMain(m *testing.M) {
	if os.Getenv(builtPrograms) == "" {
		o, err := host.Programs{Beside: os.DevNull}.Locate(host.EnclaveProgram)
		var path string
		if err == nil {
			path, err = o.File(context.Background())
		}
		if err == nil {
			err = os.Setenv(builtPrograms, filepath.Dir(path))
		}
		if err != nil {
			panic(err)
		}
	}
	beside = os.Getenv(builtPrograms)
	goRelease = runtime.Version() // tests run with any Go 1.26
	testscript.Main(m, map[string]func(){"prytany": main})
}

// town is a network in the test's process, with Alice and Bob in it.
type town struct {
	*host.Devnet
	t     testing.TB
	alice *client.Client
	key   ed25519.PrivateKey // Alice's account
	bob   *client.Client
	bobs  ed25519.PrivateKey
}

func newTown(t testing.TB, o host.Config) *town {
	t.Helper()
	if o.Home == "" {
		o.Home = t.TempDir()
	}
	if o.Workers == 0 {
		o.Workers = 9
	}
	if o.Patience == (committee.Patience{}) {
		o.Patience = committee.Embedded
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	w := &town{t: t, key: ed25519.NewKeyFromSeed(seedOf()), bobs: ed25519.NewKeyFromSeed(seedOf())}
	for _, k := range []ed25519.PrivateKey{w.key, w.bobs} {
		o.Grants = append(o.Grants, ledger.Grant{Account: task.PublicKey(k), Balance: 10_000 * task.PRY})
	}
	o.Enclaves.Programs.Beside = beside
	var err error
	if w.Devnet, err = host.Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Stop() })
	open := func(account ed25519.PrivateKey) *client.Client {
		c, err := client.Open(context.Background(), client.Config{
			Session: sessionOf(w.Devnet), Account: account, Peer: ed25519.NewKeyFromSeed(seedOf()), Log: o.Log, Trace: o.Trace,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	w.alice, w.bob = open(w.key), open(w.bobs)
	return w
}

// skipInShort leaves out tests that count blocks while the whole stack runs:
// beside the race detector, on two cores, they take minutes.
func skipInShort(t *testing.T) {
	if testing.Short() {
		t.Skip("long; run without -short")
	}
}

// small limits, so that a bad function meets them soon.
var small = task.Limits{Gas: 1_000_000_000, MemoryBytes: 16 << 20, OutputBytes: 1 << 20, WallMillis: 60_000}

// publishes a function of Bob's.
func (w *town) publish(name string, code []byte, l task.Limits) task.Function {
	w.t.Helper()
	f, err := w.bob.Publish(w.t.Context(), client.Publication{
		Manifest: task.Manifest{Name: name, Version: "1", Runtime: task.RuntimeWasm, Limits: l, Royalty: task.PRY / 2},
		Code:     code, Bond: 100 * task.PRY,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *town) job(f task.Function, input string) owner.Job {
	return owner.Job{
		Function: f.ID(), Input: []byte(input), GasLimit: f.Manifest.Limits.Gas, GasPrice: client.GasPrice,
		Fee: client.Fee, Seats: 16, MinSeats: 4, Policy: task.Policy{MinTier: task.TierSimulated},
	}
}

// finish waits for a run's end. Supply must be conserved at it.
func (w *town) finish(r *owner.Run) (*ledger.Case, tee.Output, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Minute)
	defer cancel()
	result, runErr := r.Result(ctx, func(ledger.Event) {})
	c, err := r.Settled(ctx, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.Chain.Read(func(_ uint64, r ledger.Reader) error {
		if held, supply := r.Held(), r.Meta().Supply; held != supply {
			w.t.Errorf("%s held, the supply is %s", held, supply)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	if runErr != nil {
		return c, tee.Output{}, runErr
	}
	out, err := tee.Unpack(result.Archive)
	if err != nil {
		w.t.Fatal(err)
	}
	return c, out, nil
}

// goFunction compiles a Go program to WASM.
func goFunction(t testing.TB, body string) []byte {
	t.Helper()
	dir := t.TempDir()
	imports := ""
	for _, p := range []string{"fmt", "os", "time"} {
		if strings.Contains(body, p+".") {
			imports += "import \"" + p + "\"\n"
		}
	}
	for name, text := range map[string]string{
		"main.go": "package main\n" + imports + "func main() {\n" + body + "\n}\n",
		"go.mod":  "module f\n\ngo 1.26\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, err := function.BuildGo(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

const greet = `in, err := os.ReadFile("/in/input"); if err != nil { panic(err) }
if err := os.WriteFile("/out/out.txt", append([]byte("hello "), in...), 0o600); err != nil { panic(err) }`

// What Bob's function may do wrong, on the real stack: each ends as spec §10.2
// says, and Alice is told why.
func TestBadFunctions(t *testing.T) {
	skipInShort(t)
	w := newTown(t, host.Config{})
	type want struct {
		outcome ledger.Outcome
		reason  string
	}
	for _, row := range []struct {
		name string
		code []byte
		want want
	}{
		{"good", goFunction(t, greet), want{ledger.Completed, ""}},
		{"endless loop", goFunction(t, `x := 0; for { x++; if x == -1 { break } }`), want{ledger.FunctionFailed, "gas"}},
		{"memory hog", goFunction(t, `var keep [][]byte; for { b := make([]byte, 1<<20); for i := range b { b[i] = 1 }; keep = append(keep, b); if len(keep) > 1<<20 { break } }`), want{ledger.FunctionFailed, "memory"}},
		{"output bomb", goFunction(t, `f, _ := os.Create("/out/bomb"); b := make([]byte, 1<<16); for { if _, err := f.Write(b); err != nil { os.Exit(0) } }`), want{ledger.FunctionFailed, "output"}},
		{"crash", goFunction(t, `panic("boom")`), want{ledger.FunctionFailed, "exit"}},
		{"empty module", []byte{}, want{ledger.FunctionFailed, "failed"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := w.publish(row.name, row.code, small)
			before, err := w.Client.Account(t.Context(), task.PublicKey(w.key))
			if err != nil {
				t.Fatal(err)
			}
			r, err := w.alice.Post(t.Context(), w.job(f, "alice"))
			if err != nil {
				t.Fatal(err)
			}
			c, out, err := w.finish(r)
			if err != nil {
				t.Fatal(err)
			}
			s := c.Settlement
			if s.Outcome != row.want.outcome || !strings.Contains(strings.ToLower(out.Run.Reason), row.want.reason) {
				t.Fatalf("ended as %s, reason %q; want %s, %q", s.Outcome, out.Run.Reason, row.want.outcome, row.want.reason)
			}
			royalty := task.Amount(0)
			if row.want.outcome == ledger.Completed {
				royalty = f.Manifest.Royalty
				if string(out.Files["out.txt"]) != "hello alice" {
					t.Errorf("output %q", out.Files)
				}
			} else if len(out.Files) != 0 {
				t.Errorf("a failed function gave files: %d", len(out.Files))
			}
			gas, _ := task.GasCost(c.View.Result.Result.Gas, c.Task.GasPrice)
			if row.name == "endless loop" && c.View.Result.Result.Gas != c.Task.GasLimit {
				t.Errorf("gas exhausted at %d of %d", c.View.Result.Result.Gas, c.Task.GasLimit)
			}
			after, err := w.Client.Account(t.Context(), task.PublicKey(w.key))
			if err != nil {
				t.Fatal(err)
			}
			var verifiers task.Amount
			for _, p := range s.Payments {
				if p.Why == ledger.WhyVerifier {
					verifiers += p.Amount
				}
			}
			// What is left are the fees of her transactions, none longer than 3 KiB.
			paid, n := before.Balance-after.Balance, task.Amount(after.Nonce-before.Nonce)*w.Params.TxFee
			fees := paid - gas - royalty - verifiers - s.Rent - w.Params.PostingFee
			if fees < n || fees > 3*n || fees%w.Params.TxFee != 0 {
				t.Errorf("Alice paid %s: gas %s, royalty %s, verifiers %s; fees %s", paid, gas, royalty, verifiers, fees)
			}
		})
	}
}

func TestTooLittleEscrow(t *testing.T) {
	w := newTown(t, host.Config{Workers: 4})
	f := w.publish("f", []byte{}, small)
	job := w.job(f, "x")
	job.Fee = 20_000 * task.PRY
	_, err := w.alice.Post(t.Context(), job)
	if task.CodeOf(err) != "escrow-low" {
		t.Fatalf("%v", err)
	}
	if e := err.(*task.Error); !strings.Contains(e.Money, "nothing is locked") {
		t.Errorf("where the money is: %q", e.Money)
	}
	if m, _ := w.Client.Meta(t.Context()); m.Open != 0 {
		t.Error("a refused task is open")
	}
}

// loops long enough to be killed in the middle, then greets.
const slow = `in, err := os.ReadFile("/in/input"); if err != nil { panic(err) }
x := uint64(1); for i := 0; i < 400_000_000; i++ { x = x*6364136223846793005 + 1 }
if x == 7 { panic("never") }
if err := os.WriteFile("/out/out.txt", append([]byte("hello "), in...), 0o600); err != nil { panic(err) }`

// The enclave is killed in the middle of the run; or the node falls silent with
// it. The next ticket's owner does the work.
func TestKilledExecutor(t *testing.T) {
	skipInShort(t)
	limits := small
	// A machine that is gone for good when its enclave was found good is waited for as
	// long as a run may take (spec §6.4.4): here that is not long.
	limits.Gas, limits.WallMillis = 8_000_000_000, 20_000
	w := newTown(t, host.Config{Params: func(p *ledger.Params) { p.GasFloor, p.RunGraceBlocks = 1_000_000, 40 }})
	f := w.publish("slow", goFunction(t, slow), limits)
	for name, kill := range map[string]func(*host.Worker){
		"enclave":  func(k *host.Worker) { killEnclaves(t) },
		"the node": func(k *host.Worker) { k.Cancel(); killEnclaves(t); _ = k.Peer.Host.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := w.alice.Post(t.Context(), w.job(f, "alice"))
			if err != nil {
				t.Fatal(err)
			}
			var once sync.Once
			var first task.NodeID
			killed := make(chan struct{})
			go func() {
				defer close(killed)
				for range time.Tick(5 * time.Millisecond) {
					c, err := w.Client.Case(t.Context(), r.ID)
					if err != nil || c.Phase == ledger.Closed {
						return
					}
					if c.Phase == ledger.Running {
						time.Sleep(100 * time.Millisecond) // well into the run
						once.Do(func() {
							first = c.View.Executor
							for _, k := range w.Workers {
								if k.ID() == first {
									kill(k)
								}
							}
						})
						return
					}
				}
			}()
			c, out, err := w.finish(r)
			<-killed
			if err != nil {
				t.Fatalf("%v\n%v", err, c.History)
			}
			if first.IsZero() {
				t.Fatal("nothing was killed: the run was over too soon")
			}
			if string(out.Files["out.txt"]) != "hello alice" || c.Settlement.Outcome != ledger.Completed {
				t.Errorf("ended as %s", c.Settlement.Outcome)
			}
			// On a busy machine others may have been late before it.
			lost := slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool {
				return s.Node == first && (s.Cause == ledger.Absent || s.Cause == ledger.Silence)
			})
			gaveUp := slices.ContainsFunc(c.Passed, func(p ledger.Pass) bool { return p.Executor == first && p.Why == ledger.GaveUp })
			if absent := slices.ContainsFunc(c.Slashes, func(s ledger.Slash) bool { return s.Node == first && s.Cause == ledger.Absent }); !absent && gaveUp != (name == "enclave") {
				t.Errorf("it gave up: %v; %v", gaveUp, c.Passed)
			}
			if !lost || c.View.Executor == first {
				t.Errorf("killed %s, passed over %v, executed by %s", first.Short(), c.Passed, c.View.Executor.Short())
			}
		})
	}
}

// killEnclaves kills every enclave process that this test has started.
func killEnclaves(t *testing.T) {
	for _, pid := range enclavePIDs(t) {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}

// A silent owner pays, the other gets its money back.
func TestSilentOwners(t *testing.T) {
	skipInShort(t)
	w := newTown(t, host.Config{Params: func(p *ledger.Params) { p.ReleaseBlocks = 20 }})
	code := goFunction(t, greet)
	f := w.publish("greet", code, small)
	t.Run("Bob", func(t *testing.T) {
		w.Broker.Forget() // his broker has lost its keys
		r, err := w.alice.Post(t.Context(), w.job(f, "x"))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := w.finish(r)
		if task.CodeOf(err) != "task-code-owner-silent" || !slices.Equal(c.Settlement.Fault.Parties, []uint32{2}) {
			t.Errorf("%v, fault %v", err, c.Settlement.Fault)
		}
	})
	t.Run("Alice", func(t *testing.T) {
		f := w.publish("greet again", code, small)
		r, err := w.alice.Post(t.Context(), w.job(f, "x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = w.alice.Close() // her client is gone
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := owner.Settled(ctx, w.Client, r.ID, nil)
		if err != nil || c.Settlement.Outcome != ledger.DataOwnerSilent && c.Settlement.Outcome != ledger.InputWithheld {
			t.Fatalf("%v: %v", err, c)
		}
	})
}

// enclavePIDs are this process's children that are enclaves.
func enclavePIDs(t testing.TB) (pids []int) {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !bytes.HasPrefix(args, []byte(host.EnclaveProgram+"\x00")) {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > 1 && string(f[1]) == strconv.Itoa(os.Getpid()) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			pids = append(pids, pid)
		}
	}
	return pids
}
