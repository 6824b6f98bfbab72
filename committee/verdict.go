package committee

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// ballot names a round of a view, by the members and the executor as this node
// knows them.
func (m *Machine) ballot(view uint32, r task.Round) task.Ballot {
	m.sorted()
	return task.Ballot{Task: m.c.ID(), Attempt: m.c.Attempt, View: view, Round: r, Committee: m.set, Executor: m.executor}
}

// round is what this node knows of a round by the present members. What was
// said by a committee that is none any more stays in rounds of its own.
func (m *Machine) round(view uint32, r task.Round) *round { return m.roundOf(m.ballot(view, r)) }

func (m *Machine) roundOf(b task.Ballot) *round {
	if m.rounds[b] == nil {
		m.rounds[b] = &round{commitments: map[task.NodeID]task.Commitment{}, reveals: map[task.NodeID]task.Reveal{}}
	}
	return m.rounds[b]
}

// maxRounds bounds what others can make this node remember.
const maxRounds = 256

// heard finds the round that somebody speaks of; nil if it is none of this attempt's.
func (m *Machine) heard(b task.Ballot) *round {
	_, member := m.members[b.Executor]
	known := m.rounds[b] != nil || len(m.rounds) < maxRounds || b.Committee == m.set && member
	named := b.Round == task.PreRun || b.Round == task.Recheck || b.Round == task.PostRun
	if b.Task != m.c.ID() || b.Attempt != m.c.Attempt || !m.bounded(b.View) || !named || !known {
		return nil
	}
	return m.roundOf(b)
}

// bounded says whether a view is near enough to be kept in memory.
func (m *Machine) bounded(view uint32) bool { return view <= m.view+8 }

// quoted sends this node's own evidence to those who judge it.
func (m *Machine) quoted(e Quoted) {
	b := e.Shown.Ballot
	if b.View != m.view || b.Attempt != m.c.Attempt || m.executor != m.self {
		return
	}
	if b.Round == task.PreRun {
		m.quoting = false
	}
	r := m.heard(b)
	if r == nil || len(r.shown.Evidence) != 0 { // one ballot, one evidence
		return
	}
	r.shown = e.Shown
	if b == m.ballot(m.view, b.Round) {
		m.do(SendEvidence(e))
		m.stallTimer(b.Round)
		if len(r.commitments) > 0 { // of members who knew the committee before this node did
			m.flushTimer(b.View, b.Round)
			m.flush(b.View, b.Round)
		}
	}
	m.tryRequote()
}

// stallTimer gives a round time to come to the chain by its usual way.
func (m *Machine) stallTimer(which task.Round) {
	m.do(SetTimer{Timer: Timer{Kind: StallTimer, Attempt: m.c.Attempt, View: m.view, Round: which}, Millis: m.times.Silence / 2})
}

// stalled brings this node's own part of a round to the chain, when nobody else
// has. An executor shows its evidence to all: then the silence is its
// committee's, and not its own. A verifier brings its word.
func (m *Machine) stalled(which task.Round) {
	switch {
	case !m.decided || !m.isMember():
	case m.c.Phase == ledger.Electing:
		m.stallTimer(which)
	case m.c.View.Number != m.view || !m.awaited(which):
	case m.executor != m.self:
		m.round(m.view, which).late = true
		m.commitmentsLeftOut(which)
		m.revealsLeftOut(which)
	case m.closedAt(which) == 0 && len(m.c.Round(which).Evidence) == 0:
		m.submit(task.Body{Show: &m.round(m.view, which).shown})
	}
}

func (m *Machine) evidenceHeard(e EvidenceHeard) {
	b := e.Shown.Ballot
	if e.From != b.Executor {
		return
	}
	r := m.heard(b)
	if r == nil || r.asked {
		return
	}
	r.shown = e.Shown
	if b == m.ballot(b.View, b.Round) {
		m.alive = true
	}
	m.tryAppraise(b.View, b.Round)
}

