package receipt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/crypto/tmhash"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/proto/tendermint/version"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/iavl"
	iavldb "github.com/cosmos/iavl/db"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

// A receipt with a proof as the chain gives it: the ledger's state in a Merkle
// tree, its root in a header, the header signed by a validator.
func TestWithTheChainsProof(t *testing.T) {
	w := completed(t)
	validator := ed25519.GenPrivKeyFromSecret([]byte("validator"))
	list := []proof.Validator{{Key: task.Key(validator.PubKey().Bytes()), Power: 10}}
	trust, err := proof.NewTrust(chainID, list, groupSecret.Public())
	if err != nil {
		t.Fatal(err)
	}
	root, path := w.merkle(ledger.CaseKey(w.id))
	p := proof.Proof{State: path, Header: signed(t, validator, list, root), Validators: list}
	r := receipt.New(w.c(), task.Encode(p))

	trusting := func(trust proof.Trust) receipt.Trust {
		return receipt.Trust{Beacon: trust.Beacon.Verify, State: func(raw, key, value []byte) error {
			p, err := proof.Parse(raw)
			if err != nil {
				return err
			}
			return proof.Check(p, trust, key, value)
		}}
	}
	parsed, err := receipt.Parse(r.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if rep := receipt.Verify(parsed, trusting(trust)); !rep.Holds() {
		t.Fatal(rep.Text())
	}
	other := proof.Trust{Chain: chainID, Validators: task.Hash{1}, Beacon: trust.Beacon}
	if rep := receipt.Verify(parsed, trusting(other)); rep.Holds() || letters(rep)[1:] != "oooooooooooooo" {
		t.Errorf("other validators: %s", rep.Text())
	}
	other = trust
	other.Beacon = beacon.NewSecret([32]byte{9}).Public()
	if rep := receipt.Verify(parsed, trusting(other)); rep.Holds() || !strings.HasPrefix(words(rep, "seed"), "failed") || strings.Count(letters(rep), "F") != 1 {
		t.Errorf("another group's key: %s", rep.Text())
	}
	parsed.Case.History[0].Amount++
	if rep := receipt.Verify(parsed, trusting(trust)); rep.Holds() {
		t.Errorf("another history: %s", rep.Text())
	}
}

// merkle puts the authenticated state into a tree.
func (w *world) merkle(key []byte) (root, path []byte) {
	tree := iavl.NewMutableTree(iavldb.NewMemDB(), 100, true, iavl.NewNopLogger())
	w.store.Ascend(nil, func(k, v []byte) bool {
		if ledger.Authenticated(k) {
			if _, err := tree.Set(k, v); err != nil {
				w.t.Fatal(err)
			}
		}
		return true
	})
	root, version, err := tree.SaveVersion()
	if err != nil {
		w.t.Fatal(err)
	}
	at, err := tree.GetImmutable(version)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := at.GetMembershipProof(key)
	if err != nil {
		w.t.Fatal(err)
	}
	if path, err = p.Marshal(); err != nil {
		w.t.Fatal(err)
	}
	return root, path
}

// signed is a header with this app hash, signed by its one validator.
func signed(t *testing.T, validator ed25519.PrivKey, list []proof.Validator, appHash []byte) []byte {
	set, err := proof.Set(list)
	if err != nil {
		t.Fatal(err)
	}
	hash := tmhash.Sum([]byte("x"))
	h := types.Header{
		Version: version.Consensus{Block: 11}, ChainID: chainID, Height: 9, Time: time.Unix(1, 0).UTC(),
		LastBlockID:    types.BlockID{Hash: hash, PartSetHeader: types.PartSetHeader{Total: 1, Hash: hash}},
		LastCommitHash: hash, DataHash: hash, ValidatorsHash: set.Hash(), NextValidatorsHash: set.Hash(),
		ConsensusHash: hash, AppHash: appHash, LastResultsHash: hash, EvidenceHash: hash, ProposerAddress: validator.PubKey().Address(),
	}
	id := types.BlockID{Hash: h.Hash(), PartSetHeader: types.PartSetHeader{Total: 1, Hash: hash}}
	vote := types.Vote{Type: cmtproto.PrecommitType, Height: h.Height, BlockID: id, Timestamp: h.Time, ValidatorAddress: validator.PubKey().Address()}
	if vote.Signature, err = validator.Sign(types.VoteSignBytes(chainID, vote.ToProto())); err != nil {
		t.Fatal(err)
	}
	commit := &types.Commit{Height: h.Height, BlockID: id, Signatures: []types.CommitSig{vote.CommitSig()}}
	raw, err := proof.Header(types.SignedHeader{Header: &h, Commit: commit})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
