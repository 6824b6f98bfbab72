// Package proof checks, offline and with no trust in whoever delivers it, that
// a key had a value in the state of a chain (spec chapter 11).
//
// The state is a Merkle tree. The root of the state after block h is the
// AppHash in the header of block h+1, or of any later one as long as the state
// does not move, and a header counts if more than two thirds of the validators'
// power has signed it. So a [Proof] is a path: value, tree, root, header,
// commit, validator set; and the one thing that must be known before is a
// [Trust]: the chain's id, the hash of its validator set, and the key of its beacons,
// which is for what the state says of them and not needed here. [Check] walks the
// path and accepts one encoding of it, so that no byte of it can be changed.
//
// What is not checked: time. A trusted validator set is trusted for good, so
// whoever holds more than two thirds of its keys, even years later, can prove
// anything. Pin the set of a chain that still lives, or the header itself.
//
// The package imports CometBFT's types and ics23, but no node, network or store.
package proof

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	ics23 "github.com/cosmos/ics23/go"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

// MaxSize bounds an encoded proof, in bytes: 10,000 validators fit.
const MaxSize = 4 << 20

// maxState bounds the path through the tree, in bytes.
const maxState = 64 << 10

// ErrInvalid is in the chain of every error that says that a proof does not hold.
var ErrInvalid = errors.New("proof does not hold")

// Trust is what a verifier must know before: the root of all its trust.
type Trust struct {
	Chain      string     `cbor:"1,keyasint" json:"chain"`
	Validators task.Hash  `cbor:"2,keyasint" json:"validators"` // hash of the validator set, as in headers
	Beacon     beacon.Key `cbor:"3,keyasint" json:"beacon"`     // the group's key, under which beacons are checked
}

// Validator is one member of a validator set.
type Validator struct {
	Key   task.Key `cbor:"1,keyasint" json:"key"`          // Ed25519
	Power uint64   `cbor:"2,keyasint" json:"power,string"` // at least 1; all powers together under 2^60
}

// Proof leads from a state to a header that the validators have signed.
type Proof struct {
	State      []byte      `cbor:"1,keyasint" json:"state"`  // ics23.CommitmentProof, protobuf
	Header     []byte      `cbor:"2,keyasint" json:"header"` // CometBFT's SignedHeader, protobuf
	Validators []Validator `cbor:"3,keyasint" json:"validators"`
}

// Parse reads a proof from an untrusted file or peer. A parsed proof is not a
// checked one.
func Parse(raw []byte) (Proof, error) { return task.Decode[Proof](raw, MaxSize) }

// Height is that of the proof's header, as it claims; 0 if it cannot be read.
func (p Proof) Height() uint64 {
	h, err := parseHeader(p.Header)
	if err != nil {
		return 0
	}
	return uint64(h.Height)
}

// Check says whether the key has the value in a state of the trusted chain.
// Every error wraps ErrInvalid and names the step that failed.
func Check(p Proof, trusted Trust, key, value []byte) error {
	header, err := parseHeader(p.Header)
	if err != nil {
		return invalid("header", err)
	}
	set, err := Set(p.Validators)
	if err != nil {
		return invalid("validators", err)
	}
	switch hash := set.Hash(); {
	case header.ChainID != trusted.Chain:
		return invalid("header", fmt.Errorf("it is of chain %q, the trusted one is %q", header.ChainID, trusted.Chain))
	case !bytes.Equal(hash, trusted.Validators[:]):
		return invalid("validators", fmt.Errorf("the set's hash is %x, the trusted one is %s", hash, trusted.Validators))
	case !bytes.Equal(hash, header.ValidatorsHash):
		return invalid("header", fmt.Errorf("it names the validators %x, not %x", header.ValidatorsHash, hash))
	}
	if err := checkCommit(header, set); err != nil {
		return invalid("commit", err)
	}
	return CheckState(header.AppHash, key, value, p.State)
}

// CheckState says whether the key has the value in the state with this app
// hash: the last step of Check by itself. Errors are as of Check.
func CheckState(appHash, key, value, state []byte) error {
	p, err := parseState(state)
	if err != nil {
		return invalid("state", err)
	}
	if len(appHash) == 0 || !ics23.VerifyMembership(ics23.IavlSpec, appHash, p, key, value) {
		return invalid("state", fmt.Errorf("key %q does not have this value under app hash %x", key, appHash))
	}
	return nil
}

