package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// This file is what must not cost the honest anything, whatever others do.

// keysOut has both owners release.
func (w *world) keysOut() {
	w.t.Helper()
	if err := errors.Join(w.release(alices), w.release(bobs)); err != nil {
		w.t.Fatal(err)
	}
}

// ran brings the case to a result.
func (w *world) ran() {
	w.t.Helper()
	w.judge(everyone(task.OK))
	w.keysOut()
	if err := w.result(task.RunOK, 10); err != nil {
		w.t.Fatal(err)
	}
}

// A function that needs a container runtime is judged by the chain's list, and
// has no tasks on a chain that has none.
func TestContainersNeedAnAcceptedRuntime(t *testing.T) {
	w := newWorldUnder(t, 9, func(r *attest.Reference) { r.Runtimes = nil })
	f := w.function()
	f.Manifest.Runtime, f.Manifest.Arch, f.Manifest.Args = task.RuntimeOCI, "amd64", []string{"/f"}
	w.fn = f.ID()
	w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
	tk := w.task()
	if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "runtime-unaccepted" {
		t.Errorf("%v", err)
	}

	w = newWorld(t, 9)
	w.post()
	w.elect()
	p, _ := w.platform()
	c := w.c()
	c.Function.Manifest.Runtime = task.RuntimeOCI
	ref := c.Reference()
	ref.Runtimes = []task.Hash{{5}, {6}}
	c.ref = &ref
	for _, row := range []struct {
		round     task.Round
		pre, runs task.Hash
		want      string
	}{
		{task.PreRun, task.Hash{}, task.Hash{5}, ""},
		{task.PreRun, task.Hash{}, task.Hash{7}, attest.WrongRuntime},
		{task.PreRun, task.Hash{}, task.Hash{}, attest.WrongRuntime},
		{task.PostRun, task.Hash{5}, task.Hash{5}, ""},
		{task.PostRun, task.Hash{5}, task.Hash{6}, attest.WrongRuntime},
	} {
		c.View.Pre.Progress = Opened
		c.View.Pre.Evidence[c.View.Pre.Place] = task.Encode(attest.Evidence{Keys: enclaveKeys(), Runtime: row.pre})
		want := c.Wanted(row.round)
		p.Runtime = row.runs
		ev := p.Quote(want.Context, enclaveKeys(), want.Nonce, attest.EmptyState)
		if a := c.Appraise(row.round, task.Encode(ev)); a.Reason != row.want {
			t.Errorf("%v: %s: %s", row, a.Reason, a.Detail)
		}
	}
}

// A task that no committee could agree on is refused, or given up before anybody
// has worked for it.
func TestNobodyWorksForAQuorumThatCannotBe(t *testing.T) {
	two := func(r *attest.Reference) {
		r.Kinds = []attest.Kind{attest.Nitro}
	}
	w := newWorldUnder(t, 9, two)
	w.publish()
	tk := w.task()
	tk.Policy.MaxKindPPM = 400_000 // three kinds are needed, and two accepted
	if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "policy-unmeetable" {
		t.Errorf("%v", err)
	}
	tk = w.task()
	tk.Policy.MaxKindPPM = 600_000 // two would do, and nobody has the other
	w.id = tk.ID()
	w.must("alice", task.Body{Post: &tk})
	w.next()
	for w.c().Phase != Closed {
		if w.c().Phase == Electing && len(w.c().Members) == 0 {
			w.must("carol", task.Body{Claims: task.PackClaims(w.allClaims())})
		}
		if w.c().Phase == Attesting {
			t.Fatal("somebody works for it")
		}
		w.next()
	}
	if c := w.c(); c.Settlement.Outcome != NoCommittee || c.Seats != tk.Seats {
		t.Errorf("%s; %d seats in the last attempt: verifiers are asked for more and more, for one fee", c.Settlement.Outcome, c.Seats)
	}
}

// Only too few seats ask for more of them.
func TestTooFewSeatsAskForMore(t *testing.T) {
	w := newWorld(t, 9)
	w.post()
	var asked []uint32
	for w.c().Phase != Closed {
		if s := w.c().Seats; len(asked) == 0 || asked[len(asked)-1] != s {
			asked = append(asked, s)
		}
		w.next() // nobody claims
	}
	if want := []uint32{13, 20, 30, 45, 68}; !slices.Equal(asked, want) {
		t.Errorf("%v, want %v", asked, want)
	}
}

