package sim

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// worker is one machine: its keys and disk outlive a crash, its sessions and
// enclaves do not.
type worker struct {
	w        *world
	index    int
	name     string
	id       task.NodeID
	node     task.Node
	bond     task.Amount
	operator ed25519.PrivateKey
	peer     ed25519.PrivateKey
	chip     ed25519.PrivateKey
	vrf      *vrf.PrivateKey
	tcb      uint64
	liar     *liar // nil if honest

	disk     disk
	up       bool
	life     int // grows with each restart: what was planned in an earlier life is void
	sessions map[task.TaskID]*session
	height   uint64 // of the last block that passed here
	submits  int64  // when the last transaction reached the pool: they keep their order
	faulted  bool   // ever crashed, cut off, or without disk
	busy     bool   // with other people's tasks, most of the time
}

// session is a production session with its surroundings: it is the
// [node.Effects] of it.
type session struct {
	*worker
	id      task.TaskID
	s       *node.Session
	timers  []timer
	enclave *enclave
	starts  int // of an enclave, and stops: what was begun before the last is void
}

type timer struct {
	committee.Timer
	height uint64
}

// hire makes the workers. Less than a third of the stake lies, but in a few
// worlds most of it does, and stands together: then an owner has only its own
// eyes, and the honest minority only its proofs.
func (w *world) hire() {
	n := w.o.Workers
	if n == 0 {
		n = int(w.between(6, 10))
	}
	var all, bad task.Amount
	for i := range n {
		k := &worker{w: w, index: i, name: fmt.Sprint("n", i), up: true, operator: w.key(), peer: w.key(), chip: w.key(), vrf: vrf.NewKey(w.fresh())}
		k.node = task.Node{
			Operator: task.PublicKey(k.operator), VRF: task.Key(k.vrf.Public()), Peer: task.PublicKey(k.peer), Addr: k.name,
			Runtimes: []string{task.RuntimeWasm}, Arch: "any", TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(k.chip)},
		}
		if w.seed%8 == 5 && (w.seed/8+uint64(i))%3 == 0 { // in some worlds not everyone can run the function
			k.node.Runtimes[0] = task.RuntimeOCI
		}
		k.bond = task.Amount(w.between(100, 600)) * task.PRY
		k.sessions, k.disk.records = map[task.TaskID]*session{}, map[task.TaskID]*record{}
		k.disk.owner = k
		all += k.bond
		w.workers = append(w.workers, k)
	}
	w.affiliate()
	if w.o.Honest {
		return
	}
	share, each, captured := task.Amount(33), 0.5, w.chance(0.1)
	switch {
	case w.o.Hostile != 0:
		share, captured = task.Amount(100*w.o.Hostile), false
	case captured: // nearly all, so that it is a quorum
		share, each = 90, 1
	}
	for _, k := range w.workers {
		k.busy = w.chance(0.1)
		if 100*(bad+k.bond) < share*all && w.chance(each) {
			bad += k.bond
			k.liar = w.newLiar(k)
			switch {
			case w.o.Lie != "":
				k.liar.kind = lie(w.o.Lie)
			case captured && w.seed%2 == 0:
				k.liar.kind = gang
			case captured:
				k.liar.kind = skipper
			}
			w.say("%s lies: %s", k.name, k.liar.kind)
		}
	}
}

// free says whether a machine has an enclave for one more task.
func (k *worker) free() bool { return !k.busy || k.w.chance(0.3) }

func (w *world) name(id task.NodeID) string {
	if k := w.byID[id]; k != nil {
		return k.name
	}
	return id.Short()
}

// crash ends everything that is not on disk.
func (k *worker) crash(why string) {
	if !k.up {
		return
	}
	k.w.say("%s crashes: %s", k.name, why)
	k.up, k.faulted = false, true
	k.life++
	k.sessions = map[task.TaskID]*session{}
	k.w.after(k.w.between(20*millisecond, 3*second), k.restart)
}

// restart begins another life with what the disk holds.
func (k *worker) restart() {
	if k.up {
		return
	}
	k.w.say("%s starts again", k.name)
	k.up = true
	k.catchUp()
}

// catchUp reads all open cases from the chain.
func (k *worker) catchUp() {
	for _, j := range k.w.jobs {
		if c, ok := k.w.chain.at(j.id); ok {
			k.follow(c)
		}
	}
}

// follow brings a case to this worker's session, as its own node of the chain
// shows it.
func (k *worker) follow(c *ledger.Case) {
	life := k.life
	k.w.after(k.w.between(millisecond, 8*millisecond), func() {
		if k.life != life || !k.w.reached(k) {
			return
		}
		k.alive(func() { k.moved(c) })
	})
}

