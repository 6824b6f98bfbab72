package owner

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"slices"
	"testing"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// ledgerOf is a chain with one case, that takes transactions as it is told to.
type ledgerOf struct {
	Chain
	c    *ledger.Case
	says error
	log  *[]string
}

func (l ledgerOf) Params(context.Context) (ledger.Params, error) { return ledger.Embedded("c"), nil }
func (l ledgerOf) Height() uint64                                { return 1 }
func (l ledgerOf) Case(context.Context, task.TaskID) (*ledger.Case, error) {
	return l.c, nil
}
func (l ledgerOf) VerifiedCase(context.Context, task.TaskID) (*ledger.Case, error) { return l.c, nil }
func (l ledgerOf) Submit(_ context.Context, _ ed25519.PrivateKey, body task.Body) (uint64, error) {
	if body.Post != nil {
		*l.log = append(*l.log, "post")
	}
	if body.Release != nil {
		*l.log = append(*l.log, "release")
	}
	return 1, l.says
}

// shelf has one blob, whatever it is asked for.
type shelf struct{ blob []byte }

func (s shelf) Get(context.Context, task.Blob, string) ([]byte, error) { return s.blob, nil }
func (s shelf) Put(context.Context, []byte) (task.Blob, error)         { return task.Blob{CID: "input"}, nil }

// paper is a vault without secrets, and notes what is done with them.
type paper struct{ log *[]string }

func (p paper) Lock(input []byte) ([]byte, Secrets, error) { return input, p, nil }
func (p paper) Find(b task.Blob) (Secrets, error) {
	*p.log = append(*p.log, "find "+b.CID)
	return p, nil
}
func (p paper) Recipient() string { return "r" }
func (p paper) Seal(r task.Release, _ []byte) (task.Release, error) {
	return r, nil
}
func (p paper) Open(result []byte, _ int) ([]byte, error) { return result, nil }
func (p paper) Keep(b task.Blob) error {
	*p.log = append(*p.log, "keep "+b.CID)
	return nil
}
func (p paper) Forget() error { *p.log = append(*p.log, "forget"); return nil }

// The secrets are safe before there is a task that needs them, and no node's word
// destroys them.
func TestSecretsAreKeptBeforeTheTaskIsPosted(t *testing.T) {
	refused := task.Refuse("no-money", "")
	for name, row := range map[string]struct {
		says error
		want []string
	}{
		"taken":                {nil, []string{"keep input", "post"}},
		"refused":              {refused, []string{"keep input", "post"}},
		"nobody knows whether": {context.Canceled, []string{"keep input", "post"}},
	} {
		var log []string
		c := &Client{Account: keyOf("alice"), Chain: ledgerOf{says: row.says, log: &log}, Blobs: shelf{}, Vault: paper{&log}, Log: slog.New(slog.DiscardHandler)}
		if _, err := c.Post(t.Context(), Job{}); err != row.says {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(log, row.want) {
			t.Errorf("%s: %v, want %v", name, log, row.want)
		}
	}
}

// A task that is taken up again has its key released to the enclave that is
// found good, and its result taken from that enclave only, which the process
// that released the key knew by heart and this one has from the chain.
func TestTakenUpAgain(t *testing.T) {
	enclave := keyOf("enclave")
	scene := func(t *testing.T) (*request, task.SignedResult, *Client, *[]string) {
		q := newRequest(t)
		q.ev.Keys.Sign = task.PublicKey(enclave)
		x := q.c.Member(q.c.View.Executor)
		want := q.c.Expected(task.PreRun, q.c.View.Number, x.Node)
		q.ev = q.platform().Quote(want.Context, q.ev.Keys, q.ev.Nonce, q.ev.State)
		q.show()
		q.judge(task.OK)
		q.onChain()
		var peer ed25519.PrivateKey
		for _, name := range "abcdef" {
			if k := keyOf(string(name) + " peer"); task.PublicKey(k) == x.Node.Peer {
				peer = k
			}
		}
		output := []byte("output")
		res := task.Result{Task: q.c.ID(), Node: q.c.View.Executor, Evidence: q.ev.Digest(), Output: sha256.Sum256(output), Size: uint64(len(output))}
		s := task.SignedResult{Result: res, Signature: task.Sign(enclave, res.Hash()), CID: "output"}.PlacedBy(peer)
		log := &[]string{}
		return q, s, &Client{Account: keyOf("alice"), Chain: ledgerOf{c: q.c, log: log}, Blobs: shelf{output}, Vault: paper{log}, Log: slog.New(slog.DiscardHandler)}, log
	}
	t.Run("result", func(t *testing.T) {
		_, s, c, _ := scene(t)
		r, err := c.Resume(c.Chain.(ledgerOf).c)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := r.take(t.Context(), s); err != nil || string(o.Archive) != "output" {
			t.Errorf("%q, %v", o.Archive, err)
		}
	})
	t.Run("a process that has posted and released to nobody takes none", func(t *testing.T) {
		_, s, c, _ := scene(t)
		r, _ := c.Resume(c.Chain.(ledgerOf).c)
		r.resumed = false
		if _, err := r.take(t.Context(), s); task.CodeOf(err) != "result-forged" {
			t.Errorf("%v", err)
		}
	})
	t.Run("of an enclave that verifiers did not find good", func(t *testing.T) {
		q, s, c, _ := scene(t)
		q.judge(task.Fault)
		q.c.View.Pre.Reveals = q.reveals
		r, _ := c.Resume(q.c)
		if _, err := r.take(t.Context(), s); task.CodeOf(err) != "verdicts-weak" {
			t.Errorf("%v", err)
		}
	})
	t.Run("of another enclave", func(t *testing.T) {
		q, s, c, _ := scene(t)
		s.Signature = task.Sign(keyOf("another enclave"), s.Result.Hash())
		r, _ := c.Resume(q.c)
		if _, err := r.take(t.Context(), s); task.CodeOf(err) != "result-forged" {
			t.Errorf("%v", err)
		}
	})
	t.Run("key", func(t *testing.T) {
		q, _, c, log := scene(t)
		q.c.View.CalledAt, q.c.View.Seal = 5, []byte(enclaveKey)
		q.c.Phase, q.c.History = ledger.Releasing, []ledger.Fact{{Height: 1}, {Height: 5}}
		r, err := c.Resume(q.c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		chain := c.Chain.(ledgerOf)
		chain.Chain = blocks{id: r.ID, stop: stop}
		r.keeper.Chain = chain
		r.keep(ctx)
		if !slices.Equal(*log, []string{"find input", "release"}) {
			t.Errorf("%v", *log)
		}
	})
}

// blocks is a chain at height 9, whose block 5 asks for the key.
type blocks struct {
	Chain
	id   task.TaskID
	stop func()
}

func (b blocks) Watch(ctx context.Context, from uint64, each func(uint64, []ledger.Event)) error {
	if from == 0 {
		from = 10
	}
	for h := from; h < 12; h++ {
		var events []ledger.Event
		if h == 5 {
			events = append(events, ledger.Event{Task: b.id, Phase: ledger.Releasing})
		}
		each(h, events)
	}
	b.stop()
	return ctx.Err()
}