// Whoever may still owe something in a task has something at stake, in the last
// view too (spec §3.3).
func TestUnbondingOutlastsEveryView(t *testing.T) {
	w := newWorld(t, 9, func(p *Params) { p.UnbondBlocks, p.DisputeBlocks, p.FetchFloor = 6500, 100, 1<<30 })
	f := w.function()
	publish := func(blocks uint64, bond task.Amount) error {
		f.Manifest.Limits.WallMillis = blocks * w.block.Params.IntervalMillis
		return w.send("bob", task.Body{Publish: &task.Publish{Function: f, Bond: bond}})
	}
	blocks := uint64(100)
	for publish(blocks+50, task.PRY) == nil {
		blocks += 50
	}
	if err := publish(blocks+50, task.PRY); task.CodeOf(err) != "wall-too-long" {
		t.Fatal(err)
	}
	if err := publish(blocks, 50*task.PRY); err != nil {
		t.Fatal(err)
	}
	w.fn = f.ID()
	w.post()
	w.elect()
	least, had := w.block.Params.MinBond, map[task.NodeID]task.Amount{} // who keeps nothing gets no turn
	for _, m := range w.c().Members {
		rec, _ := w.state().Node(m.Claim.Node)
		if had[m.Claim.Node] = rec.Bond; rec.Bond > least {
			w.must(w.names[m.Claim.Node], task.Body{Unbond: &task.Bond{Node: m.Claim.Node, Amount: rec.Bond - least}})
		}
	}
	for view := uint32(0); w.c().Phase != Closed && w.c().View.Number == view; view++ { // each takes all the time there is
		for range w.block.Params.AttestBlocks - w.block.Params.CommitBlocks {
			w.next()
		}
		w.judge(everyone(task.OK))
		for range w.block.Params.ReleaseBlocks - 1 {
			w.next()
		}
		w.keysOut()
		for w.c().Phase == Running && w.c().View.Number == view {
			w.next()
		}
		if w.c().Phase == Closed {
			break
		}
		if id := w.c().View.Executor; w.block.atStake(id) != had[id] {
			t.Errorf("view %d: the executor has %s at stake, of %s", w.c().View.Number, w.block.atStake(id), had[id])
		}
	}
	for id, all := range had {
		rec, _ := w.state().Node(id)
		if got := w.block.atStake(id); got+rec.Lost != all {
			t.Errorf("a member of a committee has %s at stake at block %d, of %s", got, w.height, all)
		}
	}
}

// Nobody but the executor says where its output is.
func TestOutputIsWhereTheExecutorSays(t *testing.T) {
	w := elected(t)
	w.judge(everyone(task.OK))
	w.keysOut()
	c := w.c()
	pre, _ := attest.ParseEvidence(c.Genuine())
	own := w.signed(task.Result{
		Task: w.id, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK, Gas: 500_000,
		PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: pre.Digest(), Keys: keysOf(c),
	})
	elsewhere := own
	elsewhere.CID = "nowhere"
	if err := w.send("carol", task.Body{Result: &elsewhere}); task.CodeOf(err) != "result-unplaced" {
		t.Errorf("a copy with another CID: %v", err)
	}
	if err := w.send("carol", task.Body{Result: &own}); err != nil {
		t.Error(err)
	}
}

