package ledger

import (
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// Alike is the stake of all nodes whose machines are alike to every policy. With it
// the chain says how much of the stake a task's policy suits, without a look at each
// node (spec §3.2).
type Alike struct {
	Kind    string         `cbor:"1,keyasint" json:"kind"`
	Profile attest.Profile `cbor:"2,keyasint" json:"profile"`
	Stakes  StakeLine      `cbor:"3,keyasint" json:"stakes"`
}

// keyAlike is followed by kind, product, tier, measurement and TCB.
const keyAlike = "a/stake/"

// maxTCBs bounds how many TCBs are told apart of machines of one kind, product,
// tier and measurement. The chain's reference bounds all else. The stake of one more counts
// as if its TCB were 0: for fewer policies than it could, never for more.
const maxTCBs = 32

func alikeKey(kind string, p attest.Profile) []byte {
	return join(keyAlike, []byte(kind+"/"+p.Product+"/"), []byte{byte(p.Tier)}, p.Measurement[:], task.U64(p.TCB))
}

// class is the profile under which a machine's stake is counted.
func (b *Block) class(kind string, p attest.Profile) attest.Profile {
	key := alikeKey(kind, p)
	if p.TCB == 0 || b.state.Get(key) != nil {
		return p
	}
	count := 0
	for _, a := range listed[Alike](b.state, key[:len(key)-8], Whole) {
		if a.Profile.TCB != 0 && !a.Stakes.faded(b.epoch()) {
			count++
		}
	}
	if count >= maxTCBs {
		p.TCB = 0
	}
	return p
}

// sweep deletes the sums that nobody's stake is in any more, at an epoch's beginning.
// There are no more of them than machines of different sorts.
func (b *Block) sweep() {
	if b.Height%b.Params.EpochBlocks != 0 {
		return
	}
	for _, a := range (Reader{b.state}).Alike() {
		if a.Stakes.faded(b.epoch()) {
			b.state.Delete(alikeKey(a.Kind, a.Profile))
		}
	}
}

// classify lets a node's stake count as that of such a machine, in all epochs.
func (b *Block) classify(n *NodeRecord, p attest.Profile) {
	if n.Class != (attest.Profile{}) {
		b.countAlike(n, func(l *StakeLine, epoch uint64, up, down task.Amount) { l.add(b.epoch(), epoch, down, up) })
	}
	n.Profile, n.Class = p, b.class(n.Node.TEE.Kind, p)
	b.countAlike(n, func(l *StakeLine, epoch uint64, up, down task.Amount) { l.add(b.epoch(), epoch, up, down) })
}

// countAlike gives each change of a node's stake to what counts the line of its
// class.
func (b *Block) countAlike(n *NodeRecord, count func(l *StakeLine, epoch uint64, up, down task.Amount)) {
	var was task.Amount
	for _, s := range n.Stakes {
		b.changeAlike(n, func(l *StakeLine) {
			up, down := change(was, s.Amount)
			count(l, s.Epoch, up, down)
		})
		was = s.Amount
	}
}

func (b *Block) changeAlike(n *NodeRecord, with func(*StakeLine)) {
	kind := n.Node.TEE.Kind
	key := alikeKey(kind, n.Class)
	a, _ := load[Alike](b.state, key)
	a.Kind, a.Profile = kind, n.Class
	with(&a.Stakes)
	save(b.state, key, a)
}

// change is the way from one amount to another.
func change(was, is task.Amount) (up, down task.Amount) {
	if is > was {
		return is - was, 0
	}
	return 0, was - is
}

// restake lets what a node has bonded now count from a later epoch on.
func (b *Block) restake(n *NodeRecord) {
	var was task.Amount
	if k := len(n.Stakes); k > 0 {
		was = n.Stakes[k-1].Amount
	}
	is := n.Bond
	if n.Lapsed {
		is = 0
	}
	up, down := change(was, is)
	if b.state.Get(alikeKey(n.Node.TEE.Kind, n.Class)) == nil { // others may have its place
		n.Class = b.class(n.Node.TEE.Kind, n.Profile)
	}
	n.setStake(b.epoch(), is)
	b.meta.Stakes.add(b.epoch(), b.epoch()+activationEpochs, up, down)
	b.changeAlike(n, func(l *StakeLine) { l.add(b.epoch(), b.epoch()+activationEpochs, up, down) })
}

// unstake takes a node out of every draw at once, also out of snapshots that were
// taken. The total of those stays: it is less that can be drawn, not more.
func (b *Block) unstake(n *NodeRecord) {
	b.countAlike(n, func(l *StakeLine, epoch uint64, up, down task.Amount) { l.add(b.epoch(), epoch, down, up) })
	if k := len(n.Stakes); k > 0 {
		b.meta.Stakes.add(b.epoch(), b.epoch()+activationEpochs, 0, n.Stakes[k-1].Amount)
	}
	n.Stakes = []Stake{{Epoch: 0, Amount: 0}}
}

// Suited is how much of the stake of an epoch machines have that a task's policy
// asks for.
func Suited(all []Alike, t task.Policy, m task.Manifest, ref attest.Reference, epoch uint64) (sum task.Amount) {
	asked, ok := machines(t, m, ref)
	if !ok {
		return 0
	}
	for _, a := range all {
		if a.Profile.Meets(task.TEE{Kind: a.Kind}, asked, ref) == nil {
			sum += a.Stakes.At(epoch)
		}
	}
	return sum
}

// Alike lists the stake of all nodes by what their machines are.
func (r Reader) Alike() []Alike { return listed[Alike](r.s, []byte(keyAlike), Whole) }

// StakeLine is how a sum of stakes changes from epoch to epoch, in their order.
type StakeLine []StakeChange

// StakeChange is how much a sum changes at an epoch's start.
type StakeChange struct {
	Epoch uint64      `cbor:"1,keyasint" json:"epoch,string"`
	Up    task.Amount `cbor:"2,keyasint" json:"up"`
	Down  task.Amount `cbor:"3,keyasint" json:"down"`
}

// add records a change, and folds into one all that no open draw can tell apart any
// more.
func (l *StakeLine) add(now, epoch uint64, up, down task.Amount) {
	all := slices.Clone(*l) // what it was may have to come back
	i, found := slices.BinarySearchFunc(all, epoch, func(c StakeChange, e uint64) int {
		switch {
		case c.Epoch < e:
			return -1
		case c.Epoch > e:
			return 1
		}
		return 0
	})
	if !found {
		all = slices.Insert(all, i, StakeChange{Epoch: epoch})
	}
	all[i].Up += up
	all[i].Down += down
	for len(all) > 1 && all[1].Epoch+activationEpochs <= now {
		a, b := all[0], all[1]
		all[1] = StakeChange{Epoch: b.Epoch, Up: a.Up - a.Down + b.Up, Down: b.Down}
		all = all[1:]
	}
	*l = all
}

// At is the sum that counts in an epoch's snapshot. It cannot wrap, since all bonds
// together are at most the supply.
func (l StakeLine) At(epoch uint64) (sum task.Amount) {
	for _, c := range l {
		if c.Epoch <= epoch {
			sum += c.Up - c.Down
		}
	}
	return sum
}

// faded says whether the sum is nothing from an epoch on.
func (l StakeLine) faded(epoch uint64) bool {
	sum := l.At(epoch)
	for _, c := range l {
		if c.Epoch > epoch && (c.Up != 0 || c.Down != 0) {
			return false
		}
	}
	return sum == 0
}
