package sim

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// The invariants. They are written a second time here, plainly, and share as
// little as they can with the code that they watch: a check that calls the
// function it checks would agree with its mistakes.

// facts are what the world knows and no node does.
type facts struct {
	enclaves map[string]*enclave // by the first bytes of their sealing key
	said     map[question]string // what each honest node has said to each question
	stakes   map[task.NodeID][]stakeAt
	settled  map[task.TaskID][]byte
	members  map[attemptKey][]byte
	closed   map[task.Ballot][]byte  // commitments, as they were when their set was closed
	pairs    map[task.Hash]pairFacts // by what their executor has signed
	twoGood  map[task.Ballot]bool    // the executor has made its decoy good as well
	bad      map[task.Hash]bool      // by evidence that was ever made: it is not what it says
	gone     map[goneKey]bool        // nodes that have said that an executor is silent
	electing map[attemptKey]electing
	jailed   map[task.NodeID]uint64 // in which block, the last time
	slashes  map[task.TaskID]int    // already looked at
	late     map[turn]task.NodeID   // whose enclave has said that it was out of time
	began    map[turn]uint64        // in which block
	ahead    map[turn]bool          // in which Bob has given his key before the chain knew the verdict
	busy     map[attemptNode]bool   // has said so with its claim
	bare     map[attemptNode]uint64 // in which block its claim counted without that word
	changes  uint64                 // of reference values, that honest validators have signed
}

// electing is an attempt whose claims are open, and the seats so far.
type electing struct {
	seeded uint64
	seats  uint32
}

type goneKey struct {
	attemptNode
	view uint32
}

// turn is one executor's.
type turn struct {
	id            task.TaskID
	attempt, view uint32
}

type attemptNode struct {
	id      task.TaskID
	attempt uint32
	node    task.NodeID
}

type question struct {
	node  task.NodeID
	about string
}

// stakeAt is what a node had after a block.
type stakeAt struct {
	height uint64
	bond   task.Amount
	held   task.Amount // with what is on its way out of the bond
}

type attemptKey struct {
	id      task.TaskID
	attempt uint32
}

func (f *facts) init() {
	f.enclaves, f.said, f.stakes = map[string]*enclave{}, map[question]string{}, map[task.NodeID][]stakeAt{}
	f.settled, f.members, f.pairs = map[task.TaskID][]byte{}, map[attemptKey][]byte{}, map[task.Hash]pairFacts{}
	f.twoGood = map[task.Ballot]bool{}
	f.closed, f.bad, f.gone = map[task.Ballot][]byte{}, map[task.Hash]bool{}, map[goneKey]bool{}
	f.jailed, f.slashes = map[task.NodeID]uint64{}, map[task.TaskID]int{}
	f.late, f.electing, f.began = map[turn]task.NodeID{}, map[attemptKey]electing{}, map[turn]uint64{}
	f.ahead, f.busy, f.bare = map[turn]bool{}, map[attemptNode]bool{}, map[attemptNode]uint64{}
}

func (f *facts) enclave(e *enclave) {
	f.enclaves[string(e.box)] = e
}

// pairFacts are what the world knows of a pair: its evidence, and where its
// executor's VRF puts the genuine piece.
type pairFacts struct {
	digests [2]task.Hash
	place   uint8
}

func (f *facts) genesis(g ledger.Genesis) {
	for _, n := range g.Nodes {
		f.stakes[n.Node.ID()] = []stakeAt{{0, n.Bond, n.Bond}}
	}
}

// checkBlock runs what must hold after every block.
func (w *world) checkBlock(events []ledger.Event, txs int) {
	if txs > 0 || len(events) > 0 { // else no money can have moved
		w.checkSupply()
	}
	w.checkValues()
	if len(events) > 0 {
		w.checkPledges()
	}
	seen := map[task.TaskID]bool{}
	for _, e := range events {
		if seen[e.Task] {
			continue
		}
		seen[e.Task] = true
		if c, ok := w.chain.at(e.Task); ok {
			w.checkSettledOnce(c)
			w.checkPayments(c)
			w.checkCommittee(c)
			w.checkClaims(c)
			w.checkExecutor(c)
			w.checkSkips(c)
			w.checkVerdicts(c)
			w.checkProof(c)
			w.checkWords(c)
			w.checkReleases(c)
			w.checkAhead(c)
			w.checkSlashes(c)
			w.checkAmounts(c)
			w.checkCalm(c)
			w.checkTime(c)
			w.checkTurns(c)
			w.checkBusy(c)
			w.checkAccepted(c)
		}
	}
	w.noteStakes()
}
