package committee

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/sortition"
	"github.com/prytany/prytany/task"
)

// ballot names a round of the present view.
func (m *Machine) ballot(r task.Round) task.Ballot {
	return task.Ballot{Task: m.id, Attempt: m.c.Attempt, View: m.view, Round: r}
}

// round is what this node knows of a round of the present view.
func (m *Machine) round(which task.Round) *round {
	r := m.rounds[which]
	if r == nil {
		r = &round{commitments: map[task.NodeID]task.Commitment{}, reveals: map[task.NodeID]task.Reveal{}}
		if mine, ok := m.said[m.ballot(which)]; ok {
			r.mine = &mine
		}
		m.rounds[which] = r
	}
	return r
}

// heard finds the round that somebody speaks of; nil if it is none of the present
// view's.
func (m *Machine) heard(b task.Ballot) *round {
	named := b.Round == task.PreRun || b.Round == task.Recheck || b.Round == task.PostRun
	if !m.begun || !named || b != m.ballot(b.Round) {
		return nil
	}
	return m.round(b.Round)
}

// quoted sends this node's own evidence to those who judge it.
func (m *Machine) quoted(e Quoted) {
	which := e.Shown.Ballot.Round
	r := m.heard(e.Shown.Ballot)
	if r == nil || !m.executes() || len(r.shown.Evidence) != 0 { // one ballot, one evidence
		return
	}
	r.shown = e.Shown
	m.do(SendEvidence(e))
	m.stallTimer(which)
	if len(r.commitments) > 0 {
		m.flushTimer(which)
		m.flush(which)
	}
}

// stallTimer gives a round time to come to the chain by its usual way.
func (m *Machine) stallTimer(which task.Round) {
	m.timer(StallTimer, which, m.patience.Silence/2)
}

// stalled brings this node's own part of a round to the chain, when nobody else
// has. An executor shows its evidence to all: then the silence is its
// committee's, and not its own. A verifier brings its word.
func (m *Machine) stalled(which task.Round) {
	r := m.round(which)
	switch {
	case !m.isMember() || !m.awaited(which):
	case !m.executes():
		r.late = true
		m.commitmentsLeftOut(which)
		m.revealsLeftOut(which)
	case m.closedAt(which) == 0 && len(m.c.Round(which).Evidence) == 0:
		m.submit(task.Body{Show: &r.shown})
	}
}

func (m *Machine) evidenceHeard(e EvidenceHeard) {
	r := m.heard(e.Shown.Ballot)
	if r == nil || r.asked || e.From != m.c.View.Executor {
		return
	}
	r.shown, m.alive = e.Shown, true
	m.tryAppraise(e.Shown.Ballot.Round)
}

// tryAppraise asks for this node's appraisal of the executor's evidence.
func (m *Machine) tryAppraise(which task.Round) {
	r := m.round(which)
	if !m.c.Judges(m.self) {
		return
	}
	if r.mine != nil {
		m.recommit(r)
		return
	}
	if len(r.shown.Evidence) == 0 {
		r.shown = m.c.Shown(which) // it was not sent to this node, but everyone can see it
	}
	if len(r.shown.Evidence) == 0 || r.asked || which == task.PostRun && (m.c.Phase != ledger.Reviewing || m.c.View.ExitNonce.IsZero()) {
		return
	}
	r.asked = true
	m.do(Appraise{Ballot: m.ballot(which), Evidence: r.shown.Evidence})
}

// recommit says again, after a restart, what this node had committed to.
func (m *Machine) recommit(r *round) {
	if _, said := r.commitments[m.self]; !said && m.closedAt(r.mine.Ballot.Round) == 0 {
		m.do(CommitVerdict{Reveal: *r.mine})
	}
}

