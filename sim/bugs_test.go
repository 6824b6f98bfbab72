//go:build planted

package sim

// bugs are what could be wrong, and was not, in the code that the simulator drives.
var bugs = []bug{
	{
		"commitment sent before it is stored", "node/session.go", `	if err := s.cfg.Journal.Reveal(r); err != nil {
		s.cfg.Log.Error("verdict not stored, so not committed to", "task", s.task.Short(), "err", err)
		return
	}
	k := task.Commitment{Ballot: r.Ballot, Node: s.self, Digest: r.Digest()}
	k.Signature = task.Sign(s.cfg.Peer, k.Hash())`, `	k := task.Commitment{Ballot: r.Ballot, Node: s.self, Digest: r.Digest()}
	k.Signature = task.Sign(s.cfg.Peer, k.Hash())
	s.send(Message{Commitment: &k})
	if err := s.cfg.Journal.Reveal(r); err != nil {
		return
	}`, 10, "a word is stored before it is said",
	},
	{
		"verdict committed though its journal failed", "node/session.go", `not committed to", "task", s.task.Short(), "err", err)
		return`, `not committed to", "task", s.task.Short(), "err", err)`, 200, "a word is stored before it is said",
	},
	{
		"a pair is shown though another was before the crash", "node/session.go", `		s.warn("evidence not stored, so not shown", err)
		return
`, `		s.warn("evidence not stored, so not shown", err)
`, 400, "nobody honest is slashed|an honest node says one thing|a word is stored before it is said",
	},
	{
		"quorum off by one", "sortition/sortition.go", `uint32(2*uint64(n)/3) + 1 }`, `max(1, uint32(2*uint64(n)/3)) }`, 100, "keys wait for a quorum|a quorum passes over",
	},
	{
		"stake read live", "ledger/apply.go", `b.admit(c, n.Node, n.Profile, n.StakeAt(c.Epoch), k)`, `b.admit(c, n.Node, n.Profile, n.Bond, k)`, 50, "stake counts from the snapshot",
	},
	{
		"stake counts an epoch early", "ledger/records.go", `const activationEpochs = 2`, `const activationEpochs = 1`, 100, "stake counts from the snapshot",
	},
	{
		"jail leaves the stake in the draw", "ledger/slash.go", `	b.unstake(&n)
`, ``, 100, "who is jailed draws nothing|stake counts from the snapshot",
	},
	{
		"nonces not looked for", "attest/attest.go", `case e.Nonce != want.Nonce:`, `case e.Nonce == task.Hash{1}:`, 20, "an honest verifier says what is true|evidence answers the members' nonce|proof beats words|nobody honest is slashed",
	},
	{
		"owners are silent whom nobody has called", "ledger/verdict.go", `b.enter(c, Computing)`, `b.enter(c, Unlocking)`, 50, "owners are called before they are blamed",
	},
	{
		"owners are blamed at once when they are called", "ledger/phase.go", `return b.Height + p.ReleaseBlocks`, `return b.Height + 1`, 50, "owners are called before they are blamed",
	},
	{
		"writable state not looked at", "attest/attest.go", `case e.State != want.State:`, `case len(e.State) == 0:`, 50, "an honest verifier says what is true|keys go to attested enclaves|proof beats words",
	},
	{
		"exit of another enclave", "attest/attest.go", `case want.Keys != nil && *want.Keys != e.Keys:`, `case want.Keys != nil && e.Keys == (Keys{}):`, 800, "a dirty exit is seen|receipts verify",
	},
	{
		"words count before the set is closed", "ledger/verdict.go", `	if round.Progress == Collecting {
		return task.Refuse("commits-open"`, `	if round.Progress > Decided {
		return task.Refuse("commits-open"`, 100, "reveals wait for the commitments|a pair is opened when the set is closed",
	},
	{
		"a member reveals before the set is closed", "committee/verdict.go", `		m.commitmentsLeftOut()
		return
	}
	if !m.watched`, `		m.commitmentsLeftOut()
	}
	if !m.watched`, 100, "reveals wait for the commitments",
	},
	{
		"commitments after the set is closed", "ledger/verdict.go", `	if round.Progress != Collecting {
		return task.Refuse("commits-closed"`, `	if round.Progress > Decided {
		return task.Refuse("commits-closed"`, 2500, "a closed set is closed",
	},
	{
		"a reveal need not open its commitment", "ledger/case.go", `i < 0 || round.Commitments[i].Digest != v.Digest()`, `i < 0`, 200, "a reveal opens its commitment",
	},
	{
		"a commitment may be copied", "task/vote.go", `func (r Reveal) Digest() Hash { return H(TagCommitment, Encode(r)) }`, `func (r Reveal) Digest() Hash { r.Node = NodeID{}; return H(TagCommitment, Encode(r)) }`, 10, "a word is stored before it is said|a reveal opens its commitment",
	},
	{
		"who was passed over judges again", "roster/roster.go", `return o.Passed && o.Node == id && o.From <= r.View`, `return false`, 100, "only judges are heard",
	},
	{
		"tickets counted, not owners", "roster/roster.go", `		if !slices.ContainsFunc(r.Out,`, `		if t.Seat > 0 || !slices.ContainsFunc(r.Out,`, 100, "the executor owns the lowest ticket",
	},
	{
		"one member skips for many", "ledger/turn.go", `v.View != t.View || !seen.first(v.Node) {`, `v.View != t.View || seen == nil {`, 200, "a quorum passes over",
	},
	{
		"claims close a block late", "ledger/phase.go", `return b.Height + p.ClaimBlocks`, `return b.Height + p.ClaimBlocks + 1`, 50, "claims close in time",
	},
	{
		"nobody waits for late claims", "ledger/block.go", `return c.Enough() && 3*uint64(c.Roster().Total()) >= 2*uint64(c.Seats)`, `return c.Enough()`, 100, "claims close in time",
	},
	{
		"claims are waited for to the last block", "ledger/apply.go", `c.gathered() { // they were waited for`, `c.Members == nil {`, 100, "claims close in time",
	},
	{
		"the beacon of another height is taken", "beacon/beacon.go", `return b.key == k && b.message == message`, `return b.key == k`, 20, "a beacon is its height's",
	},
	{
		"a task is seeded by the next block's beacon", "beacon/group.go", `	if k == Own {
		return 1
	}
	return 2`, `	return 1`, 20, "nobody knows a seed before its task is final",
	},
	{
		"a doubt with proof is shrugged off", "ledger/verdict.go", `if c.Stage != Condemned && (c.doubted() || round.Other != nil) && b.wrong(c) != 0 {`, `if c.Stage != Condemned && round.Other != nil && b.wrong(c) != 0 {`, 100, "proof beats words",
	},
	{
		"two good pieces are right", "ledger/verdict.go", `		case first == task.OK && second == task.OK:
			return TwoGood
`, ``, 200, "proof beats words|nobody honest is slashed|a liar pays",
	},
	{
		"the executor chooses the place", "ledger/verdict.go", `	beta, err := vrf.Verify(vrf.PublicKey(m.Node.VRF), o.Pair.Ballot.PairInput(), vrf.Proof(o.Proof))
	if err != nil {
		return 0, task.Refuse("pair-false", "the proof of the place is not by the executor's VRF key: %v", err)
	}
	if place = task.PairPlace(beta); o.Pair.Digests[place] != task.H(task.TagEvidence, o.Evidence) {`, `	_ = vrf.Verify
	if place = 0; o.Pair.Digests[1] == task.H(task.TagEvidence, o.Evidence) {
		place = 1
	}
	if o.Pair.Digests[place] != task.H(task.TagEvidence, o.Evidence) {`, 200, "the place is the executor's VRF's",
	},
	{
		"a guess costs nothing", "ledger/verdict.go", `		b.slash(c, id, WrongPick, seats*b.Params.WrongPick, nil)
`, ``, 100, "a false word costs",
	},
	{
		"who found the fault gets a verifier's loss", "ledger/verdict.go", `	b.slash(c, id, FalseOK, seats*each, nil)
`, `	b.slash(c, id, FalseOK, seats*each, c.finders())
`, 200, "nobody earns by a verifier's word",
	},
	{
		"bad evidence slashes nobody", "ledger/verdict.go", `	b.slash(c, id, cause, want, c.finders())
`, `	_, _ = want, cause
`, 100, "a liar pays",
	},
	{
		"what is unbonding is not slashed", "ledger/slash.go", `	all := n.Bond
	for _, u := range n.Unbonding {
		all += u.Amount
	}
	return all`, `	return n.Bond`, 100, "a lie costs its share|a liar pays",
	},
	{
		"an unproven accusation slashes", "ledger/accuse.go", `	if !proven {
		return false, nil
	}
	for`, `	for`, 200, "nobody honest is slashed",
	},
	{
		"an owner brings nothing that its executor keeps back", "owner/release.go", `		if s.due <= height {`, `		if s.due == 0 {`, 200, "who has the key is found good",
	},
	{
		"who is left out speaks too late", "committee/verdict.go", `	m.timer(WordTimer, max(min(m.patience.Silence, m.c.Params.CommitBlocks)/2, 1))`, `	m.timer(WordTimer, m.patience.Silence)`, 400, "nobody honest is slashed",
	},
	{
		"an owner does not appraise", "owner/release.go", `a.Verdict != task.OK {
			return ev,`, `a.Verdict == 0 {
			return ev,`, 100, "keys go to attested enclaves",
	},
	{
		"anyone releases for an owner", "ledger/call.go", `case int(r.Party) >= len(parties) || !parties[r.Party].Releases || !parties[r.Party].SpeaksFor(from):`, `case int(r.Party) >= len(parties) || !parties[r.Party].Releases:`, 100, "owners release their own keys",
	},
	{
		"a closed case is settled again", "ledger/accuse.go", `if c.Phase == Reviewing {`, `if c.Phase >= Reviewing {`, 400, "supply is conserved|a task is settled once",
	},
	{
		"a split loses its remainder", "ledger/settle.go", `toParty(0, locks[0], WhyRefund))`, `toParty(0, locks[0]/10*10, WhyRefund))`, 20, "supply is conserved|a settlement pays what was locked",
	},
	{
		"a slash burns nothing", "ledger/slash.go", `	b.meta.Burned += cut - total(s.Rewards)
`, ``, 100, "supply is conserved",
	},
	{
		"a reward is paid twice", "ledger/slash.go", `		b.credit(f.account, part)
`, `		b.credit(f.account, part)
		b.credit(f.account, part)
`, 100, "supply is conserved",
	},
	{
		"finders get all of a slash", "ledger/slash.go", `min(cut/2, cut-min(cut, first))`, `cut-min(cut, first)`, 100, "half of a slash is burned",
	},
	{
		"a silent owner pays nothing", "ledger/settle.go", `executor: byCulprit, fixed: true, verifier: byCulprit, royalty: byCulprit}`, `executor: byRequester, fixed: true, verifier: byRequester}`, 200, "who is at fault pays",
	},
	{
		"who guessed wrong is paid", "ledger/settle.go", `if says(v) == ForGenuine && o != BadEnclave {`, `if says(v) != Elsewhere && o != BadEnclave {`, 100, "work is paid by the table",
	},
	{
		"a dirty exit is clean", "ledger/verdict.go", `	if b.appraise(c, task.PostRun, c.View.Exit) == task.Fault {`, `	if len(c.View.Exit) == 0 {`, 200, "a dirty exit is seen|receipts verify",
	},
	{
		"lost time is the function's failure", "ledger/apply.go", `if s.Result.Outcome == task.OutOfTime {`, `if s.Result.Outcome == 0 {`, 100, "lost time is no result|a function is blamed for its own|receipts verify",
	},
	{
		"lost time is slashed", "ledger/verdict.go", `	b.passOver(c, Pass{Why: RanOutOfTime, Result: c.View.Late})
`, `	b.silent(c)
	b.passOver(c, Pass{Why: RanOutOfTime, Result: c.View.Late})
`, 100, "lost time costs nothing|nobody honest is slashed|receipts verify",
	},
	{
		"a run without end", "ledger/phase.go", `		b.silent(c)
		b.passOver(c, Pass{Why: BroughtNothing}) // to the next view
`, `		b.extend(c, b.Height+100)
`, 200, "every task ends",
	},
	{
		"giving up is free", "ledger/verdict.go", `		b.silent(c)
		b.passOver(c, Pass{Why: GaveUp`, `		b.passOver(c, Pass{Why: GaveUp`, 400, "who gives up pays for silence|receipts verify",
	},
	{
		"an enclave that runs is given up", "committee/machine.go", `if m.executes() && !m.enclave {`, `if m.executes() {`, 20, "nobody gives up an enclave that it has",
	},
	{
		"words slash", "ledger/turn.go", `	b.passOver(c, Pass{Why: FoundSilent})
`, `	b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
	b.passOver(c, Pass{Why: FoundSilent})
`, 300, "words cost nothing|nobody honest is slashed",
	},
	{
		"words count at once", "ledger/turn.go", `case b.Height < c.SkipFrom():`, `case b.Height == 0:`, 200, "words wait",
	},
	{
		"words outweigh evidence", "ledger/turn.go", `	case c.HasShown():
		return task.Refuse("skip-stale"`, `	case b.Height == 0:
		return task.Refuse("skip-stale"`, 800, "words wait",
	},
	{
		"a decline is slashed", "ledger/turn.go", `	b.saveCase(c, Fact{Kind: FactDeclined, Node: d.Node, Reason: d.Reason, Party: d.Party})
`, `	b.slash(c, d.Node, Absent, b.Params.Absent, nil)
	b.saveCase(c, Fact{Kind: FactDeclined, Node: d.Node, Reason: d.Reason, Party: d.Party})
`, 100, "a decline costs nothing|nobody honest is slashed",
	},
	{
		"one word blames an owner", "ledger/turn.go", `nodes > 1 && 2*seats > able`, `nodes > 0`, 400, "an honest owner is not blamed",
	},
	{
		"whose file does not come is not looked at", "ledger/turn.go", `d.Turn && d.Decline.Lack == lack`, `d.Turn && d.Decline.Reason == lack.Reason`, 400, "an honest owner is not blamed|who is at fault pays",
	},
	{
		"the requester pays for everybody", "ledger/settle.go", `return &locks[purseOf(parties, e.Party)]`, `return &locks[0]`, 200, "who is at fault pays",
	},
	{
		"one release stands for all", "ledger/case.go", `func(r task.Release) bool { return r.Party == party })`, `func(r task.Release) bool { return true })`, 200, "nobody honest is slashed|every task ends|silence|supply|receipts verify",
	},
	{
		"who declines is asked again", "ledger/case.go", `roster.Out{Node: d.Decline.Node, From: d.From}`, `roster.Out{Node: d.Decline.Node, From: d.From + 1}`, 100, "the executor owns the lowest ticket|a declined turn is over",
	},
	{
		"who is busy is asked", "roster/roster.go", `!m.Able || m.Busy`, `!m.Able`, 100, "the executor owns the lowest ticket",
	},
	{
		"silence takes a share of all", "ledger/slash.go", `Silence, due, nil)`, `Silence, min(due, due/20)+b.atStake(c.View.Executor)/20, nil)`, 200, "silence is burned",
	},
	{
		"others gain by silence", "ledger/slash.go", `Silence, due, nil)`, `Silence, due, []share{c.share(c.Members[0].Claim.Node)})`, 200, "silence is burned",
	},
	{
		"who withholds a file loses nothing", "ledger/settle.go", `		*from -= s.Burned
`, `		s.Burned = 0
`, 300, "who is at fault pays",
	},
	{
		"a busy worker says nothing", "committee/machine.go", `	m.decline()
	m.lost = true
`, `	m.lost = true
`, 400, "nobody honest is slashed",
	},
	{
		"decline sent before it is stored", "node/session.go", `	if err := s.cfg.Journal.Decline(d); err != nil {
		s.cfg.Log.Error("decline not stored, so not sent", "task", s.task.Short(), "err", err)
		return
	}
`, ``, 100, "a word is stored before it is said",
	},
	{
		"room has one price", "ledger/room.go", `func (p Params) Load(open uint64) uint64 { return 1 << min(9, 10*open/p.MaxOpen) }`, `func (p Params) Load(uint64) uint64 { return 1 }`, 20, "room gets dearer as it gets scarce",
	},
	{
		"room costs nothing in time", "ledger/room.go", `	return due
`, `	return due / 2
`, 20, "rent is for blocks|supply is conserved|receipts verify",
	},
	{
		"a policy may suit nobody else", "ledger/apply.go", `	if has >= need {
		return nil`, `	if has >= need || need > 0 {
		return nil`, 20, "no policy picks its judges",
	},
	{
		"a machine is its first node's for ever", "ledger/machine.go", `		return task.Refuse("tee-taken", "the TEE %s belongs to node %s until block %d, when the last of its bond comes back", tee.Short(), id.Short(), n.Unbonding[len(n.Unbonding)-1].Height)
	}
	return nil`, `		return task.Refuse("tee-taken", "the TEE %s belongs to node %s until block %d, when the last of its bond comes back", tee.Short(), id.Short(), n.Unbonding[len(n.Unbonding)-1].Height)
	}
	return task.Refuse("tee-taken", "for ever")`, 20, "a machine is free when the bond is back",
	},
	{
		"a machine is free before the bond is back", "ledger/machine.go", `	case n.Bond > 0:
`, `	case n.Bond > 0 && n.Lapsed:
`, 20, "one machine, one node",
	},
	{
		"old quotes register", "ledger/machine.go", `	if value == nil || height+b.Params.FreshBlocks <= b.Height && height != Read(b.state).Beacon().Height {
`, `	if value == nil {
`, 20, "a registration is fresh",
	},
	{
		"a record is left behind", "ledger/machine.go", `	n.Before, n.Misses, n.Counts, n.Lost = id, from.Misses, from.Counts, from.Lost
`, `	n.Before = id
`, 20, "a record stays with its machine",
	},
	{
		"who never shows its machine draws", "ledger/machine.go", `			b.unstake(&n)
`, ``, 20, "who does not show its machine draws nothing",
	},
	{
		"values of today, not of the seed", "ledger/block.go", `	ref := b.set(c.Values)`, `	ref := b.reference()`, 400, "proof beats words|nobody honest is slashed|an honest verifier says what is true|receipts verify|keys go to attested enclaves",
	},
	{
		"a minority changes the values", "ledger/reference.go", `	if 3*power <= 2*total {`, `	if power == 0 {`, 50, "two thirds change the values",
	},
	{
		"a change of values counts twice", "ledger/reference.go", `	if g.Number != v.Number+1 {`, `	if g.Number > v.Number+1 {`, 200, "two thirds change the values",
	},
	{
		"who is shut out draws", "attest/profile.go", `	case Kind(tee.Kind) != SEVSNP && p.TCB < floor:`, `	case Kind(tee.Kind) != SEVSNP && p.TCB < 1 && floor > 0:`, 100, "who is shut out does not draw|nobody honest is slashed|an honest verifier says what is true",
	},
	{
		"a block with claims that do not count", "ledger/pack.go", `		if err := b.Apply(tx); err != nil {`, `		if err := b.Apply(tx); err != nil && signed {`, 20, "no block brings claims that do not count",
	},
	{
		"claims without a fee bring idle ones along", "ledger/apply.go", `	if added == 0 || free && added < len(set) {`, `	if added == 0 {`, 100, "no block brings claims that do not count",
	},
	{
		"free claims stand anywhere in a block", "ledger/pack.go", `		if signed {
			return`, `		if signed && tx.Size() == 0 {
			return`, 200, "no block brings claims that do not count",
	},
	{
		"who is a member claims again", "ledger/apply.go", `c.Member(k.Node) != nil || !seen.first(k.Node) {`, `!seen.first(k.Node) {`, 20, "no block brings claims that do not count|busy is brought along",
	},
	{
		"anyone says that another is busy", "ledger/apply.go", `		if err := d.Check(n.Peer); err != nil {
			return Member{}, err
		}
`, `		_ = d
`, 200, "no block brings claims that do not count",
	},
	{
		"an honest proposer packs what does not count", "ledger/pack.go", `!= busy || b.claims([]task.Claim{k}, true) != nil {`, `!= busy {`, 50, "what is right in a block is taken|busy is brought along",
	},
	{
		"who was first cuts busy off", "ledger/pack.go", `		if (k.Busy != nil) != busy || b.claims(`, `		if busy || b.claims(`, 100, "busy is brought along",
	},
	{
		"one operator is a quorum", "roster/roster.go", `ppm := r.Rules.OperatorPPM; ppm > 0 {`, `ppm := r.Rules.OperatorPPM; ppm > million {`, 400, "keys wait for a quorum",
	},
	{
		"the executor's friend at its own operator counts", "roster/roster.go", `		if m.Operator != executor.Operator {`, `		if m.Operator != executor.Operator || m.Seats > 0 {`, 400, "keys wait for a quorum",
	},
}

// early lets a reveal count though the set of commitments is open.
var early = edit{"ledger/case.go", `	if round.Progress == Collecting {
		return task.Refuse("commits-open"`, `	if round.Progress > Decided {
		return task.Refuse("commits-open"`}

// also are the other places of bugs whose rule stands in more than one.
var also = map[string][]edit{
	"words count before the set is closed":      {early},
	"a member reveals before the set is closed": {early},
}