// tryAppraise asks for this node's appraisal of the executor's evidence for the
// present members. Before the claims are closed these may still change: then
// there will be other evidence, and another verdict.
func (m *Machine) tryAppraise(view uint32, which task.Round) {
	r := m.round(view, which)
	if !m.isMember() || !m.decided || view != m.view || m.executor == m.self || m.confirmed && !m.c.Judges(m.self) {
		return
	}
	if r.mine != nil {
		m.recommit(r)
		return
	}
	if m.confirmed && m.c.View.Number == view && len(r.shown.Evidence) == 0 {
		r.shown = m.c.Shown(which) // it was not sent to this node, but everyone can see it
	}
	if len(r.shown.Evidence) == 0 || r.asked || which == task.PostRun && (m.c.Phase != ledger.Reviewing || m.c.View.ExitNonce.IsZero()) {
		return
	}
	r.asked = true
	m.do(Appraise{Ballot: m.ballot(view, which), Executor: m.executor, Members: m.Members(), Evidence: r.shown.Evidence})
}

// recommit says again, after a restart, what this node had committed to.
func (m *Machine) recommit(r *round) {
	if _, said := r.commitments[m.self]; !said && m.closedAt(r.mine.Ballot.Round) == 0 {
		m.do(CommitVerdict{Reveal: *r.mine})
	}
}

// tryRequote asks the enclave for evidence that answers the present members, if
// what there is answers others.
func (m *Machine) tryRequote() {
	if !m.decided || m.executor != m.self || m.enclave == nil || *m.enclave != m.view || m.quoting || m.confirmed && m.c.View.Number == m.view && m.c.View.Canary != nil {
		return
	}
	if r := m.round(m.view, task.PreRun); len(r.shown.Evidence) == 0 {
		m.quoting = true
		m.do(Requote{Ballot: m.ballot(m.view, task.PreRun), Members: m.Members()})
	}
}

// appraised commits to this node's verdict. Nobody can read it yet (spec §7.5).
func (m *Machine) appraised(e Appraised) {
	r := m.heard(e.Ballot)
	if r == nil || e.Ballot.View != m.view || r.mine != nil || !m.isMember() {
		return
	}
	r.mine = &task.Reveal{
		Ballot: e.Ballot, Node: m.self, Verdict: e.Verdict, Reason: e.Reason,
		Evidence: task.H(task.TagEvidence, e.Evidence), Salt: e.Salt,
	}
	m.do(CommitVerdict{Reveal: *r.mine})
	m.stallTimer(e.Ballot.Round)
}

func (m *Machine) commitmentHeard(k task.Commitment) {
	if _, ok := m.members[k.Node]; !ok {
		return
	}
	r := m.heard(k.Ballot)
	if r == nil {
		return
	}
	if first, ok := r.commitments[k.Node]; ok {
		if first.Digest != k.Digest {
			m.accuse(k.Node, task.Accusation{Commitments: []task.Commitment{first, k}})
		}
		return
	}
	r.commitments[k.Node] = k
	if b := k.Ballot; b == m.ballot(b.View, b.Round) {
		if len(r.commitments) == 1 {
			m.flushTimer(b.View, b.Round)
		}
		m.flush(b.View, b.Round)
	}
}

// opens says whether a reveal opens a commitment that this node knows, from its
// maker or from the chain: that is its only proof of who speaks.
func (m *Machine) opens(v task.Reveal) bool {
	if r := m.rounds[v.Ballot]; r != nil {
		if k, ok := r.commitments[v.Node]; ok && k.Digest == v.Digest() {
			return true
		}
	}
	return m.confirmed && m.c.CheckReveal(v) == nil
}

func (m *Machine) flushTimer(view uint32, which task.Round) {
	m.do(SetTimer{Timer: Timer{Kind: FlushTimer, Attempt: m.c.Attempt, View: view, Round: which}, Millis: m.times.Flush})
}

func (m *Machine) revealHeard(v task.Reveal) {
	if !m.opens(v) { // a reveal has no signature: before this it is anybody's
		return
	}
	r := m.heard(v.Ballot)
	if r == nil {
		return
	}
	if _, ok := r.reveals[v.Node]; ok {
		return
	}
	r.reveals[v.Node] = v
	if b := v.Ballot; b == m.ballot(b.View, b.Round) {
		m.flush(b.View, b.Round)
	}
}

