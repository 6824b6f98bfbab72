// Package owner is Alice's and Bob's side: who owns a secret decides, on its
// own evidence, whether an enclave may have it (spec §8).
//
// A [Keeper] holds the rule for both. It trusts nobody's summary: it reads the
// case from the chain by proof, verifies every claim's VRF again, computes the
// executor itself, opens the verdicts against the closed commit set, appraises
// the evidence under its owner's own policy, and only then seals the blob's key
// to the enclave key in that evidence. Each release and each refusal is logged
// with its reason. Alice runs a Keeper inside [Run.Result]; Bob's key broker
// is nothing but a Keeper that stays up.
package owner

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Chain is what an owner needs of the chain. VerifiedCase must return only
// what a proof against a trusted header shows: it is the owner's light client.
type Chain interface {
	// Height is that of the last block that it has seen.
	Height() uint64
	Params(ctx context.Context) (ledger.Params, error)
	Account(ctx context.Context, a task.Address) (ledger.Account, error)
	Function(ctx context.Context, id task.FunctionID) (ledger.FunctionRecord, error)
	Case(ctx context.Context, id task.TaskID) (*ledger.Case, error)
	VerifiedCase(ctx context.Context, id task.TaskID) (*ledger.Case, error)
	// Submit signs and submits a transaction and waits for its block. A posted
	// task gets the transaction's nonce, which is returned.
	Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (nonce uint64, err error)
	// Watch calls each for every block from a height on, or with 0 from now on,
	// in order, until ctx ends.
	Watch(ctx context.Context, from uint64, each func(height uint64, events []ledger.Event)) error
}

// Keeper decides on releases for one owner in one role, which may be several parties
// of a task.
type Keeper struct {
	Role    task.Role
	Account ed25519.PrivateKey // signs releases on the chain
	Chain   Chain
	Policy  task.Policy // the owner's own, on top of the task's
	// Seal seals the secret of the release's party to an enclave key, or says that this
	// owner has none for its file.
	Seal func(c *ledger.Case, r task.Release, enclave []byte) (task.Release, error)
	Log  *slog.Logger

	waiting  atomic.Int32 // requests that wait for the chain
	mu       sync.Mutex
	released map[share]task.Release
	judged   map[task.Ballot]attest.Evidence // what a view's were released to: one for all parties
	said     map[share]string                // the last refusal
	ahead    map[task.Ballot]seen            // of what the chain does not know yet
}

// seen is what an owner was shown for a key that it has given before the chain knew
// that the enclave was found good. An executor that keeps it back has the key, and is
// nobody whom the chain expects a result of. But anyone may bring it, so the owner does.
type seen struct {
	opening task.Opening
	reveals []task.Reveal
	due     uint64      // the height from which on it does
	again   uint64      // and so many blocks later again
	cost    task.Amount // at the most
}

// share is one party's part in one view of a task.
type share struct {
	ballot task.Ballot
	party  uint8
}

// Answer is the handler of the release protocol. It never returns an error:
// who asks is told why it is refused.
func (k *Keeper) Answer(ctx context.Context, _ task.Key, raw []byte) ([]byte, error) {
	q, err := task.Decode[task.KeyRequest](raw, task.MaxMessage)
	if err != nil {
		return task.Encode(task.KeyReply{Refused: err.Error()}), nil
	}
	asked := q.Opening.Pair.Ballot
	c, err := k.awaitClosed(ctx, asked)
	var r task.Release
	if err == nil {
		r, err = k.Decide(c, q.Party, q.Opening, q.Reveals, q.Seal)
	}
	if err != nil {
		if c != nil && task.CodeOf(err) != "not-owner" {
			k.complain(share{c.Ballot(), q.Party}, err)
		}
		k.Log.Warn("key refused", "owner", k.Role.String(), "task", asked.Task.Short(), "view", asked.View, "reason", err)
		return task.Encode(task.KeyReply{Refused: err.Error()}), nil
	}
	return task.Encode(task.KeyReply{Release: &r}), nil
}

// maxWaiting is how many requests may wait at once for the chain.
const maxWaiting = 64

