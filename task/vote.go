package task

import (
	"crypto/ed25519"
	"fmt"
)

// Claim says that a node has won seats in one attempt at one task. The proof
// is its own signature: only the holder of the VRF key can make it (spec §5.4).
type Claim struct {
	Task    TaskID `cbor:"1,keyasint" json:"task"`
	Attempt uint32 `cbor:"2,keyasint" json:"attempt"`
	Node    NodeID `cbor:"3,keyasint" json:"node"`
	Proof   Proof  `cbor:"4,keyasint" json:"proof"`
	// Busy is there if the node only verifies, for it has no enclave free: the
	// signature of its Decline for that reason, so that nobody else can say so.
	Busy *Signature `cbor:"5,keyasint,omitempty" json:"busy,omitempty"`
}

// Decline is the decline that a busy claim brings along.
func (c Claim) Decline() (d Decline, brought bool) {
	if c.Busy == nil {
		return d, false
	}
	return Decline{Task: c.Task, Attempt: c.Attempt, Node: c.Node, Lack: Lack{Reason: Busy}, Signature: *c.Busy}, true
}

// DeclineReason is why a member does not execute.
type DeclineReason uint8

// The reasons.
const (
	Busy      DeclineReason = 1 // no enclave is free
	NoFile    DeclineReason = 2 // a file of a party's does not come
	CannotRun DeclineReason = 3 // anything else
	Gone      DeclineReason = 4 // its enclave, which was found good: this one is paid for
	Pledged   DeclineReason = 5 // what it has at stake is, for its other turns: the chain says so, and nobody signs it
)

var declineWords = Words{"", "busy", "no-file", "cannot-run", "gone", "pledged"}

func (r DeclineReason) String() string { return declineWords.Of(uint8(r)) }

