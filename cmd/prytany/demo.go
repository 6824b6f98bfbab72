package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play one whole task on a network in this process: Bob's code, Alice's picture, a drawn and attested worker",
		Args:  none,
		RunE:  func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), o) },
	}
	checkTEE := teeFlag(c, &o.tee, "a software TPM for each worker")
	c.PreRunE = func(*cobra.Command, []string) error { return checkTEE() }
	c.Flags().StringVar(&o.job, "job", jobPicture, "what Alice and Bob want: picture, or validation of a secret model on a hospital's patients")
	c.Flags().StringVar(&o.out, "out", ".", "directory for what comes out, and receipt.cbor")
	c.Flags().StringVar(&o.input, "input", "", "a PNG or JPEG instead of the built-in picture; a CSV file instead of the built-in patients")
	c.Flags().IntVar(&o.workers, "workers", 10, "how many workers, 4 to 64")
	c.Flags().StringVar(&o.keep, "keep", "", "keep the homes of all nodes in this directory")
	c.Flags().StringVar(&o.runtime, "runtime", task.RuntimeWasm, "what Bob's function runs in: wasm, python, oci or docker")
	ociFlag(c, &o.oci)
	c.Flags().StringVar(&o.with, "with", "", "let somebody do wrong: lying-verifier, lazy-verifier, bad-executor, equivocator, silent-alice, silent-bob, withholding-alice, busy-worker or skipping-quorum")
	return c
}

type demoOptions struct {
	job                         string
	out, input, keep, with, tee string
	runtime                     string
	oci                         []string
	workers                     int
}