// awaitClosed waits until the chain itself shows that the commit set of the
// asked view is closed: a proof lags the executor's word by a block; and if there is no
// time left to bring a verdict there, until it knows that, too. Anybody may ask, so little is waited for, and a proof, which costs, is looked at only
// when something has happened.
func (k *Keeper) awaitClosed(ctx context.Context, b task.Ballot) (*ledger.Case, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var c *ledger.Case
	closed := func(err error) (bool, error) {
		if err != nil {
			return false, err
		}
		if c.Attempt != b.Attempt || c.View.Number > b.View || c.Phase == ledger.Closed {
			return false, task.Refuse("release-stale", "attempt %d, view %d is asked for; the chain is at %d, %d (%s)", b.Attempt, b.View, c.Attempt, c.View.Number, c.Phase)
		}
		if b.View > c.View.Number+1 {
			return false, task.Refuse("release-early", "view %d is asked for; the chain is at view %d", b.View, c.View.Number)
		}
		ready := c.Phase >= ledger.Attesting && c.View.Number == b.View && c.View.Pre.Progress >= ledger.Sealed
		return ready && (decided(c) || k.canBring(c) && k.canPay(ctx, c)), nil
	}
	look := func() (done bool, err error) {
		c, err = k.Chain.Case(ctx, b.Task) // that it is time to prove something a node may say
		if done, err = closed(err); done {
			c, err = k.Chain.VerifiedCase(ctx, b.Task)
			done, err = closed(err)
		}
		return done, err
	}
	done, err := look()
	if done || err != nil {
		return c, err
	}
	if n := k.waiting.Add(1); n > maxWaiting {
		k.waiting.Add(-1)
		return c, task.Refuse("owner-busy", "%d requests wait for the chain already", maxWaiting)
	}
	defer k.waiting.Add(-1)
	due := 2 // blocks that the first look may have missed
	werr := k.Chain.Watch(ctx, 0, func(_ uint64, events []ledger.Event) {
		if due--; done || err != nil || due < 0 && !slices.ContainsFunc(events, func(e ledger.Event) bool { return e.Task == b.Task }) {
			return
		}
		if done, err = look(); done || err != nil {
			stop()
		}
	})
	if done || err != nil {
		return c, err
	}
	return c, werr
}

// Decide checks everything and releases a party's key, once for each view of each
// attempt: asked again for the same enclave it gives the same answer, for
// another one a refusal.
func (k *Keeper) Decide(c *ledger.Case, party uint8, o task.Opening, reveals []task.Reveal, seal []byte) (task.Release, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.released == nil {
		k.released, k.judged, k.ahead = map[share]task.Release{}, map[task.Ballot]attest.Evidence{}, map[task.Ballot]seen{}
	}
	parties := c.Parties()
	if c.View.Pre.Faulty { // it is on its way out, and may be so by its own word
		return task.Release{}, task.Refuse("release-stale", "the chain has found the executor's pair faulty")
	}
	if int(party) >= len(parties) || parties[party].Role != k.Role {
		return task.Release{}, task.Refuse("not-owner", "party %d of this task is not one that the %s here speaks for", party, k.Role)
	}
	b := c.Ballot()
	of := share{b, party}
	digest := task.H(task.TagEvidence, o.Evidence)
	if to, ok := k.judged[b]; ok && to.Digest() != digest {
		return task.Release{}, task.Refuse("release-twice", "a key for this view was released to another enclave already")
	}
	if r, ok := k.released[of]; ok {
		return r, nil
	}
	ev, err := k.check(c, o, reveals)
	if err != nil {
		return task.Release{}, err
	}
	if attest.SealKey(seal) != ev.Keys.Seal {
		return task.Release{}, task.Refuse("seal-key", "the key to seal to is not the one that the evidence names")
	}
	if !decided(c) && !k.canBring(c) {
		return task.Release{}, task.Refuse("release-early", "the chain does not know the verdict, and it is too late to bring it there: stage %s ends with block %d", c.Stage, c.Deadline)
	}
	// What the chain has on record this owner has done, also before a restart.
	for _, r := range c.View.Releases {
		switch {
		case r.Party != party:
		case r.Evidence != digest:
			return r, task.Refuse("release-twice", "the key for this view was released to another enclave already")
		default:
			k.released[of], k.judged[b] = r, ev
			return r, nil
		}
	}
	r := task.Release{Task: b.Task, Attempt: b.Attempt, View: b.View, Party: party, Evidence: digest}
	if r, err = k.Seal(c, r, seal); err != nil {
		return r, err
	}
	k.released[of], k.judged[b] = r, ev
	if !decided(c) {
		k.ahead[b] = seen{o, reveals, k.Chain.Height() + c.Params.CommitBlocks, c.Params.CommitBlocks/2 + 1, bringing(c)}
	}
	k.Log.Info("key released", "owner", k.Role.String(), "party", party, "task", b.Task.Short(), "view", b.View, "node", c.View.Executor.Short(), "evidence", digest.Short())
	return r, nil
}