// appraised commits to this node's verdict. Nobody can read it yet (spec §7.5).
func (m *Machine) appraised(e Appraised) {
	r := m.heard(e.Ballot)
	if r == nil || r.mine != nil || !m.c.Judges(m.self) {
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
	r := m.heard(k.Ballot)
	if r == nil || m.c.Member(k.Node) == nil {
		return
	}
	if first, ok := r.commitments[k.Node]; ok {
		if first.Digest != k.Digest {
			m.accuse(k.Node, task.Accusation{Commitments: []task.Commitment{first, k}})
		}
		return
	}
	r.commitments[k.Node] = k
	if len(r.commitments) == 1 {
		m.flushTimer(k.Ballot.Round)
	}
	m.flush(k.Ballot.Round)
}

// opens says whether a reveal opens a commitment that this node knows, from its
// maker or from the chain: that is its only proof of who speaks.
func (m *Machine) opens(r *round, v task.Reveal) bool {
	if k, ok := r.commitments[v.Node]; ok && k.Digest == v.Digest() {
		return true
	}
	return m.c.CheckReveal(v) == nil
}

func (m *Machine) flushTimer(which task.Round) { m.timer(FlushTimer, which, m.patience.Flush) }

func (m *Machine) revealHeard(v task.Reveal) {
	r := m.heard(v.Ballot)
	if r == nil || !m.opens(r, v) { // a reveal has no signature: before this it is anybody's
		return
	}
	if _, ok := r.reveals[v.Node]; ok {
		return
	}
	r.reveals[v.Node] = v
	m.flush(v.Ballot.Round)
}

// flush is the executor's errand: it carries the commitments, and later the
// reveals, of all to the chain in one transaction each, as soon as they are
// complete or stragglers have had their time. Nobody depends on it: whoever is
// left out goes by itself (commitmentsLeftOut, revealsLeftOut).
func (m *Machine) flush(which task.Round) {
	r := m.round(which)
	if which == task.Recheck {
		r.shown = m.c.Shown(which)
	}
	over := which == task.PreRun && m.c.View.Canary != nil
	if !m.executes() || len(r.shown.Evidence) == 0 || over {
		return
	}
	if m.closedAt(which) == 0 {
		m.flushCommitments(which, r)
		return
	}
	set := m.validReveals(which)
	ok, _ := m.tally(which, set)
	good := which != task.PostRun && ok >= sortition.Quorum(m.c.JudgeSeats())
	complete := len(set) >= len(m.c.Round(which).Commitments) || r.late
	if good && !r.keysAsked && m.inEarnest(which) {
		r.keysAsked = true
		m.do(RequestKeys{Ballot: m.ballot(which), Evidence: r.shown.Evidence, Reveals: set})
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

func (m *Machine) flushCommitments(which task.Round, r *round) {
	judges := 0
	var set []task.Commitment
	for i := range m.c.Members {
		id := m.c.Members[i].Claim.Node
		if !m.c.Judges(id) {
			continue
		}
		judges++
		if k, ok := r.commitments[id]; ok {
			set = append(set, k)
		}
	}
	if n := len(set); n > r.submitted && (n == judges || r.late) {
		r.submitted = n
		m.submit(task.Body{Commitments: &task.Commitments{Commitments: set}})
	}
}

// inEarnest says whether the evidence that was judged was no canary. The enclave
// is asked once the commitments are closed, and not before (spec §7.6).
func (m *Machine) inEarnest(which task.Round) bool {
	return which == task.Recheck || m.round(which).earnest || m.c.Params.CanaryPPM == 0
}

// unveil asks the enclave whether its evidence was a canary.
func (m *Machine) unveil() {
	r := m.round(task.PreRun)
	if m.enclave && m.closedAt(task.PreRun) != 0 && m.c.View.Canary == nil && !r.unveiling && m.c.Params.CanaryPPM > 0 {
		r.unveiling = true
		m.do(Unveil{Ballot: m.ballot(task.PreRun)})
	}
}

func (m *Machine) unveiled(e Unveiled) {
	r := m.heard(e.Ballot)
	if r == nil || !m.executes() {
		return
	}
	if r.earnest = e.Canary == nil; !r.earnest {
		r.canary = e.Canary
		r.canary.Shown = r.shown
	}
	m.flush(task.PreRun)
}

func (m *Machine) submitVerdicts(which task.Round, set []task.Reveal) {
	shown := m.round(which).shown
	if len(shown.Evidence) == 0 { // after a restart
		shown = m.c.Shown(which)
	}
	m.submit(task.Body{Verdicts: &task.Verdicts{Shown: shown, Reveals: set}})
}

// closedAt is the height at which the chain closed a commit set.
func (m *Machine) closedAt(which task.Round) uint64 { return m.c.Round(which).ClosedAt }

// validReveals are those that open a commitment of the closed set.
func (m *Machine) validReveals(which task.Round) []task.Reveal {
	var set []task.Reveal
	for i := range m.c.Members {
		if v, ok := m.round(which).reveals[m.c.Members[i].Claim.Node]; ok && m.c.CheckReveal(v) == nil {
			set = append(set, v)
		}
	}
	return set
}

// tally counts reveals for the evidence that this node holds.
func (m *Machine) tally(which task.Round, set []task.Reveal) (ok, fault uint32) {
	c := *m.c
	c.Round(which).Evidence = m.round(which).shown.Evidence
	return c.Tally(which, set)
}

// followRound acts on what the chain says of a round: reveal once the set is
// closed, and look after what the executor may have left out.
func (m *Machine) followRound(which task.Round) {
	m.tryAppraise(which)
	r := m.round(which)
	if m.closedAt(which) == 0 {
		m.commitmentsLeftOut(which)
		return
	}
	if r.mine != nil && !r.revealed && m.c.CheckReveal(*r.mine) == nil {
		r.revealed = true
		m.do(SendReveal{Reveal: *r.mine})
		r.late = false
		m.flushTimer(which)
		m.stallTimer(which)
	}
	if m.executes() && !r.watched { // it may have missed every commitment
		r.watched = true
		m.flushTimer(which)
	}
	m.unveil()
	m.revealsLeftOut(which)
	m.otherEvidence(which)
	// What others brought to the chain counts as heard.
	for _, v := range m.c.Round(which).Reveals {
		r.reveals[v.Node] = v
	}
	m.flush(which)
}

// commitmentsLeftOut posts this node's own commitment when the executor has
// brought others to the chain without it, or brings none at all.
func (m *Machine) commitmentsLeftOut(which task.Round) {
	r := m.round(which)
	own, ok := r.commitments[m.self]
	if !ok || r.submitted > 0 || m.executes() {
		return
	}
	onChain := m.c.Round(which).Commitments
	if len(onChain) == 0 && !r.late || slices.ContainsFunc(onChain, func(k task.Commitment) bool { return k.Node == m.self }) {
		return
	}
	r.submitted = 1
	m.submit(task.Body{Commitments: &task.Commitments{Commitments: []task.Commitment{own}}})
}

// revealsLeftOut posts this node's own reveal when the executor has not: an
// executor must not be able to hide a FAULT.
func (m *Machine) revealsLeftOut(which task.Round) {
	r := m.round(which)
	onChain := slices.ContainsFunc(m.c.Round(which).Reveals, func(v task.Reveal) bool { return v.Node == m.self })
	if r.mine == nil || !r.revealed || !r.late || r.reported > 0 || m.executes() || onChain {
		return
	}
	r.reported = 1
	m.submitVerdicts(which, []task.Reveal{*r.mine})
}

// otherEvidence accuses an executor that showed this node faulty evidence and
// the chain something else.
func (m *Machine) otherEvidence(which task.Round) {
	r := m.round(which)
	onChain := m.c.Round(which).Evidence
	if r.mine == nil || r.mine.Verdict != task.Fault || r.accused || !r.late ||
		len(onChain) == 0 || task.H(task.TagEvidence, onChain) == r.mine.Evidence || task.H(task.TagEvidence, r.shown.Evidence) != r.mine.Evidence {
		return
	}
	r.accused = true
	m.submit(task.Body{Accuse: &task.Accusation{Ballot: m.ballot(which), Accused: m.c.View.Executor, Shown: &r.shown}})
}

// ran brings the enclave's result to the chain. One that blames an owner waits
// for that owner's release there: the chain would refuse it before (ADR 0011).
func (m *Machine) ran(s task.SignedResult) {
	if m.executes() && s.Result.View == m.view && s.Result.Attempt == m.c.Attempt {
		m.result = &s
		m.tryResult()
	}
}

func (m *Machine) tryResult() {
	s := m.result
	if s == nil {
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
	if m.c.View.ExitNonce.IsZero() {
		return
	}
	if r := m.round(task.PostRun); m.executes() && !r.asked {
		r.asked = true
		m.do(QuoteExit{Ballot: m.ballot(task.PostRun), Nonce: m.c.View.ExitNonce})
	}
	m.followRound(task.PostRun)
}
