package receipt_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

// edit is one change of one place in a receipt.
type edit struct {
	path  string // "Case.Members[2].Stake"
	what  string
	apply func(root reflect.Value)
}

var index = regexp.MustCompile(`\[\d+\]`)

// leaf is the edit's place with no index: one line of the list below.
func (e edit) leaf() string { return index.ReplaceAllString(e.path, "[]") }

// edits lists the changes of every leaf under v, and of the length of every
// list. A place is found again, in a fresh copy, by at.
func edits(v reflect.Value, path string, at func(reflect.Value) reflect.Value) (all []edit) {
	add := func(what string, change func(reflect.Value)) {
		all = append(all, edit{path, what, func(root reflect.Value) { change(at(root)) }})
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue // not in the file
			}
			name := strings.TrimPrefix(path+"."+v.Type().Field(i).Name, ".")
			all = append(all, edits(v.Field(i), name, func(r reflect.Value) reflect.Value { return at(r).Field(i) })...)
		}
	case reflect.Pointer:
		if v.IsNil() {
			add("made", func(v reflect.Value) { v.Set(reflect.New(v.Type().Elem())) })
			return all
		}
		add("removed", reflect.Value.SetZero)
		all = append(all, edits(v.Elem(), path, func(r reflect.Value) reflect.Value { return at(r).Elem() })...)
	case reflect.Slice:
		n := v.Len()
		add("grown", func(v reflect.Value) { v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem()))) })
		if n > 0 {
			add("emptied", func(v reflect.Value) { v.Set(reflect.MakeSlice(v.Type(), 0, 0)) })
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			bytewise(add, n)
			return all
		}
		for i := range n {
			add(fmt.Sprint("without ", i), func(v reflect.Value) { v.Set(reflect.AppendSlice(v.Slice(0, i), v.Slice(i+1, n))) })
			add(fmt.Sprint("twice ", i), func(v reflect.Value) { v.Set(reflect.Append(v, v.Index(i))) })
			all = append(all, edits(v.Index(i), fmt.Sprintf("%s[%d]", path, i), func(r reflect.Value) reflect.Value { return at(r).Index(i) })...)
		}
		if n > 1 {
			path += " (order)"
			add("swapped", func(v reflect.Value) { reflect.Swapper(v.Interface())(0, n-1) })
		}
	case reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			bytewise(add, v.Len())
			return all
		}
		for i := range v.Len() {
			all = append(all, edits(v.Index(i), fmt.Sprintf("%s[%d]", path, i), func(r reflect.Value) reflect.Value { return at(r).Index(i) })...)
		}
	case reflect.String:
		add("appended to", func(v reflect.Value) { v.SetString(v.String() + "x") })
		add("emptied or filled", func(v reflect.Value) { v.SetString(map[bool]string{true: "y"}[v.Len() == 0]) })
	case reflect.Bool:
		add("negated", func(v reflect.Value) { v.SetBool(!v.Bool()) })
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		add("+1", func(v reflect.Value) { v.SetUint(v.Uint() + 1) })
		add("-1", func(v reflect.Value) { v.SetUint(v.Uint() - 1) })
		add("top bit", func(v reflect.Value) { v.SetUint(v.Uint() ^ 1<<(v.Type().Bits()-1)) })
	case reflect.Int64:
		add("+1", func(v reflect.Value) { v.SetInt(v.Int() + 1) })
		add("-1", func(v reflect.Value) { v.SetInt(v.Int() - 1) })
	default:
		panic("no edit for " + v.Kind().String() + " at " + path)
	}
	return all
}

// butHistory is a report without the history's row.
func butHistory(rep receipt.Report) receipt.Report {
	rep.Rows = slices.DeleteFunc(rep.Rows, func(r receipt.Row) bool { return r.Name == "history" })
	return rep
}

// bytewise flips bits of some eight bytes, the first and the last among them.
func bytewise(add func(string, func(reflect.Value)), n int) {
	for i := 0; i < n; i += max(1, n/7) {
		add(fmt.Sprint("byte ", i), func(v reflect.Value) { v.Index(i).SetUint(v.Index(i).Uint() ^ 1) })
	}
	if n > 0 {
		add("last byte", func(v reflect.Value) { v.Index(n - 1).SetUint(v.Index(n-1).Uint() ^ 0x80) })
	}
}