// decided says whether the chain knows that an enclave was found good: from then on
// its executor's silence costs at least what the requester has locked.
func decided(c *ledger.Case) bool { return c.View.Pre.Progress >= ledger.Decided }

// canBring says whether an owner that gives its key now has the time to bring the
// verdict to the chain itself: commit blocks in which it waits for the executor to do
// so, and as many to be heard.
func (k *Keeper) canBring(c *ledger.Case) bool {
	return k.Chain.Height()+2*c.Params.CommitBlocks <= c.Deadline
}

// canPay says whether this owner's account can pay for bringing the verdict, or for
// accusing the executor, in this turn and all others in which it may have to. An owner
// that cannot waits for the chain to know the verdict.
func (k *Keeper) canPay(ctx context.Context, c *ledger.Case) bool {
	a, err := k.Chain.Account(ctx, task.PublicKey(k.Account))
	if err != nil {
		k.Log.Warn("cannot read the account", "owner", k.Role.String(), "err", err)
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	due, fits := bringing(c), true
	for b, s := range k.ahead {
		if b != c.Ballot() && fits {
			due, fits = due.Add(s.cost)
		}
	}
	return fits && due <= a.Balance
}

// bringing is the most that it costs to bring a verdict: the transactions of all words,
// or one with an accusation's bond.
func bringing(c *ledger.Case) task.Amount {
	words := make([]task.Reveal, len(c.View.Pre.Commitments))
	txs := len(task.SplitVerdicts(c.Ballot(), words, &task.Opening{Evidence: make([]byte, task.MaxEvidence)}))
	return task.Amount(txs)*c.Params.Fee(task.MaxTx) + c.Params.AccusationBond
}

// Overdue are the ballots of which an executor has not brought in time what it has
// shown for this owner's key. Each is named again as long as it is not there.
func (k *Keeper) Overdue(height uint64) (all []task.Ballot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for b, s := range k.ahead {
		if s.due <= height {
			s.due = height + s.again
			k.ahead[b] = s
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b task.Ballot) int { return bytes.Compare(task.Encode(a), task.Encode(b)) })
	return all
}

// Bring brings to the chain what an executor has shown for this owner's key, if the
// chain does not know it and can still hear it. One that has signed another pair there
// is accused of both.
func (k *Keeper) Bring(ctx context.Context, b task.Ballot) {
	k.mu.Lock()
	s := k.ahead[b]
	k.mu.Unlock()
	c, err := k.Chain.Case(ctx, b.Task)
	if err != nil {
		k.Log.Warn("cannot read the task", "owner", k.Role.String(), "task", b.Task.Short(), "err", err)
		return
	}
	if c.Phase != ledger.Attesting || c.Ballot() != b || c.View.Pre.Faulty {
		k.known(b)
		return
	}
	all := task.SplitVerdicts(b, s.reveals, &s.opening)
	if c.View.Pre.HasPair() && c.Pair().Digests != s.opening.Pair.Digests {
		all = []task.Body{{Accuse: &task.Accusation{Ballot: b, Accused: c.View.Executor, Pairs: []task.Pair{s.opening.Pair, c.Pair()}}}}
	}
	k.Log.Warn("the executor has a key and does not bring the verdict to the chain", "owner", k.Role.String(), "task", b.Task.Short(), "view", b.View, "node", c.View.Executor.Short())
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, body := range all { // each waits for its block
		wg.Go(func() {
			if _, err := k.Chain.Submit(ctx, k.Account, body); err != nil && ctx.Err() == nil && task.CodeOf(err) != "nothing-new" {
				k.Log.Warn("verdict not brought", "owner", k.Role.String(), "task", b.Task.Short(), "err", err)
			}
		})
	}
}

// known forgets what the chain knows, or can hear no more.
func (k *Keeper) known(b task.Ballot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ahead, b)
}

