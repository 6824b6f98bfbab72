package ledger

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
)

// TestRules plays testdata/rules.txt, one transaction a row.
func TestRules(t *testing.T) {
	raw, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 9)
	for i, row := range strings.Split(string(raw), "\n") {
		f := strings.Fields(row)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		at := fmt.Sprintf("rules.txt:%d", i+1)
		if f[0] == "-" {
			w.stage(f[1])
			continue
		}
		with := map[string]string{}
		for _, kv := range f[2 : len(f)-1] {
			k, v, _ := strings.Cut(kv, "=")
			with[k] = v
		}
		got := "ok"
		if err := w.send(f[0], w.body(f[0], f[1], with)); err != nil {
			if got = task.CodeOf(err); got == "" {
				got = err.Error()
			}
		}
		if want := f[len(f)-1]; got != want {
			t.Errorf("%s: %s ends as %s, want %s", at, strings.Join(f[:len(f)-1], " "), got, want)
		}
		// Meta is written at the block's end; its sum must hold now already.
		save(w.block.state, []byte(keyMeta), w.block.meta)
		if r := w.state(); r.Held() != r.Meta().Supply {
			t.Fatalf("%s: %d held of %d", at, r.Held(), r.Meta().Supply)
		}
	}
}

func (w *world) stage(what string) {
	switch what {
	case "seed":
		w.next()
	case "elect":
		w.elect()
	case "judge":
		w.judge(everyone(task.OK))
		w.keys["executor"] = w.keys[w.names[w.c().View.Executor]]
	case "late":
		for w.height < w.c().SkipFrom() {
			w.next()
		}
	}
}

func number(with map[string]string, key string, def uint64) uint64 {
	if v, ok := with[key]; ok {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			panic(err)
		}
		return n
	}
	return def
}

func (w *world) nodeID(name string) task.NodeID {
	for id, n := range w.names {
		if n == name {
			return id
		}
	}
	return task.NodeID{1}
}

// body makes the transaction of a row.
func (w *world) body(who, verb string, with map[string]string) task.Body {
	pry := func(key string) task.Amount { return task.Amount(number(with, key, 0)) * task.PRY }
	switch verb {
	case "transfer":
		return task.Body{Transfer: &task.Transfer{To: task.PublicKey(w.keys[with["to"]]), Amount: pry("amount")}}
	case "bond":
		return task.Body{Bond: &task.Bond{Node: w.nodeID(with["node"]), Amount: pry("amount")}}
	case "unbond":
		return task.Body{Unbond: &task.Bond{Node: w.nodeID(with["node"]), Amount: pry("amount")}}
	case "publish":
		f := w.function()
		f.Manifest.Limits.Gas = number(with, "gas", f.Manifest.Limits.Gas)
		f.Manifest.Limits.WallMillis = number(with, "wall", f.Manifest.Limits.WallMillis)
		if r := with["runtime"]; r != "" {
			f.Manifest.Runtime = r
		}
		if w.fn.IsZero() {
			w.fn = f.ID()
		}
		return task.Body{Publish: &task.Publish{Function: f, Bond: pry("bond")}}
	case "withdraw":
		return task.Body{Withdraw: &task.Withdraw{Function: w.fn, Amount: pry("amount")}}
	case "post":
		return w.postRow(with)
	case "claims":
		return w.claimsRow(with["from"])
	case "commit":
		return w.commitRow(with["from"])
	case "reveal":
		c := w.c()
		return task.Body{Verdicts: task.PackVerdicts(c.Ballot(), []task.Reveal{{Ballot: c.Ballot(), Node: task.NodeID{1}, Verdict: task.OK}}, nil)}
	case "release":
		c := w.c()
		r := task.Release{Task: w.id, View: c.View.Number, Party: alices, Evidence: task.H(task.TagEvidence, c.Genuine()), Sealed: []byte{1}}
		r.Party = uint8(number(with, "party", 1))
		if with["evidence"] != "" {
			r.Evidence[0]++
		}
		return task.Body{Release: &r}
	case "result":
		return w.resultRow(with)
	case "call":
		k := task.Call{Ballot: w.c().Ballot(), Seal: []byte("enclave")}
		switch with["key"] {
		case "none":
			k.Seal = nil
		case "other":
			k.Seal = []byte("another enclave")
		}
		if with["view"] != "" {
			k.Ballot.View++
		}
		return task.Body{Call: &k}
	case "skip":
		return w.skipRow(with["votes"])
	case "decline":
		return w.declineRow(with)
	case "show":
		return task.Body{Show: ref(w.pair(w.quote(task.PreRun)))}
	case "open":
		s := w.pair(w.quote(task.PreRun))
		return task.Body{Verdicts: task.PackVerdicts(s.Ballot, nil, w.opening(s))}
	case "exit":
		return task.Body{Exit: &task.Exit{Ballot: w.c().Ballot(), Evidence: []byte{1}}}
	case "accuse":
		c := w.c()
		return task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Shown: ref(w.pair(w.dirty(task.PreRun)))}}
	case "look":
		c := w.c()
		return task.Body{Accuse: &task.Accusation{Ballot: c.Ballot(), Accused: c.View.Executor, Look: true}}
	}
	panic(verb)
}