// MarshalText is the reason's word.
func (r DeclineReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads one.
func (r *DeclineReason) UnmarshalText(text []byte) error { return ReadWord(declineWords, r, text) }

// Lack is why a member executes nothing: the reason, and whose file it is that does
// not come, by place among the parties, if that is the reason.
type Lack struct {
	Reason DeclineReason `cbor:"4,keyasint" json:"reason"`
	Party  uint8         `cbor:"5,keyasint" json:"party"`
}

func (l Lack) String() string {
	if l.Party == 0 {
		return l.Reason.String()
	}
	return fmt.Sprintf("%s of party %d", l.Reason, l.Party)
}

// Check refuses a reason that no node has, and a party that does not go with it.
func (l Lack) Check() error {
	if l.Reason < Busy || l.Reason > Gone || (l.Reason == NoFile) != (l.Party != 0) {
		return Refuse("decline-malformed", "no such reason, or no party that goes with it")
	}
	return nil
}

// Decline is a member's word that it executes no more in this attempt, signed by
// its peer key. It costs nothing, and the member judges on; but for one that gives up
// a run, whose reason is Gone (spec §6.4).
type Decline struct {
	Task    TaskID `cbor:"1,keyasint" json:"task"`
	Attempt uint32 `cbor:"2,keyasint" json:"attempt"`
	Node    NodeID `cbor:"3,keyasint" json:"node"`
	Lack
	Signature Signature `cbor:"6,keyasint" json:"signature"`
}

// Hash is what the node's peer key signs.
func (d Decline) Hash() Hash {
	d.Signature = Signature{}
	return H(TagDecline, Encode(d))
}

// SignedBy is the decline with the node's signature.
func (d Decline) SignedBy(peer ed25519.PrivateKey) Decline {
	d.Signature = Sign(peer, d.Hash())
	return d
}

// Check says whether it is a decline that the node has signed.
func (d Decline) Check(peer Key) error {
	if !d.Signature.Verify(peer, d.Hash()) {
		return Refuse("decline-malformed", "node %s has not signed it", d.Node.Short())
	}
	return d.Lack.Check()
}

// Vote is one member's word that the executor of the view before is silent: it
// goes on to View (spec §6.6).
type Vote struct {
	Task    TaskID `cbor:"1,keyasint" json:"task"`
	Attempt uint32 `cbor:"2,keyasint" json:"attempt"`
	View    uint32 `cbor:"3,keyasint" json:"view"`
	Node    NodeID `cbor:"4,keyasint" json:"node"`
}

// Hash is what the node's peer key signs.
func (v Vote) Hash() Hash { return H(TagVote, Encode(v)) }

// SignedVote is a vote on the wire.
type SignedVote struct {
	Vote      Vote      `cbor:"1,keyasint" json:"vote"`
	Signature Signature `cbor:"2,keyasint" json:"signature"`
}

// Round tells evidence from before the run from that of the exit.
type Round uint8

// The rounds of evidence. Verifiers judge the first; at the exit the chain looks
// itself (spec §7.5).
const (
	PreRun  Round = 1 // is the enclave what it says it is?
	PostRun Round = 2 // did it leave nothing behind?
)

var roundWords = Words{"", "pre-run", "post-run"}

func (r Round) String() string { return roundWords.Of(uint8(r)) }

// MarshalText is the round's word.
func (r Round) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads one.
func (r *Round) UnmarshalText(text []byte) error { return ReadWord(roundWords, r, text) }

// Verdict is what a verifier says of the evidence.
type Verdict uint8

// The two verdicts. Silence is not one of them.
const (
	OK    Verdict = 1
	Fault Verdict = 2
)

var verdictWords = Words{"", "OK", "FAULT"}

func (v Verdict) String() string { return verdictWords.Of(uint8(v)) }

// MarshalText is the verdict's word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads one.
func (v *Verdict) UnmarshalText(text []byte) error { return ReadWord(verdictWords, v, text) }

// Ballot names the question of one view of one attempt: is the executor's enclave
// good? The chain fixes who is on the committee and who executes, so it names both
// as well.
type Ballot struct {
	Task    TaskID `cbor:"1,keyasint" json:"task"`
	Attempt uint32 `cbor:"2,keyasint" json:"attempt"`
	View    uint32 `cbor:"3,keyasint" json:"view"`
}

// PairInput is what the executor's registered VRF is evaluated on: the output
// says in which of two places its genuine evidence is, and what is wrong with
// the other piece (spec §7.6).
func (b Ballot) PairInput() []byte {
	h := H(TagPair, Encode(b))
	return h[:]
}

// PairPlace is where the genuine evidence is, by the VRF's output.
func PairPlace(beta [64]byte) uint8 {
	return beta[0] & 1
}

// Commitment binds a verifier to a verdict that nobody can read yet
// (spec §7.5). Signed by the peer key.
type Commitment struct {
	Ballot    Ballot    `cbor:"1,keyasint" json:"ballot"`
	Node      NodeID    `cbor:"2,keyasint" json:"node"`
	Digest    Hash      `cbor:"3,keyasint" json:"digest"`
	Signature Signature `cbor:"4,keyasint" json:"signature"`
}

// Hash is what the node's peer key signs.
func (c Commitment) Hash() Hash {
	return H(TagVote, Encode(c.Ballot), c.Node[:], c.Digest[:])
}

// Reveal opens a commitment. It needs no signature: only the committer knew
// the salt. OK names the place of the pair whose evidence is good; FAULT says that
// neither is.
type Reveal struct {
	Ballot  Ballot  `cbor:"1,keyasint" json:"ballot"`
	Node    NodeID  `cbor:"2,keyasint" json:"node"`
	Verdict Verdict `cbor:"3,keyasint" json:"verdict"`
	Reason  string  `cbor:"4,keyasint" json:"reason"` // code of the appraisal, empty for OK
	Pair    Hash    `cbor:"5,keyasint" json:"pair"`   // what the executor has signed of the two
	Place   uint8   `cbor:"6,keyasint" json:"place"`  // 0 or 1; 0 for FAULT
	Salt    Hash    `cbor:"7,keyasint" json:"salt"`
}

// Digest is the commitment that this reveal opens (spec §7.5).
func (r Reveal) Digest() Hash { return H(TagCommitment, Encode(r)) }

// Pair names two pieces of evidence, one genuine and one a decoy, under their
// executor's signature: nobody else can show evidence in its name, and it cannot
// deny what it has shown (spec §7.6).
type Pair struct {
	Ballot    Ballot    `cbor:"1,keyasint" json:"ballot"`
	Digests   [2]Hash   `cbor:"2,keyasint" json:"digests"`   // of the evidence in each place
	Signature Signature `cbor:"3,keyasint" json:"signature"` // by the executor's peer key
}

// Hash is what the executor's peer key signs, and what names the pair.
func (p Pair) Hash() Hash {
	return H(TagShowing, Encode(p.Ballot), p.Digests[0][:], p.Digests[1][:])
}

// Showing is a pair with both pieces, as verifiers get it.
type Showing struct {
	Ballot    Ballot    `cbor:"1,keyasint" json:"ballot"`
	Evidence  [2][]byte `cbor:"2,keyasint" json:"evidence"`
	Signature Signature `cbor:"3,keyasint" json:"signature"` // by the executor's peer key
}

// Pair names the two.
func (s Showing) Pair() Pair {
	return Pair{Ballot: s.Ballot, Digests: [2]Hash{H(TagEvidence, s.Evidence[0]), H(TagEvidence, s.Evidence[1])}, Signature: s.Signature}
}

// Opening shows which of a pair is the genuine one: the proof of the executor's
// VRF names its place (spec §7.6).
type Opening struct {
	Pair     Pair   `cbor:"1,keyasint" json:"pair"`
	Proof    Proof  `cbor:"2,keyasint" json:"proof"`
	Evidence []byte `cbor:"3,keyasint" json:"evidence"` // the genuine one
}

// Exit is how an enclave ended, under its executor's signature.
type Exit struct {
	Ballot    Ballot    `cbor:"1,keyasint" json:"ballot"`
	Evidence  []byte    `cbor:"2,keyasint" json:"evidence"`
	Signature Signature `cbor:"3,keyasint" json:"signature"` // by the executor's peer key
}

// Hash is what the executor's peer key signs. It is none of a pair's: that one
// has two digests.
func (e Exit) Hash() Hash {
	digest := H(TagEvidence, e.Evidence)
	return H(TagShowing, Encode(e.Ballot), digest[:])
}

// Outcome is how a run ended, as the enclave signs it: no more than who must
// know it for the money. What it was that failed stands in Alice's result.
type Outcome uint8

// The ways in which a run ends (spec §9.3, §10.2).
const (
	RunOK     Outcome = 1
	RunFailed Outcome = 2 // the function, at its own fault or at a limit of gas, memory or output
	OutOfTime Outcome = 3 // at the wall limit: the machine's affair, and so the executor's
	WrongKey  Outcome = 4 // what a party has released opens nothing that can be used, or names nobody for the result
)

var outcomeWords = Words{"", "ok", "failed", "out-of-time", "wrong-key"}

func (o Outcome) String() string { return outcomeWords.Of(uint8(o)) }

// MarshalText is the outcome's word.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads one.
func (o *Outcome) UnmarshalText(text []byte) error { return ReadWord(outcomeWords, o, text) }

// Paid says whether the executor of a run that ended so is paid by its gas.
func (o Outcome) Paid() bool { return o == RunOK || o == RunFailed }

// Known says whether the outcome is one of those above.
func (o Outcome) Known() bool { return o >= RunOK && o <= WrongKey }

// Result is what the enclave says of the run (spec §9.5).
type Result struct {
	Task      TaskID  `cbor:"1,keyasint" json:"task"`
	Attempt   uint32  `cbor:"2,keyasint" json:"attempt"`
	View      uint32  `cbor:"3,keyasint" json:"view"`
	Node      NodeID  `cbor:"4,keyasint" json:"node"`
	Outcome   Outcome `cbor:"5,keyasint" json:"outcome"`
	Output    Hash    `cbor:"6,keyasint" json:"output"`     // SHA-256 of the age file for Alice: the outputs, the log, what the run was like
	Gas       uint64  `cbor:"7,keyasint" json:"gas,string"` // rounded up (spec §9.8); 0 if it is not paid for
	PreState  Hash    `cbor:"8,keyasint" json:"pre_state"`
	PostState Hash    `cbor:"9,keyasint" json:"post_state"`
	Evidence  Hash    `cbor:"10,keyasint" json:"evidence"`    // the pre-run evidence that names the signing key
	Size      uint64  `cbor:"11,keyasint" json:"size,string"` // of the age file, in bytes
	Keys      []Hash  `cbor:"12,keyasint" json:"keys"`        // the releases that the enclave opened, by party; zero of who releases none
	Party     uint8   `cbor:"13,keyasint" json:"party"`       // whose key is wrong; else 0
}

// Hash is what the enclave key signs.
func (r Result) Hash() Hash { return H(TagResult, Encode(r)) }

// Blames is the party at whose fault the run came to nothing, and the release of that
// party's that opened nothing; not ok if it blames nobody for a key.
func (r Result) Blames() (party uint8, used Hash, ok bool) {
	if r.Outcome != WrongKey || int(r.Party) >= len(r.Keys) {
		return 0, Hash{}, false
	}
	return r.Party, r.Keys[r.Party], true
}

// SignedResult is a Result with the enclave's signature, and where the output
// can be had: the CID is the executor's word under its peer key, the content is
// checked against the digest that the enclave signed.
type SignedResult struct {
	Result    Result    `cbor:"1,keyasint" json:"result"`
	Signature Signature `cbor:"2,keyasint" json:"signature"`
	CID       string    `cbor:"3,keyasint" json:"cid"`
	Placed    Signature `cbor:"4,keyasint" json:"placed"`
}

// PlacedBy is the result with the executor's word for the CID.
func (s SignedResult) PlacedBy(peer ed25519.PrivateKey) SignedResult {
	s.Placed = Sign(peer, s.PlaceHash())
	return s
}

// PlaceHash is what the executor's peer key signs.
func (s SignedResult) PlaceHash() Hash {
	h := s.Result.Hash()
	return H(TagPlace, h[:], []byte(s.CID))
}

// Call asks the parties of a task, before the chain, for the keys that they do not
// give directly: from then on their silence is seen (spec §8.4).
type Call struct {
	Ballot Ballot `cbor:"1,keyasint" json:"ballot"`
	Seal   []byte `cbor:"2,keyasint" json:"seal"` // the enclave's HPKE public key, which its evidence names
}

// Release is a blob key sealed to an attested enclave (spec §8.2). Ciphertext:
// it may lie on the chain.
type Release struct {
	Task     TaskID `cbor:"1,keyasint" json:"task"`
	Attempt  uint32 `cbor:"2,keyasint" json:"attempt"`
	View     uint32 `cbor:"3,keyasint" json:"view"`
	Party    uint8  `cbor:"4,keyasint" json:"party"`
	Evidence Hash   `cbor:"5,keyasint" json:"evidence"`
	Sealed   []byte `cbor:"6,keyasint" json:"sealed"`
}

// Hash names the release.
func (r Release) Hash() Hash { return H(TagRelease, Encode(r)) }

// AAD binds the sealed key to what it was released for (spec §8.2).
func (r Release) AAD() []byte {
	h := H(TagSeal, r.Task[:], U64(uint64(r.Attempt)), U64(uint64(r.View)), []byte{r.Party}, r.Evidence[:])
	return h[:]
}
