package economy

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

// econAsk is a round in which a verifier may speak. coin is its own; look appraises
// the piece in a place, at its cost.
type econAsk struct {
	coin uint8
	told uint8 // by the executor: where the genuine piece is
	rng  *rand.Rand
	look func(place uint8) task.Verdict
}

// econWord is what it does: a verdict, and how it is brought.
type econWord struct {
	verdict task.Verdict
	place   uint8
	how     int
}

// How a verdict is brought.
const (
	econPlain  = iota // committed and revealed
	econSilent        // not committed
	econHushed        // committed and never revealed
	econTimid         // committed, and revealed only if the others name the same place
	econCopied        // another's commitment, and then another's reveal
)

func econNames(how int) func(econAsk) econWord {
	return func(a econAsk) econWord { return econWord{task.OK, a.coin, how} }
}

func econFault(econAsk) econWord { return econWord{verdict: task.Fault} }

// econHonest is what the production node does: it looks at one piece, and at the
// other only if the first is faulty.
var econHonest = econMind{name: "honest", about: "looks where its coin says, at the other place only if that is faulty, and names what is good",
	say: func(a econAsk) econWord {
		for _, place := range []uint8{a.coin, 1 - a.coin} {
			if a.look(place) == task.OK {
				return econWord{verdict: task.OK, place: place}
			}
		}
		return econWord{verdict: task.Fault}
	}}

var econGuess = econMind{name: "guess", about: "names a place unread", say: econNames(econPlain)}

// econMinds are the deviations of a single verifier.
var econMinds = []econMind{
	econGuess,
	{name: "fault", about: "says FAULT unread", say: econFault},
	{name: "once", about: "looks at one piece, and names the other unread if that is faulty",
		say: func(a econAsk) econWord {
			if a.look(a.coin) == task.OK {
				return econWord{verdict: task.OK, place: a.coin}
			}
			return econWord{verdict: task.OK, place: 1 - a.coin}
		}},
	{name: "twice", about: "always looks at both",
		say: func(a econAsk) econWord {
			first, second := a.look(a.coin), a.look(1-a.coin)
			switch {
			case first == task.OK:
				return econWord{verdict: task.OK, place: a.coin}
			case second == task.OK:
				return econWord{verdict: task.OK, place: 1 - a.coin}
			}
			return econWord{verdict: task.Fault}
		}},
	{name: "coin", about: "names a place unread, or says FAULT, as a coin says",
		say: func(a econAsk) econWord {
			if a.rng.Uint64()&1 == 0 {
				return econWord{verdict: task.OK, place: a.coin}
			}
			return econWord{verdict: task.Fault}
		}},
	{name: "copy", about: "repeats another's commitment and then its reveal", say: econNames(econCopied)},
	{name: "peek", about: "names a place unread, and keeps silent if the others name the other one", say: econNames(econTimid)},
	{name: "hush", about: "commits, never reveals", say: econNames(econHushed)},
	{name: "sleep", about: "never commits", say: econNames(econSilent)},
	{name: "withhold", about: "does not claim the seats that it wins", withholds: true, say: econNames(econSilent)},
}

// econWhitewash guesses, and comes back under another name.
var econWhitewash = econMind{name: "whitewash", about: "guesses; registers a fresh node with a fresh bond whenever one is jailed",
	rebonds: true, say: econNames(econPlain)}

// econBribed names the genuine place, whatever is there: its executor has told it.
var econBribed = econMind{name: "bribed", about: "names the place that the executor tells it",
	say: func(a econAsk) econWord { return econWord{verdict: task.OK, place: a.told} }}

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
