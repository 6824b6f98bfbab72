package ledger

import (
	"github.com/prytany/prytany/task"
)

// This file is what binds a machine to a node (spec §3.1). Registering shows the
// machine by a quote over a late beacon, so that it shows who has it now. The quote
// is renewed in time, or the node draws no more. A machine is free again when its
// node has nothing left to lose; its record goes with it.

const (
	keyRecent = "p/beacon/" // and a height: the beacon of that block
	keyRenew  = "p/renew/"  // and a height and a node: when its quote is too old
)

// FirstBeacon is that of a chain before its first block.
func FirstBeacon(chain string) task.Hash { return task.H(task.TagBeacon, []byte(chain)) }

// Beacon is a beacon and the height of its block.
type Beacon struct {
	Height uint64    `cbor:"1,keyasint" json:"height,string"`
	Value  task.Hash `cbor:"2,keyasint" json:"value"`
}

// Beacon is the latest.
func (r Reader) Beacon() (last Beacon) {
	r.s.Ascend([]byte(keyRecent), func(k, v []byte) bool {
		last = Beacon{heightIn(k, keyRecent), task.Hash(v)}
		return true
	})
	return last
}

// keepBeacon keeps the block's beacon for registrations, and drops those that are
// too old.
func (b *Block) keepBeacon() {
	var old [][]byte
	b.state.Ascend([]byte(keyRecent), func(k, _ []byte) bool {
		if heightIn(k, keyRecent)+b.Params.FreshBlocks > b.Height {
			return false
		}
		old = append(old, k)
		return true
	})
	for _, k := range old {
		b.state.Delete(k)
	}
	value := b.beacon.Value()
	b.state.Set(join(keyRecent, task.U64(b.Height)), value[:])
}

// lateBeacon is the beacon of a block that is not long ago. The last one there is
// always counts: a chain rests while no task is open.
func (b *Block) lateBeacon(height uint64) (task.Hash, error) {
	value := b.state.Get(join(keyRecent, task.U64(height)))
	if value == nil || height+b.Params.FreshBlocks <= b.Height && height != Read(b.state).Beacon().Height {
		return task.Hash{}, task.Refuse("quote-old", "the registration is over the beacon of block %d, which is none of the last %d blocks'", height, b.Params.FreshBlocks).
			WithNext("start prytany node again, which quotes anew")
	}
	return task.Hash(value), nil
}

// owner is the node that a machine belongs to, if there is one.
func (b *Block) owner(tee task.TEE) (task.NodeID, bool) {
	raw := b.state.Get(join(keyChip, tee.Identity[:]))
	if raw == nil {
		return task.NodeID{}, false
	}
	return task.NodeID(raw), true
}

// occupied says why a node's machine cannot be another's yet; nil if it can.
func (b *Block) occupied(n NodeRecord) error {
	id, tee := n.Node.ID(), n.Node.TEE.Identity
	switch {
	case n.JailedUntil > b.Height:
		return task.Refuse("tee-taken", "the TEE %s is of node %s, which was sent away until block %d", tee.Short(), id.Short(), n.JailedUntil)
	case n.Bond > 0:
		return task.Refuse("tee-taken", "the TEE %s belongs to node %s: one TEE, one node, until its bond has come back", tee.Short(), id.Short())
	case len(n.Unbonding) > 0:
		return task.Refuse("tee-taken", "the TEE %s belongs to node %s until block %d, when the last of its bond comes back", tee.Short(), id.Short(), n.Unbonding[len(n.Unbonding)-1].Height)
	}
	return nil
}

// inherit hands a machine's record on: who is slashed cannot begin anew under
// another name.
func (b *Block) inherit(n *NodeRecord, from NodeRecord) {
	id := from.Node.ID()
	n.Before, n.Misses, n.Counts, n.Lost = id, from.Misses, from.Counts, from.Lost
	b.state.Delete(join(keyRenew, task.U64(from.Renew), id[:]))
	from.Renew = 0
	save(b.state, join(keyNode, id[:]), from)
	b.logChange(task.Hash(n.Node.ID()), Change{Height: b.Height, Cause: Inherited, Lost: from.Lost})
}

// shown notes that a node has shown its machine now.
func (b *Block) shown(n *NodeRecord) {
	id := n.Node.ID()
	if n.Renew != 0 {
		b.state.Delete(join(keyRenew, task.U64(n.Renew), id[:]))
	}
	n.Renew = b.Height + b.Params.RenewBlocks
	b.state.Set(join(keyRenew, task.U64(n.Renew), id[:]), nil)
	if n.Lapsed {
		n.Lapsed = false
		b.restake(n)
	}
}

// lapse takes nodes out of the draw that have not shown their machines in time. Who
// does not for as long again gets its bond back, and the machine is free: nobody
// keeps one that it has no more.
func (b *Block) lapse() {
	var ripe [][]byte
	b.state.Ascend([]byte(keyRenew), func(k, _ []byte) bool {
		if heightIn(k, keyRenew) > b.Height {
			return false
		}
		ripe = append(ripe, k)
		return true
	})
	for _, k := range ripe {
		b.state.Delete(k)
		id := task.NodeID(k[len(keyRenew)+8:])
		key := join(keyNode, id[:])
		n, _ := load[NodeRecord](b.state, key)
		first := !n.Lapsed
		n.Renew = 0
		if first {
			n.Lapsed = true
			b.unstake(&n)
			n.Renew = b.Height + b.Params.RenewBlocks
			b.state.Set(join(keyRenew, task.U64(n.Renew), id[:]), nil)
		} else if n.Bond > 0 {
			b.sendBack(&n)
		}
		save(b.state, key, n)
		if first {
			b.logNode(id, task.TaskID{}, NotShown, 0)
		}
	}
}

// sendBack lets a node's whole bond begin to come back. It waits out all disputes
// like any other withdrawal.
func (b *Block) sendBack(n *NodeRecord) {
	id, due := n.Node.ID(), b.Height+b.Params.UnbondBlocks
	n.Unbonding = append(n.Unbonding, Unbonding{Height: due, Amount: n.Bond})
	n.Bond = 0
	b.state.Set(unbondKey(due, id), nil)
}