func (w *world) postRow(with map[string]string) task.Body {
	p := w.task()
	if _, ok := with["fee"]; ok {
		p.Fee = task.Amount(number(with, "fee", 0)) * task.PRY
	}
	if _, ok := with["price"]; ok {
		p.GasPrice, p.GasLimit = task.Amount(number(with, "price", 0)), 1<<62
	}
	p.GasLimit = number(with, "gas", p.GasLimit)
	p.Seats = uint32(number(with, "seats", uint64(p.Seats)))
	p.MinSeats = uint32(number(with, "min", uint64(p.MinSeats)))
	p.Policy.MinTier = task.Tier(number(with, "tier", uint64(p.Policy.MinTier)))
	p.Policy.MinTCB = number(with, "tcb", 0)
	if with["measurement"] != "" {
		p.Policy.Measurements = []task.Hash{{99}}
	}
	if k := with["kind"]; k != "" {
		p.Policy.Kinds = []string{k}
	}
	if with["function"] != "" {
		p.Function[0]++
	}
	if o := with["owner"]; o != "" {
		p.Requester = task.PublicKey(w.keys[o])
	}
	if c := with["chain"]; c != "" {
		p.Chain = c
	}
	if w.id.IsZero() {
		w.id = p.ID()
	}
	return task.Body{Post: &p}
}

func (w *world) claimsRow(from string) task.Body {
	set := []task.Claim{}
	switch from {
	case "all":
		if w.c().Phase == Posted {
			set = []task.Claim{{Task: w.id}}
		} else {
			set = w.allClaims()
		}
	case "forged":
		id := w.nodeID("n8")
		set = []task.Claim{{Task: w.id, Node: id, Proof: task.Proof{1}}, {Task: w.id, Node: task.NodeID{9}}}
	case "stale":
		set = []task.Claim{{Task: w.id, Attempt: 7}}
	case "unknown":
		set = []task.Claim{{Task: task.TaskID{9}}}
	}
	return task.Body{Claims: task.PackClaims(set)}
}

func (w *world) commitRow(from string) task.Body {
	c := w.c()
	k := task.Commitment{Ballot: c.Ballot(), Digest: task.Hash{1}}
	switch from {
	case "stranger":
		k.Node = task.NodeID{9}
	case "executor":
		if k.Node = c.View.Executor; !k.Node.IsZero() {
			k.Signature = task.Sign(w.nodes[k.Node].peer, k.Hash())
		}
	case "forged":
		for _, m := range c.Members {
			if m.Claim.Node != c.View.Executor {
				k.Node = m.Claim.Node
			}
		}
	}
	return task.Body{Commitments: task.PackCommitments([]task.Commitment{k})}
}

func (w *world) resultRow(with map[string]string) task.Body {
	c := w.c()
	pre, _ := attest.ParseEvidence(c.Genuine())
	r := task.Result{Task: w.id, View: c.View.Number, Node: c.View.Executor, Outcome: task.RunOK, Gas: number(with, "gas", 500_000), PreState: attest.EmptyState, PostState: attest.EmptyState, Evidence: pre.Digest(), Keys: keysOf(c)}
	s := w.signed(r)
	if _, forged := with["forged"]; forged {
		s.Signature[0]++
	}
	return task.Body{Result: &s}
}

func (w *world) skipRow(votes string) task.Body {
	c := w.c()
	t := task.Skip{Task: w.id, View: c.View.Number + 1}
	for i, m := range c.Members {
		v := task.Vote{Task: w.id, View: t.View, Node: m.Claim.Node}
		s := task.SignedVote{Vote: v, Signature: task.Sign(w.nodes[v.Node].peer, v.Hash())}
		switch {
		case votes == "few" && i == 0: // one member's word, many times
			for range 50 {
				t.Votes = append(t.Votes, s)
			}
		case votes == "all":
			t.Votes = append(t.Votes, s)
		}
	}
	return task.Body{Skip: &t}
}

// declineRow is the executor's, or that of the verifier with the lowest name.
func (w *world) declineRow(with map[string]string) task.Body {
	d := task.Decline{Task: w.id, Attempt: w.c().Attempt, Node: w.c().View.Executor, Lack: task.Lack{Reason: task.DeclineReason(number(with, "reason", 1)), Party: uint8(number(with, "party", 0))}}
	switch with["node"] {
	case "stranger":
		d.Node = task.NodeID{1}
		return task.Body{Decline: &d}
	case "verifier":
		d.Node = w.verifiers()[0]
	}
	d = d.SignedBy(w.nodes[d.Node].peer)
	if _, forged := with["forged"]; forged {
		d.Signature[0]++
	}
	return task.Body{Decline: &d}
}