// onlyTheChain lists every leaf of which some change is not caught by
// arithmetic, and why. All other leaves are bound by a VRF proof, a signature,
// a hash or a sum. The report's Vouched says the same to people.
var onlyTheChain = map[string]string{
	"Case.History":           "what happened in between, and left nothing else in the case: who was waited for, and how many had spoken then",
	"Case.History[].Kind":    "likewise",
	"Case.History[].Node":    "likewise",
	"Case.History[].Role":    "likewise",
	"Case.History[].Party":   "likewise",
	"Case.History[].Number":  "likewise",
	"Case.History[].Nodes":   "likewise",
	"Case.History[].Seats":   "likewise",
	"Case.History[].Against": "likewise",
	"Case.History[].Of":      "likewise",
	"Case.History[].Until":   "likewise",
	"Case.History[].Cause":   "why an earlier attempt came to nothing: its committee is not in the case any more",

	"Case.History[].Height":       "when something happened: the chain's clock, checked for order only",
	"Case.View.Pre.ClosedAt":      "likewise",
	"Case.View.Pre.OpenedAt":      "likewise",
	"Case.View.Pre.DecidedAt":     "likewise",
	"Case.Passed[].Pre.OpenedAt":  "likewise",
	"Case.Passed[].Pre.DecidedAt": "likewise",
	"Case.Passed[].Pre.ClosedAt":  "likewise",
	"Case.Passed[].Height":        "likewise, of one that is not the last",
	"Case.Passed[].Pre.Reveals":   "who has not spoken when the view ends had time left, and nothing follows from it; a quorum must have",
	"Case.Foresight.Holder":       "who holds the beacon's shares is the state's",
	"Case.Members[].Stake":        "the registry's snapshot; the draw does not change with every base unit",
	"Case.TotalStake":             "likewise",
	"Case.Members[].Node.Addr":    "the registry's; nothing in a task depends on it",
	"Case.Members[].Node.Arch":    "likewise",

	"Case.Members[].Profile.Tier": "the registry's: what the machine showed when it was registered; the policy bounds it",
	"Case.Members[].Profile.TCB":  "likewise; the reference values bound it",

	"Case.Members[].Profile.Product": "likewise; simulated evidence has none",

	"Case.Members[].Node.Runtimes":     "the registry's, known ones only; it may say one twice",
	"Case.Members[].Node.TEE.Identity": "likewise; no two members may have the same",

	"Case.Slashes[].Amount": "the bond at that height is not in the case, if it is a share of that; else it may be less, of a bond that is used up",
	"Case.Slashes[].Owed":   "what a node needed for its other turns is not in the case; it gives nobody more",

	"Case.View.Pre.Commitments (order)":     "the order of arrival; all that counts is who",
	"Case.View.Pre.Reveals (order)":         "likewise",
	"Case.Passed[].Pre.Commitments (order)": "likewise",
	"Case.Passed[].Pre.Reveals (order)":     "likewise",
	"Case.View.Releases (order)":            "likewise",
	"Case.View.CalledAt":                    "the chain's word, within the time for a call; with a result, nothing follows from it",
	"Case.View.Releases":                    "an owner may hand its key to the executor directly; with a result, nothing follows from it",

	"Case.View.Releases[].Sealed": "ciphertext for a dead enclave: nobody can open it",
	"Case.SeededTime":             "a block's time; certificates alone depend on it, and simulated evidence has none",
	"Case.Members (order)":        "in which claims came; the draw goes by ticket",
}

// byTheDraw are leaves of that list which some draws bind: a remainder of a base
// unit goes by the order of members.
var byTheDraw = map[string]bool{"Case.Members (order)": true}