func (a *app) demo(ctx context.Context, o demoOptions) (err error) {
	if o.workers < 4 || o.workers > 64 {
		return usage("--workers is %d, want 4 to 64", o.workers)
	}
	if o.job == jobValidation && o.runtime == task.RuntimeWasm {
		o.runtime = task.RuntimeOCI // wasm is what the flag says if nobody does
	}
	if o.runtime == task.RuntimeDocker && o.tee != string(attest.Simulated) {
		return usage("--runtime docker goes with --tee simulated: the engine is outside of the enclave")
	}
	bad, err := castFor(o.with)
	if err != nil {
		return err
	}
	j, err := a.demoJob(ctx, o)
	if err != nil {
		return err
	}
	line := newTimeline(a)
	line.say("Prytany demo: one network in this process, %d workers, nothing outside it is touched", o.workers)
	line.warn("the TEE is SIMULATED: it shows every step of the protocol and protects nothing from this machine's owner")
	if o.tee == string(attest.TPM) {
		line.warn("%s", softwareTPMs)
	}
	if bad != nil {
		line.warn("in this demo %s", parts[bad.role])
	}
	home := o.keep
	if home == "" {
		if home, err = os.MkdirTemp("", "prytany-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(home)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	building := make(chan built, 1)
	line.say("%s", j.preparing)
	go func() {
		quiet := *a // the line above says what happens
		quiet.quiet = true
		src, err := j.made, error(nil)
		if j.example != "" {
			src, err = function.LoadExample(ctx, j.example, quiet.say)
		}
		src.Manifest.Runtime = o.runtime // one container is as good as another
		building <- built{src, err}
	}()
	aliceKey, bobKey := ed25519.NewKeyFromSeed(seedOf()), ed25519.NewKeyFromSeed(seedOf())
	n, err := host.Start(ctx, host.Config{
		Home: home, Workers: o.workers, TEE: attest.Kind(o.tee), Enclaves: a.enclaves(o.oci), Patience: committee.Embedded, Log: a.logger(), EngineLog: a.engineLogger(), Params: bad.rules, Corrupt: bad.corrupt,
		Grants: []ledger.Grant{{Account: task.PublicKey(aliceKey), Balance: 1000 * task.PRY}, {Account: task.PublicKey(bobKey), Balance: 1000 * task.PRY}},
	})
	if err != nil {
		return err
	}
	defer func() {
		if e := n.Stop(); err == nil && e != nil {
			a.logger().Warn("stopping", "err", e)
		}
	}()
	line.say("network up: chain %s, %d workers, key broker at %s", n.Params.Chain, len(n.Workers), n.BrokerPeer.Host.Addr())
	f, err := a.demoPublish(ctx, n, line, building, bobKey)
	if err != nil {
		return err
	}
	if o.with == silentBob {
		n.Broker.Forget()
	}
	return a.demoTask(ctx, n, line, o, j, f, aliceKey)
}

type built struct {
	function.Source
	err error
}

func seedOf() []byte {
	var s [ed25519.SeedSize]byte
	_, _ = rand.Read(s[:]) // never fails
	return s[:]
}

// openDemo opens a person with nothing but an account.
func openDemo(ctx context.Context, log *slog.Logger, n *host.Devnet, account ed25519.PrivateKey) (*client.Client, error) {
	return client.Open(ctx, client.Config{Session: sessionOf(n), Account: account, Peer: ed25519.NewKeyFromSeed(seedOf()), Log: log})
}

// sessionOf is a devnet's own session.
func sessionOf(n *host.Devnet) *client.Session {
	return &client.Session{Node: n.Client, Network: networkOf(n)}
}

// demoPublish plays Bob.
func (a *app) demoPublish(ctx context.Context, n *host.Devnet, line *timeline, building chan built, key ed25519.PrivateKey) (task.Function, error) {
	done := line.wait("waiting for the compiler")
	b := <-building
	done()
	if b.err != nil {
		return task.Function{}, b.err
	}
	line.say("Bob's code: %d KB; in the open with it: %d KB", (len(b.Code)+1023)>>10, len(b.Image)>>10)
	bob, err := openDemo(ctx, a.logger(), n, key)
	if err != nil {
		return task.Function{}, err
	}
	defer bob.Close()
	f, err := bob.Publish(ctx, client.Publication{Manifest: b.Manifest, Code: b.Code, Image: b.Image, Bond: 100 * task.PRY})
	if m := f.Manifest; err == nil {
		line.say("Bob published %s %s: code encrypted as %s, its key is with his broker", m.Name, m.Version, short(f.Code.CID))
	}
	return f, err
}

// demoTask plays Alice.
func (a *app) demoTask(ctx context.Context, n *host.Devnet, line *timeline, o demoOptions, j demoJob, f task.Function, key ed25519.PrivateKey) error {
	alice, err := openDemo(ctx, a.logger(), n, key)
	if err != nil {
		return err
	}
	defer alice.Close()
	if o.with == silentAlice {
		alice.Owner.Policy.MinTier = task.TierConfidential // nobody here is good enough for her key
	}
	if o.with == withholding {
		alice.Owner.Blobs = unserved{}
	}
	happens := a.meddle(n, line, o.with)
	each := func(e ledger.Event) {
		line.event(ctx, n, e)
		happens(ctx, e)
	}
	input, err := tee.PackInputs(f.Manifest, map[string][]byte{j.input: j.data})
	if err != nil {
		return err
	}
	for _, w := range f.Manifest.Weaknesses() {
		line.warn("Alice accepts what protects her less, as run --accept %s does: %s", w, ledger.Weakness(w))
	}
	line.start()
	r, err := alice.Post(ctx, owner.Job{
		Function: f.ID(), Input: input, Args: j.args, GasLimit: f.Manifest.Limits.Gas, GasPrice: client.GasPrice,
		Fee: client.Fee, Seats: task.DefaultSeats, MinSeats: client.MinSeats, Policy: task.Policy{MinTier: task.TierSimulated, Accept: f.Manifest.Weaknesses()},
	})
	if err != nil {
		return err
	}
	line.mark("posted", "Alice posted task %s: her %s encrypted as %s, her money is in escrow", r.ID.Short(), j.are, short(r.Task.Data[0].Blob.CID))
	result, err := r.Result(ctx, each)
	silent := o.with == silentAlice || o.with == silentBob || o.with == withholding
	if err != nil && !(silent && ctx.Err() == nil) {
		return err
	}
	if err == nil {
		line.mark(stepRun, "Alice has her result, signed by the enclave and opened with her key")
	}
	c, err := r.Settled(ctx, each)
	if err != nil {
		return err
	}
	line.settled(c, n)
	if o.with != "" {
		line.told(lastWords(ctx, n, c, o.with), n)
	}
	if err := explain.Ended(c); err != nil {
		if !silent {
			return err
		}
		return a.demoEnd(ctx, n, line, o.out, c)
	}
	out, err := tee.Unpack(result.Archive)
	if err != nil {
		return err
	}
	got := out.Files[j.output]
	files, err := a.demoFiles(ctx, n, o.out, c, j, got)
	if err != nil {
		return err
	}
	same, err := j.check(got)
	if err != nil {
		return err
	}
	if !same {
		return task.Refuse("result-differs", "%s is not what the function gives when it is run directly", j.output)
	}
	line.say("%s is bit for bit what the function gives when it is run directly on the same input", j.output)
	line.phases()
	line.say("next: prytany verify %s", task.ShellWord(files.Receipt))
	return a.print(files, files.text())
}

// lastWords waits for an accusation that comes after the settlement.
func lastWords(ctx context.Context, n *host.Devnet, c *ledger.Case, with string) *ledger.Case {
	for tries := 0; with == equivocator && len(c.Slashes) == 0 && tries < 100; tries++ {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return c
		}
		if later, err := n.Client.Case(ctx, c.ID()); err == nil {
			c = later
		}
	}
	return c
}

// demoEnd is the end of a demo in which no picture is made.
func (a *app) demoEnd(ctx context.Context, n *host.Devnet, line *timeline, dir string, c *ledger.Case) error {
	raw, err := client.Receipt(ctx, n.Client, c.ID())
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "receipt.cbor")
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return err
	}
	if err := pin(n.Client.Trust, "prytany demo on this machine"); err != nil {
		return err
	}
	line.say("next: prytany verify %s", task.ShellWord(path))
	return a.print(demoFiles{Receipt: path}, path+"\n")
}

type demoFiles struct {
	Picture string `json:"picture,omitempty"`
	Report  string `json:"report,omitempty"`
	Plot    string `json:"plot,omitempty"`
	Receipt string `json:"receipt"`

	words string // of a report
}

func (f demoFiles) text() string {
	text := f.words
	for _, path := range []string{f.Picture, f.Report, f.Plot, f.Receipt} {
		if path != "" {
			text += path + "\n"
		}
	}
	return text
}

// demoFiles writes what came out and the receipt, and pins the network's trust
// on this machine, so that `verify` needs no more than the receipt.
func (a *app) demoFiles(ctx context.Context, n *host.Devnet, dir string, c *ledger.Case, j demoJob, got []byte) (demoFiles, error) {
	files, err := j.write(dir, got)
	if err != nil {
		return files, err
	}
	files.Receipt = filepath.Join(dir, "receipt.cbor")
	raw, err := client.Receipt(ctx, n.Client, c.ID())
	if err != nil {
		return files, err
	}
	if err := os.WriteFile(files.Receipt, raw, 0o644); err != nil {
		return files, err
	}
	return files, pin(n.Client.Trust, "prytany demo on this machine")
}
