package ledger

import (
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/roster"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Case is all that the chain knows of one task. It is self-contained: from it
// and a trusted header anyone can check the whole story offline (spec §11).
type Case struct {
	Task       task.Task        `cbor:"1,keyasint" json:"task"`
	Function   task.Function    `cbor:"2,keyasint" json:"function"`
	Params     Params           `cbor:"3,keyasint" json:"params"`
	PostedAt   uint64           `cbor:"4,keyasint" json:"posted_at,string"`
	Phase      Phase            `cbor:"5,keyasint" json:"phase"`
	Deadline   uint64           `cbor:"6,keyasint" json:"deadline,string"` // height at whose end the stage is up
	Attempt    uint32           `cbor:"7,keyasint" json:"attempt"`
	Seats      uint32           `cbor:"8,keyasint" json:"seats"`  // τ of this attempt
	Beacon     beacon.Signature `cbor:"9,keyasint" json:"beacon"` // of the block that seeded the attempt
	SeededAt   uint64           `cbor:"10,keyasint" json:"seeded_at,string"`
	Epoch      uint64           `cbor:"11,keyasint" json:"epoch,string"`
	TotalStake task.Amount      `cbor:"12,keyasint" json:"total_stake"` // W of the snapshot
	Members    []Member         `cbor:"13,keyasint" json:"members"`
	View       View             `cbor:"14,keyasint" json:"view"`
	Passed     []Pass           `cbor:"15,keyasint" json:"passed"`
	Escrow     Escrow           `cbor:"16,keyasint" json:"escrow"`
	Settlement *Settlement      `cbor:"17,keyasint,omitempty" json:"settlement,omitempty"`
	History    []Fact           `cbor:"18,keyasint" json:"history"`
	Began      uint64           `cbor:"19,keyasint" json:"began,string"` // height at which the present attempt was called for
	Slashes    []Slash          `cbor:"20,keyasint" json:"slashes"`
	SeededTime int64            `cbor:"21,keyasint" json:"seeded_time,string"` // Unix seconds, of the block that seeded the attempt: the time of all appraisals
	Foresight  beacon.Foresight `cbor:"22,keyasint" json:"foresight"`          // who could know the beacon before, when the attempt was called for
	Declined   []Declined       `cbor:"23,keyasint" json:"declined"`           // in the present attempt
	Values     task.Hash        `cbor:"24,keyasint" json:"values"`             // names the reference values in force in the block that seeded the attempt
	Stage      Stage            `cbor:"25,keyasint" json:"stage"`              // what is waited for; the deadline is its own

	ref *attest.Reference // of that name; nil before Under
}

// Member is a node with seats on the committee: its claim has been verified.
type Member struct {
	Node    task.Node      `cbor:"1,keyasint" json:"node"`
	Stake   task.Amount    `cbor:"2,keyasint" json:"stake"`
	Claim   task.Claim     `cbor:"3,keyasint" json:"claim"`
	Beta    vrf.Output     `cbor:"4,keyasint" json:"beta"`
	Seats   uint32         `cbor:"5,keyasint" json:"seats"`
	Profile attest.Profile `cbor:"6,keyasint" json:"profile"`
}

// View is one executor's turn.
type View struct {
	Number    uint32             `cbor:"1,keyasint" json:"number"`
	Executor  task.NodeID        `cbor:"2,keyasint" json:"executor"`
	StartedAt uint64             `cbor:"3,keyasint" json:"started_at,string"`
	Pre       Round              `cbor:"4,keyasint" json:"pre"`
	Releases  []task.Release     `cbor:"5,keyasint" json:"releases"`
	Result    *task.SignedResult `cbor:"6,keyasint,omitempty" json:"result,omitempty"`
	ResultAt  uint64             `cbor:"7,keyasint" json:"result_at,string"`
	ExitNonce task.Hash          `cbor:"8,keyasint" json:"exit_nonce"`
	// Exit is the evidence of how the enclave ended, as its executor signed it.
	Exit          []byte           `cbor:"9,keyasint" json:"exit"`
	ExitSignature task.Signature   `cbor:"10,keyasint" json:"exit_signature"`
	ExitBeacon    beacon.Signature `cbor:"11,keyasint" json:"exit_beacon"`    // which the nonce is made of
	ExitAt        uint64           `cbor:"12,keyasint" json:"exit_at,string"` // its block
	// Late is its enclave's word that it ran out of time, while words about the
	// enclave are still due.
	Late *task.SignedResult `cbor:"13,keyasint,omitempty" json:"late,omitempty"`
	// The executor's call for keys that it was not given (spec §8.4).
	CalledAt uint64 `cbor:"14,keyasint" json:"called_at,string"` // height, or 0
	Seal     []byte `cbor:"15,keyasint" json:"seal"`             // what the owners are to seal to
	// Gone is its executor's word that the enclave is no more, for the same time.
	Gone *task.Decline `cbor:"16,keyasint,omitempty" json:"gone,omitempty"`
}

// Round is the verdict on an executor's enclave: commitments until it is closed,
// then reveals, and the pair of evidence that they are about.
type Round struct {
	Commitments []task.Commitment `cbor:"1,keyasint" json:"commitments"`
	ClosedAt    uint64            `cbor:"2,keyasint" json:"closed_at,string"` // height, 0 while open
	Digests     [2]task.Hash      `cbor:"3,keyasint" json:"digests"`          // of the pair's evidence; zero before the chain knows it
	Signature   task.Signature    `cbor:"4,keyasint" json:"signature"`        // the executor's, over both
	Evidence    [2][]byte         `cbor:"5,keyasint" json:"evidence"`         // by place; the other piece only where somebody doubts
	OpenedAt    uint64            `cbor:"6,keyasint" json:"opened_at,string"` // height, 0 before the genuine place is known
	Place       uint8             `cbor:"7,keyasint" json:"place"`            // of the genuine evidence
	Proof       task.Proof        `cbor:"8,keyasint" json:"proof"`            // that the executor's VRF has put it there
	Reveals     []task.Reveal     `cbor:"9,keyasint" json:"reveals"`
	DecidedAt   uint64            `cbor:"10,keyasint" json:"decided_at,string"`         // height at which a quorum found it good, or 0
	Faulty      bool              `cbor:"11,keyasint" json:"faulty"`                    // the chain itself has found the pair faulty; never why (spec §7.4.3)
	Accuser     task.Address      `cbor:"12,keyasint" json:"accuser"`                   // who told the chain so, if no verifier did
	Other       *task.Pair        `cbor:"13,keyasint,omitempty" json:"other,omitempty"` // another pair that its executor has signed for this ballot
	Progress    Progress          `cbor:"14,keyasint" json:"progress"`                  // how far it has come; the heights say when
}

// HasPair says whether the pair of evidence is known.
func (r *Round) HasPair() bool { return r.Digests != [2]task.Hash{} }

// Pass is an executor that was passed over. What that cost it stands in Slashes.
type Pass struct {
	View     uint32      `cbor:"1,keyasint" json:"view"`
	Executor task.NodeID `cbor:"2,keyasint" json:"executor"`
	Height   uint64      `cbor:"3,keyasint" json:"height,string"`
	Why      Cause       `cbor:"4,keyasint" json:"why"`
	Attempt  uint32      `cbor:"5,keyasint" json:"attempt"`
	Pre      Round       `cbor:"6,keyasint" json:"pre"` // what was said of its evidence
	// Result is the word of its enclave that it ran out of time, if that is why.
	Result *task.SignedResult `cbor:"7,keyasint,omitempty" json:"result,omitempty"`
	// Gone is its own word that it gave up, if that is why.
	Gone *task.Decline `cbor:"8,keyasint,omitempty" json:"gone,omitempty"`
}

// Escrow is the money that the case holds while it is open; a closed case
// keeps the figures, from which anyone can repeat the settlement.
type Escrow struct {
	Locks []task.Amount `cbor:"1,keyasint" json:"locks"` // by party; the code owner's is from the function's bond
	Room  task.Amount   `cbor:"2,keyasint" json:"room"`  // the requester's as well: the rent of the longest that the task can be open
}

// Of is what is locked of a party's money.
func (e Escrow) Of(party uint8) task.Amount {
	if int(party) < len(e.Locks) {
		return e.Locks[party]
	}
	return 0
}

// Sum is all that is locked; not ok over 2^64-1.
func (e Escrow) Sum() (task.Amount, bool) {
	return task.Sum(append([]task.Amount{e.Room}, e.Locks...)...)
}

// Parties are those of the task, in the order in which the case numbers them.
func (c *Case) Parties() []task.Party { return task.Parties(c.Task, c.Function) }

// RoleOf is the role of the party in a place; 0 where there is none.
func (c *Case) RoleOf(party uint8) task.Role {
	if all := c.Parties(); int(party) < len(all) {
		return all[party].Role
	}
	return 0
}

// ID is the task's.
func (c *Case) ID() task.TaskID { return c.Task.ID() }

// Hash is what stands authenticated on the chain for the case.
func (c *Case) Hash() task.Hash { return task.H(task.TagCase, task.Encode(c)) }

// ParseCase reads a case from an untrusted file or peer.
func ParseCase(raw []byte) (*Case, error) {
	c, err := task.Decode[Case](raw, MaxCase)
	return &c, err
}

// MaxCase bounds an encoded case, in bytes.
const MaxCase = 8 << 20

// Seed is the open seed of the present attempt (spec §4.2).
func (c *Case) Seed() task.Hash {
	return sortition.Seed(c.Task.Chain, task.Hash(c.ID()), c.Attempt, c.Beacon.Value())
}

// Member finds a member by name, or nil.
func (c *Case) Member(id task.NodeID) *Member {
	i := slices.IndexFunc(c.Members, func(m Member) bool { return m.Claim.Node == id })
	if i < 0 {
		return nil
	}
	return &c.Members[i]
}

// Roster is the committee of the present attempt in the present view. Whose turn it
// is, who judges and what a quorum is, everyone asks of it.
func (c *Case) Roster() roster.Roster {
	r := roster.Roster{
		Members: make([]roster.Member, len(c.Members)), View: c.View.Number, Executor: c.View.Executor,
		Rules: roster.Rules{Turns: MaxTurns, Views: c.Params.MaxViews, KindPPM: c.Task.Policy.MaxKindPPM, OperatorPPM: c.Task.Policy.MaxOperatorPPM},
	}
	for i, m := range c.Members {
		r.Members[i] = roster.Member{
			Node: m.Claim.Node, Operator: m.Node.Operator, Kind: m.Node.TEE.Kind, Seats: m.Seats, Beta: m.Beta,
			Able: m.Node.CanRun(c.Function.Manifest), Busy: m.Claim.Busy != nil,
		}
	}
	for _, p := range c.Passed {
		if p.Attempt == c.Attempt {
			r.Out = append(r.Out, roster.Out{Node: p.Executor, From: p.View + 1, Passed: true})
		}
	}
	for _, d := range c.Declined {
		r.Out = append(r.Out, roster.Out{Node: d.Decline.Node, From: d.From})
	}
	return r
}

// Genuine is the present executor's genuine evidence; nil before it is known.
func (c *Case) Genuine() []byte {
	if round := &c.View.Pre; round.Progress >= Opened {
		return round.Evidence[round.Place&1]
	}
	return nil
}

// Ballot names the round of the present view.
func (c *Case) Ballot() task.Ballot {
	return task.Ballot{Task: c.ID(), Attempt: c.Attempt, View: c.View.Number}
}

// committed adds up the seats of the judges that have committed.
func (c *Case) committed(r roster.Roster) uint32 {
	return r.Spoken(func(id task.NodeID) bool {
		return slices.ContainsFunc(c.View.Pre.Commitments, func(k task.Commitment) bool { return k.Node == id })
	})
}

// Tally counts the judges' revealed seats for the genuine place, and against it. Of
// the first, no more count than the task's policy lets one kind of TEE, and one
// operator, have of a quorum (spec §7.5).
func (c *Case) Tally(reveals []task.Reveal) (ok, other uint32) {
	return tally(c.Roster(), c.Reading(), reveals)
}

// TallyFor counts as the chain will once a pair is opened at a place.
func (c *Case) TallyFor(pair task.Pair, place uint8, reveals []task.Reveal) (ok, other uint32) {
	return tally(c.Roster(), Reading{Pair: pair.Hash(), Opened: true, Place: place}, reveals)
}

func tally(r roster.Roster, x Reading, reveals []task.Reveal) (ok, other uint32) {
	said := map[task.NodeID][Against + 1]bool{}
	for _, v := range reveals {
		words := said[v.Node]
		words[x.Word(v)] = true
		said[v.Node] = words
	}
	word := func(w Word) func(task.NodeID) bool { return func(id task.NodeID) bool { return said[id][w] } }
	return r.Agreed(word(ForGenuine)), r.Spoken(word(Against))
}

// CheckShowing says whether the present executor has signed this pair.
func (c *Case) CheckShowing(s task.Showing) error {
	m := c.Member(c.View.Executor)
	switch {
	case m == nil || s.Ballot != c.Ballot():
		return task.Refuse("ballot-stale", "the evidence is for another view, attempt or task")
	case !sized(s.Evidence[0]) || !sized(s.Evidence[1]):
		return task.Refuse("evidence-malformed", "evidence has 1 to %d bytes", task.MaxEvidence)
	case !s.Signature.Verify(m.Node.Peer, s.Pair().Hash()):
		return task.Refuse("evidence-unsigned", "the executor has not signed this evidence")
	}
	return nil
}

func sized(evidence []byte) bool { return len(evidence) > 0 && len(evidence) <= task.MaxEvidence }

// Pair is the round's as its executor signed it; with zero digests before it is
// known.
func (c *Case) Pair() task.Pair {
	round := &c.View.Pre
	return task.Pair{Ballot: c.Ballot(), Digests: round.Digests, Signature: round.Signature}
}

// Opening is the round's, as the chain has it.
func (c *Case) Opening() task.Opening {
	return task.Opening{Pair: c.Pair(), Proof: c.View.Pre.Proof, Evidence: c.Genuine()}
}

// Shown is the pair with both pieces, if the chain has them.
func (c *Case) Shown() task.Showing {
	return task.Showing{Ballot: c.Ballot(), Evidence: c.View.Pre.Evidence, Signature: c.View.Pre.Signature}
}

// Appraise is the verdict that evidence of the present executor deserves, for
// everyone alike: for its verifiers, for the chain, and for who reads the case
// (spec §7.4).
func (c *Case) Appraise(r task.Round, evidence []byte) attest.Appraisal {
	ev, err := attest.ParseEvidence(evidence)
	if err != nil {
		return attest.Appraisal{Verdict: task.Fault, Reason: attest.EvidenceMalformed, Detail: err.Error()}
	}
	return attest.Appraise(ev, c.Wanted(r), c.Task.Policy, c.Reference())
}

// Nonce is what evidence answers before the run: the nonces of all members.
func (c *Case) Nonce() task.Hash {
	all := make([]task.Hash, len(c.Members))
	for i, m := range c.Members {
		all[i] = attest.Nonce(m.Beta, m.Claim.Node)
	}
	return attest.NonceRoot(all)
}

// Wanted is all that the evidence of the present executor must answer: before
// the run the nonces of all members.
func (c *Case) Wanted(r task.Round) attest.Expected {
	want := c.Expected(r, c.View.Number, c.Member(c.View.Executor).Node)
	if r != task.PostRun {
		want.Nonce = c.Nonce()
	}
	return want
}

var errRevealStale = task.Refuse("reveal-stale", "the reveal is for another view, attempt or task")

// CheckReveal says whether a reveal opens a commitment of the closed set.
func (c *Case) CheckReveal(v task.Reveal) error {
	round := &c.View.Pre
	if v.Ballot.Attempt != c.Attempt || v.Ballot.View != c.View.Number {
		return errRevealStale
	}
	if round.Progress == Collecting {
		return task.Refuse("commits-open", "the commit set is not closed yet")
	}
	i := slices.IndexFunc(round.Commitments, func(k task.Commitment) bool { return k.Node == v.Node })
	if i < 0 || round.Commitments[i].Digest != v.Digest() {
		return task.Refuse("reveal-uncommitted", "node %s did not commit to this verdict before the set closed", v.Node.Short())
	}
	if v.Ballot != c.Ballot() { // last: it hashes the task, of which a stranger may say what he likes
		return errRevealStale
	}
	said := v.Verdict == task.OK && v.Place <= 1 && v.Reason == "" || v.Verdict == task.Fault && v.Place == 0 && len(v.Reason) <= 64
	if !said {
		return task.Refuse("reveal-malformed", "a verdict is OK for one of two places, or FAULT with a short reason")
	}
	return nil
}

// Expected is what the evidence of an executor must be bound to in a view. The
// nonce is the caller's to add before the run; at the exit it is the chain's.
func (c *Case) Expected(r task.Round, view uint32, executor task.Node) attest.Expected {
	e := attest.Expected{
		Context: attest.Context{
			Chain: c.Task.Chain, Task: c.ID(), Attempt: c.Attempt, View: view, Node: executor.ID(), Round: r,
			Function: c.Function.ID(),
		},
		Chip: executor.TEE.Identity, Kind: executor.TEE.Kind, State: attest.EmptyState, Now: c.SeededTime,
		OCI: c.Function.Manifest.Runtime == task.RuntimeOCI, Docker: c.Function.Manifest.Runtime == task.RuntimeDocker,
	}
	if r == task.PostRun {
		e.Nonce = c.View.ExitNonce
		if pre, err := attest.ParseEvidence(c.Genuine()); err == nil {
			e.Keys, e.Boots, e.Runtime = &pre.Keys, pre.Boots(), &pre.Runtime
		}
	}
	return e
}

// CheckResult says whether a result is this view's and signed by the enclave
// that was attested.
func (c *Case) CheckResult(s task.SignedResult) error {
	r := s.Result
	if r.Task != c.ID() || r.Attempt != c.Attempt || r.View != c.View.Number || r.Node != c.View.Executor {
		return task.Refuse("result-stale", "the result is for another view, attempt, task or node")
	}
	pre, err := attest.ParseEvidence(c.Genuine())
	if err != nil {
		return task.Refuse("result-early", "no enclave has been found good in this view yet")
	}
	if r.Evidence != pre.Digest() || !s.Signature.Verify(pre.Keys.Sign, r.Hash()) {
		return task.Refuse("result-forged", "the result is not signed by the attested enclave")
	}
	if !s.Placed.Verify(c.Member(r.Node).Node.Peer, s.PlaceHash()) {
		return task.Refuse("result-unplaced", "the executor has not signed where this result's output is")
	}
	if r.PreState != attest.EmptyState || r.PostState != attest.EmptyState {
		return task.Refuse("result-dirty", "the enclave itself says that its writable space was not empty")
	}
	if err := c.checkBlame(r); err != nil {
		return err
	}
	if n := len(c.Parties()); len(r.Keys) != n || int(r.Party) >= n || r.Party != 0 && r.Outcome != task.WrongKey {
		return task.Refuse("result-malformed", "the result names %d releases and party %d; the task has %d parties", len(r.Keys), r.Party, n)
	}
	if !r.Outcome.Known() || len(s.CID) > 256 || r.Size > task.MaxBlob {
		return task.Refuse("result-malformed", "unknown outcome, or a bad output reference")
	}
	return c.checkShown(s)
}

// checkShown refuses a result that shows more of the run than money needs
// (spec §9.8): the function's code could have written into it what it has read.
func (c *Case) checkShown(s task.SignedResult) error {
	r, m := s.Result, c.Function.Manifest
	if r.Gas != m.Shown(c.Task, r.Outcome, r.Gas) {
		return task.Refuse("result-fine", "%d gas: a run that is %s shows one of %d", r.Gas, r.Outcome, m.GasSteps(m.RunGas(c.Task)))
	}
	if r.Outcome == task.OutOfTime && (r.Output != task.Hash{} || r.Size != 0 || s.CID != "") {
		return task.Refuse("result-fine", "a run that is out of time has no output: it is run again, and each would show something")
	}
	return nil
}

// checkBlame lets an enclave blame a party for a key that opens nothing only
// if it is the key that the party put on the chain: what a host hands to its
// enclave is not the party's word. And only when all parties' keys are there: a blame
// must not outrun the answer of another, whom it would then owe nothing.
func (c *Case) checkBlame(r task.Result) error {
	party, used, blames := r.Blames()
	if !blames {
		return nil
	}
	if missing, waits := c.Unreleased(); waits {
		return task.Refuse("blame-unfounded", "party %d still has time to answer; then its silence counts, and until then nobody's key", missing)
	}
	if !slices.ContainsFunc(c.View.Releases, func(o task.Release) bool { return o.Party == party && o.Hash() == used }) {
		return task.Refuse("blame-unfounded", "the key that opened nothing is not the one that party %d put on the chain", party)
	}
	return nil
}

// Released says whether a party's key for the present view is on the chain.
func (c *Case) Released(party uint8) bool {
	return slices.ContainsFunc(c.View.Releases, func(r task.Release) bool { return r.Party == party })
}

// Unreleased is the first party whose key for the present view is not on the chain
// yet; not ok if all are.
func (c *Case) Unreleased() (party uint8, ok bool) {
	for i, p := range c.Parties() {
		if p.Releases && !c.Released(uint8(i)) {
			return uint8(i), true
		}
	}
	return 0, false
}
