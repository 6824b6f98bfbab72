package chain

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cometbft/cometbft/mempool"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

const (
	resendAfter  = 500 * time.Millisecond // without a word of a transaction
	retryAfter   = 10 * time.Millisecond  // when the pool is full or the node away
	retryAtMost  = 500 * time.Millisecond
	resignAtMost = 8 // times that a first nonce may turn out to be used
)

// Receipt says where a transaction stands on the chain.
type Receipt struct {
	TxID   task.TxID `json:"tx"`
	Nonce  uint64    `json:"nonce,string"`  // a posted task carries it, and so gets its name
	Height uint64    `json:"height,string"` // of the block that holds it
}

// sender gives out the nonces of one account, one after the other.
type sender struct {
	key  ed25519.PrivateKey
	turn chan struct{} // held while a nonce is given out

	// Guarded by turn.
	next  uint64
	known bool // next is right, as far as this client can tell

	// Guarded by Client.mu: sent, and not yet seen in a block.
	flight map[uint64]*pending
}

// pending is a transaction that was sent. It is looked after until a block
// holds it or the chain refuses it.
type pending struct {
	sender *sender
	body   task.Body
	nonce  uint64
	raw    []byte
	id     task.TxID
	sent   time.Time    // guarded by Client.mu
	result chan outcome // buffered; nobody need read it. Nil: a filler, that only its nonce is wanted of
}

// answer tells who waits for the transaction what became of it, once.
func (p *pending) answer(o outcome) {
	select {
	case p.result <- o:
	default:
	}
}

type outcome struct {
	Receipt
	err error
}

// Submit signs a body for the account, sends it and waits until a block holds
// it. If the chain refuses it, the error is a *task.Error; the receipt then
// has a height if the refusal stands in a block, which cost the fee. Calls for
// one account may overlap: they get successive nonces. When the context ends
// first, the transaction may still be committed later.
func (c *Client) Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (Receipt, error) {
	p, err := c.send(ctx, key, body)
	if err != nil {
		return Receipt{}, err
	}
	select {
	case o := <-p.result:
		return o.Receipt, o.err
	case <-ctx.Done():
		return Receipt{TxID: p.id, Nonce: p.nonce}, ctx.Err()
	}
}

// Send is Submit without the wait for a block: it returns when the node's pool
// has the transaction. The client goes on looking after it.
//
// Claims it sends as nobody's, each for itself: whoever proposes the next block puts
// them together (spec §6.3.1).
func (c *Client) Send(ctx context.Context, key ed25519.PrivateKey, body task.Body) error {
	if body.Claims != nil {
		return c.claim(ctx, *body.Claims)
	}
	_, err := c.send(ctx, key, body)
	return err
}

