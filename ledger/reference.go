package ledger

import (
	"slices"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

// Values is the register of the chain's reference values: those in force, those
// that will be, and those that were until lately (spec §7.9). The genesis begins
// it, and two thirds of the validators' power change it.
type Values struct {
	Number   uint64     `cbor:"1,keyasint" json:"number,string"` // of the last change; 0 while the genesis's stand
	Standing []Standing `cbor:"2,keyasint" json:"standing"`
}

// Standing is a value's place in the register: when it is in force, and by which
// changes. 0 is the genesis.
type Standing struct {
	attest.Term
	Begun uint64 `cbor:"4,keyasint" json:"begun,string"` // the change that says from when
	Ended uint64 `cbor:"5,keyasint" json:"ended,string"` // the change that says until when; 0 if it stays
}

// Amendment is a change in the public log, as it was made.
type Amendment struct {
	Number uint64          `cbor:"1,keyasint" json:"number,string"`
	Height uint64          `cbor:"2,keyasint" json:"height,string"`
	Change attest.Change   `cbor:"3,keyasint" json:"change"`
	Signed []task.Approval `cbor:"4,keyasint" json:"signed"`
	Power  uint64          `cbor:"5,keyasint" json:"power,string"` // of who signed
	Total  uint64          `cbor:"6,keyasint" json:"total,string"` // of all validators at that height
}

// inForce names the set of values that counts in the block after the state's,
// and the height at which another one does; 0 if none is known.
type inForce struct {
	Set  task.Hash `cbor:"1,keyasint"`
	Next uint64    `cbor:"2,keyasint"`
}

// Bounds of the register.
const (
	maxStanding = 8192
	maxMoments  = 64 // heights to come at which something changes
)

// inForceAt says whether a term covers a height.
func inForceAt(t attest.Term, height uint64) bool {
	return t.From <= height && (t.Until == 0 || height < t.Until)
}

// At are the values in force at a height, as far as the register goes back.
func (v Values) At(height uint64) []attest.Value {
	var all []attest.Value
	for _, s := range v.Standing {
		if inForceAt(s.Term, height) {
			all = append(all, s.Value)
		}
	}
	return all
}

// Moments are the heights after this one at which something changes, ascending.
func (v Values) Moments(after uint64) []uint64 {
	var all []uint64
	for _, s := range v.Standing {
		for _, h := range []uint64{s.From, s.Until} {
			if h > after {
				all = append(all, h)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ShutOut is the first height after this one in which a machine is refused, of
// those that are known to bring other values, and why; not ok if there is none.
func (v Values) ShutOut(height uint64, refused func(attest.Reference) error) (from uint64, why error, ok bool) {
	for _, h := range append([]uint64{height + 1}, v.Moments(height+1)...) {
		if why = refused(attest.ReferenceOf(v.At(h))); why != nil {
			return h, why, true
		}
	}
	return 0, nil, false
}

// first are the genesis's values, in force for good.
func first(r attest.Reference) Values {
	var v Values
	for _, x := range r.Explicit().Values() {
		v.Standing = append(v.Standing, Standing{Term: attest.Term{Value: x}})
	}
	return v
}

// Amend is the register after a change that is made at a height. Nothing may be
// otherwise before notice blocks have passed, and whatever is to be in force must
// be able to follow what was before.
func (v Values) Amend(height, notice uint64, c attest.Change) (Values, error) {
	next := Values{Number: v.Number + 1}
	for _, s := range v.Standing { // what is over stands in the log
		if s.Until == 0 || s.Until > height {
			next.Standing = append(next.Standing, s)
		}
	}
	for _, t := range c.Terms {
		i := slices.IndexFunc(next.Standing, func(s Standing) bool { return s.Value.Equal(t.Value) })
		if moved, ok := moves(next.Standing, i, t); !ok {
			return v, task.Refuse("change-empty", "%.80s has these terms already", t.Value)
		} else if moved < height+notice {
			return v, task.Refuse("change-hasty", "%.80s would be otherwise from block %d on; this chain gives %d blocks of notice, so at the earliest from block %d", t.Value, moved, notice, height+notice)
		}
		s := Standing{Term: t, Begun: next.Number}
		if i >= 0 {
			if old := next.Standing[i]; old.From == t.From {
				s.Begun = old.Begun
			}
			next.Standing = slices.Delete(next.Standing, i, i+1)
		}
		if t.Until != 0 {
			s.Ended = next.Number
		}
		if t.From != t.Until || t.Until == 0 { // else it is called off before it began
			next.Standing = append(next.Standing, s)
		}
	}
	moments := next.Moments(height)
	if len(next.Standing) > maxStanding || len(moments) > maxMoments {
		return v, task.Refuse("register-full", "%d values, %d heights at which some change; at most %d and %d", len(next.Standing), len(moments), maxStanding, maxMoments)
	}
	before := next.At(height)
	for _, h := range moments {
		after := next.At(h)
		if err := attest.Follows(before, after); err != nil {
			return v, task.Refuse("change-unsound", "from block %d on: %v", h, err)
		}
		before = after
	}
	return next, nil
}

// moves is the first height at which a value would be in force, or not, otherwise
// than it stands at i, or is not there with -1; not ok if there is none.
func moves(standing []Standing, i int, t attest.Term) (first uint64, ok bool) {
	if i < 0 {
		return t.From, t.From != t.Until || t.Until == 0
	}
	old := standing[i].Term
	if old.From != t.From {
		return min(old.From, t.From), true
	}
	switch {
	case old.Until == t.Until:
		return 0, false
	case old.Until == 0 || t.Until == 0:
		return max(old.Until, t.Until), true
	}
	return min(old.Until, t.Until), true
}

// Earliest is the first height from which a change that is made at a height may
// change anything.
func (p Params) Earliest(height uint64) uint64 { return height + p.NoticeBlocks }

// Approved is the power of those who have signed a change, and that of all
// validators: who holds seats of the beacon has a vote for each. Every signature must be a validator's, stand once and hold: so
// there is one form of an approval, by ascending keys.
func Approved(chain string, set beacon.Set, g task.Govern) (power, total uint64, err error) {
	powers := map[task.Key]uint64{}
	for _, h := range set.Holders {
		powers[h.Validator] = uint64(len(h.Shares))
	}
	total = uint64(set.Seats())
	if len(g.Signed) > len(powers) {
		return 0, total, task.Refuse("approval-malformed", "%d signatures, and there are %d validators", len(g.Signed), len(powers))
	}
	hash := g.Hash(chain)
	for i, a := range g.Signed {
		switch {
		case powers[a.Validator] == 0:
			return power, total, task.Refuse("approval-stranger", "%s is no validator of this chain", a.Validator.Short())
		case i > 0 && slices.Compare(g.Signed[i-1].Validator[:], a.Validator[:]) >= 0:
			return power, total, task.Refuse("approval-malformed", "%s has signed twice, or out of order", a.Validator.Short())
		case !a.Signature.Verify(a.Validator, hash):
			return power, total, task.Refuse("approval-false", "the signature of %s over change %d does not hold", a.Validator.Short(), g.Number)
		}
		power += powers[a.Validator]
	}
	return power, total, nil
}

// govern changes the register on the word of two thirds of the validators' power.
func (b *Block) govern(g task.Govern) error {
	v, _ := load[Values](b.state, []byte(keyValues))
	if g.Number != v.Number+1 {
		return task.Refuse("change-stale", "change %d; the next is %d", g.Number, v.Number+1)
	}
	c, err := attest.ParseChange(g.Change)
	if err != nil {
		return task.Refuse("change-malformed", "%v", err)
	}
	power, total, err := Approved(b.Params.Chain, Read(b.state).Group().Set, g)
	if err != nil {
		return err
	}
	if 3*power <= 2*total {
		return task.Refuse("approval-weak", "validators with a power of %d of %d have signed; more than two thirds must", power, total)
	}
	next, err := v.Amend(b.Height, b.Params.NoticeBlocks, c)
	if err != nil {
		return err
	}
	save(b.state, []byte(keyValues), next)
	save(b.state, AmendmentKey(g.Number), Amendment{Number: g.Number, Height: b.Height, Change: c, Signed: g.Signed, Power: power, Total: total})
	b.adopt(next)
	return nil
}

// adopt notes the set of values that is in force in this block, and when the next
// one will be.
func (b *Block) adopt(v Values) {
	ref := attest.ReferenceOf(v.At(b.Height))
	now := inForce{Set: ref.Hash()}
	if m := v.Moments(b.Height); len(m) > 0 {
		now.Next = m[0]
	}
	save(b.state, join(keySet, now.Set[:]), ref)
	save(b.state, []byte(keyReference), now)
	b.sets[now.Set] = ref
}

// advance adopts what comes into force with this block.
func (b *Block) advance() {
	if now, _ := load[inForce](b.state, []byte(keyReference)); now.Next != 0 && now.Next <= b.Height {
		v, _ := load[Values](b.state, []byte(keyValues))
		b.adopt(v)
	}
}

// bind puts a case under the values that are in force in this block.
func (b *Block) bind(c *Case) {
	ref := b.reference()
	c.Values, c.ref = ref.Hash(), &ref
}

// reference are the values that count for what begins in this block.
func (b *Block) reference() attest.Reference {
	now, _ := load[inForce](b.state, []byte(keyReference))
	if now.Next != 0 && now.Next <= b.Height { // a pool looks ahead; a block has done this when it began
		v, _ := load[Values](b.state, []byte(keyValues))
		return attest.ReferenceOf(v.At(b.Height))
	}
	return b.set(now.Set)
}

// set is a set of values that once was in force, by name.
func (b *Block) set(name task.Hash) attest.Reference {
	ref, ok := b.sets[name]
	if !ok {
		ref = Read(b.state).set(name)
		b.sets[name] = ref
	}
	return ref
}

func (r Reader) set(name task.Hash) attest.Reference {
	ref, ok := r.Set(name)
	if !ok {
		panic("ledger: corrupt state: no reference values " + name.String())
	}
	return ref
}

// Set finds a set of values that cases name.
func (r Reader) Set(name task.Hash) (attest.Reference, bool) {
	return load[attest.Reference](r.s, join(keySet, name[:]))
}

// Values is the register of reference values.
func (r Reader) Values() Values {
	v, _ := load[Values](r.s, []byte(keyValues))
	return v
}

// Amendment finds a change in the public log, by its number.
func (r Reader) Amendment(number uint64) (Amendment, bool) {
	return load[Amendment](r.s, AmendmentKey(number))
}

// Amendments is the public log of changes, oldest first.
func (r Reader) Amendments(w Window) []Amendment {
	return listed[Amendment](r.s, []byte(keyAmendment), w)
}

// Under gives a case the reference values that it names. Where a case is read
// from a state this is done; who decodes one itself does it before anything is
// judged by the case.
func (c *Case) Under(ref attest.Reference) error {
	if h := ref.Hash(); h != c.Values {
		return task.Refuse("values-others", "the case is under the reference values %s, these are %s", c.Values.Short(), h.Short())
	}
	c.ref = &ref
	return nil
}

// Reference are the values that were in force when the present attempt was
// seeded: for everyone who judges in it, however late, they are the same.
func (c *Case) Reference() attest.Reference {
	if c.ref == nil {
		panic("ledger: a case is judged before Under") // never by what a stranger sends
	}
	return *c.ref
}

// lacks says what reference values leave out without which no node could execute
// a function; nil if nothing.
func lacks(m task.Manifest, ref attest.Reference) *task.Error {
	switch {
	case m.Runtime == task.RuntimeDocker && len(ref.Docker) == 0:
		return task.Refuse("no-docker", "no enclave that this chain accepts runs docker functions")
	case m.Runtime == task.RuntimeOCI && len(ref.Runtimes) == 0:
		return task.Refuse("runtime-unaccepted", "the function runs in a container, and this chain accepts no runtime for containers")
	}
	return nil
}
