package chain

import (
	"bytes"
	"context"
	"fmt"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// beaconMark is the first byte of a beacon transaction, which no transaction
// of an account can have: those are CBOR maps. The signature follows (spec §4.1).
const beaconMark = 0x01

// splitBeacon takes the beacon's bytes off a block's transactions, nil if there is
// none. A beacon in any other place is refused as a transaction that cannot be read.
func splitBeacon(txs [][]byte) (raw []byte, rest [][]byte) {
	if len(txs) == 0 || len(txs[0]) == 0 || txs[0][0] != beaconMark {
		return nil, txs
	}
	return txs[0][1:], txs[1:]
}

// checkBeacon says whether bytes of a block are its beacon. The last one that held is
// kept, so proposing, voting and executing cost one check.
func (a *app) checkBeacon(height uint64, raw []byte) (*beacon.Beacon, error) {
	if raw == nil {
		return nil, nil
	}
	key, m := ledger.Read(a.store).Group().Key, beacon.Input(a.chain, height)
	if s := a.beacon.Signature(); a.beacon.Of(key, m) && bytes.Equal(s[:], raw) {
		return &a.beacon, nil
	}
	b, err := key.Open(m, raw)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", height, err)
	}
	a.beacon = b
	return &b, nil
}

// makeBeacon is the proposer's: of the parts that came with the precommits of the
// block before, or of the whole secret, if this validator is the only one.
func (a *app) makeBeacon(height uint64, commit []abci.ExtendedVoteInfo) (beacon.Beacon, error) {
	g, m := ledger.Read(a.store).Group(), beacon.Input(a.chain, height)
	if a.beacon.Of(g.Key, m) {
		return a.beacon, nil
	}
	if g.Kind == beacon.Own {
		a.beacon = a.id.Shares[0].Beacon(m)
		return a.beacon, nil
	}
	b, err := g.Recover(m, parts(g.Set, commit))
	if err == nil {
		a.beacon = b
	}
	return b, err
}

// parts are those in a commit's extensions. The engine has shown most of them to
// VerifyVoteExtension, but none that came when the block was already decided.
func parts(set beacon.Set, commit []abci.ExtendedVoteInfo) (list []beacon.Part) {
	for _, v := range commit {
		h, first, ok := holder(set, v.Validator.Address)
		if !ok || len(v.VoteExtension) != len(h.Shares)*beacon.SignatureSize {
			continue // an absent one, or one that is refused anyway
		}
		for i := range h.Shares {
			s := beacon.Signature(v.VoteExtension[i*beacon.SignatureSize:][:beacon.SignatureSize])
			list = append(list, beacon.Part{Seat: first + uint32(i), Signature: s})
		}
	}
	return list
}

// holder finds who holds shares by the address in votes.
func holder(set beacon.Set, address []byte) (beacon.Holder, uint32, bool) {
	for _, h := range set.Holders {
		if bytes.Equal(addressOf(h.Validator), address) {
			return set.Holder(h.Validator)
		}
	}
	return beacon.Holder{}, 0, false
}

// ExtendVote gives, with this validator's precommit, its seats' parts of the next
// block's beacon, whether or not one will be due: that is known when this block has
// been executed. They are the same for every block and round of a height.
func (a *app) ExtendVote(_ context.Context, req *abci.RequestExtendVote) (*abci.ResponseExtendVote, error) {
	m := beacon.Input(a.chain, uint64(req.Height)+1)
	var all []byte
	for _, share := range a.id.Shares {
		s := share.Sign(m)
		all = append(all, s[:]...)
	}
	return &abci.ResponseExtendVote{VoteExtension: all}, nil
}

// VerifyVoteExtension refuses a precommit whose parts do not hold. So whoever keeps
// its parts back keeps its vote back.
func (a *app) VerifyVoteExtension(_ context.Context, req *abci.RequestVerifyVoteExtension) (*abci.ResponseVerifyVoteExtension, error) {
	if err := a.checkParts(req); err != nil {
		a.log.Warn("precommit refused", "height", req.Height, "validator", fmt.Sprintf("%X", req.ValidatorAddress), "err", err)
		return &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_REJECT}, nil
	}
	return &abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}, nil
}

func (a *app) checkParts(req *abci.RequestVerifyVoteExtension) error {
	if bytes.Equal(req.ValidatorAddress, addressOf(a.id.Key())) {
		return nil // the engine asks about this node's own before it sends them
	}
	h, _, ok := holder(ledger.Read(a.store).Group().Set, req.ValidatorAddress)
	if !ok {
		return task.Refuse("beacon-malformed", "validator %X holds no share", req.ValidatorAddress)
	}
	if want := len(h.Shares) * beacon.SignatureSize; len(req.VoteExtension) != want {
		return task.Refuse("beacon-malformed", "parts of %d bytes for %d seats", len(req.VoteExtension), len(h.Shares))
	}
	m := beacon.Input(a.chain, uint64(req.Height)+1)
	for i, key := range h.Shares {
		if err := key.Verify(m, beacon.Signature(req.VoteExtension[i*beacon.SignatureSize:][:beacon.SignatureSize])); err != nil {
			return err
		}
	}
	return nil
}

// checkHolders refuses a genesis in which power is not seats: then some could agree
// on blocks and make no beacon, or make beacons and not agree on blocks.
func checkHolders(g beacon.Group, engine []abci.ValidatorUpdate) error {
	for _, v := range engine {
		address := addressOf(task.Key(v.PubKey.GetEd25519()))
		h, _, ok := holder(g.Set, address)
		if !ok || int64(len(h.Shares)) != v.Power {
			return fmt.Errorf("genesis: validator %X has power %d and %d seats", address, v.Power, len(h.Shares))
		}
	}
	if len(engine) != len(g.Set.Holders) {
		return fmt.Errorf("genesis: %d validators, %d of them hold shares", len(engine), len(g.Set.Holders))
	}
	return nil
}

// checkShares refuses an identity whose shares are not those that the genesis gives
// to its validator: its votes would count for nothing.
func (c Config) checkShares() error {
	h, _, _ := c.Genesis.Beacon.Set.Holder(c.Identity.Key())
	if len(h.Shares) != len(c.Identity.Shares) {
		return fmt.Errorf("chain: this node has %d shares of the beacon, the genesis gives it %d", len(c.Identity.Shares), len(h.Shares))
	}
	for i, k := range h.Shares {
		if c.Identity.Shares[i].Public() != k {
			return fmt.Errorf("chain: share %d of this node is not the one of the genesis", i)
		}
	}
	return nil
}