func (k *worker) moved(c *ledger.Case) {
	id := c.ID()
	s := k.sessions[id]
	if s == nil {
		if c.Phase == ledger.Closed {
			return
		}
		s = &session{worker: k, id: id}
		inner, err := node.NewSession(node.SessionConfig{
			Node: k.node, Peer: k.peer, VRF: k.vrf, Patience: k.w.patience, Journal: &k.disk, Effects: s, Appraise: attest.Appraise, Fits: k.fits, Log: slog.New(slog.DiscardHandler),
		}, c)
		if err != nil {
			k.w.say("%s cannot read its journal and stays silent: %v", k.name, err)
			return
		}
		s.s = inner
		k.sessions[id] = s
	}
	if k.liar != nil {
		k.liar.moved(s, c)
	}
	s.s.Chain(c)
	if s.s.Done() {
		delete(k.sessions, id)
	}
}

// alive runs something that the disk may kill in the middle.
func (k *worker) alive(do func()) {
	defer func() {
		if p := recover(); p != nil {
			if p != errKilled {
				panic(p)
			}
			k.crash("killed in the middle of a write")
		}
	}()
	do()
}

// later plans something of a session's, in this life only.
func (s *session) later(micros int64, do func()) {
	life := s.life
	s.w.after(micros, func() {
		if s.life == life && s.sessions[s.id] == s {
			s.alive(do)
		}
	})
}

// ---- node.Effects ----

func (s *session) Record() (ledger.NodeRecord, error) {
	rec, _ := s.w.chain.node(s.worker.id)
	return rec, nil
}

func (s *session) Send(to []task.NodeID, m node.Message) {
	s.w.checkSaid(s.worker, m)
	if s.liar != nil {
		s.liar.send(s, to, m)
		return
	}
	s.send(to, m)
}

func (s *session) send(to []task.NodeID, m node.Message) {
	raw := encode(m)
	read := func() (heard, error) { return s.w.understand(s.worker.id, raw) }
	if !s.w.plain {
		read = sync.OnceValues(read)
	}
	s.w.say("%s says %s to %d", s.name, describe(m), len(to))
	for _, id := range to {
		if other := s.w.byID[id]; other != nil && other != s.worker {
			s.w.deliver(s.worker, other, func() { other.hear(s.worker, read, 20) })
		}
	}
}

func (s *session) Submit(b task.Body) {
	if d := b.Decline; d != nil {
		s.w.checkDeclined(s.worker, *d)
	}
	if k := b.Claims; k != nil && k.Won[0].Busy != nil && s.liar == nil {
		s.w.facts.busy[attemptNode{k.Task, k.Attempt, s.worker.id}] = true
	}
	if s.liar != nil {
		var ok bool
		if b, ok = s.liar.submit(s, b); !ok {
			return
		}
	}
	s.submit(b)
}

// submit brings a transaction to the pool, after those before it; who is cut
// off tries again until it gets through.
func (k *worker) submit(b task.Body) {
	at := max(k.w.now+k.w.between(millisecond, 20*millisecond), k.submits+1)
	k.submits = at
	life := k.life
	var try func()
	try = func() {
		switch {
		case k.life != life:
		case !k.w.reached(k):
			k.w.after(100*millisecond, try)
		default:
			k.w.chain.submit(pooled{key: k.operator, body: b, who: k.name})
		}
	}
	k.w.after(at-k.w.now, try)
}

func (s *session) Free() bool { return s.free() }

func (s *session) SetTimer(t committee.SetTimer) {
	s.timers = slices.DeleteFunc(s.timers, func(o timer) bool { return o.Kind == t.Timer.Kind })
	s.timers = append(s.timers, timer{t.Timer, s.height + t.Blocks})
}

// passes lets a block pass at this worker: timers are in blocks.
func (k *worker) passes(height uint64) {
	k.height = max(k.height, height)
	for _, j := range k.w.jobs {
		s := k.sessions[j.id]
		if s == nil {
			continue
		}
		var up []timer
		s.timers = slices.DeleteFunc(s.timers, func(t timer) bool {
			if t.height <= k.height {
				up = append(up, t)
			}
			return t.height <= k.height
		})
		for _, t := range up {
			k.alive(func() { s.s.TimedOut(t.Timer) })
		}
	}
}

// ---- hearing ----

func (k *worker) retry(do func()) {
	life := k.life
	k.w.after(25*millisecond, func() {
		if k.up && k.life == life {
			do()
		}
	})
}

