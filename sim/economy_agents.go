package sim

import (
	"math/rand/v2"

	"github.com/prytany/prytany/task"
)

// econMind is a verifier's strategy.
type econMind struct {
	name      string
	about     string
	withholds bool // does not claim the seats that it wins
	rebonds   bool // registers a fresh node whenever one is sent away
	say       func(econAsk) econWord
}

// econAsk is a round in which a verifier may speak. look appraises, at its cost.
type econAsk struct {
	round task.Round
	rng   *rand.Rand
	look  func() task.Verdict
}

// econWord is what it does: a verdict, and how it is brought.
type econWord struct {
	verdict task.Verdict
	how     int
}

// How a verdict is brought.
const (
	econPlain  = iota // committed and revealed
	econSilent        // not committed
	econHushed        // committed and never revealed
	econTimid         // committed, and revealed only if nobody says FAULT
	econCopied        // another's commitment, and then another's reveal
)

func econAlways(v task.Verdict, how int) func(econAsk) econWord {
	return func(econAsk) econWord { return econWord{v, how} }
}

// econHonest looks where a look counts: at the first evidence. The second round
// after a canary and the exit the chain appraises itself, always (spec §10.6).
var econHonest = econMind{name: "honest", about: "appraises the first evidence, says what it sees, and OK where the chain looks itself",
	say: func(a econAsk) econWord {
		if a.round == task.PreRun {
			return econWord{a.look(), econPlain}
		}
		return econWord{task.OK, econPlain}
	}}

var econLazy = econMind{name: "lazy", about: "says OK unread", say: econAlways(task.OK, econPlain)}

// econMinds are the deviations of a single verifier.
var econMinds = []econMind{
	econLazy,
	{name: "fault", about: "says FAULT unread", say: econAlways(task.Fault, econPlain)},
	{name: "cry", about: "says FAULT unread to the first evidence, where canaries are, and OK unread to the rest",
		say: func(a econAsk) econWord {
			if a.round == task.PreRun {
				return econWord{task.Fault, econPlain}
			}
			return econWord{task.OK, econPlain}
		}},
	{name: "thorough", about: "appraises in every round, also where the chain does it again",
		say: func(a econAsk) econWord { return econWord{a.look(), econPlain} }},
	{name: "coin", about: "says what a coin says",
		say: func(a econAsk) econWord {
			if a.rng.Uint64()&1 == 0 {
				return econWord{task.OK, econPlain}
			}
			return econWord{task.Fault, econPlain}
		}},
	{name: "copy", about: "repeats another's commitment and then its reveal", say: econAlways(task.OK, econCopied)},
	{name: "peek", about: "commits to OK unread, and keeps silent if somebody else says FAULT", say: econAlways(task.OK, econTimid)},
	{name: "hush", about: "commits, never reveals", say: econAlways(task.OK, econHushed)},
	{name: "sleep", about: "never commits", say: econAlways(task.OK, econSilent)},
	{name: "withhold", about: "does not claim the seats that it wins", withholds: true, say: econAlways(task.OK, econSilent)},
}

// econWhitewash is lazy, and comes back under another name.
var econWhitewash = econMind{name: "whitewash", about: "lazy; registers a fresh node with a fresh bond whenever one is jailed",
	rebonds: true, say: econAlways(task.OK, econPlain)}

// econMindOf finds a strategy by its name.
func econMindOf(name string) econMind {
	for _, m := range append([]econMind{econHonest, econWhitewash}, econMinds...) {
		if m.name == name {
			return m
		}
	}
	halt("no strategy %q", name)
	return econMind{}
}