// flush is the executor's errand: it carries the commitments, and later the
// reveals, of all to the chain in one transaction each, as soon as they are
// complete or stragglers have had their time. Nobody depends on it: whoever is
// left out goes by itself (commitmentsLeftOut, revealsLeftOut).
func (m *Machine) flush(view uint32, which task.Round) {
	r := m.round(view, which)
	if m.confirmed && which == task.Recheck {
		r.shown = m.c.Shown(which)
	}
	over := which == task.PreRun && m.c.View.Canary != nil
	if m.executor != m.self || !m.decided || view != m.view || len(r.shown.Evidence) == 0 || over {
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
	good := which != task.PostRun && ok >= sortition.Quorum(m.c.JudgeSeats())
	complete := len(set) >= len(m.c.Round(which).Commitments) || r.late
	if good && !r.keysAsked && m.inEarnest(which) {
		r.keysAsked = true
		m.do(RequestKeys{Ballot: m.ballot(view, which), Evidence: r.shown.Evidence, Reveals: set})
	}
	if n := len(set); n > r.reported && (complete || good && r.reported == 0) {
		r.reported = n
		m.submitVerdicts(which, set)
	}
	if complete && r.canary != nil && !r.told {
		r.told = true
		m.submit(task.Body{Canary: r.canary})
	}
}

// inEarnest says whether the evidence that was judged was no canary. The enclave
// is asked once the commitments are closed, and not before (spec §7.6).
func (m *Machine) inEarnest(which task.Round) bool {
	r := m.round(m.view, which)
	return which == task.Recheck || r.earnest || m.c.Params.CanaryPPM == 0
}

// unveil asks the enclave whether its evidence was a canary.
func (m *Machine) unveil() {
	r := m.round(m.view, task.PreRun)
	if m.executor == m.self && m.decided && m.closedAt(task.PreRun) != 0 && m.c.View.Canary == nil && !r.unveiling && m.c.Params.CanaryPPM > 0 {
		r.unveiling = true
		m.do(Unveil{Ballot: m.ballot(m.view, task.PreRun), Members: m.Members()})
	}
}

func (m *Machine) unveiled(e Unveiled) {
	r := m.heard(e.Ballot)
	if r == nil || e.Ballot.View != m.view || m.executor != m.self {
		return
	}
	if r.earnest = e.Canary == nil; !r.earnest {
		r.canary = e.Canary
		r.canary.Shown = r.shown
	}
	m.flush(m.view, task.PreRun)
}

func (m *Machine) submitVerdicts(which task.Round, set []task.Reveal) {
	shown := m.round(m.view, which).shown
	if len(shown.Evidence) == 0 { // after a restart
		shown = m.c.Shown(which)
	}
	m.submit(task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: set}})
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
	c.Round(which).Evidence = m.round(m.view, which).shown.Evidence
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
		m.stallTimer(which)
	}
	if m.executor == m.self && !r.watched { // it may have missed every commitment
		r.watched = true
		m.flushTimer(m.view, which)
	}
	m.unveil()
	m.revealsLeftOut(which)
	m.otherEvidence(which)
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
	if !ok || r.submitted > 0 || m.executor == m.self || m.view != m.c.View.Number {
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

// otherEvidence accuses an executor that showed this node faulty evidence and
// the chain something else.
func (m *Machine) otherEvidence(which task.Round) {
	r := m.round(m.view, which)
	onChain := m.c.Round(which).Evidence
	if r.mine == nil || r.mine.Verdict != task.Fault || r.accused || !r.late ||
		len(onChain) == 0 || task.H(task.TagEvidence, onChain) == r.mine.Evidence || task.H(task.TagEvidence, r.shown.Evidence) != r.mine.Evidence {
		return
	}
	r.accused = true
	m.submit(task.Body{Accuse: &task.Accusation{Ballot: m.c.Ballot(which), Accused: m.executor, Shown: &r.shown}})
}

// ran brings the enclave's result to the chain. One that blames an owner waits
// for that owner's release there: the chain would refuse it before (ADR 0011).
func (m *Machine) ran(s task.SignedResult) {
	if s.Result.View == m.view && m.executor == m.self {
		m.result = &s
		m.tryResult()
	}
}

func (m *Machine) tryResult() {
	s := m.result
	if s == nil || s.Result.View != m.view || m.executor != m.self {
		return
	}
	if _, _, blames := s.Result.Blames(); blames && m.c.CheckResult(*s) != nil {
		return
	}
	m.result = nil
	m.submit(task.Body{Result: s})
}

// review is the post-run round: the executor shows its exit, verifiers judge.
func (m *Machine) review() {
	if m.c.View.ExitNonce.IsZero() || !m.isMember() || m.c.View.Number != m.view {
		return
	}
	if r := m.round(m.view, task.PostRun); m.executor == m.self && !r.asked {
		r.asked = true
		m.do(QuoteExit{Ballot: m.ballot(m.view, task.PostRun), Nonce: m.c.View.ExitNonce})
	}
	m.follow(task.PostRun)
}