// heard is a message as whoever gets it reads it.
type heard struct {
	node.Heard
	m node.Message
}

// understand reads and checks a message. That depends on nothing but its bytes and its
// sender, so what goes to many is read once.
func (w *world) understand(from task.NodeID, raw []byte) (h heard, err error) {
	if h.m, err = task.Decode[node.Message](raw, task.MaxMessage); err == nil {
		h.Heard, err = node.Verify(from, h.m, w.peerKey)
	}
	return h, err
}

func (k *worker) hear(from *worker, read func() (heard, error), tries int) {
	h, err := read()
	if err != nil {
		k.w.say("%s refuses what %s says: %v", k.name, from.name, err)
		return
	}
	s := k.sessions[about(h.m)]
	if s == nil || h.Early(s.s.Case()) {
		if tries > 0 {
			k.retry(func() { k.hear(from, read, tries-1) })
		}
		return
	}
	if k.liar != nil {
		k.liar.hear(h.m)
	}
	k.alive(func() { s.s.Hear(h.Heard) })
}

func (w *world) peerKey(id task.NodeID) (task.Key, bool) {
	o := w.byID[id]
	if o == nil {
		return task.Key{}, false
	}
	return o.node.Peer, true
}

// about is the task that a verified message is about.
func about(m node.Message) task.TaskID {
	switch {
	case m.Vote != nil:
		return m.Vote.Vote.Task
	case m.Commitment != nil:
		return m.Commitment.Ballot.Task
	case m.Reveal != nil:
		return m.Reveal.Ballot.Task
	case m.Shown != nil:
		return m.Shown.Ballot.Task
	}
	return m.Alive.Task
}

func describe(m node.Message) string {
	switch {
	case m.Vote != nil:
		return fmt.Sprintf("pass-over to view %d", m.Vote.Vote.View)
	case m.Commitment != nil:
		return "commitment"
	case m.Reveal != nil:
		return fmt.Sprintf("%s %d %s", m.Reveal.Verdict, m.Reveal.Place, m.Reveal.Reason)
	case m.Shown != nil:
		return "a pair of evidence"
	}
	return "alive"
}

// ---- disk ----

// disk is a worker's journal. A write is durable when it returns; a kill
// comes before the write, or after it and before anything was sent.
type disk struct {
	owner     *worker
	records   map[task.TaskID]*record
	writes    int
	killAt    int // the write at which the machine dies; 0 for never
	tornAfter bool
	full      bool
}

type record struct {
	reveals  []task.Reveal
	pairs    map[task.Ballot][2]task.Hash
	declines []task.Decline
}

var (
	errKilled   = errors.New("killed")
	errDiskFull = errors.New("no space left on device")
	errOther    = errors.New("the journal holds another word for this question")
)

func (d *disk) write(id task.TaskID, do func(*record) error) error {
	d.writes++
	if d.full {
		d.owner.faulted = true
		return errDiskFull
	}
	die := d.killAt > 0 && d.writes == d.killAt
	if die && !d.tornAfter {
		panic(errKilled)
	}
	if d.records[id] == nil {
		d.records[id] = &record{pairs: map[task.Ballot][2]task.Hash{}}
	}
	err := do(d.records[id])
	if die {
		panic(errKilled)
	}
	return err
}

func (d *disk) Reveal(v task.Reveal) error {
	return d.write(v.Ballot.Task, func(r *record) error {
		for _, o := range r.reveals {
			if o.Ballot == v.Ballot {
				if o != v {
					d.owner.w.checkAsked(d.owner)
					return errOther
				}
				return nil
			}
		}
		r.reveals = append(r.reveals, v)
		return nil
	})
}

func (d *disk) Pair(p task.Pair) error {
	return d.write(p.Ballot.Task, func(r *record) error {
		if old, ok := r.pairs[p.Ballot]; ok && old != p.Digests {
			return errOther // of an enclave that a crash has taken
		}
		r.pairs[p.Ballot] = p.Digests
		return nil
	})
}

func (d *disk) Decline(v task.Decline) error {
	return d.write(v.Task, func(r *record) error {
		r.declines = append(r.declines, v)
		return nil
	})
}

func (d *disk) Load(id task.TaskID) ([]task.Reveal, []task.Decline, error) {
	r := d.records[id]
	if r == nil {
		return nil, nil, nil
	}
	return slices.Clone(r.reveals), slices.Clone(r.declines), nil
}

func (d *disk) Forget(id task.TaskID) error {
	delete(d.records, id)
	return nil
}