// Whatever a task's policy asks for, only nodes whose machines are that draw; so
// it cannot make honest evidence faulty (spec §3.1).
func TestNoPolicyIsATrap(t *testing.T) {
	other := task.Hash{43}
	for name, change := range map[string]func(*task.Policy){
		"another program": func(p *task.Policy) { p.Measurements = []task.Hash{other} },
		"a TCB that no chip has": func(p *task.Policy) {
			p.Kinds, p.MinTCB = []string{string(attest.Nitro), string(attest.Simulated)}, ^uint64(0)
		},
		"a tier that their chips do not have": func(p *task.Policy) { p.MinTier = task.TierMeasured },
		"another kind":                        func(p *task.Policy) { p.Kinds = []string{string(attest.Nitro)} },
	} {
		w := newWorldUnder(t, 9, func(r *attest.Reference) {
			r.Measurements = []task.Hash{measurement, other}
			r.Kinds = []attest.Kind{attest.Nitro}
		})
		f := w.function()
		f.Manifest.SuitedPPM = 1 // Bob takes tasks for which hardly anybody can work, but not for nobody
		w.fn = f.ID()
		w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
		tk := w.task()
		change(&tk.Policy)
		if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "policy-narrow" {
			t.Errorf("%s: a task for nobody: %v", name, err)
		}
		rare := NodeRecord{Node: newWorker("rare").node, Stakes: []Stake{{Amount: task.PRY}}}
		rare.Node.TEE.Kind = string(attest.Nitro)
		w.block.classify(&rare, attest.Profile{Tier: task.TierConfidential, Measurement: other, TCB: ^uint64(0)})
		tk.Nonce++
		w.id = tk.ID()
		w.must("alice", task.Body{Post: &tk})
		w.next()
		for w.c().Phase != Closed {
			if w.c().Phase == Electing {
				for _, k := range w.allClaims() {
					if err := w.send("carol", task.Body{Claims: task.PackClaims([]task.Claim{k})}); task.CodeOf(err) != "nothing-new" {
						t.Fatalf("%s: a claim: %v", name, err)
					}
				}
			}
			w.next()
		}
		if c := w.c(); c.Settlement.Outcome != NoCommittee || len(c.Slashes)+len(c.Passed) != 0 {
			t.Errorf("%s: %s, slashes %v, passed %v", name, c.Settlement.Outcome, c.Slashes, c.Passed)
		}
	}
}

// A docker function is run by a program of its own, which counts for nothing else,
// by nodes with simulated TEEs, for a task that accepts that (spec §9.6.8).
func TestDockerFunctions(t *testing.T) {
	docker := task.Hash{44}
	world := func(program ...task.Hash) *world {
		w := newWorldUnder(t, 9, func(r *attest.Reference) {
			r.Docker = program
			r.Kinds = []attest.Kind{attest.Nitro}
		})
		f := w.function()
		f.Manifest.Runtime, f.Manifest.Arch, f.Manifest.Args = task.RuntimeDocker, "any", []string{"/f"}
		f.Manifest.Image = &task.Image{Digest: "sha256:" + strings.Repeat("0", 64), Blob: task.Blob{CID: "image", Size: 10}}
		w.fn = f.ID()
		w.must("bob", task.Body{Publish: &task.Publish{Function: f, Bond: 50 * task.PRY}})
		return w
	}
	w := world(docker)
	for name, row := range map[string]struct {
		change func(*task.Policy)
		code   string
	}{
		"it accepts nothing":                    {func(p *task.Policy) { p.Accept = nil }, "weakness-unaccepted"},
		"it wants another program":              {func(p *task.Policy) { p.Measurements = []task.Hash{measurement} }, "policy-unmeetable"},
		"it wants other kinds":                  {func(p *task.Policy) { p.Kinds = []string{string(attest.Nitro)} }, "policy-unmeetable"},
		"it wants more than simulated evidence": {func(p *task.Policy) { p.MinTier = task.TierMeasured }, "docker-tier"},
	} {
		tk := w.task()
		tk.Policy.Accept = []string{task.WeakDocker}
		row.change(&tk.Policy)
		if err := w.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != row.code {
			t.Errorf("%s: %v, want %s", name, err, row.code)
		}
	}
	none := world()
	tk := none.task()
	tk.Policy.Accept = []string{task.WeakDocker}
	if err := none.send("alice", task.Body{Post: &tk}); task.CodeOf(err) != "no-docker" {
		t.Errorf("a chain without docker functions: %v", err)
	}

	tk = w.task()
	tk.Policy.Accept = []string{task.WeakDocker}
	w.id = tk.ID()
	w.must("alice", task.Body{Post: &tk})
	w.next()
	w.elect()
	appraise := func(program task.Hash) attest.Appraisal {
		p, k := w.platform()
		p.Measurement = program
		c := w.c()
		return c.Appraise(task.PreRun, task.Encode(p.Quote(c.Expected(task.PreRun, c.View.Number, k.node).Context, enclaveKeys(), w.nonce(task.PreRun), attest.EmptyState)))
	}
	if a := appraise(docker); a.Verdict != task.OK {
		t.Errorf("the program of docker functions: %s %s", a.Reason, a.Detail)
	}
	if a := appraise(measurement); a.Reason != attest.WrongMeasurement {
		t.Errorf("the program of other functions: %s %s", a.Verdict, a.Reason)
	}
	_, k := w.platform()
	rec, _ := w.state().Node(k.node.ID())
	other := rec.Node
	other.TEE.Kind = string(attest.Nitro)
	if err := w.c().Suits(other, attest.Profile{Tier: task.TierConfidential, Measurement: measurement}); task.CodeOf(err) != "kind-unasked" {
		t.Errorf("a node with another TEE: %v", err)
	}

	// And it is a program for nothing else.
	w = elected(t)
	if a := appraise(docker); a.Reason != attest.WrongMeasurement {
		t.Errorf("docker's program for a wasm function: %s %s", a.Verdict, a.Reason)
	}
}