// check is spec §8.1, in its order.
func (k *Keeper) check(c *ledger.Case, o task.Opening, reveals []task.Reveal) (attest.Evidence, error) {
	if err := CheckCommittee(c); err != nil {
		return attest.Evidence{}, err
	}
	for _, v := range reveals {
		if err := c.CheckReveal(v); err != nil {
			return attest.Evidence{}, err
		}
	}
	place, err := c.CheckOpening(o)
	if err != nil {
		return attest.Evidence{}, err
	}
	r := c.Roster()
	if ok, _ := c.TallyFor(o.Pair, place, reveals); ok < r.Quorum() {
		return attest.Evidence{}, task.Refuse("verdicts-weak", "verifiers with %d of %d seats found the enclave good, a quorum is %d", ok, r.Judging(), r.Quorum())
	}
	ev, err := attest.ParseEvidence(o.Evidence)
	if err != nil {
		return ev, task.Refuse("evidence-malformed", "%v", err)
	}
	want := c.Wanted(task.PreRun)
	for _, p := range []task.Policy{c.Task.Policy, k.Policy} {
		if a := attest.Appraise(ev, want, p, c.Reference()); a.Verdict != task.OK {
			return ev, task.Refuse("evidence-"+a.Reason, "%s", a.Detail)
		}
	}
	return ev, nil
}

// CheckCommittee verifies again what the chain has verified: every member's
// VRF proof and seats, and that the executor is the one whose turn it is.
func CheckCommittee(c *ledger.Case) error {
	for i := range c.Members {
		m := &c.Members[i]
		if m.Node.ID() != m.Claim.Node || m.Claim.Task != c.ID() || m.Claim.Attempt != c.Attempt {
			return task.Refuse("claim-mismatch", "the claim of %s is of another node, task or attempt", m.Claim.Node.Short())
		}
		again, err := c.Admit(m.Node, m.Profile, m.Stake, m.Claim)
		if err != nil || again.Seats != m.Seats || again.Beta != m.Beta {
			return task.Refuse("claim-false", "the claim of %s does not hold: %v", m.Claim.Node.Short(), err)
		}
	}
	if c.View.Executor.IsZero() {
		return nil
	}
	if id, ok := c.Roster().Next(c.View.Number); !ok || id != c.View.Executor {
		return task.Refuse("executor-false", "%s executes, but the turn of view %d is %s's", c.View.Executor.Short(), c.View.Number, id.Short())
	}
	return nil
}

// Follow answers on the chain when an executor calls there: it decides on what the
// chain shows, and records its release, so that nobody can say that this owner was
// silent; and brings verdicts that executors keep back. It begins at a height, so that
// an owner who was away answers what still waits for an answer, or with 0 from now on. It returns when ctx ends.
//
// Each task is looked after by itself: none waits for the proof, or the block, of
// another.
func (k *Keeper) Follow(ctx context.Context, from uint64, mine func(*ledger.Case, task.Party) bool) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	due := map[task.TaskID]uint64{}  // called on the chain at a height, not yet provably
	busy := map[task.TaskID]bool{}   // somebody looks after it
	brings := map[task.Ballot]bool{} // its verdict is on its way: each time costs a fee
	look := func(id task.TaskID, found uint64) {
		done := k.Record(ctx, id, mine)
		mu.Lock()
		defer mu.Unlock()
		delete(busy, id)
		if done && due[id] == found { // and not called again, in the next view
			delete(due, id)
		}
	}
	return k.Chain.Watch(ctx, from, func(height uint64, events []ledger.Event) {
		mu.Lock()
		defer mu.Unlock()
		for _, b := range k.Overdue(height) {
			if !brings[b] {
				brings[b] = true
				wg.Go(func() {
					k.Bring(ctx, b)
					mu.Lock()
					defer mu.Unlock()
					delete(brings, b)
				})
			}
		}
		for _, e := range events {
			if e.Phase == ledger.Releasing || e.Phase == ledger.Running && k.refused(e.Task) {
				due[e.Task] = height
			}
		}
		for id, found := range due {
			if !busy[id] {
				busy[id] = true
				wg.Go(func() { look(id, found) })
			}
		}
	})
}