// The rules' numbers are the genesis's, and most leave no trace in a case that
// kept them. Chain and FixedPPM do; and rent, with all
// that says how long a task can be open.
func init() {
	for _, name := range []string{
		"Economics.AccusationBond", "Economics.BadEvidencePPM", "Economics.CheckCost", "Economics.DetectPPM",
		"Economics.DisputeBlocks", "Economics.EquivocationPPM", "Economics.FalseAlarm", "Economics.FaultPPM", "Economics.JailBlocks",
		"Economics.JailMisses", "Economics.Miss", "Economics.NoReveal", "Economics.Committee", "Economics.SeatFee",
		"Economics.Absent", "Economics.Silence", "SkipBlocks", "FetchFloor",
		"CodeFloor", "GasFloor", "EpochBlocks", "FreshBlocks", "MaxOpen", "MinBond", "NoticeBlocks", "PostingFee", "RenewBlocks",
		"Rent", // half of it at twice the load is the same
		"TxFee", "UnbondBlocks",
	} {
		onlyTheChain["Case.Params."+name] = "a rule's number"
	}
}

// Change every field, every signature, every list of a receipt in turn. With
// the chain's proof each change is found at once. Without it, every validator
// being a liar, arithmetic alone must find all but what is listed above.
func TestEveryFieldIsBound(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of receipts, one after the other")
	}
	w := completed(t)
	r, honest := w.receipt()
	raw := r.Encode()
	if rep := receipt.Verify(r, honest); !rep.Holds() {
		t.Fatal(rep.Text())
	}
	root := reflect.ValueOf(&r).Elem()
	free, bound := map[string][]string{}, map[string]bool{}
	all := edits(root, "", func(v reflect.Value) reflect.Value { return v })
	for _, e := range all {
		bad, err := receipt.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		e.apply(reflect.ValueOf(&bad).Elem())
		if bytes.Equal(bad.Encode(), raw) {
			continue // a swap of two equal elements
		}
		proven := errUnproven // of a receipt that is not even looked up
		rep := receipt.Verify(bad, against(func(proof, key, value []byte) error {
			proven = honest.State(proof, key, value)
			return nil
		}))
		if proven == nil {
			t.Errorf("%s %s: the chain's proof holds for it", e.path, e.what)
		}
		if e.path == "Proof" {
			continue // its arithmetic is the chain's
		}
		bound[e.leaf()] = true
		if !strings.HasPrefix(e.leaf(), "Case.History") {
			rep = butHistory(rep) // who lies in the case lies in its history too
		}
		if rep.Holds() {
			free[e.leaf()] = append(free[e.leaf()], e.path+" "+e.what)
			rep = receipt.Verify(bad, honest)
		}
		if task.CodeOf(rep.Err()) != "receipt-false" {
			t.Errorf("%s %s fails for no reason: %v", e.path, e.what, rep.Err())
		}
	}
	for leaf, changes := range free {
		delete(bound, leaf)
		if onlyTheChain[leaf] == "" {
			t.Errorf("arithmetic does not bind %s: %s", leaf, strings.Join(changes, ", "))
		}
	}
	for leaf := range onlyTheChain {
		if free[leaf] == nil && !byTheDraw[leaf] {
			t.Errorf("%s is bound, or not there: take it off the list", leaf)
		}
	}
	t.Logf("%d changes of %d leaves; arithmetic alone binds %d. By the chain's word alone:\n%s", len(all), len(bound)+len(free), len(bound),
		strings.Join(slices.Sorted(maps.Keys(free)), "\n"))
}

// Evidence is bytes in the case. Its fields are bound as well, even if all who
// quote its digest are made to follow: what it says was signed by the chip.
func TestEveryFieldOfEvidenceIsBound(t *testing.T) {
	w := completed(t)
	r, _ := w.receipt()
	raw := r.Encode()
	for _, round := range []task.Round{task.PreRun, task.PostRun} {
		shown := func(c *ledger.Case) []byte {
			if round == task.PostRun {
				return c.View.Exit
			}
			return c.Genuine()
		}
		ev, err := attest.ParseEvidence(shown(&r.Case))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range edits(reflect.ValueOf(&ev).Elem(), "", func(v reflect.Value) reflect.Value { return v }) {
			bad, _ := receipt.Parse(raw)
			changed, _ := attest.ParseEvidence(shown(&r.Case))
			e.apply(reflect.ValueOf(&changed).Elem())
			if reflect.DeepEqual(changed, ev) {
				continue
			}
			w.rejudge(&bad.Case, round, changed)
			if rep := receipt.Verify(bad, gullible); rep.Holds() {
				t.Errorf("%s: %s %s\n%s", round, e.path, e.what, rep.Text())
			}
		}
	}
}

