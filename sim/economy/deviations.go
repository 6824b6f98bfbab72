package economy

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
)

// coalRole is a part in a task that a coalition may have in its hand. Executors and
// verifiers are its workers: the draw says which of them is what.
type coalRole uint8

const (
	coalAlice    coalRole = 1 << iota // the data owner
	coalBob                           // the code owner
	coalWorkers                       // executors and verifiers
	coalProposer                      // of a third of the blocks
)

var coalRoleNames = []string{"data owner", "code owner", "workers", "proposer"}

func (r coalRole) names() (all []string) {
	for i, name := range coalRoleNames {
		if r&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return all
}

// coalDeviation is one rule that a coalition breaks, or uses for what it was not
// made for. Everything else its people do as the honest do.
type coalDeviation struct {
	name, about string
	role        coalRole   // who of the coalition does it
	known       *coalKnown // that it pays; nil for all others
}

// coalKnown is where the specification says that something pays, and how much it can
// be for a task.
type coalKnown struct {
	where string
	most  func(coalMarket) float64
}

var (
	// coalPicks: an owner picks her executor, and keeps what an executor earns.
	coalPicks = &coalKnown{"§12.3.5", func(m coalMarket) float64 { return (1 - coalRunShare) * float64(m.gas) }}
	// coalSlow: the same by running out of time at strangers, who work for nothing.
	coalSlow = &coalKnown{"§12.3.15", coalPicks.most}
	// coalSaves: a verifier saves looks that only its own money, or its friends', depends on.
	coalSaves = &coalKnown{"§12.3.7", func(coalMarket) float64 { return 1.5 * task.DefaultSeats }}
)

// coalPlan is a set of deviations: bit i is the i-th of coalDeviations.
type coalPlan uint64

// The deviations, in the order of coalDeviations.
const (
	devNoInput = iota
	devInputFriends
	devAliceSilent
	devAliceKeeps
	devAliceWrongKey
	devAliceLate
	devAliceAccuses
	devEnough
	devNarrow
	devKinds
	devOperators
	devJunk
	devNoCode
	devCodeFriends
	devBobSilent
	devBobKeeps
	devBobWrongKey
	devBobAccuses
	devSlow
	devWithdraw
	devMute
	devBusy
	devLieInput
	devLieCode
	devNoOpen
	devNoResult
	devNoExit
	devCall
	devRunFirst
	devLate
	devBlame
	devDirtyExit
	devBadEvidence
	devTwoGood
	devTwoPairs
	devAccuseFriends
	devShowFriends
	devHideCommitments
	devHideReveals
	devTold
	devGuess
	devCry
	devOnce
	devWrong
	devVouch
	devDoubt
	devCopy
	devHush
	devSleep
	devTwoWords
	devSkip
	devNoClaims
	devLateClaims
	devShowAll
	devUnbond
	devSplit
	devFill
	devCensorClaims
	devCensorWords
	devCensorEnds
	devForesee
	devCount
)

var coalDeviations = [devCount]coalDeviation{
	devNoInput:         {"no-input", "serves the input to nobody", coalAlice, nil},
	devInputFriends:    {"input-to-friends", "serves the input to the coalition's workers only", coalAlice, coalPicks},
	devAliceSilent:     {"no-input-key", "never releases her key", coalAlice, nil},
	devAliceKeeps:      {"input-key-to-friends", "releases her key to friends' enclaves only", coalAlice, nil},
	devAliceWrongKey:   {"wrong-input-key", "releases a key that opens nothing", coalAlice, nil},
	devAliceLate:       {"late-input-key", "releases her key in the last block in which it counts", coalAlice, nil},
	devAliceAccuses:    {"owner-accuses", "accuses an honest executor of evidence that is good", coalAlice, nil},
	devEnough:          {"enough", "serves and releases nothing more once a friend has run the task for her", coalAlice, nil},
	devNarrow:          {"narrow", "posts a second task that is worth nothing, for machines that only the coalition and few others have; Bob lowers ρ if he is in it", coalAlice, nil},
	devKinds:           {"kinds", "asks for more kinds of TEE in a quorum than there are", coalAlice, nil},
	devOperators:       {"operators", "lets each operator be a tenth of a quorum", coalAlice, nil},
	devJunk:            {"junk", "posts a second task that is worth nothing, and does all else there", coalAlice, nil},
	devNoCode:          {"no-code", "serves the code to nobody", coalBob, nil},
	devCodeFriends:     {"code-to-friends", "serves the code to the coalition's workers only", coalBob, coalPicks},
	devBobSilent:       {"no-code-key", "never releases his key", coalBob, nil},
	devBobKeeps:        {"code-key-to-friends", "releases his key to friends' enclaves only", coalBob, nil},
	devBobWrongKey:     {"wrong-code-key", "releases a key that opens nothing", coalBob, nil},
	devBobAccuses:      {"code-owner-accuses", "accuses an honest executor of evidence that is good", coalBob, nil},
	devSlow:            {"slow", "his function runs out of time at strangers", coalBob, coalSlow},
	devWithdraw:        {"withdraw", "takes back the function's bond while a task is open", coalBob, nil},
	devMute:            {"mute", "executor: shows nothing and says nothing", coalWorkers, nil},
	devBusy:            {"busy", "always claims as busy: verifies, never executes", coalWorkers, nil},
	devLieInput:        {"decline-input", "executor: declines, and says that the input does not come", coalWorkers, nil},
	devLieCode:         {"decline-code", "executor: declines, and says that the code does not come", coalWorkers, nil},
	devNoOpen:          {"no-opening", "executor: never says which of its evidence is genuine", coalWorkers, nil},
	devNoResult:        {"no-result", "executor: brings no result to the chain; Alice has it, if she is a friend", coalWorkers, nil},
	devNoExit:          {"no-exit", "executor: does not show how its enclave ended", coalWorkers, nil},
	devCall:            {"call", "executor: calls on the chain for keys that it has", coalWorkers, nil},
	devRunFirst:        {"run-first", "executor: runs with the keys that it has, gives the result to Alice alone, and calls on the chain for keys all the same", coalWorkers, nil},
	devLate:            {"late", "executor: stops its enclave until the run is out of time", coalWorkers, nil},
	devBlame:           {"blame", "executor: hands its enclave another key, and blames Alice", coalWorkers, nil},
	devDirtyExit:       {"dirty-exit", "executor: leaves something behind", coalWorkers, nil},
	devBadEvidence:     {"bad-evidence", "executor: shows an enclave that is not clean", coalWorkers, nil},
	devTwoGood:         {"two-good", "executor: its decoy is good as well", coalWorkers, nil},
	devTwoPairs:        {"two-pairs", "executor: signs two pairs, and shows one of them", coalWorkers, nil},
	devAccuseFriends:   {"accuse-friends", "accuses the coalition's own executor of what it has done", coalWorkers, nil},
	devShowFriends:     {"show-friends", "executor: shows its evidence to friends only", coalWorkers, nil},
	devHideCommitments: {"hide-commitments", "executor: carries friends' commitments only", coalWorkers, nil},
	devHideReveals:     {"hide-reveals", "executor: carries friends' reveals only", coalWorkers, nil},
	devTold:            {"told", "verifier: names the place that a friend who executes has told it", coalWorkers, coalSaves},
	devGuess:           {"guess", "verifier: names a place unread", coalWorkers, nil},
	devCry:             {"cry", "verifier: says FAULT unread", coalWorkers, nil},
	devOnce:            {"once", "verifier: takes no second look", coalWorkers, coalSaves},
	devWrong:           {"wrong", "verifier: looks, and names the other place", coalWorkers, nil},
	devVouch:           {"vouch", "verifier: names the genuine place of a friend, whatever is there", coalWorkers, coalSaves},
	devDoubt:           {"doubt", "verifier: says FAULT of strangers", coalWorkers, nil},
	devCopy:            {"copy", "verifier: repeats a stranger's commitment, whose reveal opens nothing under its own name", coalWorkers, nil},
	devHush:            {"hush", "verifier: commits unread, never reveals", coalWorkers, nil},
	devSleep:           {"sleep", "verifier: never commits", coalWorkers, coalSaves},
	devTwoWords:        {"two-words", "verifier: commits to two verdicts", coalWorkers, nil},
	devSkip:            {"skip", "calls every stranger silent as soon as it is named", coalWorkers, nil},
	devNoClaims:        {"no-claims", "does not claim the seats that it wins", coalWorkers, nil},
	devLateClaims:      {"late-claims", "claims three blocks late", coalWorkers, nil},
	devShowAll:         {"show-all", "verifier: has the chain keep both pieces of evidence", coalWorkers, nil},
	devUnbond:          {"unbond", "takes all bonds back while the task is open", coalWorkers, nil},
	devSplit:           {"split", "splits its stake over as many nodes as bonds allow", coalWorkers, nil},
	devFill:            {"fill", "leaves all of strangers out of its blocks", coalProposer, nil},
	devCensorClaims:    {"censor-claims", "leaves strangers' claims out of its blocks", coalProposer, nil},
	devCensorWords:     {"censor-words", "leaves strangers' commitments, verdicts and evidence out of its blocks", coalProposer, nil},
	devCensorEnds:      {"censor-ends", "leaves strangers' results, exits, declines and keys out of its blocks", coalProposer, nil},
	devForesee:         {"foresee", "holds a task back as long as the beacon that it knows elects none of its workers", coalProposer, nil},
}

func coalPlanOf(names ...string) (p coalPlan) {
	for _, name := range names {
		i := slices.IndexFunc(coalDeviations[:], func(d coalDeviation) bool { return d.name == name })
		if i < 0 {
			halt("no deviation %q", name)
		}
		p |= 1 << i
	}
	return p
}

func (p coalPlan) does(deviation int) bool { return p&(1<<deviation) != 0 }

func (p coalPlan) size() int { return bits.OnesCount64(uint64(p)) }

func (p coalPlan) all() (list []coalDeviation) {
	for i, d := range coalDeviations {
		if p.does(i) {
			list = append(list, d)
		}
	}
	return list
}

func (p coalPlan) names() (list []string) {
	for _, d := range p.all() {
		list = append(list, d.name)
	}
	return list
}

func (p coalPlan) String() string { return strings.Join(p.names(), " + ") }

// roles are those that the plan's deviations need.
func (p coalPlan) roles() (r coalRole) {
	for _, d := range p.all() {
		r |= d.role
	}
	return r
}

// known is the part of the plan that the specification says to pay. In a trap it does
// not: what is saved there would not have been spent.
func (p coalPlan) known() (known coalPlan) {
	if p&coalTraps != 0 {
		return 0
	}
	for i, d := range coalDeviations {
		if p.does(i) && d.known != nil {
			known |= 1 << i
		}
	}
	return known
}

// coalMarket is what the tasks of one kind pay, in units of the cost of a check.
type coalMarket struct {
	name         string
	gas, royalty task.Amount
}

// The markets: usual tasks, dear code and dear runs, near the cap on a task's value
// (spec §10.1). All tasks of a chain are of one, and a coalition deviates in that
// which suits it.
var coalMarkets = []coalMarket{{"usual", 40, 4}, {"dear code", 40, 280}, {"dear runs", 280, 40}}
