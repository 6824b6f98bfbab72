package task

import (
	"crypto/ed25519"
	"math"
	"slices"
	"strings"
	"testing"
)

// However many members speak, and however long their words and the evidence are, each
// transaction of a round can be read, the first has the opening, and no word is lost.
func TestARoundIsSplitIntoTransactions(t *testing.T) {
	chain := strings.Repeat("c", 48)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	sign := func(b Body) {
		raw := SignTx(key, Tx{Chain: chain, Nonce: math.MaxUint64, Body: b})
		if _, err := VerifyTx(raw, chain); err != nil {
			t.Errorf("%s of %d bytes: %v", b.Kind(), len(raw), err)
		}
	}
	long := Hash(slices.Repeat([]byte{255}, 32))
	b := Ballot{Task: TaskID(long), Attempt: math.MaxUint32, View: math.MaxUint32}
	for _, row := range []struct {
		members, reason, evidence int
		parts                     int // of the reveals
	}{
		{0, 0, 0, 0}, {0, 0, MaxEvidence, 1}, {1, 0, 0, 1}, {16, 64, 510, 1}, {150, 0, 5000, 1}, {450, 64, 5000, 2}, {MaxSeats, 64, MaxEvidence, 4}, {MaxSeats, 0, 0, 4},
	} {
		var commits []Commitment
		var reveals []Reveal
		for i := range row.members {
			n := NodeID(H(TagSalt, U64(uint64(i))))
			v := Reveal{Ballot: b, Node: n, Verdict: OK, Place: 1, Pair: long, Salt: long}
			if row.reason > 0 && i > 0 {
				v.Verdict, v.Place, v.Reason, v.Pair = Fault, 0, strings.Repeat("r", row.reason), Hash(n)
			}
			commits, reveals = append(commits, Commitment{Ballot: b, Node: n, Digest: long}), append(reveals, v)
		}
		var o *Opening
		if row.evidence > 0 {
			o = &Opening{Pair: Pair{Ballot: b, Digests: [2]Hash{long, long}}, Evidence: make([]byte, row.evidence)}
		}
		var said []Commitment
		for _, part := range SplitCommitments(commits) {
			sign(part)
			said = append(said, part.Commitments.All()...)
		}
		parts := SplitVerdicts(b, reveals, o)
		var told []Reveal
		for i, part := range parts {
			sign(part)
			told = append(told, part.Verdicts.All()...)
			if (part.Verdicts.Opening != nil) != (i == 0 && o != nil) {
				t.Errorf("%d members: the opening is in part %d: %v", row.members, i, part.Verdicts.Opening != nil)
			}
		}
		if !slices.Equal(said, commits) || !slices.Equal(told, reveals) {
			t.Errorf("%d members: %d commitments, %d reveals", row.members, len(said), len(told))
		}
		if len(parts) != row.parts {
			t.Errorf("%d members: reveals in %d transactions, want %d", row.members, len(parts), row.parts)
		}
	}
}