// rejudge has the executor sign other evidence and all verifiers, conspiring,
// vote again for that, and the owners and the enclave refer to it.
func (w *world) rejudge(c *ledger.Case, r task.Round, ev attest.Evidence) {
	k := w.nodes[c.View.Executor]
	if r == task.PostRun {
		e := task.Exit{Ballot: c.Ballot(), Evidence: task.Encode(ev)}
		c.View.Exit, c.View.ExitSignature = e.Evidence, task.Sign(k.peer, e.Hash())
		return
	}
	round, digest := &c.View.Pre, ev.Digest()
	round.Evidence[round.Place], round.Digests[round.Place] = task.Encode(ev), digest
	round.Signature = task.Sign(k.peer, c.Pair().Hash())
	for i := range round.Reveals {
		v := &round.Reveals[i]
		v.Pair = c.Pair().Hash()
		k := &round.Commitments[slices.IndexFunc(round.Commitments, func(k task.Commitment) bool { return k.Node == v.Node })]
		k.Digest = v.Digest()
		k.Signature = task.Sign(w.nodes[k.Node].peer, k.Hash())
	}
	for i := range c.View.Releases {
		c.View.Releases[i].Evidence = digest
	}
	s := c.View.Result
	s.Result.Evidence = digest
	s.Signature = task.Sign(keyOf(fmt.Sprint("enclave ", c.View.Number)), s.Result.Hash())
}

