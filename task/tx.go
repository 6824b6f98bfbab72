package task

import (
	"crypto/ed25519"
	"slices"
)

// Body is what a transaction does: exactly one field is set.
type Body struct {
	Transfer    *Transfer     `cbor:"1,keyasint,omitempty" json:"transfer,omitempty"`
	Register    *Register     `cbor:"2,keyasint,omitempty" json:"register,omitempty"`
	Bond        *Bond         `cbor:"3,keyasint,omitempty" json:"bond,omitempty"`
	Unbond      *Bond         `cbor:"4,keyasint,omitempty" json:"unbond,omitempty"`
	Publish     *Publish      `cbor:"5,keyasint,omitempty" json:"publish,omitempty"`
	Post        *Task         `cbor:"6,keyasint,omitempty" json:"post,omitempty"`
	Claims      *Claims       `cbor:"7,keyasint,omitempty" json:"claims,omitempty"`
	Commitments *Commitments  `cbor:"8,keyasint,omitempty" json:"commitments,omitempty"`
	Verdicts    *Verdicts     `cbor:"9,keyasint,omitempty" json:"verdicts,omitempty"`
	Skip        *Skip         `cbor:"10,keyasint,omitempty" json:"skip,omitempty"`
	Release     *Release      `cbor:"11,keyasint,omitempty" json:"release,omitempty"`
	Result      *SignedResult `cbor:"12,keyasint,omitempty" json:"result,omitempty"`
	Show        *Showing      `cbor:"13,keyasint,omitempty" json:"show,omitempty"`
	Exit        *Exit         `cbor:"14,keyasint,omitempty" json:"exit,omitempty"`
	Accuse      *Accusation   `cbor:"15,keyasint,omitempty" json:"accuse,omitempty"`
	Withdraw    *Withdraw     `cbor:"16,keyasint,omitempty" json:"withdraw,omitempty"`
	Decline     *Decline      `cbor:"17,keyasint,omitempty" json:"decline,omitempty"`
	Call        *Call         `cbor:"18,keyasint,omitempty" json:"call,omitempty"`
	Govern      *Govern       `cbor:"21,keyasint,omitempty" json:"govern,omitempty"`
}

// Kind is the name of what the body does, empty unless exactly one thing.
func (b Body) Kind() string {
	kind, n := "", 0
	for name, set := range map[string]bool{
		"transfer": b.Transfer != nil, "register": b.Register != nil, "bond": b.Bond != nil,
		"unbond": b.Unbond != nil, "publish": b.Publish != nil, "post": b.Post != nil,
		"claims": b.Claims != nil, "commitments": b.Commitments != nil, "verdicts": b.Verdicts != nil,
		"skip": b.Skip != nil, "release": b.Release != nil, "result": b.Result != nil,
		"show": b.Show != nil, "exit": b.Exit != nil, "accuse": b.Accuse != nil,
		"withdraw": b.Withdraw != nil, "call": b.Call != nil, "decline": b.Decline != nil, "govern": b.Govern != nil,
	} {
		if set {
			kind, n = name, n+1
		}
	}
	if n != 1 {
		return ""
	}
	return kind
}

// Transfer moves money between accounts.
type Transfer struct {
	To     Address `cbor:"1,keyasint" json:"to"`
	Amount Amount  `cbor:"2,keyasint" json:"amount"`
}

// Register enters a worker, or updates its address and capabilities, and adds
// to its bond (spec §3.1).
type Register struct {
	Node Node   `cbor:"1,keyasint" json:"node"`
	Bond Amount `cbor:"2,keyasint" json:"bond"`
	// Possession holds the peer key's signature over the registration's hash:
	// nobody registers another's identity.
	Possession Signature `cbor:"3,keyasint" json:"possession"`
	// Quote is the TEE's, in its kind's form, over the same: nobody registers
	// another's machine, and the chain knows what it is. A known node may leave it
	// out where only its address or its runtimes are new.
	Quote []byte `cbor:"4,keyasint,omitempty" json:"quote,omitempty"`
	// Beacon is the height of the beacon that the hash is over, a late one: what
	// was quoted long ago, by who had the machine then, registers nothing.
	Beacon uint64 `cbor:"5,keyasint" json:"beacon,string"`
}

