package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
)

// Each party releases for its own place alone, once; who is two parties releases
// twice, and one release never stands for the other.
func TestReleasesAreByParty(t *testing.T) {
	for _, one := range []bool{false, true} { // Alice owns the code too
		w := newWorld(t, 9)
		w.publish()
		codes := "bob"
		if one {
			f := w.function()
			f.Owner, codes = task.PublicKey(w.keys["alice"]), "alice"
			w.fn = f.ID()
			w.must("alice", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
		}
		w.again()
		w.elect()
		w.judge(everyone(task.OK))
		if err := w.call(); err != nil {
			t.Fatal(err)
		}
		send := func(who string, party uint8, sealed string) string {
			c := w.c()
			return task.CodeOf(w.send(who, task.Body{Release: &task.Release{
				Task: w.id, Attempt: c.Attempt, View: c.View.Number, Party: party,
				Evidence: task.H(task.TagEvidence, c.Genuine()), Sealed: []byte(sealed),
			}}))
		}
		for _, row := range []struct {
			who   string
			party uint8
			code  string
		}{
			{"alice", 0, "not-owner"}, {"alice", 3, "not-owner"}, {"alice", 255, "not-owner"}, {"carol", alices, "not-owner"},
			{"bob", alices, "not-owner"}, {"carol", bobs, "not-owner"},
			{"alice", alices, ""}, {"alice", alices, "nothing-new"}, {"bob", alices, "not-owner"},
		} {
			if got := send(row.who, row.party, fmt.Sprint(len(w.c().View.Releases))); got != row.code {
				t.Errorf("%s for party %d: %q, want %q", row.who, row.party, got, row.code)
			}
		}
		if party, waits := w.c().Unreleased(); !waits || party != bobs || w.c().Phase != Releasing {
			t.Errorf("one release stands for all: %s, waits for %d: %t", w.c().Phase, party, waits)
		}
		if !one {
			if got := send("alice", bobs, "hers"); got != "not-owner" {
				t.Errorf("Alice for Bob: %q", got)
			}
		}
		if got := send(codes, bobs, "the code's"); got != "" || w.c().Phase != Running {
			t.Errorf("all keys: %q, %s", got, w.c().Phase)
		}
	}
}

// A task has the parties that the rules settle today, and no others.
func TestOtherPartiesAreRefused(t *testing.T) {
	w := newWorld(t, 9)
	w.publish()
	for name, change := range map[string]func(*task.Task){
		"two inputs of one owner": func(tk *task.Task) {
			tk.Data = append(tk.Data, task.Data{Owner: tk.Requester, Blob: task.Blob{CID: "more", Size: 1}})
		},
		"another's input": func(tk *task.Task) {
			tk.Data[0].Owner, tk.Data[0].Broker = task.PublicKey(w.keys["carol"]), &task.Endpoint{Addr: "/memory/carol"}
		},
	} {
		tk := w.task()
		change(&tk)
		if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "data-owners" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A result names a release for each party, and a party only where its key is wrong.
func TestResultsNameParties(t *testing.T) {
	w := due(t)
	for name, change := range map[string]func(*task.Result){
		"no releases":           func(r *task.Result) { r.Keys = nil },
		"of too few":            func(r *task.Result) { r.Keys = r.Keys[:2] },
		"of too many":           func(r *task.Result) { r.Keys = append(r.Keys, task.Hash{1}) },
		"a party for nothing":   func(r *task.Result) { r.Party = alices },
		"a party without a key": func(r *task.Result) { r.Outcome, r.Party, r.Gas = task.WrongKey, 0, 0 },
		"a party that is none":  func(r *task.Result) { r.Outcome, r.Party, r.Gas = task.WrongKey, 3, 0 },
		"another's release": func(r *task.Result) {
			r.Outcome, r.Party, r.Gas = task.WrongKey, alices, 0
			r.Keys[alices] = r.Keys[bobs]
		},
	} {
		r := w.bare(task.RunOK, 1_000_000)
		change(&r)
		if got := task.CodeOf(w.c().CheckResult(w.signed(r))); got != "result-malformed" && got != "blame-unfounded" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, party := range []uint8{alices, bobs} {
		r := w.bare(task.WrongKey, 0)
		r.Party = party
		if err := w.c().CheckResult(w.signed(r)); err != nil {
			t.Errorf("party %d: %v", party, err)
		}
	}
}

// manyParties is a case with as many data owners as a task can have, of whom some are
// the requester, as later rules may take it: what settles counts parties, and no rule
// counts on there being three.
func manyParties(r *rand.Rand) *Case {
	c := &Case{Params: Embedded("many"), PostedAt: 10}
	c.Task = task.Task{
		Requester: task.Key{1}, GasLimit: 1_000_000, GasPrice: task.Amount(1+r.IntN(9)) * task.PRY, Fee: task.Amount(r.IntN(9)) * task.PRY,
		Seats: 13, MinSeats: 4,
	}
	c.Function = task.Function{Owner: task.Key{byte(r.IntN(4))}, Manifest: task.Manifest{Royalty: task.Amount(r.IntN(3)) * task.PRY}}
	for i := range 1 + r.IntN(task.MaxData) {
		c.Task.Data = append(c.Task.Data, task.Data{Owner: task.Key{byte(1 + r.IntN(4))}, Blob: task.Blob{CID: fmt.Sprint(i), Size: 1}})
	}
	for i := range 1 + r.IntN(6) {
		n := task.Node{Operator: task.Key{byte(100 + i)}, VRF: task.Key{byte(100 + i), 1}, Peer: task.Key{byte(100 + i), 2}, Runtimes: []string{""}}
		c.Members = append(c.Members, Member{Node: n, Claim: task.Claim{Node: n.ID()}, Seats: uint32(1 + r.IntN(4))})
	}
	c.View.Executor = c.Members[0].Claim.Node
	for _, p := range c.Parties() {
		lock := task.Amount(r.IntN(20)) * task.PRY / 4
		if p.Role == task.DataOwner && p.Account == c.Task.Requester {
			lock = 0
		}
		c.Escrow.Locks = append(c.Escrow.Locks, lock)
	}
	c.Escrow.Room = task.Amount(r.IntN(9)) * task.PRY
	return c
}

// With any list of parties: who is at fault pays and nobody else; all that was locked
// is paid, kept or burned; the first party that is silent is the one that is blamed,
// and files are counted by party.
func TestPartiesBeyondToday(t *testing.T) {
	outcomes := map[Outcome]task.Role{
		Completed: 0, FunctionFailed: 0, ExecutorsFailed: 0, DirtyExit: 0, NoCommittee: 0, ExitSilent: 0, BadEnclave: 0, ForgedResult: 0, AllOutOfTime: 0,
		RequesterSilent: task.Requester, DataOwnerSilent: task.DataOwner, InputWithheld: task.DataOwner, CodeOwnerSilent: task.CodeOwner, CodeWithheld: task.CodeOwner,
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 45))
		c := manyParties(r)
		parties := c.Parties()
		for o, role := range outcomes {
			for i, p := range parties {
				if role == p.Role || role == 0 && i == 0 {
					settlesBy(t, c, End{o, uint8(i)}, role != 0)
				}
			}
		}
		silentParties(t, r, c)
		withheldFiles(t, r, c)
	}
}

func settlesBy(t *testing.T, c *Case, e End, blamed bool) {
	t.Helper()
	parties := c.Parties()
	s := Settle(c, e, c.PostedAt+5)
	sum, _ := task.Sum(append([]task.Amount{s.Burned, s.Rent}, s.Kept...)...)
	out := make([]task.Amount, len(parties)) // what left each lock, and did not come back
	for _, p := range s.Payments {
		sum += p.Amount
		if p.Node.IsZero() && p.To != parties[p.Party].Account {
			t.Errorf("%v: party %d is paid at %s", e, p.Party, p.To.Short())
		}
		if p.Why == WhyRefund && p.Party == 0 {
			out[0] -= p.Amount
		}
	}
	for i := range parties {
		out[i] += c.Escrow.Locks[i] - s.Kept[i]
	}
	if all, _ := c.Escrow.Sum(); sum != all {
		t.Errorf("%v: %s of %s", e, sum, all)
	}
	payer := 0
	if blamed && (parties[e.Party].Role != task.DataOwner || parties[e.Party].Account != c.Task.Requester) {
		payer = int(e.Party)
	}
	for i := range parties {
		if i != payer && out[i] != 0 {
			t.Errorf("%v: party %d, a %s, lost %s", e, i, parties[i].Role, out[i])
		}
	}
	if fixed := min(fixedPart(c.Task, c.Params), c.Escrow.Locks[payer]); blamed && out[payer] < fixed {
		t.Errorf("%v: party %d lost %s of %s", e, payer, out[payer], fixed)
	}
	var want []uint32
	switch {
	case blamed:
		want = []uint32{uint32(e.Party)}
	case e.Outcome == FunctionFailed:
		for i := range len(parties) - 1 {
			want = append(want, uint32(i+1))
		}
	}
	if !slices.Equal(s.Fault.Parties, want) || (s.Fault.Of == AParty) != (len(want) > 0) {
		t.Errorf("%v: the fault is of %v, want %v", e, s.Fault, want)
	}
	if len(s.Kept) != len(parties) || s.Kept[0] != 0 {
		t.Errorf("%v: kept %v", e, s.Kept)
	}
}

func silentParties(t *testing.T, r *rand.Rand, c *Case) {
	t.Helper()
	c.View.Releases = nil
	has := map[uint8]bool{}
	for range r.IntN(40) {
		party := uint8(r.IntN(20)) // some are no party's, or the requester's
		has[party] = true
		c.View.Releases = append(c.View.Releases, task.Release{Party: party})
	}
	own := slices.ContainsFunc(c.Task.Data, func(d task.Data) bool { return d.Owner == c.Task.Requester })
	want, missing := 0, false
	for i := len(c.Parties()) - 1; i >= 0; i-- {
		if !has[uint8(i)] && (i > 0 || !own) { // who owns data brings the recipient with their key
			want, missing = i, true
		}
	}
	if party, waits := c.Unreleased(); int(party) != want || waits != missing {
		t.Errorf("of %d parties, with %v, %d is waited for", len(c.Parties()), has, party)
	}
}

func withheldFiles(t *testing.T, r *rand.Rand, c *Case) {
	t.Helper()
	c.Declined = nil
	said, nodes, able := map[uint8]uint32{}, map[uint8]int{}, uint32(0)
	for _, m := range c.Members {
		able += m.Seats
		l := task.Lack{Reason: task.DeclineReason(1 + r.IntN(3))}
		if l.Reason == task.NoFile {
			l.Party = uint8(1 + r.IntN(min(3, len(c.Parties())-1)))
		}
		turn := r.IntN(4) > 0
		c.Declined = append(c.Declined, Declined{Decline: task.Decline{Node: m.Claim.Node, Lack: l}, Turn: turn})
		if turn && l.Reason == task.NoFile {
			said[l.Party] += m.Seats
			nodes[l.Party]++
		}
	}
	want := uint8(0)
	for i := uint8(3); i > 0; i-- {
		if nodes[i] > 1 && 2*said[i] > able {
			want = i
		}
	}
	e, ok := c.Withheld()
	if ok != (want > 0) || e.Party != want || ok && e.Outcome != map[task.Role]Outcome{task.DataOwner: InputWithheld, task.CodeOwner: CodeWithheld}[c.RoleOf(want)] {
		t.Errorf("%v of %d seats: %v, want party %d", said, able, e, want)
	}
}