// The chain's word is not enough for a story that is consistent in itself but
// breaks a rule: each of these has every signature and sum in place. That of
// completed is told first; it has all that can be bent.
func TestConsistentLies(t *testing.T) {
	settled := func(c *ledger.Case, o ledger.Outcome, party ...uint8) {
		e := ledger.End{Outcome: o}
		if len(party) > 0 {
			e.Party = party[0]
		}
		s := ledger.Settle(c, e, c.Settlement.Height)
		c.Settlement = &s
	}
	first := func(c *ledger.Case, cause ledger.Cause) *ledger.Slash {
		return &c.Slashes[slices.IndexFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == cause })]
	}
	for _, row := range []struct {
		name, row string
		bend      func(*world, *ledger.Case)
	}{
		{"Alice is paid back, since it is said to be dirty", "settlement", func(_ *world, c *ledger.Case) { settled(c, ledger.DirtyExit) }},
		{"Alice is paid back, since two results are said to be there", "settlement", func(_ *world, c *ledger.Case) { settled(c, ledger.ForgedResult) }},
		{"one base unit goes from Alice to the executor", "settlement", func(_ *world, c *ledger.Case) {
			p := c.Settlement.Payments
			p[0].Amount++
			p[len(p)-1].Amount--
		}},
		{"another party is at fault", "settlement", func(_ *world, c *ledger.Case) {
			c.Settlement.Fault = ledger.Fault{Of: ledger.AParty, Parties: []uint32{uint32(bobs)}}
		}},
		{"the refund is another party's", "settlement", func(_ *world, c *ledger.Case) {
			p := c.Settlement.Payments
			p[len(p)-1].Party = bobs
		}},
		{"the requester has released a key", "key releases", func(_ *world, c *ledger.Case) { c.View.Releases[0].Party = 0 }},
		{"a party that there is not has released", "key releases", func(_ *world, c *ledger.Case) { c.View.Releases[0].Party = 200 }},
		{"one party has released twice", "key releases", func(_ *world, c *ledger.Case) { c.View.Releases[0].Party = c.View.Releases[1].Party }},
		{"a lock is another party's", "escrow", func(_ *world, c *ledger.Case) {
			c.Escrow.Locks[alices]++
			c.Escrow.Locks[bobs]--
			settled(c, ledger.Completed)
		}},
		{"there are more locks than parties", "escrow", func(_ *world, c *ledger.Case) {
			c.Escrow.Locks = append(c.Escrow.Locks, 0)
			settled(c, ledger.Completed)
		}},
		{"more was locked, and paid back", "escrow", func(_ *world, c *ledger.Case) { c.Escrow.Locks[0]++; settled(c, ledger.Completed) }},
		{"less was locked for rent", "escrow", func(_ *world, c *ledger.Case) { c.Escrow.Room--; settled(c, ledger.Completed) }},
		{"the rent of a block is left out", "settlement", func(_ *world, c *ledger.Case) {
			p := &c.Settlement.Payments[len(c.Settlement.Payments)-1]
			p.Amount += c.Params.Rent
			c.Settlement.Rent -= c.Params.Rent
		}},
		{"fewer than a quorum found it good", "verdicts", func(_ *world, c *ledger.Case) {
			c.View.Pre.Commitments, c.View.Pre.Reveals = c.View.Pre.Commitments[:1], c.View.Pre.Reveals[:1]
			settled(c, ledger.Completed)
		}},
		{"gas over the limit, signed", "result", func(w *world, c *ledger.Case) {
			s := c.View.Result
			s.Result.Gas = c.Task.GasLimit + 1
			s.Signature = task.Sign(keyOf("enclave 4"), s.Result.Hash())
			settled(c, ledger.Completed)
		}},
		{"more of the gas than a step, signed", "result", func(w *world, c *ledger.Case) {
			s := c.View.Result
			s.Result.Gas++
			s.Signature = task.Sign(keyOf("enclave 4"), s.Result.Hash())
			*s = s.PlacedBy(w.nodes[s.Result.Node].peer)
			settled(c, ledger.Completed)
		}},
		{"who ran out of time is said to have been silent", "executor", func(_ *world, c *ledger.Case) {
			c.Passed[2].Why = ledger.BroughtNothing
		}},
		{"who ran out of time is said to have given up", "executor", func(_ *world, c *ledger.Case) {
			c.Passed[2].Why, c.Passed[2].Result = ledger.GaveUp, nil
		}},
		{"nobody's enclave says so", "executor", func(_ *world, c *ledger.Case) { c.Passed[2].Result = nil }},
		{"who declined is said to have been absent", "executor", func(_ *world, c *ledger.Case) {
			d := c.Declined[0]
			c.Declined = nil
			c.Passed = append(c.Passed, ledger.Pass{View: 3, Executor: d.Decline.Node, Height: d.Height, Why: ledger.WasAbsent, Attempt: c.Attempt})
		}},
		{"a decline that nobody signed", "executor", func(_ *world, c *ledger.Case) { c.Declined[0].Decline.Reason = task.Busy }},
		{"a decline of a turn that was not", "course", func(_ *world, c *ledger.Case) { c.Declined[0].From = 3 }},
		{"a decline after its time", "executor", func(_ *world, c *ledger.Case) { c.Params.DeclineBlocks = 1 }},
		{"words that passed over too early", "executor", func(_ *world, c *ledger.Case) { c.Params.SkipBlocks = 1000 }},
		{"it pays for it", "slashes", func(_ *world, c *ledger.Case) {
			p := c.Passed[2]
			c.Slashes = append(c.Slashes, ledger.Slash{Node: p.Executor, Cause: ledger.Silence, Height: p.Height, Amount: 1, View: p.View})
			slices.SortStableFunc(c.Slashes, func(a, b ledger.Slash) int { return int(a.Height) - int(b.Height) })
		}},
		{"an enclave's good result is said to be out of time", "executor", func(w *world, c *ledger.Case) {
			s := c.Passed[2].Result
			s.Result.Outcome, s.Result.Gas = task.RunOK, 1_000_000
			s.Signature = task.Sign(keyOf("enclave 2"), s.Result.Hash())
			*s = s.PlacedBy(w.nodes[s.Result.Node].peer)
		}},
		{"an enclave that nobody found good ran out of time", "executor", func(_ *world, c *ledger.Case) {
			p := &c.Passed[2].Pre
			p.Commitments, p.Reveals = p.Commitments[:1], p.Reveals[:1]
		}},
		{"arguments that the function does not take", "task", func(_ *world, c *ledger.Case) {
			c.Function.Manifest.TaskArgs = false
			c.Task.Function = c.Function.ID()
		}},
		{"too little time for the gas", "task", func(_ *world, c *ledger.Case) { c.Params.GasFloor = 1 }},
		{"Alice is said to be silent, before her time was up", "settlement", func(_ *world, c *ledger.Case) {
			c.View = ledger.View{Number: 4, Executor: c.View.Executor, StartedAt: c.View.StartedAt, Pre: c.View.Pre}
			settled(c, ledger.DataOwnerSilent, alices)
		}},
		{"a member twice", "committee", func(_ *world, c *ledger.Case) { c.Members = append(c.Members, c.Members[0]) }},
		{"more seats", "course", func(_ *world, c *ledger.Case) { c.Seats = 100 }},

		{"good evidence is said to be faulty", "executor", func(_ *world, c *ledger.Case) { c.Passed[1].Pre.Faulty = true }},
		{"a pair is said to be another, signed by nobody", "evidence", func(_ *world, c *ledger.Case) {
			other := c.Pair()
			other.Digests[0][0]++
			c.View.Pre.Other = &other
		}},
		{"the decoy is said to be the genuine piece", "evidence", func(_ *world, c *ledger.Case) { c.View.Pre.Place ^= 1 }},
		{"another place, by another VRF proof", "evidence", func(w *world, c *ledger.Case) {
			p, _ := w.nodes[w.judges()[0]].vrf.Prove(c.Ballot().PairInput())
			c.View.Pre.Proof = task.Proof(p)
		}},
		{"faulty evidence is said to be good", "executor", func(_ *world, c *ledger.Case) {
			c.Passed[0].Pre.Faulty, c.Passed[0].Pre.Accuser = false, task.Address{}
		}},
		{"the exit is said to be faulty", "settlement", func(_ *world, c *ledger.Case) { settled(c, ledger.DirtyExit) }},
		{"a wrong word cost nothing", "slashes", func(_ *world, c *ledger.Case) {
			c.Slashes = slices.DeleteFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.WrongPick })
		}},

		{"a false OK cost nothing", "slashes", func(_ *world, c *ledger.Case) {
			c.Slashes = slices.DeleteFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.FalseOK })
		}},
		{"a missing reveal cost nothing", "slashes", func(_ *world, c *ledger.Case) {
			c.Slashes = slices.DeleteFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.NoReveal })
		}},
		{"faulty evidence cost nothing", "slashes", func(_ *world, c *ledger.Case) {
			c.Slashes = slices.DeleteFunc(c.Slashes, func(s ledger.Slash) bool { return s.Cause == ledger.BadEvidence })
		}},
		{"a node pays twice", "slashes", func(_ *world, c *ledger.Case) { c.Slashes = append(c.Slashes, c.Slashes[len(c.Slashes)-1]) }},
		{"who looked pays", "slashes", func(_ *world, c *ledger.Case) {
			s := *first(c, ledger.WrongPick)
			for _, v := range c.View.Pre.Reveals {
				if v.Place == c.View.Pre.Place && v.Verdict == task.OK {
					s.Node = v.Node
				}
			}
			c.Slashes = append(c.Slashes, s)
		}},
		{"a node pays too much", "slashes", func(_ *world, c *ledger.Case) {
			s := first(c, ledger.NoReveal)
			s.Amount++
		}},
		{"all of it is a reward", "slashes", func(_ *world, c *ledger.Case) {
			s := first(c, ledger.BadEvidence)
			s.Rewards[0].Amount = s.Amount
		}},
		{"the reward is another's", "slashes", func(_ *world, c *ledger.Case) { first(c, ledger.BadEvidence).Rewards[0].To = address("carol") }},
		{"the history leaves out a slash", "history", func(_ *world, c *ledger.Case) {
			i := slices.IndexFunc(c.History, func(f ledger.Fact) bool { return f.Kind == ledger.FactSlashed })
			c.History = slices.Delete(c.History, i, i+1)
		}},
		{"the history tells of a slash that was not", "history", func(_ *world, c *ledger.Case) {
			f := c.History[len(c.History)-1]
			c.History = append(c.History, ledger.Fact{Height: f.Height, Kind: ledger.FactSlashed, Node: c.View.Executor, Cause: ledger.Silence})
		}},
		{"the history names another end", "history", func(_ *world, c *ledger.Case) {
			for i := range c.History {
				if f := &c.History[i]; f.Kind == ledger.FactSettled {
					f.Outcome = ledger.FunctionFailed
				}
			}
		}},
		{"the history passes over another", "history", func(_ *world, c *ledger.Case) {
			for i := range c.History {
				if f := &c.History[i]; f.Kind == ledger.FactPassed {
					f.Node = c.View.Executor
				}
			}
		}},
		{"the history has a fact of no kind", "history", func(_ *world, c *ledger.Case) {
			c.History[2] = ledger.Fact{Height: c.History[2].Height, Kind: 200}
		}},
		{"the history goes back", "history", func(_ *world, c *ledger.Case) { slices.Reverse(c.History) }},
		{"the history has the numbers of another kind", "history", func(_ *world, c *ledger.Case) { c.History[0].Seats = 1 }},
		{"a seed of a beacon of the validators' choice", "seed", func(_ *world, c *ledger.Case) {
			c.Beacon = beacon.NewSecret([32]byte{9}).Sign(beacon.Input(chainID, c.SeededAt))
		}},
		{"a seed of another block's beacon", "seed", func(_ *world, c *ledger.Case) {
			c.Beacon = groupSecret.Sign(beacon.Input(chainID, c.SeededAt+1))
		}},
		{"an exit whose nonce was known", "seed", func(_ *world, c *ledger.Case) {
			v := &c.View
			v.ExitAt, v.ExitBeacon = v.ResultAt, groupSecret.Sign(beacon.Input(chainID, v.ResultAt))
			v.ExitNonce = attest.ExitNonce(v.Result.Result.Hash(), v.ExitBeacon.Value())
		}},
		{"an exit's nonce of the validators' choice", "seed", func(_ *world, c *ledger.Case) {
			v := &c.View
			v.ExitBeacon = beacon.NewSecret([32]byte{9}).Sign(beacon.Input(chainID, v.ExitAt))
			v.ExitNonce = attest.ExitNonce(v.Result.Result.Hash(), v.ExitBeacon.Value())
		}},
		{"a nonce without its beacon", "seed", func(_ *world, c *ledger.Case) { c.View.ExitNonce[0] ^= 1 }},
		{"seats that nobody counted", "seed", func(_ *world, c *ledger.Case) { c.Foresight.Seats, c.Foresight.Need = 4, 2 }},
		{"the good executor pays for its evidence", "slashes", func(_ *world, c *ledger.Case) {
			s := *first(c, ledger.BadEvidence)
			s.Height, s.View, s.Node, s.Rewards = c.View.ResultAt, 4, c.View.Executor, nil
			c.Slashes = append(c.Slashes, s)
		}},
	} {
		w := completed(t)
		r, _ := w.receipt()
		row.bend(w, &r.Case)
		rep := receipt.Verify(r, gullible)
		if rep.Holds() || !strings.HasPrefix(words(rep, row.row), "failed") {
			t.Errorf("%s: %s does not fail\n%s", row.name, row.row, rep.Text())
		}
	}
}

// No byte of the file can be changed or cut off. That what is changed fails in
// full is looked at now and then; that it is not what the chain proved, always.
func TestEveryByteIsBound(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of receipts, one after the other")
	}
	w := completed(t)
	r, check := w.receipt()
	raw := r.Encode()
	accepted := func(b []byte, fully bool) bool {
		p, err := receipt.Parse(b)
		if err != nil {
			return false
		}
		if fully {
			return receipt.Verify(p, check).Holds()
		}
		return p.Case.Under(p.Reference) == nil && check.State(p.Proof, ledger.CaseKey(p.Case.ID()), task.Encode(p.Case.Hash())) == nil
	}
	if !accepted(raw, true) {
		t.Fatal("the file itself is not accepted")
	}
	bad := bytes.Clone(raw)
	every := 17 // bytes between two that get the full check
	if testing.Short() {
		every = 211
	}
	for i := range raw {
		if bad[i] ^= 1 << (i % 8); accepted(bad, i%every == 0) {
			t.Errorf("byte %d changed from %x to %x: accepted", i, raw[i], bad[i])
		}
		bad[i] = raw[i]
		if i%7 == 0 && accepted(raw[:i], true) {
			t.Errorf("cut at %d: accepted", i)
		}
	}
}