// RegistrationHash is what the peer key signs, and the TEE quotes, to be registered.
func RegistrationHash(chain string, n Node, beacon Hash) Hash {
	return H(TagRegistration, []byte(chain), Encode(n), beacon[:])
}

// Bond adds to a node's bond, or begins to take from it.
type Bond struct {
	Node   NodeID `cbor:"1,keyasint" json:"node"`
	Amount Amount `cbor:"2,keyasint" json:"amount"`
}

// Withdraw takes back what is free of a function's bond (spec §3.5).
type Withdraw struct {
	Function FunctionID `cbor:"1,keyasint" json:"function"`
	Amount   Amount     `cbor:"2,keyasint" json:"amount"`
}

// Publish registers a function, or adds to the bond of one.
type Publish struct {
	Function Function `cbor:"1,keyasint" json:"function"`
	Bond     Amount   `cbor:"2,keyasint" json:"bond"`
}

// Govern changes the chain's reference values on the word of its validators; who
// brings it does not matter (spec §7.9).
type Govern struct {
	Number uint64     `cbor:"1,keyasint" json:"number,string"` // one more than the last change's
	Change []byte     `cbor:"2,keyasint" json:"change"`        // canonical CBOR, as it was signed
	Signed []Approval `cbor:"3,keyasint" json:"signed"`        // by ascending keys
}

// Approval is a validator's signature over a change.
type Approval struct {
	Validator Key       `cbor:"1,keyasint" json:"validator"` // its consensus key
	Signature Signature `cbor:"2,keyasint" json:"signature"`
}

// Hash is what validators sign: this change alone, on this chain alone, after the
// one before it.
func (g Govern) Hash(chain string) Hash {
	return H(TagReference, []byte(chain), U64(g.Number), g.Change)
}

// Claims brings any number of claims for one attempt (spec §6.3).
type Claims struct {
	Task    TaskID `cbor:"1,keyasint" json:"task"`
	Attempt uint32 `cbor:"2,keyasint" json:"attempt"`
	Won     []Won  `cbor:"3,keyasint" json:"won"`
}

// Won is a claim without what all claims of an attempt have in common.
type Won struct {
	Node  NodeID     `cbor:"1,keyasint" json:"node"`
	Proof Proof      `cbor:"2,keyasint" json:"proof"`
	Busy  *Signature `cbor:"3,keyasint,omitempty" json:"busy,omitempty"`
}

// PackClaims puts claims for the attempt of the first of them together.
func PackClaims(set []Claim) *Claims {
	c := &Claims{}
	for _, k := range set {
		c.Task, c.Attempt = set[0].Task, set[0].Attempt
		c.Won = append(c.Won, Won{Node: k.Node, Proof: k.Proof, Busy: k.Busy})
	}
	return c
}

// All are the claims.
func (c Claims) All() []Claim {
	var all []Claim
	for _, w := range c.Won {
		all = append(all, Claim{Task: c.Task, Attempt: c.Attempt, Node: w.Node, Proof: w.Proof, Busy: w.Busy})
	}
	return all
}

// Commitments brings the commitments of any number of verifiers to one ballot.
type Commitments struct {
	Ballot Ballot      `cbor:"1,keyasint" json:"ballot"`
	Words  []Committed `cbor:"2,keyasint" json:"words"`
}

// Committed is a commitment without the ballot.
type Committed struct {
	Node      NodeID    `cbor:"1,keyasint" json:"node"`
	Digest    Hash      `cbor:"2,keyasint" json:"digest"`
	Signature Signature `cbor:"3,keyasint" json:"signature"`
}

// PackCommitments puts commitments to the ballot of the first of them together.
func PackCommitments(set []Commitment) *Commitments {
	c := &Commitments{}
	for _, k := range set {
		c.Ballot = set[0].Ballot
		c.Words = append(c.Words, Committed{k.Node, k.Digest, k.Signature})
	}
	return c
}

// txFrame is what a transaction has at the most beside the words that it brings: who
// sends it, for which chain, the ballot and a pair.
const txFrame = 512

// The most bytes of one word in a transaction.
const (
	mostCommitted = 144
	mostRevealed  = 192
)

