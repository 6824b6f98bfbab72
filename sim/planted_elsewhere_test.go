//go:build planted

package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tested is a bug of which a whole network would say nothing: it takes a machine, a
// terminal or a policy that no world here has, or an attacker who has a genesis, a
// certificate or a processor of his own making. A test of the package's own finds it.
type tested struct {
	name, file, old, new string
	pkg, test            string
}

// run has go test play one test of each of some packages, with an overlay or "".
func run(overlay string, tests []string, pkgs ...string) (string, error) {
	args := []string{"test", "-count=1", "-vet=off"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	args = append(args, "-run", "^("+strings.Join(tests, "|")+")$")
	for _, p := range pkgs {
		args = append(args, "./"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPlantedElsewhere plants the bugs that other packages' tests must find, after
// these have passed without any.
func TestPlantedElsewhere(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		of := map[string][]string{}
		for _, b := range elsewhere {
			of[b.pkg] = append(of[b.pkg], b.test)
		}
		for pkg, tests := range of {
			if out, err := run("", tests, pkg); err != nil {
				t.Errorf("%s without a bug: %v\n%s", pkg, err, out)
			}
		}
	})
	for _, b := range elsewhere {
		t.Run(b.name, func(t *testing.T) {
			out, err := run(overlay(t, t.TempDir(), edit{b.file, b.old, b.new}), []string{b.test}, b.pkg)
			if err == nil || !strings.Contains(out, "--- FAIL: "+b.test) {
				t.Errorf("%s of %s does not find it: %v\n%s", b.test, b.pkg, err, out)
			}
		})
	}
}

// TestPlantedApplies: each bug finds what it replaces, once.
func TestPlantedApplies(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) { overlay(t, t.TempDir(), b.edits()...) })
	}
	for _, b := range elsewhere {
		t.Run(b.name, func(t *testing.T) { overlay(t, t.TempDir(), edit{b.file, b.old, b.new}) })
	}
}