// Root is the app hash that a state proof leads to. It proves nothing; it says
// which header to look for.
func Root(state []byte) ([]byte, error) {
	p, err := parseState(state)
	if err != nil {
		return nil, invalid("state", err)
	}
	return p.Calculate()
}

// checkCommit wants more than two thirds of the power, and no signature that
// does not hold. CometBFT looks validators up by position and lets their
// addresses pass unread, so these are compared here.
func checkCommit(h *types.SignedHeader, set *types.ValidatorSet) error {
	if len(h.Commit.Signatures) != set.Size() {
		return fmt.Errorf("%d signatures of %d validators", len(h.Commit.Signatures), set.Size())
	}
	for i, s := range h.Commit.Signatures {
		absent := s.BlockIDFlag == types.BlockIDFlagAbsent
		if !absent && !bytes.Equal(s.ValidatorAddress, set.Validators[i].Address) {
			return fmt.Errorf("signature %d is not validator %d's", i, i)
		}
	}
	return types.VerifyCommit(h.ChainID, set, h.Commit.BlockID, h.Height, h.Commit)
}

// Set makes CometBFT's validator set. Two validators with one key, none at all
// and powers out of range are errors.
func Set(list []Validator) (*types.ValidatorSet, error) {
	var all []*types.Validator
	var total uint64
	seen := map[task.Key]bool{}
	for _, v := range list {
		if v.Power == 0 || v.Power >= 1<<60 || total+v.Power >= 1<<60 || seen[v.Key] {
			return nil, fmt.Errorf("validator %s: listed twice, or its power is out of range", v.Key.Short())
		}
		total += v.Power
		seen[v.Key] = true
		all = append(all, types.NewValidator(ed25519.PubKey(v.Key[:]), int64(v.Power)))
	}
	if len(all) == 0 {
		return nil, errors.New("no validator")
	}
	return types.NewValidatorSet(all), nil
}

// List is the set as it stands in a proof.
func List(set []*types.Validator) ([]Validator, error) {
	list := make([]Validator, 0, len(set))
	for _, v := range set {
		if v.PubKey.Type() != ed25519.KeyType {
			return nil, fmt.Errorf("validator %s has a key of type %s", v.Address, v.PubKey.Type())
		}
		list = append(list, Validator{Key: task.Key(v.PubKey.Bytes()), Power: uint64(v.VotingPower)})
	}
	return list, nil
}

// NewTrust is the trust in a chain whose validators and beacon are these.
func NewTrust(chain string, validators []Validator, key beacon.Key) (Trust, error) {
	set, err := Set(validators)
	if err != nil {
		return Trust{}, err
	}
	return Trust{Chain: chain, Validators: task.Hash(set.Hash()), Beacon: key}, nil
}

// Header is the wire form of a signed header in a proof.
func Header(h types.SignedHeader) ([]byte, error) { return h.ToProto().Marshal() }

// parseHeader reads a signed header that is whole, consistent in itself and
// encoded in the one canonical way.
func parseHeader(raw []byte) (*types.SignedHeader, error) {
	if len(raw) > MaxSize {
		return nil, task.ErrTooLarge
	}
	var pb cmtproto.SignedHeader
	if err := pb.Unmarshal(raw); err != nil {
		return nil, err
	}
	h, err := types.SignedHeaderFromProto(&pb)
	if err != nil {
		return nil, err
	}
	if h.Header == nil || h.Commit == nil {
		return nil, errors.New("header or commit is missing")
	}
	if again, err := Header(*h); err != nil || !bytes.Equal(again, raw) {
		return nil, task.ErrNotCanonical
	}
	return h, h.ValidateBasic(h.ChainID)
}

func parseState(raw []byte) (*ics23.CommitmentProof, error) {
	if len(raw) > maxState {
		return nil, task.ErrTooLarge
	}
	p := new(ics23.CommitmentProof)
	if err := p.Unmarshal(raw); err != nil {
		return nil, err
	}
	if again, err := p.Marshal(); err != nil || !bytes.Equal(again, raw) {
		return nil, task.ErrNotCanonical
	}
	if p.GetExist() == nil {
		return nil, errors.New("not a proof of existence")
	}
	return p, nil
}

func invalid(step string, err error) error {
	return fmt.Errorf("%s: %w: %w", step, ErrInvalid, err)
}