// SplitCommitments puts commitments to one ballot together in as many transactions as
// it takes: one holds so many bytes, and a committee may have more to say.
func SplitCommitments(set []Commitment) []Body {
	var all []Body
	for part := range slices.Chunk(set, (MaxTx-txFrame)/mostCommitted) {
		all = append(all, Body{Commitments: PackCommitments(part)})
	}
	return all
}

// All are the commitments.
func (c Commitments) All() []Commitment {
	var all []Commitment
	for _, w := range c.Words {
		all = append(all, Commitment{Ballot: c.Ballot, Node: w.Node, Digest: w.Digest, Signature: w.Signature})
	}
	return all
}

// Verdicts opens the commitments of a closed set. With the executor's own comes
// the opening of its pair.
type Verdicts struct {
	Ballot  Ballot     `cbor:"1,keyasint" json:"ballot"`
	Pair    Hash       `cbor:"2,keyasint" json:"pair"` // that they are about
	Words   []Revealed `cbor:"3,keyasint" json:"words"`
	Opening *Opening   `cbor:"4,keyasint,omitempty" json:"opening,omitempty"`
}

// Revealed is a reveal without the ballot and the pair.
type Revealed struct {
	Node    NodeID  `cbor:"1,keyasint" json:"node"`
	Verdict Verdict `cbor:"2,keyasint" json:"verdict"`
	Reason  string  `cbor:"3,keyasint,omitempty" json:"reason,omitempty"`
	Place   uint8   `cbor:"4,keyasint" json:"place"`
	Salt    Hash    `cbor:"5,keyasint" json:"salt"`
	Pair    Hash    `cbor:"6,keyasint,omitzero" json:"pair,omitzero"` // if it is about another
}

// PackVerdicts puts reveals about one ballot together.
func PackVerdicts(b Ballot, set []Reveal, o *Opening) *Verdicts {
	t := &Verdicts{Ballot: b, Opening: o}
	for i, v := range set {
		w := Revealed{Node: v.Node, Verdict: v.Verdict, Reason: v.Reason, Place: v.Place, Salt: v.Salt}
		if i == 0 {
			t.Pair = v.Pair
		}
		if v.Pair != t.Pair {
			w.Pair = v.Pair
		}
		t.Words = append(t.Words, w)
	}
	return t
}

// SplitVerdicts puts reveals about one ballot together in as many transactions as it
// takes. The opening of the pair, if there is one, is in the first: without it the
// words are about nothing that the chain knows.
func SplitVerdicts(b Ballot, set []Reveal, o *Opening) []Body {
	if o == nil && len(set) == 0 {
		return nil
	}
	room := MaxTx - txFrame
	if o != nil {
		room -= len(Encode(o))
	}
	first := min(len(set), room/mostRevealed)
	all := []Body{{Verdicts: PackVerdicts(b, set[:first], o)}}
	for part := range slices.Chunk(set[first:], (MaxTx-txFrame)/mostRevealed) {
		all = append(all, Body{Verdicts: PackVerdicts(b, part, nil)})
	}
	return all
}

// All are the reveals.
func (t Verdicts) All() []Reveal {
	var all []Reveal
	for _, w := range t.Words {
		v := Reveal{Ballot: t.Ballot, Node: w.Node, Verdict: w.Verdict, Reason: w.Reason, Pair: t.Pair, Place: w.Place, Salt: w.Salt}
		if !w.Pair.IsZero() {
			v.Pair = w.Pair
		}
		all = append(all, v)
	}
	return all
}

// Accusation brings proof of a lie to the chain, which judges it there and
// then (spec §10.5). Exactly one kind of proof is set.
type Accusation struct {
	Ballot      Ballot        `cbor:"1,keyasint" json:"ballot"` // what it is about
	Accused     NodeID        `cbor:"2,keyasint" json:"accused"`
	Commitments []Commitment  `cbor:"3,keyasint,omitempty" json:"commitments,omitempty"` // two that exclude each other
	Pairs       []Pair        `cbor:"4,keyasint,omitempty" json:"pairs,omitempty"`       // two of one ballot
	Shown       *Showing      `cbor:"5,keyasint,omitempty" json:"shown,omitempty"`       // a pair of which not exactly the one is good that must be
	Result      *SignedResult `cbor:"6,keyasint,omitempty" json:"result,omitempty"`      // another than the chain has, of the same enclave
	// Look asks the chain to appraise the evidence that it has: its verifiers all
	// let it pass.
	Look bool `cbor:"7,keyasint,omitempty" json:"look,omitempty"`
}