// A node shows the machine that it registers: nobody else's, and as it is.
func TestRegistrationShowsTheMachine(t *testing.T) {
	w := newWorld(t, 3)
	owner, thief := newWorker("owner"), newWorker("carol")
	w.keys["owner"] = seedKey("owner")
	w.must("alice", task.Body{Transfer: &task.Transfer{To: owner.node.Operator, Amount: 300 * task.PRY}})
	mine := w.enrol(owner, 100*task.PRY)
	thief.node.TEE = owner.node.TEE // read from the owner's transaction on its way
	theirs := w.enrol(thief, 100*task.PRY)
	for name, row := range map[string]struct {
		change func(*task.Register)
		want   string
	}{
		"no quote":                  {func(r *task.Register) { r.Quote = nil }, attest.QuoteMalformed},
		"a chip of its own":         {func(*task.Register) {}, attest.ForeignChip},
		"the owner's quote":         {func(r *task.Register) { r.Quote = mine.Quote }, attest.NotBound},
		"a kind that is not its":    {func(r *task.Register) { r.Node.TEE.Kind = string(attest.Nitro) }, attest.KindRefused},
		"a kind that nobody knows":  {func(r *task.Register) { r.Node.TEE.Kind = "sgx" }, attest.UnknownKind},
		"a quote that is too short": {func(r *task.Register) { r.Quote = r.Quote[:9] }, attest.QuoteMalformed},
	} {
		r := *theirs
		row.change(&r)
		r.Possession = task.Sign(thief.peer, w.registration(r.Node))
		if err := w.send("carol", task.Body{Register: &r}); task.CodeOf(err) != row.want {
			t.Errorf("%s: %v, want %s", name, err, row.want)
		}
	}
	poor := *mine
	poor.Bond, poor.Quote = 5000*task.PRY, []byte("not looked at")
	if err := w.send("owner", task.Body{Register: &poor}); task.CodeOf(err) != "no-money" {
		t.Errorf("a bond that is not there: %v", err)
	}
	for name, bad := range map[string]attest.Platform{
		attest.WrongMeasurement: {Chip: owner.chip, Measurement: task.Hash{99}},
		attest.DebugEnclave:     {Chip: owner.chip, Measurement: measurement, Debug: true},
	} {
		r := *mine
		r.Quote, _ = bad.Quoter().Quote(w.registration(r.Node))
		if err := w.send("owner", task.Body{Register: &r}); task.CodeOf(err) != name {
			t.Errorf("%v, want %s", err, name)
		}
	}
	w.must("owner", task.Body{Register: mine})
	rec, _ := w.state().Node(owner.node.ID())
	if rec.Profile != owner.platform().Profile() {
		t.Errorf("registered as %+v", rec.Profile)
	}
	// Where only the address is new it need not show it again; as it is updated, it does.
	owner.node.Addr = "/memory/moved"
	moved := w.enrol(owner, 0)
	moved.Quote = nil
	w.must("owner", task.Body{Register: moved})
	if rec, _ := w.state().Node(owner.node.ID()); rec.Profile != owner.platform().Profile() || rec.Node.Addr != "/memory/moved" {
		t.Errorf("moved: %+v", rec)
	}
	updated := owner.platform()
	updated.TCB = 7
	moved.Quote, _ = updated.Quoter().Quote(w.registration(owner.node))
	w.must("owner", task.Body{Register: moved})
	if rec, _ := w.state().Node(owner.node.ID()); rec.Profile.TCB != 7 {
		t.Errorf("updated: %+v", rec.Profile)
	}
}