// claim sends claims until the pool has them, or has no use for them.
func (c *Client) claim(ctx context.Context, set task.Claims) error {
	for _, k := range set.All() {
		raw := task.FreeClaims(c.params.Chain, task.PackClaims([]task.Claim{k}))
		for {
			err := c.broadcast(ctx, raw)
			if !waits(task.CodeOf(err)) {
				if err != nil && task.CodeOf(err) != "nothing-new" {
					return err
				}
				break
			}
			select {
			case <-time.After(retryAfter):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

func (c *Client) sender(key ed25519.PrivateKey) *sender {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := task.PublicKey(key)
	s := c.senders[from]
	if s == nil {
		s = &sender{key: key, turn: make(chan struct{}, 1), flight: map[uint64]*pending{}}
		c.senders[from] = s
	}
	return s
}

func (c *Client) send(ctx context.Context, key ed25519.PrivateKey, body task.Body) (*pending, error) {
	s := c.sender(key)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return c.sendNext(ctx, s, body, make(chan outcome, 1))
}

// sendNext sends a body with the account's next nonce. The caller has the turn.
// A nonce counts as given out only when the pool has taken the transaction.
func (c *Client) sendNext(ctx context.Context, s *sender, body task.Body, result chan outcome) (*pending, error) {
	for raced := 0; raced < resignAtMost; {
		if err := c.sync(ctx, s); err != nil {
			return nil, err
		}
		p, err := c.sign(s, withNonce(body, s.next), s.next, result)
		if err != nil {
			return nil, err
		}
		c.track(p)
		err = c.pool(ctx, p)
		switch task.CodeOf(err) {
		case "":
			// A node that did not answer may have it or not: it stays looked after.
			s.next++
			return p, err
		case "nonce-used":
			c.untrack(p)
			s.known = false
			raced++
		case "nonce-pooled": // by another client of the account: behind it, then
			c.untrack(p)
			s.next++
		default:
			c.untrack(p)
			return nil, err
		}
	}
	return nil, task.Refuse("nonce-raced", "account %s is used from elsewhere at the same time; its nonces are gone before they can be used", task.PublicKey(s.key).Short())
}

// withNonce makes a task carry its transaction's nonce: that is what makes two
// equal tasks two (spec §1.3).
func withNonce(body task.Body, nonce uint64) task.Body {
	if body.Post != nil {
		post := *body.Post
		post.Nonce = nonce
		body.Post = &post
	}
	return body
}

func (c *Client) sign(s *sender, body task.Body, nonce uint64, result chan outcome) (*pending, error) {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // never fails
	raw := task.SignTx(s.key, task.Tx{Chain: c.params.Chain, Nonce: nonce, Salt: binary.BigEndian.Uint64(salt[:]), Body: body})
	if len(raw) > task.MaxTx {
		return nil, task.Refuse("tx-too-large", "the transaction has %d bytes, at most %d are allowed", len(raw), task.MaxTx)
	}
	id := task.TxID(task.H(task.TagTransaction, raw))
	return &pending{sender: s, body: body, nonce: nonce, raw: raw, id: id, sent: time.Now(), result: result}, nil
}

// sync learns the next nonce: behind what the chain has used and behind what
// is on its way.
func (c *Client) sync(ctx context.Context, s *sender) error {
	if !s.known {
		acct, err := c.Account(ctx, task.PublicKey(s.key))
		if err != nil {
			return err
		}
		s.next, s.known = acct.Nonce, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.flight[s.next] != nil {
		s.next++
	}
	return nil
}

func (c *Client) track(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[p.id] = p
	p.sender.flight[p.nonce] = p
}

func (c *Client) untrack(p *pending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, p.id)
	if p.sender.flight[p.nonce] == p {
		delete(p.sender.flight, p.nonce)
	}
}

// pool sends a new transaction until the node's pool has it, the chain refuses
// it, or the context ends. The caller has the account's turn.
func (c *Client) pool(ctx context.Context, p *pending) error {
	unsure := false // whether an earlier try got through
	for wait := retryAfter; ; wait = min(2*wait, retryAtMost) {
		err := c.broadcast(ctx, p.raw)
		switch code := task.CodeOf(err); {
		case err == nil:
			return nil
		case unsure && (code == "nonce-used" || code == "nonce-pooled"):
			return nil // by itself, it may be: that is found out as it is looked after
		case code == "":
			unsure = true
		case !waits(code):
			return err
		}
		if perr := pause(ctx, wait); perr != nil {
			return errors.Join(perr, err)
		}
		if task.CodeOf(err) == "nonce-far" {
			c.closeRanks(ctx, p)
		}
	}
}

// closeRanks sends again what must come before a transaction and is not in the
// pool: it was dropped there. The caller has the account's turn.
func (c *Client) closeRanks(ctx context.Context, p *pending) {
	var before []*pending
	c.mu.Lock()
	late := time.Since(p.sent) >= resendAfter
	for nonce, q := range p.sender.flight {
		if nonce < p.nonce {
			before = append(before, q)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(before, func(a, b *pending) int { return cmp.Compare(a.nonce, b.nonce) })
	for _, q := range before {
		c.revive(ctx, q, 0) // no block was searched for it
	}
	if late {
		c.fillBefore(ctx, p)
	}
}

// waits says whether a refusal may pass by itself: the account's other transactions
// come first, or the node does.
func waits(code string) bool { return code == "nonce-far" || code == errStarting.Code }

// broadcast is nil if the node has the transaction, or had it. The pool may drop
// it even then; that is why it is looked after.
func (c *Client) broadcast(ctx context.Context, raw []byte) error {
	r, err := c.rpc.BroadcastTxSync(ctx, raw)
	if err != nil {
		if strings.Contains(err.Error(), mempool.ErrTxInCache.Error()) {
			return nil
		}
		return err
	}
	return c.refusal(r.Code, r.Log)
}

// settle follows the chain for the life of the client and tells senders what
// became of their transactions.
func (c *Client) settle(ctx context.Context) {
	for next := c.Height() + 1; ; {
		soon, cancel := context.WithTimeout(ctx, resendAfter)
		latest, _ := c.gate.wait(soon, next)
		cancel()
		if ctx.Err() != nil {
			return
		}
		for ; next <= latest; next++ {
			if c.idle() {
				// What is sent from now on cannot stand in these blocks.
				next = latest
				continue
			}
			results, _, err := c.results(ctx, next)
			if err != nil {
				return
			}
			for _, r := range results {
				c.resolve(next, r.Data, c.refusal(r.Code, r.Log))
			}
		}
		c.tidy(ctx, latest)
	}
}

func (c *Client) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waiting) == 0
}

// resolve takes a transaction's result from a block. A wrong nonce or no money
// for the fee used up no nonce: such a one is still on its way.
func (c *Client) resolve(height uint64, id []byte, err error) {
	if code := task.CodeOf(err); len(id) != len(task.TxID{}) || code == "nonce-wrong" || code == "no-fee" {
		return
	}
	c.mu.Lock()
	p := c.waiting[task.TxID(id)]
	c.mu.Unlock()
	if p == nil {
		return
	}
	c.untrack(p)
	p.answer(outcome{Receipt{p.id, p.nonce, height}, err})
	if err != nil {
		c.log.Debug("transaction refused", "tx", p.id.Short(), "kind", p.body.Kind(), "height", height, "err", err)
	}
}

// tidy looks after transactions of which nothing was heard for a while. All
// blocks up to seen have been searched.
func (c *Client) tidy(ctx context.Context, seen uint64) {
	var late []*pending
	c.mu.Lock()
	for _, p := range c.waiting {
		if time.Since(p.sent) >= resendAfter {
			late = append(late, p)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(late, func(a, b *pending) int { return cmp.Compare(a.nonce, b.nonce) })
	for _, p := range late {
		select {
		case p.sender.turn <- struct{}{}:
			c.revive(ctx, p, seen)
			<-p.sender.turn
		default: // the account is busy; later
		}
	}
}

// revive sends a transaction again. The caller has the account's turn.
func (c *Client) revive(ctx context.Context, p *pending, seen uint64) {
	ctx, cancel := context.WithTimeout(ctx, resendAfter)
	defer cancel()
	c.mu.Lock()
	p.sent = time.Now()
	gone := c.waiting[p.id] != p // before its turn came
	c.mu.Unlock()
	if gone {
		return
	}
	err := c.broadcast(ctx, p.raw)
	switch code := task.CodeOf(err); {
	case code == "nonce-far" && seen > 0: // it was late, and those before it came first
		c.fillBefore(ctx, p)
	case code == "", code == "nonce-pooled", waits(code):
	case code == "nonce-used":
		acct, at, err := askAt[ledger.Account](ctx, c, "/account/"+task.PublicKey(p.sender.key).String(), nil)
		if err != nil || at > seen || acct.Nonce <= p.nonce {
			return
		}
		// All blocks that could have used the nonce were searched: something
		// else used it, and this transaction can never apply. So its body may
		// be signed again.
		c.untrack(p)
		p.sender.known = false
		if p.result == nil {
			return
		}
		if _, err := c.sendNext(ctx, p.sender, p.body, p.result); err != nil {
			p.answer(outcome{Receipt{TxID: p.id, Nonce: p.nonce}, err})
		}
	default:
		c.untrack(p)
		p.answer(outcome{Receipt{TxID: p.id, Nonce: p.nonce}, err})
		c.fill(ctx, p)
	}
}

// fill closes the hole that a refused transaction leaves when later ones of the
// account are on their way: they were signed with their nonces and must not be
// signed again.
func (c *Client) fill(ctx context.Context, p *pending) {
	c.mu.Lock()
	behind := len(p.sender.flight) > 0
	c.mu.Unlock()
	if !behind {
		p.sender.known = false
		return
	}
	if _, err := c.filler(ctx, p.sender, p.nonce); err != nil {
		c.log.Warn("a hole in an account's nonces could not be filled yet", "account", task.PublicKey(p.sender.key).Short(), "nonce", p.nonce, "err", err)
	}
}

// fillBefore closes a hole before a transaction that another client of the account
// has left: what that one sent is in no pool any more.
func (c *Client) fillBefore(ctx context.Context, p *pending) {
	acct, err := c.Account(ctx, task.PublicKey(p.sender.key))
	if err != nil {
		return
	}
	for nonce := acct.Nonce; nonce < p.nonce; nonce++ {
		c.mu.Lock()
		own := p.sender.flight[nonce] != nil
		c.mu.Unlock()
		if own {
			continue
		}
		q, err := c.filler(ctx, p.sender, nonce)
		if code := task.CodeOf(err); code != "nonce-pooled" && code != "nonce-used" {
			return
		}
		c.untrack(q)
	}
}

// filler sends a transfer of nothing for the sake of its nonce, and looks after it.
func (c *Client) filler(ctx context.Context, s *sender, nonce uint64) (*pending, error) {
	nothing := task.Body{Transfer: &task.Transfer{To: task.PublicKey(s.key)}}
	q, err := c.sign(s, nothing, nonce, nil)
	if err != nil {
		return q, err
	}
	c.track(q)
	return q, c.broadcast(ctx, q.raw)
}
