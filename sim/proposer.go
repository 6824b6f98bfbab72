package sim

import (
	"fmt"
	"slices"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// This file is how claims come into blocks (spec §6.3.1): honest proposers pack them by
// the production code, and honest validators look at proposals by it. A hostile
// proposer packs what it likes; what counts only in part must be refused by the others,
// and what is anybody's right must not stop the chain.

// verified remembers claims that were verified, as a validator does.
type verified map[task.Hash]ledger.Member

func (v verified) Get(asked task.Hash) (ledger.Member, bool) { m, ok := v[asked]; return m, ok }
func (v verified) Put(asked task.Hash, said ledger.Member)   { v[asked] = said }

// pass is a hostile validator that passes a claim on without its word *busy*, and faster.
func (c *chain) pass(p pooled) {
	if k := p.body.Claims; k != nil && len(k.Won) == 1 && k.Won[0].Busy != nil && c.hostile() && c.dice.IntN(2) == 0 {
		p.body.Claims = cut(*k)
		p.who = "who passes claims on"
		c.pool = append(c.pool, p)
	}
}

func (c *chain) hostile() bool {
	return slices.ContainsFunc(c.validators, func(v *validator) bool { return v.hostile })
}

// cut is claims without the word *busy*.
func cut(k task.Claims) *task.Claims {
	k.Won = slices.Clone(k.Won)
	for i := range k.Won {
		k.Won[i].Busy = nil
	}
	return &k
}

// pack puts the claims of a pool together, first of all, as a production proposer does.
func (c *chain) pack(pool []pooled) []pooled {
	var waiting []task.Claims
	var rest []pooled
	for _, p := range pool {
		if p.body.Claims != nil {
			waiting = append(waiting, *p.body.Claims)
		} else {
			rest = append(rest, p)
		}
	}
	if len(waiting) == 0 {
		return rest
	}
	b := ledger.NewBlock(c.store, c.height+1)
	b.Remember(c.claims)
	var first []pooled
	for _, k := range b.Pack(waiting) {
		first = append(first, packed(&k, "the proposer"))
	}
	return append(first, rest...)
}

func packed(k *task.Claims, who string) pooled { return pooled{body: task.Body{Claims: k}, who: who} }

// checkPacked: an honest proposer prefers the claim that says *busy*, whichever came
// first (§6.4.1).
func (c *chain) checkPacked(pool []pooled) {
	said := map[attemptNode]bool{}
	for _, p := range c.pool {
		if p.body.Claims != nil {
			for _, k := range p.body.Claims.All() {
				said[attemptNode{k.Task, k.Attempt, k.Node}] = said[attemptNode{k.Task, k.Attempt, k.Node}] || k.Busy != nil
			}
		}
	}
	for _, p := range pool {
		if p.body.Claims == nil {
			break
		}
		for _, k := range p.body.Claims.All() {
			if k.Busy == nil && said[attemptNode{k.Task, k.Attempt, k.Node}] {
				c.w.violate("busy is brought along", "block %d: the pool has it of %s, and it is cut off", c.height+1, c.w.name(k.Node))
			}
		}
	}
}

// takes is how honest validators look at a proposal: from bytes, on a block that is
// thrown away.
func (c *chain) takes(pool []pooled, due *beacon.Beacon) error {
	last := -1
	for i, p := range pool {
		if p.key == nil {
			last = i
		}
	}
	if last < 0 {
		return nil // who has a sender pays for what does not count
	}
	b := ledger.NewBlock(c.store, c.height+1)
	b.Remember(c.claims)
	if err := b.Begin(due, unix(c.w.now)); err != nil {
		return err
	}
	var txs []task.VerifiedTx
	for _, p := range pool[:last+1] {
		raw := task.FreeClaims(chainID, p.body.Claims)
		if p.key != nil {
			raw = task.SignTx(p.key, task.Tx{Chain: chainID, Nonce: b.Nonce(task.PublicKey(p.key)), Body: p.body})
		}
		tx, err := task.VerifyTx(raw, chainID)
		if err != nil {
			return err
		}
		txs = append(txs, tx)
	}
	return b.CheckProposal(txs)
}

// forge is what a hostile proposer makes of a block's claims. It says why the others
// must refuse that; nothing if they must not.
func (c *chain) forge(pool []pooled) (_ []pooled, why string) {
	n := slices.IndexFunc(pool, func(p pooled) bool { return p.body.Claims == nil })
	if n < 0 {
		n = len(pool)
	}
	packs, rest := pool[:n:n], pool[n:]
	old := c.counted()
	if len(packs) == 0 && (len(old) == 0 || c.dice.IntN(20) > 0) || c.dice.IntN(3) == 0 {
		return pool, ""
	}
	with := func(k ...*task.Claims) []pooled {
		all := slices.Clone(packs)
		for _, k := range k {
			all = append(all, packed(k, "a forger"))
		}
		return append(all, rest...)
	}
	if len(packs) == 0 {
		return with(&old[c.dice.IntN(len(old))]), "claims that have counted before"
	}
	i := c.dice.IntN(len(packs))
	one := *packs[i].body.Claims
	change := func(k task.Claims) []pooled {
		all := slices.Clone(packs)
		all[i] = packed(&k, "a forger")
		return append(all, rest...)
	}
	more := func(w ...task.Won) task.Claims {
		k := one
		k.Won = append(slices.Clone(k.Won), w...)
		return k
	}
	first := one.Won[0]
	switch c.dice.IntN(8) {
	case 0:
		j := slices.IndexFunc(old, func(k task.Claims) bool { return k.Task == one.Task && k.Attempt == one.Attempt })
		if j < 0 {
			return pool, ""
		}
		return change(more(old[j].Won...)), "idle claims among others"
	case 1:
		return change(more(first)), "a claim twice in one set"
	case 2:
		twice := one
		twice.Won = one.Won[:1]
		return with(cut(twice)), "a claim in two sets"
	case 3:
		first.Proof[40]++
		k := one
		k.Won = append([]task.Won{first}, one.Won[1:]...)
		return change(k), "a false proof"
	case 4:
		word := task.Sign(c.validators[3].sign, task.H(task.TagSalt))
		k := one
		k.Won = append([]task.Won{{Node: first.Node, Proof: first.Proof, Busy: &word}}, one.Won[1:]...)
		return change(k), "another's word that it is busy"
	case 5:
		return change(more(slices.Repeat([]task.Won{first}, task.MaxTx/len(first.Proof))...)), "claims over the limit"
	case 6:
		pays := pooled{key: c.w.bob.key, body: task.Body{Transfer: &task.Transfer{To: task.PublicKey(c.w.alice.key), Amount: 1}}, who: "a forger"}
		return append([]pooled{pays}, pool...), "claims behind what somebody has signed"
	}
	return change(*cut(one)), "" // who is busy says it again
}

// counted is the claims that count already, of every open attempt.
func (c *chain) counted() (all []task.Claims) {
	for _, j := range c.w.jobs {
		k, ok := c.at(j.id)
		if !ok || k.Phase == ledger.Closed || k.Phase == ledger.Posted || len(k.Members) == 0 {
			continue
		}
		m := k.Members[c.dice.IntN(len(k.Members))]
		all = append(all, *task.PackClaims([]task.Claim{m.Claim}))
	}
	return all
}

// sign makes the transaction with the sender's next nonce, as the production
// client does by asking for it.
func (c *chain) sign(b *ledger.Block, p pooled) task.VerifiedTx {
	raw := task.FreeClaims(chainID, p.body.Claims)
	if p.key != nil {
		raw = task.SignTx(p.key, task.Tx{Chain: chainID, Nonce: b.Nonce(task.PublicKey(p.key)), Body: p.body})
	}
	tx, err := task.VerifyTx(raw, chainID)
	if err != nil {
		panic(fmt.Sprintf("a transaction that no node would send: %v", err))
	}
	return tx
}

// censor is a hostile proposer: it orders as it likes and leaves some out,
// which honest proposers bring later.
func (w *world) censor(pool []pooled) (now, later []pooled) {
	w.rand.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	for _, p := range pool {
		if w.chance(0.4) {
			later = append(later, p)
		} else {
			now = append(now, p)
		}
	}
	return now, later
}
