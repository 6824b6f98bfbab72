package ledger

import (
	"slices"

	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// Draw is what a node must know of an attempt at a task to draw in it: so nobody
// reads the case of a task who wins no seat in it.
type Draw struct {
	Attempt    uint32      `cbor:"1,keyasint" json:"attempt"`
	Seed       task.Hash   `cbor:"2,keyasint" json:"seed"`
	Seats      uint32      `cbor:"3,keyasint" json:"seats"` // τ
	Epoch      uint64      `cbor:"4,keyasint" json:"epoch,string"`
	TotalStake task.Amount `cbor:"5,keyasint" json:"total_stake"` // W
}

// Draw is the present attempt's.
func (c *Case) Draw() Draw {
	return Draw{Attempt: c.Attempt, Seed: c.Seed(), Seats: c.Seats, Epoch: c.Epoch, TotalStake: c.TotalStake}
}

// Wins says whether a node wins seats with its own key, at the price of β alone. What
// the task asks of a node's machine is another question.
func (d Draw) Wins(key *vrf.PrivateKey, node task.NodeID, stake task.Amount) bool {
	beta := key.Output(sortition.Alpha(d.Seed, task.Hash(node)))
	return sortition.Seats(beta, d.Seats, uint64(stake), uint64(d.TotalStake)) > 0
}

// News is what a block has to say of a task to a worker: where it stands, and what to
// draw with if the block has seeded an attempt. Who wants to know more reads the case.
type News struct {
	Task  task.TaskID `cbor:"1,keyasint"`
	Phase Phase       `cbor:"2,keyasint"`
	Draw  *Draw       `cbor:"3,keyasint,omitempty"`
}

// NewsOf are the news of a block, one for each task in it.
func NewsOf(events []Event) []News {
	var all []News
	for _, e := range events {
		i := slices.IndexFunc(all, func(n News) bool { return n.Task == e.Task })
		if i < 0 {
			i = len(all)
			all = append(all, News{Task: e.Task})
		}
		all[i].Phase = e.Phase
		if e.Draw != nil {
			all[i].Draw = e.Draw
		}
	}
	return all
}
