package committee

import (
	"bytes"
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

func (m *Machine) round(view uint32, r task.Round) *round {
	key := roundKey{view, r}
	if m.rounds[key] == nil {
		m.rounds[key] = &round{commitments: map[task.NodeID]task.Commitment{}, reveals: map[task.NodeID]task.Reveal{}}
	}
	return m.rounds[key]
}

// bounded says whether a view is near enough to be kept in memory.
func (m *Machine) bounded(view uint32) bool { return view <= m.view+8 }

// quoted sends this node's own evidence to those who judge it.
func (m *Machine) quoted(e Quoted) {
	if e.View != m.view || m.executor != m.self {
		return
	}
	m.round(e.View, e.Round).evidence = e.Evidence
	m.do(SendEvidence{Round: e.Round, View: e.View, Evidence: e.Evidence})
	if e.Round == task.PreRun {
		m.tryRequote()
	}
}

func (m *Machine) evidenceHeard(e EvidenceHeard) {
	if !m.bounded(e.View) {
		return
	}
	r := m.round(e.View, e.Round)
	if r.offered == nil {
		r.offered = map[task.NodeID][]byte{}
	}
	if _, known := r.offered[e.From]; known || len(r.offered) < 8 || m.decided && e.From == m.executor {
		r.offered[e.From] = e.Evidence
	}
	m.tryAppraise(e.View, e.Round)
}

// tryAppraise asks for this node's appraisal of the executor's evidence, once
// it knows who executes and the evidence is not to be outdated at once.
func (m *Machine) tryAppraise(view uint32, which task.Round) {
	r := m.round(view, which)
	if r.mine != nil || !m.isMember() || !m.decided || view != m.view || m.executor == m.self || m.confirmed && !m.c.Judges(m.self) {
		return
	}
	if raw := r.offered[m.executor]; raw != nil && !bytes.Equal(raw, r.evidence) {
		r.evidence, r.asked, m.alive = raw, false, true
	}
	if r.evidence == nil || r.asked || !m.ripe(r.evidence, which) {
		return
	}
	r.asked = true
	m.do(Appraise{Round: which, View: view, Executor: m.executor, Evidence: r.evidence})
}

// ripe says whether to judge evidence now. While claims are open, only what
// answers the nonces of all whose claims the chain holds: a member that came
// late makes the executor quote again. Then, what answers one's own; a member
// whose claim the executor could not know in time says nothing.
func (m *Machine) ripe(evidence []byte, which task.Round) bool {
	if which == task.PostRun {
		return m.c.Phase == ledger.Reviewing && !m.c.View.ExitNonce.IsZero()
	}
	if m.confirmed {
		return covers(evidence, []Member{*m.mine})
	}
	if m.c.Member(m.self) == nil {
		return false
	}
	var claimed []Member
	for i := range m.c.Members {
		claimed = append(claimed, MemberOf(&m.c.Members[i]))
	}
	return covers(evidence, claimed)
}

// covers says whether evidence answers the nonce of every member. Evidence
// that cannot be read covers everyone: it is judged, and found faulty.
func covers(evidence []byte, members []Member) bool {
	ev, err := attest.ParseEvidence(evidence)
	if err != nil {
		return true
	}
	for _, k := range members {
		if !slices.Contains(ev.Nonces, attest.Nonce(k.Beta, k.Node)) {
			return false
		}
	}
	return true
}

// tryRequote makes the executor's evidence answer members it did not know
// before, as long as nobody has committed to what there is.
func (m *Machine) tryRequote() {
	r := m.round(m.view, task.PreRun)
	if !m.decided || m.executor != m.self || r.evidence == nil || len(r.commitments) > 0 || covers(r.evidence, m.sorted()) {
		return
	}
	r.evidence = nil
	m.do(Requote{View: m.view, Members: m.Members()})
}

// appraised commits to this node's verdict. Nobody can read it yet (spec §7.5).
func (m *Machine) appraised(e Appraised) {
	r := m.round(e.View, e.Round)
	if e.View != m.view || r.mine != nil || !m.isMember() {
		return
	}
	r.mine = &task.Reveal{
		Ballot: task.Ballot{Task: m.c.ID(), Attempt: m.c.Attempt, View: e.View, Round: e.Round},
		Node:   m.self, Verdict: e.Verdict, Reason: e.Reason,
		Evidence: task.H(task.TagEvidence, e.Evidence), Salt: e.Salt,
	}
	m.do(CommitVerdict{Reveal: *r.mine})
}

func (m *Machine) commitmentHeard(k task.Commitment) {
	b := k.Ballot
	if b.Task != m.c.ID() || b.Attempt != m.c.Attempt || !m.bounded(b.View) {
		return
	}
	if _, ok := m.members[k.Node]; !ok {
		return
	}
	r := m.round(b.View, b.Round)
	if _, ok := r.commitments[k.Node]; ok {
		return
	}
	r.commitments[k.Node] = k
	if len(r.commitments) == 1 {
		m.flushTimer(b.View, b.Round)
	}
	m.flush(b.View, b.Round)
}

// opens says whether a reveal opens a commitment that this node knows, from its
// maker or from the chain: that is its only proof of who speaks.
func (m *Machine) opens(v task.Reveal) bool {
	digest := v.Digest()
	if k, ok := m.round(v.Ballot.View, v.Ballot.Round).commitments[v.Node]; ok && k.Digest == digest {
		return true
	}
	return m.confirmed && m.c.CheckReveal(v) == nil
}

func (m *Machine) flushTimer(view uint32, which task.Round) {
	m.do(SetTimer{Timer: Timer{Kind: FlushTimer, Attempt: m.c.Attempt, View: view, Round: which}, Millis: m.times.Flush})
}

func (m *Machine) revealHeard(v task.Reveal) {
	b := v.Ballot
	if b.Task != m.c.ID() || b.Attempt != m.c.Attempt || !m.bounded(b.View) {
		return
	}
	r := m.round(b.View, b.Round)
	if _, ok := r.reveals[v.Node]; ok || !m.opens(v) {
		return
	}
	r.reveals[v.Node] = v
	m.flush(b.View, b.Round)
}

// flush is the executor's errand: it carries the commitments, and later the
// reveals, of all to the chain in one transaction each, as soon as they are
// complete or stragglers have had their time. Nobody depends on it: whoever is
// left out goes by itself (commitmentsLeftOut, revealsLeftOut).
func (m *Machine) flush(view uint32, which task.Round) {
	r := m.round(view, which)
	if m.executor != m.self || !m.decided || view != m.view || r.evidence == nil {
		return
	}
	others := 0
	for id := range m.members {
		if id != m.self && (!m.confirmed || m.c.Judges(id)) {
			others++
		}
	}
	if n := len(r.commitments); n > r.submitted && (n >= others || r.late) && m.closedAt(which) == 0 {
		r.submitted = n
		var set []task.Commitment
		for _, k := range m.sorted() {
			if c, ok := r.commitments[k.Node]; ok {
				set = append(set, c)
			}
		}
		m.submit(task.Body{Commitments: &task.Commitments{Commitments: set}})
	}
	if m.closedAt(which) == 0 {
		return
	}
	set := m.validReveals(which)
	ok, _ := m.tally(which, set)
	good := ok >= sortition.Quorum(m.c.JudgeSeats())
	if which == task.PreRun && good && !r.keysAsked {
		r.keysAsked = true
		m.do(RequestKeys{View: view, Evidence: r.evidence, Reveals: set})
	}
	if n := len(set); n > r.reported && (n >= len(m.c.Round(which).Commitments) || r.late || good && which == task.PreRun && r.reported == 0) {
		r.reported = n
		m.submitVerdicts(which, set)
	}
}

func (m *Machine) submitVerdicts(which task.Round, set []task.Reveal) {
	b := m.c.Ballot(which)
	m.submit(task.Body{Verdicts: &task.Verdicts{Ballot: b, Evidence: m.round(b.View, which).evidence, Reveals: set}})
}

// closedAt is the height at which the chain closed this view's commit set.
func (m *Machine) closedAt(which task.Round) uint64 {
	if !m.confirmed || m.c.View.Number != m.view {
		return 0
	}
	return m.c.Round(which).ClosedAt
}

// validReveals are those that open a commitment of the closed set.
func (m *Machine) validReveals(which task.Round) []task.Reveal {
	var set []task.Reveal
	for _, k := range m.sorted() {
		if v, ok := m.round(m.view, which).reveals[k.Node]; ok && m.c.CheckReveal(v) == nil {
			set = append(set, v)
		}
	}
	return set
}

// tally counts reveals for the evidence that this node holds.
func (m *Machine) tally(which task.Round, set []task.Reveal) (ok, fault uint32) {
	c := *m.c
	c.Round(which).Evidence = m.round(m.view, which).evidence
	return c.Tally(which, set)
}

// follow acts on what the chain says of a round: reveal once the set is
// closed, and look after what the executor may have left out.
func (m *Machine) follow(which task.Round) {
	if !m.isMember() || m.c.View.Number != m.view {
		return
	}
	m.tryAppraise(m.view, which)
	r := m.round(m.view, which)
	if m.closedAt(which) == 0 {
		m.commitmentsLeftOut(which)
		return
	}
	if r.mine != nil && !r.revealed && m.c.CheckReveal(*r.mine) == nil {
		r.revealed = true
		m.do(SendReveal{Reveal: *r.mine})
		r.late = false
		m.flushTimer(m.view, which)
	}
	m.revealsLeftOut(which)
	// What others brought to the chain counts as heard.
	for _, v := range m.c.Round(which).Reveals {
		r.reveals[v.Node] = v
	}
	m.flush(m.view, which)
}

// commitmentsLeftOut posts this node's own commitment when the executor has
// brought others to the chain without it, or brings none at all.
func (m *Machine) commitmentsLeftOut(which task.Round) {
	r := m.round(m.view, which)
	own, ok := r.commitments[m.self]
	if !ok || r.submitted > 0 || m.executor == m.self || own.Ballot.View != m.c.View.Number {
		return
	}
	onChain := m.c.Round(which).Commitments
	for _, k := range onChain {
		if k.Node == m.self {
			return
		}
	}
	if len(onChain) == 0 && !r.late {
		return
	}
	r.submitted = 1
	m.submit(task.Body{Commitments: &task.Commitments{Commitments: []task.Commitment{own}}})
}

// revealsLeftOut posts this node's own reveal when the executor has not: an
// executor must not be able to hide a FAULT.
func (m *Machine) revealsLeftOut(which task.Round) {
	r := m.round(m.view, which)
	if r.mine == nil || !r.revealed || !r.late || r.reported > 0 || m.executor == m.self {
		return
	}
	for _, v := range m.c.Round(which).Reveals {
		if v.Node == m.self {
			return
		}
	}
	r.reported = 1
	m.submitVerdicts(which, []task.Reveal{*r.mine})
}

// ran brings the enclave's result to the chain.
func (m *Machine) ran(s task.SignedResult) {
	if s.Result.View == m.view && m.executor == m.self {
		m.submit(task.Body{Result: &s})
	}
}

// review is the post-run round: the executor shows its exit, verifiers judge.
func (m *Machine) review() {
	if m.c.View.ExitNonce.IsZero() || !m.isMember() || m.c.View.Number != m.view {
		return
	}
	if r := m.round(m.view, task.PostRun); m.executor == m.self && !r.asked {
		r.asked = true
		m.do(QuoteExit{View: m.view, Nonce: m.c.View.ExitNonce})
	}
	m.follow(task.PostRun)
}