// Record puts this owner's release for a case on the chain; done says that
// there is nothing more to wait for.
func (k *Keeper) Record(ctx context.Context, id task.TaskID, mine func(*ledger.Case, task.Party) bool) (done bool) {
	// A node's word is enough to leave a task alone: others' cost no proof.
	if c, err := k.Chain.Case(ctx, id); err != nil || len(k.places(c, mine)) == 0 {
		return err == nil
	}
	c, err := k.Chain.VerifiedCase(ctx, id)
	if err != nil || c.Phase < ledger.Releasing {
		return false
	}
	places := k.places(c, mine)
	if c.Phase == ledger.Running && !c.View.Called() && len(places) > 0 { // refused directly: an executor that is not called good must not get away by never calling
		if _, err := k.check(c, c.Opening(), c.View.Pre.Reveals); err != nil {
			k.accuse(ctx, c)
		}
		return true
	}
	if c.Phase != ledger.Releasing {
		return true
	}
	done = true
	for _, party := range places {
		done = k.record(ctx, c, party) && done
	}
	return done
}

// places are those of this keeper's parties in a case.
func (k *Keeper) places(c *ledger.Case, mine func(*ledger.Case, task.Party) bool) (all []uint8) {
	for i, p := range c.Parties() {
		if p.Role == k.Role && mine(c, p) {
			all = append(all, uint8(i))
		}
	}
	return all
}

func (k *Keeper) record(ctx context.Context, c *ledger.Case, party uint8) (done bool) {
	id := c.ID()
	r, err := k.Decide(c, party, c.Opening(), c.View.Pre.Reveals, c.View.Seal)
	if err != nil {
		if k.complain(share{c.Ballot(), party}, err) {
			k.Log.Warn("key refused", "owner", k.Role.String(), "task", id.Short(), "reason", err)
			k.accuse(ctx, c)
		}
		return false // what comes later may change it: more verdicts, the next view
	}
	_, err = k.Chain.Submit(ctx, k.Account, task.Body{Release: &r})
	switch task.CodeOf(err) {
	case "nothing-new", "task-closed", "release-stale":
		return true // it is there already, or no longer asked for
	}
	if err != nil && ctx.Err() == nil {
		k.Log.Warn("release not recorded", "owner", k.Role.String(), "task", id.Short(), "err", err)
	}
	return err == nil
}

// accuse brings evidence that verifiers let pass, and that the chain's own rules
// refuse, to the chain: or this owner would look like the silent one, and pay.
func (k *Keeper) accuse(ctx context.Context, c *ledger.Case) {
	if a := c.Appraise(task.PreRun, c.Genuine()); a.Verdict == task.OK || c.View.Pre.Faulty {
		return
	}
	_, err := k.Chain.Submit(ctx, k.Account, task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Look: true}})
	if err != nil && ctx.Err() == nil && task.CodeOf(err) != "nothing-new" {
		k.Log.Warn("executor not accused", "owner", k.Role.String(), "task", c.ID().Short(), "err", err)
	}
}

// refused says whether this owner has refused its key in a task.
func (k *Keeper) refused(id task.TaskID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for of := range k.said {
		if of.ballot.Task == id {
			return true
		}
	}
	return false
}

// complain says whether this refusal is a new one for the view: the next
// executor's enclave may be bad in the same way.
func (k *Keeper) complain(of share, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.said == nil {
		k.said = map[share]string{}
	}
	again := k.said[of] == err.Error()
	k.said[of] = err.Error()
	return !again
}
