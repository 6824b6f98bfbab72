package committee

import (
	"slices"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// ballot names the round of the present view.
func (m *Machine) ballot() task.Ballot {
	return task.Ballot{Task: m.id, Attempt: m.c.Attempt, View: m.view}
}

// present says whether somebody speaks of the present view.
func (m *Machine) present(b task.Ballot) bool { return m.begun && b == m.ballot() }

// take keeps the executor's pair.
func (r *round) take(s task.Showing) { r.shown, r.pair = s, s.Pair().Hash() }

// has says whether the pair is here.
func (r *round) has() bool { return !r.pair.IsZero() }

// quoted sends this node's own pair to those who judge it.
func (m *Machine) quoted(e Quoted) {
	if !m.present(e.Shown.Ballot) || !m.executes() || m.has() { // one ballot, one pair
		return
	}
	m.take(e.Shown)
	m.opening, m.place = e.Opening, e.Place
	m.do(SendEvidence{Shown: e.Shown})
	m.stallTimer()
	if len(m.commitments) > 0 {
		m.flushTimer()
		m.flush()
	}
}

// stallTimer gives a round time to come to the chain by its usual way, and leaves as
// much for another.
func (m *Machine) stallTimer() {
	m.timer(StallTimer, min(m.patience.Silence, m.c.AttestBy()-m.c.View.StartedAt)/2)
}

func (m *Machine) flushTimer() { m.timer(FlushTimer, m.patience.Flush) }

// stalled brings this node's own part of a round to the chain, when nobody else
// has. An executor shows its evidence to all: then the silence is its
// committee's, and not its own. A verifier brings its word, or the pair that its
// executor does not open.
func (m *Machine) stalled() {
	switch {
	case !m.isMember() || m.c.Phase != ledger.Attesting:
	case !m.executes():
		m.stuck = true
		m.ownWord()
	case !m.sealed() && !m.c.View.Pre.HasPair() && m.has():
		m.submit(task.Body{Show: &m.shown})
	}
}

// wordTimer gives the executor half of the time that this node has for its word once
// the commitments are closed. It is this node's money: its word comes to the chain in
// time, by itself if need be, and whatever has become of the turn meanwhile.
func (m *Machine) wordTimer() {
	m.timer(WordTimer, max(min(m.patience.Silence, m.c.Params.CommitBlocks)/2, 1))
}

// ownWord brings what this node has to say, and the executor has not brought; again,
// as long as the chain has not taken it.
func (m *Machine) ownWord() {
	if !m.isMember() || m.executes() {
		return
	}
	m.late, m.told = true, false
	clear(m.sent)
	m.commitmentsLeftOut()
	m.revealsLeftOut()
	m.faultLeftOut()
}

// speak brings a word of this node's own, and looks for it on the chain in time.
func (m *Machine) speak(b task.Body) {
	m.submit(b)
	m.wordTimer()
}

func (m *Machine) evidenceHeard(e EvidenceHeard) {
	if !m.present(e.Shown.Ballot) || e.From != m.c.View.Executor {
		return
	}
	if m.asked {
		if p := e.Shown.Pair(); p.Hash() != m.pair {
			m.second = &p
		}
		return
	}
	m.take(e.Shown)
	m.alive = true
	m.tryAppraise()
}

// tryAppraise asks for this node's appraisal of the executor's pair.
func (m *Machine) tryAppraise() {
	if !m.c.Roster().Judges(m.self) {
		return
	}
	if m.mine != nil {
		m.recommit()
		return
	}
	if s := m.c.Shown(); !m.has() && len(s.Evidence[0]) > 0 && len(s.Evidence[1]) > 0 {
		m.take(s) // it was not sent to this node, but everyone can see it
	}
	if m.has() && !m.asked {
		m.asked = true
		m.do(Appraise{Shown: m.shown})
	}
}

// recommit says again, after a restart, what this node had committed to.
func (m *Machine) recommit() {
	if _, said := m.commitments[m.self]; !said && !m.sealed() {
		m.do(CommitVerdict{Reveal: *m.mine})
	}
}

// appraised commits to this node's verdict. Nobody can read it yet (spec §7.5).
func (m *Machine) appraised(e Appraised) {
	if !m.present(e.Ballot) || m.mine != nil || !m.c.Roster().Judges(m.self) {
		return
	}
	m.mine = &task.Reveal{
		Ballot: e.Ballot, Node: m.self, Verdict: e.Verdict, Reason: e.Reason, Pair: e.Pair, Place: e.Place, Salt: e.Salt,
	}
	m.do(CommitVerdict{Reveal: *m.mine})
	m.stallTimer()
}

func (m *Machine) commitmentHeard(k task.Commitment) {
	if !m.present(k.Ballot) || m.c.Member(k.Node) == nil {
		return
	}
	if first, ok := m.commitments[k.Node]; ok {
		if first.Digest != k.Digest {
			m.accuse(k.Node, task.Accusation{Commitments: []task.Commitment{first, k}})
		}
		return
	}
	m.commitments[k.Node] = k
	if len(m.commitments) == 1 {
		m.flushTimer()
	}
	m.flush()
}

// opens says whether a reveal opens a commitment that this node knows, from its
// maker or from the chain: that is its only proof of who speaks.
func (m *Machine) opens(v task.Reveal) bool {
	if k, ok := m.commitments[v.Node]; ok && k.Digest == v.Digest() {
		return true
	}
	return m.c.CheckReveal(v) == nil
}

func (m *Machine) revealHeard(v task.Reveal) {
	if !m.present(v.Ballot) || !m.opens(v) { // a reveal has no signature: before this it is anybody's
		return
	}
	if _, ok := m.reveals[v.Node]; ok {
		return
	}
	m.reveals[v.Node] = v
	m.flush()
}

// flush is the executor's errand: it carries the commitments, and later the
// reveals with the opening of its pair, to the chain, together, as soon as they are
// complete or stragglers have had their time. Nobody depends on it: whoever is left
// out goes by itself (commitmentsLeftOut, revealsLeftOut).
func (m *Machine) flush() {
	if !m.executes() || !m.has() {
		return
	}
	if !m.sealed() {
		m.flushCommitments()
		return
	}
	set := m.validReveals()
	if !m.keysAsked && m.found(set) >= m.c.Roster().Quorum() {
		m.keysAsked = true
		m.do(RequestKeys{Opening: m.opening, Reveals: set})
	}
	complete := len(set) >= len(m.c.View.Pre.Commitments) || m.late
	needed := m.keysAsked && m.result != nil && m.c.View.Pre.Progress < ledger.Opened && !m.opened // the chain takes no result before
	if complete || needed {
		m.bringVerdicts(set)
	}
}

// flushUp is the end of the time for stragglers, or for what was sent to be on the
// chain: what is not there is sent again.
func (m *Machine) flushUp() {
	switch {
	case m.executes():
		m.late, m.opened = true, false
		clear(m.sent)
		m.flush()
	case !m.sealed():
		m.late = true
	}
}

func (m *Machine) flushCommitments() {
	judges, r := 0, m.c.Roster()
	if !m.late && len(m.commitments)+len(r.Out) < len(r.Members)-1 { // too few, whoever judges
		return
	}
	var set []task.Commitment
	for _, member := range r.Members {
		if r.Judges(member.Node) {
			judges++
			if k, ok := m.commitments[member.Node]; ok {
				set = append(set, k)
			}
		}
	}
	if len(set) < judges && !m.late {
		return
	}
	set = slices.DeleteFunc(set, func(k task.Commitment) bool { return m.sent[k.Node] || m.committed(k.Node) })
	for _, k := range set {
		m.sent[k.Node] = true
	}
	m.bring(task.SplitCommitments(set))
}

// bringVerdicts brings the reveals that the chain has not, and the opening with the
// first of them.
func (m *Machine) bringVerdicts(set []task.Reveal) {
	var fresh []task.Reveal
	for _, v := range set {
		if !m.sent[v.Node] && !m.spoken(v.Node) {
			m.sent[v.Node] = true
			fresh = append(fresh, v)
		}
	}
	var o *task.Opening
	if m.c.View.Pre.Progress < ledger.Opened && !m.opened {
		m.opened, o = true, &m.opening
	}
	m.bring(task.SplitVerdicts(m.ballot(), fresh, o))
}

// bring sends transactions to the chain, and looks for them there in time.
func (m *Machine) bring(all []task.Body) {
	for _, b := range all {
		m.submit(b)
	}
	if len(all) > 0 {
		m.flushTimer()
	}
}

// found is how many seats have named the genuine place, as this executor, who knows
// it before the chain does, counts them.
func (m *Machine) found(set []task.Reveal) uint32 {
	ok, _ := m.c.TallyFor(m.opening.Pair, m.place, set)
	return ok
}

// sealed says whether the chain has closed the commit set.
func (m *Machine) sealed() bool { return m.c.View.Pre.Progress != ledger.Collecting }

// validReveals are those that open a commitment of the closed set.
func (m *Machine) validReveals() []task.Reveal {
	var set []task.Reveal
	for i := range m.c.Members {
		id := m.c.Members[i].Claim.Node
		v, ok := m.reveals[id]
		if ok && !m.valid[id] { // once: what is closed stays so
			m.valid[id] = m.c.CheckReveal(v) == nil
		}
		if m.valid[id] {
			set = append(set, v)
		}
	}
	return set
}

// followRound acts on what the chain says of the round: reveal once the set is
// closed, and look after what the executor may have left out.
func (m *Machine) followRound() {
	m.tryAppraise()
	if !m.sealed() {
		m.commitmentsLeftOut()
		return
	}
	if !m.watched {
		m.watched, m.late, m.stuck = true, false, false
		clear(m.sent)
		m.timer(StallTimer, min(m.patience.Silence, m.c.Deadline-m.c.View.Pre.ClosedAt)/2)
		if m.executes() { // stragglers have less time than those who would else bring their own words
			m.timer(FlushTimer, max(min(m.patience.Flush, m.c.Params.CommitBlocks/3), 1))
		}
	}
	if m.mine != nil && !m.revealed && m.c.CheckReveal(*m.mine) == nil {
		m.revealed = true
		m.do(SendReveal{Reveal: *m.mine})
		m.wordTimer()
	}
	m.revealsLeftOut()
	m.faultLeftOut()
	// What others brought to the chain counts as heard. Members say their words to the
	// executor alone, so it is the one to find two of one mouth.
	for _, k := range m.c.View.Pre.Commitments {
		if first, ok := m.commitments[k.Node]; ok && first.Digest != k.Digest {
			m.accuse(k.Node, task.Accusation{Commitments: []task.Commitment{first, k}})
		}
	}
	for _, v := range m.c.View.Pre.Reveals {
		m.reveals[v.Node] = v
	}
	m.flush()
}

// commitmentsLeftOut posts this node's own commitment when the executor has
// brought others to the chain without it, or brings none at all.
func (m *Machine) commitmentsLeftOut() {
	own, ok := m.commitments[m.self]
	if !ok || m.sent[m.self] || m.executes() || m.sealed() || m.committed(m.self) {
		return
	}
	if len(m.c.View.Pre.Commitments) == 0 && !m.late {
		return
	}
	m.sent[m.self] = true
	m.speak(task.Body{Commitments: task.PackCommitments([]task.Commitment{own})})
}

// committed says whether a node's commitment is on the chain.
func (m *Machine) committed(id task.NodeID) bool {
	return slices.ContainsFunc(m.c.View.Pre.Commitments, func(k task.Commitment) bool { return k.Node == id })
}

// revealsLeftOut posts this node's own reveal when the executor has not: an
// executor must not be able to hide a doubt.
func (m *Machine) revealsLeftOut() {
	if m.mine == nil || !m.revealed || !m.late || m.sent[m.self] || m.executes() || m.spoken(m.self) {
		return
	}
	m.sent[m.self] = true
	m.speak(task.Body{Verdicts: task.PackVerdicts(m.ballot(), []task.Reveal{*m.mine}, nil)})
}

// spoken says whether a node's reveal is on the chain.
func (m *Machine) spoken(id task.NodeID) bool {
	return slices.ContainsFunc(m.c.View.Pre.Reveals, func(v task.Reveal) bool { return v.Node == id })
}

// faultLeftOut shows the chain what it cannot see itself: that the executor has
// signed another pair than it has opened, that both pieces are good, or that
// neither is and it does not say which should be, or at least that it has shown
// something that it does not open.
func (m *Machine) faultLeftOut() {
	round := &m.c.View.Pre
	said := m.spoken(m.self) || m.revealed && m.sent[m.self] // what this node sends comes in order
	if m.mine == nil || !m.has() || m.told || m.executes() || round.Faulty || !said || m.mine.Pair != m.pair {
		return
	}
	mine, other := m.shown.Pair(), m.c.Pair()
	if m.second != nil {
		other = *m.second
	}
	if (m.second != nil || round.HasPair()) && other.Digests != mine.Digests {
		m.told = true
		m.accuse(m.c.View.Executor, task.Accusation{Pairs: []task.Pair{mine, other}})
		return
	}
	hidden := !round.HasPair() && m.stuck
	against := m.mine.Verdict == task.Fault && (round.Progress >= ledger.Opened || m.late) ||
		m.mine.Verdict == task.OK && round.Progress >= ledger.Opened && m.mine.Place != round.Place
	if hidden || against && (len(round.Evidence[0]) == 0 || len(round.Evidence[1]) == 0) {
		m.told = true
		m.speak(task.Body{Show: &m.shown})
	}
}

// unanswered calls for the owners' keys before the chain: from then on it is their
// silence, and until then it would be this node's.
func (m *Machine) unanswered(k task.Call) {
	if m.present(k.Ballot) && m.executes() {
		m.call = &k
		m.tryCall()
	}
}

// tryCall brings the call to the chain as soon as that knows the enclave as good.
func (m *Machine) tryCall() {
	if k := m.call; k != nil && !m.called && m.c.Phase == ledger.Running && !m.c.View.Called() {
		m.called = true
		m.submit(task.Body{Call: k})
	}
}

// ran brings the enclave's result to the chain. One that blames an owner waits
// for that owner's release there: the chain would refuse it before (ADR 0011).
func (m *Machine) ran(s task.SignedResult) {
	if m.executes() && s.Result.View == m.view && s.Result.Attempt == m.c.Attempt {
		m.result = &s
		m.flush()
		m.tryResult()
	}
}

// tryResult brings the result at once, close behind the verdicts. The chain may take
// it before them, and then refuses it: so it is brought again when the chain waits for
// one.
func (m *Machine) tryResult() {
	s, early := m.result, m.c.Phase < ledger.Running
	switch {
	case s == nil || early && m.hasty:
		return
	case m.c.Phase > ledger.Running:
		m.result = nil
		return
	}
	if _, _, blames := s.Result.Blames(); blames && m.c.CheckResult(*s) != nil {
		return
	}
	if m.hasty = early; !early {
		m.result = nil
	}
	m.submit(task.Body{Result: s})
}

// tryExit asks this node's enclave how it has ended, as soon as the chain has asked.
func (m *Machine) tryExit() {
	if m.c.Stage == ledger.Leaving && m.executes() && !m.leaving {
		m.leaving = true
		m.do(QuoteExit{Ballot: m.ballot(), Nonce: m.c.View.ExitNonce})
	}
}

// exited brings the exit to the chain.
func (m *Machine) exited(e Left) {
	if m.present(e.Exit.Ballot) && m.executes() {
		m.submit(task.Body{Exit: &e.Exit})
	}
}