// Skip passes over a silent executor: n−f seats have gone on to View.
type Skip struct {
	Task    TaskID       `cbor:"1,keyasint" json:"task"`
	Attempt uint32       `cbor:"2,keyasint" json:"attempt"`
	View    uint32       `cbor:"3,keyasint" json:"view"`
	Votes   []SignedVote `cbor:"4,keyasint" json:"votes"`
}

// Tx is a transaction as it travels: not to be believed before Verify.
type Tx struct {
	Chain     string    `cbor:"1,keyasint" json:"chain"`
	From      Address   `cbor:"2,keyasint,omitzero" json:"from,omitzero"` // nobody, if it is free
	Nonce     uint64    `cbor:"3,keyasint" json:"nonce,string"`
	Salt      uint64    `cbor:"4,keyasint" json:"salt,string"` // anything: two equal wishes make two transactions
	Body      Body      `cbor:"5,keyasint" json:"body"`
	Signature Signature `cbor:"6,keyasint,omitzero" json:"signature,omitzero"`
}

// FreeClaims is the transaction of nobody's that brings claims, as it travels. They
// prove their makers themselves, and only who has won seats can make one; so it needs
// no sender, and costs no fee (spec §6.3.1).
func FreeClaims(chain string, c *Claims) []byte {
	return Encode(Tx{Chain: chain, Body: Body{Claims: c}})
}

// Free says whether it is nobody's.
func (t Tx) Free() bool { return t.From == Address{} }

func (t Tx) hash() Hash {
	t.Signature = Signature{1} // any: its place is what counts
	return hashOf(Encode(t))
}

// hashOf is the hash of a transaction that is encoded already: its signature is what
// the encoding ends with.
func hashOf(raw []byte) Hash {
	unsigned := slices.Clone(raw)
	clear(unsigned[len(raw)-len(Signature{}):])
	return H(TagTransaction, unsigned)
}

// VerifiedTx is a transaction whose form and signature hold. Only VerifyTx
// makes one, so the ledger cannot be reached by anything else.
type VerifiedTx struct {
	size int
	tx   Tx
	id   TxID
}

// Tx is the transaction.
func (v VerifiedTx) Tx() Tx { return v.tx }

// ID names the transaction by its canonical bytes.
func (v VerifiedTx) ID() TxID { return v.id }

// Size is that of its encoding, in bytes.
func (v VerifiedTx) Size() int { return v.size }

// SignTx makes a transaction the key's, by sender and signature, and returns the
// wire bytes.
func SignTx(key ed25519.PrivateKey, t Tx) []byte {
	t.From = PublicKey(key)
	t.Signature = Sign(key, t.hash())
	return Encode(t)
}

// VerifyTx decodes a transaction of the given chain and checks its form and
// signature; whether it may be applied is the ledger's question.
func VerifyTx(raw []byte, chain string) (VerifiedTx, error) {
	t, err := Decode[Tx](raw, MaxTx)
	if err != nil {
		return VerifiedTx{}, Refuse("tx-malformed", "the transaction cannot be read: %v", err)
	}
	if t.Chain != chain {
		return VerifiedTx{}, Refuse("tx-wrong-chain", "the transaction is for chain %q, this is %q", t.Chain, chain)
	}
	if t.Body.Kind() == "" {
		return VerifiedTx{}, Refuse("tx-malformed", "the transaction must do exactly one thing")
	}
	free := t.Nonce == 0 && t.Salt == 0 && t.Signature == Signature{} && t.Body.Claims != nil
	if t.Free() && !free {
		return VerifiedTx{}, Refuse("tx-malformed", "only claims need no sender, and then they have neither nonce nor signature")
	}
	if !t.Free() && (t.Signature == Signature{} || !t.Signature.Verify(t.From, hashOf(raw))) {
		return VerifiedTx{}, Refuse("tx-bad-signature", "the signature of %s does not hold", t.From.Short())
	}
	return VerifiedTx{tx: t, id: TxID(H(TagTransaction, raw)), size: len(raw)}, nil
}