// TestPlantedIsWritten: each planted bug stands in docs/simulation.md, and with the
// attack that it puts back if there was one; and no bug stands there that is none.
func TestPlantedIsWritten(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "docs", "simulation.md"))
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]bool{}
	for _, b := range bugs {
		planted[b.name] = true
	}
	for _, b := range elsewhere {
		planted[b.name] = true
		if row := fmt.Sprintf("| %s | `%s` %s |\n", b.name, b.pkg, b.test); !strings.Contains(string(raw), row) {
			t.Errorf("missing: %s", row)
		}
	}
	for name := range planted {
		if !strings.Contains(string(raw), "\n| "+name+" | ") {
			t.Errorf("%q is in no table", name)
		}
	}
	_, attacks, _ := strings.Cut(string(raw), "\n## Attacks, before and now\n")
	attacks, _, _ = strings.Cut(attacks, "\n## ")
	if strings.Count(attacks, "\n| ") < 40 {
		t.Error("the table of attacks is gone")
	}
	for line := range strings.Lines(attacks) {
		cells := strings.Split(strings.TrimSuffix(line, " |\n"), " | ")
		if len(cells) != 6 || cells[5] == "planted bug" || strings.HasPrefix(cells[5], "-") {
			continue
		}
		for name := range strings.SplitSeq(cells[5], "; ") {
			if !planted[name] {
				t.Errorf("%q is no planted bug: %s", name, line)
			}
		}
		for _, m := range regexp.MustCompile("`([a-z/]+)` ((?:Test[A-Za-z]+(?:, )?)+)").FindAllStringSubmatch(cells[4], -1) {
			files, err := filepath.Glob(filepath.Join("..", m[1], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, f := range files {
				raw, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				all.Write(raw)
			}
			for test := range strings.SplitSeq(strings.TrimSuffix(m[2], ", "), ", ") {
				if !strings.Contains(all.String(), "func "+test+"(") {
					t.Errorf("%s has no %s", m[1], test)
				}
			}
		}
	}
}

var elsewhere = []tested{
	{
		"nobody's transaction moves money", "task/tx.go", `	if t.Free() && !free {`, `	if t.Free() && !free && t.Body.Transfer == nil {`,
		"task", "TestOnlyClaimsNeedNoSender",
	},
	{
		"an owner seals to any key", "owner/release.go", `	if attest.SealKey(seal) != ev.Keys.Seal {`, `	if len(seal) == 0 {`,
		"owner", "TestKeeperRefuses",
	},
	{
		"anyone makes the owners pay", "ledger/call.go", `	case from != c.Member(c.View.Executor).Node.Operator:`, `	case from == task.Address{}:`,
		"ledger", "TestRules",
	},
	{
		"a quote that answers another committee", "attest/attest.go", `case e.Nonce != want.Nonce:`, `case e.Nonce.IsZero():`,
		"attest", "TestAppraise",
	},
	{
		"one kind of TEE is a quorum", "roster/roster.go", `ppm := r.Rules.KindPPM; ppm > 0 {`, `ppm := r.Rules.KindPPM; ppm > million {`,
		"ledger", "TestOneKindIsNoQuorum",
	},
	{
		"bonds wait for a time that wraps", "ledger/params.go", `	if p.UnbondBlocks > 1<<62 {`, `	if p.UnbondBlocks == 0 {`,
		"ledger", "TestUnbondingDoesNotWrap",
	},
	{
		"a second pair saves who said OK", "ledger/verdict.go", `	if round.Progress >= Opened && appraise(round.Evidence[round.Place]) == task.Fault {`, `	if round.Progress >= Opened && round.Other == nil && appraise(round.Evidence[round.Place]) == task.Fault {`,
		"ledger", "TestASecondPairSavesNoCommittee",
	},
	{
		"two pairs cost nothing", "ledger/verdict.go", `		return TwoPairs
`, `		return 0
`,
		"ledger", "TestTwoPairsOfOneBallot",
	},
	{
		"a run out of time outruns words", "ledger/verdict.go", `	if due := c.wordsDue(); b.Height < due {
		b.enter(c, TimedOut)`, `	if due := c.wordsDue(); b.Height == 0 {
		b.enter(c, TimedOut)`,
		"ledger", "TestOutOfTimeOutrunsNoWord",
	},
	{
		"commitments to nothing rob who has shown nothing", "ledger/verdict.go", `	if !c.View.Pre.HasPair() {
		b.passOver(c, Pass{Why: WasAbsent})`, `	if !c.View.Pre.HasPair() {
		b.slash(c, c.View.Executor, Absent, b.Params.Absent, nil)
		b.passOver(c, Pass{Why: WasAbsent})`,
		"ledger", "TestAQuorumsCommitmentsRobNobody",
	},
	{
		"a shown pair can be hidden", "ledger/verdict.go", `&& !two && !unknown && !c.doubted()`, `&& !two && (unknown || true) && !c.doubted()`,
		"ledger", "TestAShownPairIsNotHidden",
	},
	{
		"a decline after evidence", "ledger/turn.go", `	case turn && (c.HasShown() || `, `	case turn && (`,
		"ledger", "TestADeclineIsNoWayOutOfFaultyEvidence",
	},
	{
		"room is as dear as others make it", "ledger/apply.go", `	if p.MaxLoad > 0 && room.Load > p.MaxLoad {`, `	if p.MaxLoad > 0 && room.Load > maxLoad {`,
		"ledger", "TestRoomIsNotDearerThanAlicePays",
	},
	{
		"what guessing costs is not checked", "ledger/economics.go", `	case margin(million/2-wrong, e.SeatFee/2+e.WrongPick) < look:`, `	case margin(million/2-wrong, e.SeatFee/2+e.WrongPick) < 0:`,
		"ledger", "TestEconomicsAreChecked",
	},
	{
		"silence costs less than the rent that it wastes", "ledger/economics.go", `	case e.Silence < p.silentRent():`, `	case e.Silence == 1:`,
		"ledger", "TestEconomicsAreChecked",
	},
	{
		"values change without notice", "ledger/reference.go", `		} else if moved < height+notice {`, `		} else if moved < height {`,
		"ledger", "TestChangesOfThieves",
	},
	{
		"a validator signs twice", "ledger/reference.go", `case i > 0 && slices.Compare(g.Signed[i-1].Validator[:], a.Validator[:]) >= 0:`, `case i > 0 && slices.Compare(g.Signed[i-1].Validator[:], a.Validator[:]) > 0:`,
		"ledger", "TestChangesOfThieves",
	},
	{
		"a chain begins to take simulated evidence", "attest/value.go", `	if is.AllowSimulated && !was.AllowSimulated {`, `	if is.AllowSimulated && was.AllowSimulated {`,
		"attest", "TestFollows",
	},
	{
		"a fine gas count is taken", "ledger/case.go", `	if r.Gas != m.Shown(c.Task, r.Outcome, r.Gas) {`, `	if r.Gas > c.Task.GasLimit {`,
		"ledger", "TestFineResultsAreRefused",
	},
	{
		"gas says how long a loop was", "task/shown.go", `	if m.Exact {
		return min(used, limit)`, `	if m.Exact || used > 0 {
		return min(used, limit)`,
		"tee/enclave", "TestGasDoesNotCarryTheInput",
	},
	{
		"Alice's log quotes Bob's source", "tee/enclave/run.go", `	if !m.Log {
		e.Log`, `	if !m.Log && ran.Log == nil {
		e.Log`,
		"tee/enclave", "TestLogsAreBobsToGive",
	},
	{
		"Alice's arguments are the program", "tee/enclave/run.go", `	if len(m.Args) == 0 && m.Runtime != task.RuntimeWasm {`, `	if len(m.Args) == 0 && m.Runtime == "" {`,
		"tee/enclave", "TestArgumentsReplaceNothing",
	},
	{
		"compiled code is whoever's", "tee/compiled.go", `	return slices.Contains(i[interpreter], hex.EncodeToString(sum[:]))`, `	return len(sum) > 0 || slices.Contains(i[interpreter], hex.EncodeToString(sum[:]))`,
		"tee/enclave", "TestForgedCompiledCode",
	},
	{
		"a stopped enclave blames the function", "tee/enclave/run.go", `		e.outcome = task.OutOfTime
`, `		e.outcome = task.RunFailed
`,
		"tee/enclave", "TestAStoppedEnclaveBlamesNobody",
	},
	{
		"a word counts before it is on the disk", "journal/journal.go", `	<-e.done
	return e.err`, `	return nil`,
		"journal", "TestKillNine",
	},
	{
		"a refused word takes others along", "journal/journal.go", `e.err != nil && !errors.Is(e.err, ErrContradiction) {`, `e.err != nil {`,
		"journal", "TestWordsTogether",
	},
	{
		"an executor calls for a key that is not its enclave's", "ledger/call.go", ` || attest.SealKey(k.Seal) != ev.Keys.Seal {`, ` || ev.Keys.Seal.IsZero() && attest.SealKey(k.Seal).IsZero() {`,
		"ledger", "TestRules",
	},
	{
		"an owner seals to any key", "owner/release.go", `	if attest.SealKey(seal) != ev.Keys.Seal {`, `	if attest.SealKey(seal).IsZero() {`,
		"owner", "TestKeeperRefuses",
	},
	{
		"silence after the keys costs less than the royalty", "ledger/slash.go", `	if c.Stage >= Computing {`, `	if c.Stage > Settled {`,
		"ledger", "TestNobodyRobsBobByFailing",
	},
	{
		"a call keeps the royalty", "ledger/settle.go", `t.royalty == byCulprit && int(e.Party) != code`, `t.royalty > byCulprit && int(e.Party) != code`,
		"ledger", "TestNobodyRobsBobByFailing",
	},
	{
		"Alice gets half of her friend's bond back", "ledger/slash.go", `min(cut/2, cut-min(cut, first))`, `cut/2`,
		"ledger", "TestNobodyRobsBobByFailing",
	},
	{
		"a lie before the verdict is cheap", "ledger/slash.go", `return own && c.View.Pre.Progress > Collecting &&`, `return own && c.View.Pre.Progress == Decided &&`,
		"ledger", "TestNobodyRobsBobByFailing",
	},
	{
		"a lie costs a poor executor little", "ledger/slash.go", `b.take(id, max(want, first))`, `b.take(id, want)`,
		"ledger", "TestNobodyRobsBobByFailing",
	},
	{
		"turns are not backed", "ledger/turn.go", `	if !ok || all > n.Bond {`, `	if !ok {`,
		"ledger", "TestManySilencesAtOnce",
	},
	{
		"what is unbonding backs a turn", "ledger/turn.go", `	if !ok || all > n.Bond {`, `	if !ok || all > b.atStake(c.View.Executor) {`,
		"ledger", "TestWhoIsSparedATurn",
	},
	{
		"a pledge outlasts its turn", "ledger/block.go", `	b.endRound(c)
	b.unpledge(c)
`, `	b.endRound(c)
`,
		"ledger", "TestOutOfTimeBlamesNobody",
	},
	{
		"a lock is more than any bond", "ledger/apply.go", `	if work > b.Params.MinBond {`, `	if work < p.Fee {`,
		"ledger", "TestALockIsAtMostTheLeastBond",
	},
	{
		"the chain spares whom it likes", "receipt/verify.go", ` || d.Decline.Party != 0 || d.Decline.Signature != task.Signature{}):`, `):`,
		"receipt", "TestSparedTurns",
	},
	{
		"every attempt asks for more verifiers", "ledger/block.go", `	if why == TooFewSeats {`, `	if why != 0 {`,
		"ledger", "TestNobodyWorksForAQuorumThatCannotBe",
	},
	{
		"whose reveal is held back keeps silent", "committee/verdict.go", `	if m.mine == nil || !m.revealed || !m.late || m.sent[m.self] ||`, `	if m.mine == nil || !m.revealed || !m.late || m.sent != nil ||`,
		"committee", "TestHeldBackRevealsComeByThemselves",
	},
	{
		"who is left out speaks while the phase is attesting", "committee/verdict.go", `	if !m.isMember() || m.executes() {
		return
	}
	m.late, m.told`, `	if !m.isMember() || m.executes() || m.c.Phase != ledger.Attesting {
		return
	}
	m.late, m.told`,
		"committee", "TestRevealsLeftOutOfAGoodRound",
	},
	{
		"a hidden doubt waits for the executor", "committee/verdict.go", `	m.timer(WordTimer, max(min(m.patience.Silence, m.c.Params.CommitBlocks)/2, 1))`, `	m.timer(WordTimer, m.patience.Silence)`,
		"committee", "TestNoDoubtIsHidden",
	},
	{
		"a quorum at last closes the set", "ledger/verdict.go", `		if before < r.Quorum() {`, `		if before > r.Judging() {`,
		"ledger", "TestAQuorumAtLastLeavesTime",
	},
	{
		"each commitment gives more time", "ledger/verdict.go", `		if before < r.Quorum() {`, `		if before < r.Judging() {`,
		"ledger", "TestAQuorumAtLastLeavesTime",
	},
	{
		"a round is one transaction", "task/tx.go", `	first := min(len(set), room/mostRevealed)`, `	first := min(len(set), room)`,
		"task", "TestARoundIsSplitIntoTransactions",
	},
	{
		"what the chain has not taken stays away", "committee/verdict.go", `		m.late, m.opened = true, false
		clear(m.sent)
`, `		m.late = true
`,
		"committee", "TestARoundOfAThousand",
	},
	{
		"a turn may end before words are due", "ledger/params.go", `p.CommitBlocks > least {`, `p.CommitBlocks > 2*least {`,
		"ledger", "TestEconomicsAreChecked",
	},
	{
		"a release counts after the result", "ledger/call.go", `	case c.Stage != Unlocking || r.View`, `	case !c.View.Called() || r.View`,
		"ledger", "TestStages",
	},
	{
		"a key is given when it is too late to bring the verdict", "owner/release.go", `	return k.Chain.Height()+2*c.Params.CommitBlocks <= c.Deadline`, `	return k.Chain.Height()+2*c.Params.CommitBlocks <= c.Deadline+1<<20`,
		"owner", "TestKeysAheadOfTheChain",
	},
	{
		"an owner waits for no decision", "owner/release.go", `		return ready && (decided(c) || k.canBring(c) && k.canPay(ctx, c)), nil`, `		return ready, nil`,
		"owner", "TestKeysAheadOfTheChain",
	},
	{
		"a pair that the chain condemns gets keys", "owner/release.go", `	if c.View.Pre.Faulty { // it`, `	if c.View.Pre.Faulty && c.Attempt > 1<<20 { // it`,
		"owner", "TestKeysAheadOfTheChain",
	},
	{
		"an executor with two pairs keeps the verdict back", "owner/release.go", `	if c.View.Pre.HasPair() && c.Pair().Digests`, `	if c.View.Pre.Faulty && c.Pair().Digests`,
		"owner", "TestKeysAheadOfTheChain",
	},
	{
		"a blame outruns an answer", "ledger/case.go", `	if missing, waits := c.Unreleased(); waits {`, `	if missing, waits := c.Unreleased(); waits && !blames {`,
		"ledger", "TestBlameWaitsForAllAnswers",
	},
	{
		"a pledge is Alice's reward", "ledger/slash.go", `		first = max(first, s.Owed)`, `		s.Owed = 0`,
		"ledger", "TestAPledgeIsNobodysReward",
	},
	{
		"busy stays cut off", "committee/machine.go", `own.Claim.Busy == nil && lack.Reason == task.Busy`, `own.Claim.Busy == nil && lack.Reason > task.Gone`,
		"committee", "TestBusyThatIsCutOffIsSaidAgain",
	},
	{
		"a busy worker blames Alice", "node/job.go", `		j.unable(task.Lack{Reason: task.Busy}, errors`, `		j.unable(task.Lack{Reason: task.NoFile, Party: 1}, errors`,
		"node", "TestBusyWorkersDecline",
	},
	{
		"an odd certificate is read as Go is told to", "attest/certificate.go", `!s.ReadASN1(&n, asn1.INTEGER) || n[0] >= 0x80 {`, `!s.ReadASN1(&n, asn1.INTEGER) {`,
		"attest", "TestNoVerdictDependsOnTheEnvironment",
	},
	{
		"a node says which chain one signs for", "chain/client.go", `	if h.NodeInfo.Network != trusted.Chain {`, `	if trusted.Chain = h.NodeInfo.Network; h.NodeInfo.Network == "" {`,
		"chain", "TestAnotherChainIsRefused",
	},
	{
		"a registration moves the cursor", "task/task.go", `r < 0x20 || r >= 0x7f`, `r < 0x08 || r >= 0x7f`,
		"task", "TestTextOfTheStateIsPrintable",
	},
	{
		"a refusal moves the cursor", "cmd/prytany/main.go", `		if unicode.IsPrint(r) || r == '\n'`, `		if r < 0x80 || unicode.IsPrint(r) || r == '\n'`,
		"cmd/prytany", "TestNothingMovesTheCursor",
	},
	{
		"half of a proof's challenge counts", "vrf/vrf.go", `	if digest := sha512.Sum512(msg); [16]byte(digest[:16]) != c {`, `	if digest := sha512.Sum512(msg); [8]byte(digest[:8]) != [8]byte(c[:8]) {`,
		"vrf", "TestWholeChallengeCounts",
	},
}
