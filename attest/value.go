package attest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/prytany/prytany/task"
)

// List is a list of a [Reference] whose values come and go (spec §7.9.1).
type List string

// Value is one reference value by itself: the list that it stands in, and what
// stands there. Of the three fields behind List a value has those of its list's
// form.
//
// Every value but a revoked certificate says what is accepted. So while an old
// and a new one are both in force, what either of them accepts is accepted: of
// two floors the lower one counts.
type Value struct {
	List   List   `cbor:"1,keyasint"`
	Name   string `cbor:"2,keyasint,omitempty"` // a kind, product line or status
	Number uint64 `cbor:"3,keyasint,omitempty"` // a floor, a threshold, an age, a register
	Data   []byte `cbor:"4,keyasint,omitempty"` // a digest, a key, a certificate
}

// form is what the values of a list are made of.
type form struct {
	name, number bool
	data         int // bytes: none, so many, or of a certificate up to maxRoot
}

// Bounds of a value, in bytes: a root certificate's and a name's.
const (
	maxRoot = 4096
	maxName = 32
)

// listing is what there is to know of a list: the form of its values, and how
// they go into a Reference and come out of it. A limit is a list that allows
// everything while it is empty: once there is one, there must always be one.
type listing struct {
	form  form
	limit bool
	put   func(*Reference, []Value)
	get   func(Reference) []Value
}

// lists are all that a chain's validators can change.
var lists = map[List]listing{
	"simulated": {form{}, false,
		func(r *Reference, _ []Value) { r.AllowSimulated = true },
		func(r Reference) []Value { return one(r.AllowSimulated, Value{}) }},
	"kind": {form{name: true}, false,
		func(r *Reference, v []Value) { r.Kinds = each(v, func(v Value) Kind { return Kind(v.Name) }) },
		func(r Reference) []Value { return each(r.Kinds, func(k Kind) Value { return Value{Name: string(k)} }) }},
	"measurement": digests(func(r *Reference) *[]task.Hash { return &r.Measurements }),
	"docker":      digests(func(r *Reference) *[]task.Hash { return &r.Docker }),
	"runtime":     digests(func(r *Reference) *[]task.Hash { return &r.Runtimes }),
	"revoked":     digests(func(r *Reference) *[]task.Hash { return &r.Revoked }),

	"simulated-floor": numbers(func(r *Reference) *uint64 { return &r.MinTCB }, slices.Min),

	"tpm-root":      certificatesOf(func(r *Reference) *[][]byte { return &r.TPM.Roots }),
	"tpm-activator": digests(func(r *Reference) *[]task.Key { return &r.TPM.Activators }),
	"tpm-threshold": numbers(func(r *Reference) *uint64 { return &r.TPM.Threshold }, slices.Min),
	"tpm-floor":     numbers(func(r *Reference) *uint64 { return &r.TPM.MinFirmware }, slices.Min),
	"tpm-register": {form{number: true, data: 32}, true,
		func(r *Reference, v []Value) {
			r.TPM.PCRs = each(v, func(v Value) PCRValue { return PCRValue{Index: uint32(v.Number), Value: task.Hash(v.Data)} })
		},
		func(r Reference) []Value {
			return each(r.TPM.PCRs, func(p PCRValue) Value { return Value{Number: uint64(p.Index), Data: p.Value[:]} })
		}},

	"sev-snp-root": certificatesOf(func(r *Reference) *[][]byte { return &r.SNP.Roots }),
	"sev-snp-product": {form{name: true}, false,
		func(r *Reference, v []Value) { r.SNP.Products = each(v, func(v Value) string { return v.Name }) },
		func(r Reference) []Value { return each(r.SNP.Products, func(p string) Value { return Value{Name: p} }) }},
	"sev-snp-floor": {form{name: true, number: true}, true,
		func(r *Reference, v []Value) {
			r.SNP.MinTCB = each(v, func(v Value) SNPFloor { return SNPFloor{Product: v.Name, TCB: v.Number} })
		},
		func(r Reference) []Value {
			return each(r.SNP.MinTCB, func(f SNPFloor) Value { return Value{Name: f.Product, Number: f.TCB} })
		}},

	"tdx-root":       certificatesOf(func(r *Reference) *[][]byte { return &r.TDX.Roots }),
	"tdx-evaluation": numbers(func(r *Reference) *uint64 { return &r.TDX.MinEvaluation }, slices.Min),
	"tdx-age":        numbers(func(r *Reference) *uint64 { return &r.TDX.MaxAgeSeconds }, slices.Max),
	"tdx-status": {form{name: true}, false,
		func(r *Reference, v []Value) { r.TDX.Statuses = each(v, func(v Value) string { return v.Name }) },
		func(r Reference) []Value { return each(r.TDX.Statuses, func(s string) Value { return Value{Name: s} }) }},

	"nitro-root": certificatesOf(func(r *Reference) *[][]byte { return &r.Nitro.Roots }),
}

// digests is a list of 32 bytes each: hashes or keys.
func digests[D ~[32]byte](at func(*Reference) *[]D) listing {
	return listing{form{data: 32}, false,
		func(r *Reference, v []Value) { *at(r) = each(v, func(v Value) D { return D([32]byte(v.Data)) }) },
		func(r Reference) []Value { return each(*at(&r), func(d D) Value { return Value{Data: d[:]} }) }}
}

func certificatesOf(at func(*Reference) *[][]byte) listing {
	return listing{form{data: maxRoot}, false,
		func(r *Reference, v []Value) { *at(r) = each(v, func(v Value) []byte { return v.Data }) },
		func(r Reference) []Value { return each(*at(&r), func(der []byte) Value { return Value{Data: der} }) }}
}

// numbers is a list of limits of which the most generous one counts.
func numbers(at func(*Reference) *uint64, generous func([]uint64) uint64) listing {
	return listing{form{number: true}, true,
		func(r *Reference, v []Value) { *at(r) = generous(each(v, func(v Value) uint64 { return v.Number })) },
		func(r Reference) []Value { return one(*at(&r) > 0, Value{Number: *at(&r)}) }}
}

func one(there bool, v Value) []Value {
	if !there {
		return nil
	}
	return []Value{v}
}

func each[A, B any](list []A, f func(A) B) []B {
	var all []B
	for _, a := range list {
		all = append(all, f(a))
	}
	return all
}

// Values takes a reference apart, in the order of their encodings.
func (r Reference) Values() (all []Value) {
	for name, l := range lists {
		for _, v := range l.get(r) {
			v.List = name
			all = append(all, v)
		}
	}
	slices.SortFunc(all, Value.compare)
	return slices.CompactFunc(all, Value.Equal)
}

// Explicit is the reference with the product lines written out that it accepts
// by default: who adds one to it must not lose the others.
func (r Reference) Explicit() Reference {
	if r.accepts(SEVSNP) {
		r.SNP.Products = r.SNP.products()
	}
	return r
}

// ReferenceOf puts values together to the reference that holds while all of them
// are in force. There is one for each set of values, whatever their order.
func ReferenceOf(values []Value) (r Reference) {
	sorted := map[List][]Value{}
	for _, v := range slices.SortedFunc(slices.Values(values), Value.compare) {
		sorted[v.List] = append(sorted[v.List], v)
	}
	for name, v := range sorted {
		lists[name].put(&r, v)
	}
	return r
}

// Hash names the reference.
func (r Reference) Hash() task.Hash { return task.H(task.TagValues, task.Encode(r)) }

func (v Value) compare(o Value) int { return bytes.Compare(task.Encode(v), task.Encode(o)) }

// Equal says whether it is the same value of the same list.
func (v Value) Equal(o Value) bool { return v.compare(o) == 0 }

// Check refuses a value of no list, or of another form than its list's.
func (v Value) Check() error {
	l, known := lists[v.List]
	f := l.form
	switch {
	case !known:
		return fmt.Errorf("%.32q is no list of reference values", v.List)
	case f.name != (v.Name != "") || len(v.Name) > maxName || strings.ContainsFunc(v.Name, unspeakable):
		return fmt.Errorf("%s: the name %.32q is missing, too long, or not to be there", v.List, v.Name)
	case !f.number && v.Number != 0 || f.data == 32 && f.number && v.Number > 1<<31:
		return fmt.Errorf("%s: there is a number, or it is too large", v.List)
	case f.data == 0 && len(v.Data) > 0, f.data == 32 && len(v.Data) != 32, f.data == maxRoot && (len(v.Data) == 0 || len(v.Data) > maxRoot):
		return fmt.Errorf("%s: %d bytes of data, want %d at most, and not fewer unless it is a certificate", v.List, len(v.Data), f.data)
	}
	return nil
}

// unspeakable says whether a name has a character that its text could not show.
func unspeakable(r rune) bool { return r <= ' ' || r > '~' || r == '=' || r == ':' }

// String is the value as people write it: list:name, list:number, list:hex,
// list:name=number or list:number=hex, and a bare list that has no values.
func (v Value) String() string {
	f := lists[v.List].form
	var parts []string
	if f.name {
		parts = append(parts, v.Name)
	}
	if f.number {
		parts = append(parts, strconv.FormatUint(v.Number, 10))
	}
	if f.data > 0 {
		parts = append(parts, hex.EncodeToString(v.Data))
	}
	if len(parts) == 0 {
		return string(v.List)
	}
	return string(v.List) + ":" + strings.Join(parts, "=")
}

// MarshalText writes String.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads String.
func (v *Value) UnmarshalText(text []byte) error {
	list, rest, _ := strings.Cut(string(text), ":")
	l, known := lists[List(list)]
	if !known {
		return fmt.Errorf("%.32q is no list of reference values; there are %s", list, strings.Join(Lists(), ", "))
	}
	got := Value{List: List(list)}
	take := func() (part string) { part, rest, _ = strings.Cut(rest, "="); return part }
	var err error
	if l.form.name {
		got.Name = take()
	}
	if l.form.number {
		if got.Number, err = strconv.ParseUint(take(), 0, 64); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
	}
	if l.form.data > 0 {
		if got.Data, err = hex.DecodeString(take()); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
	}
	if rest != "" {
		return fmt.Errorf("%s: %.32q is too much", list, rest)
	}
	*v = got
	return got.Check()
}

// Lists are the names of all lists, in order.
func Lists() []string {
	return each(slices.Sorted(maps.Keys(lists)), func(l List) string { return string(l) })
}

// group is what values are limits of together: while one of them is in force,
// what meets none of them is refused.
func (v Value) group() (g Value, limit bool) {
	if !lists[v.List].limit {
		return g, false
	}
	g = Value{List: v.List, Name: v.Name}
	if lists[v.List].form.data > 0 {
		g.Number = v.Number // a register
	}
	return g, true
}

// Follows says whether one set of values may take the place of another. What it
// refuses would change more than its values say: a limit that ends for a time or
// for good, roots of the chain's own in place of the vendor's, or the other way
// round. And simulated evidence, which protects nothing, can end but not begin.
func Follows(before, after []Value) error {
	was, is := ReferenceOf(before), ReferenceOf(after)
	if err := is.Check(); err != nil {
		return err
	}
	if is.AllowSimulated && !was.AllowSimulated {
		return fmt.Errorf("reference: simulated evidence protects nothing; a chain that does not take it never will")
	}
	if is.accepts(SEVSNP) && len(is.SNP.Products) == 0 {
		return fmt.Errorf("reference: no product line of sev-snp is left")
	}
	for k, roots := range map[Kind][2][][]byte{SEVSNP: {was.SNP.Roots, is.SNP.Roots}, TDX: {was.TDX.Roots, is.TDX.Roots}, Nitro: {was.Nitro.Roots, is.Nitro.Roots}} {
		if was.accepts(k) && is.accepts(k) && (len(roots[0]) == 0) != (len(roots[1]) == 0) {
			return fmt.Errorf("reference: a chain goes by the vendor's roots for %s, or by its own: that cannot change while the kind is accepted", k)
		}
	}
	for _, v := range before {
		g, limit := v.group()
		if limit && !slices.ContainsFunc(after, func(o Value) bool { h, _ := o.group(); return g.Equal(h) }) {
			return fmt.Errorf("reference: the limit %s ends and no other takes its place; a floor of 0 would say so", v)
		}
	}
	return nil
}

// Term says from which height until before which a value is in force: until 0,
// for good.
type Term struct {
	Value Value  `cbor:"1,keyasint" json:"value"`
	From  uint64 `cbor:"2,keyasint" json:"from,string"`
	Until uint64 `cbor:"3,keyasint" json:"until,string"`
}

// Change is what a chain's validators sign: the terms that some values shall
// have from now on (spec §7.9.3).
type Change struct {
	Terms []Term `cbor:"1,keyasint" json:"terms"`
}

// MaxChange bounds an encoded change, in bytes, and maxTerms its terms.
const (
	MaxChange = 32 << 10
	maxTerms  = 64
)

// ParseChange reads a change from a transaction or a file. Each value stands
// in it once, and is in force for some block.
func ParseChange(raw []byte) (Change, error) {
	c, err := task.Decode[Change](raw, MaxChange)
	if err != nil {
		return Change{}, err
	}
	return c, c.Check()
}

// Check refuses a change that is none, is too large or says two things of one
// value.
func (c Change) Check() error {
	if len(c.Terms) == 0 || len(c.Terms) > maxTerms {
		return fmt.Errorf("a change has 1 to %d terms, this one has %d", maxTerms, len(c.Terms))
	}
	for i, t := range c.Terms {
		if err := t.Value.Check(); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Terms[:i], func(o Term) bool { return o.Value.Equal(t.Value) }) {
			return fmt.Errorf("%.80s stands twice", t.Value)
		}
		if t.From > 1<<60 || t.Until > 1<<60 || t.Until != 0 && t.Until < t.From {
			return fmt.Errorf("%.80s from block %d until %d: that is no time", t.Value, t.From, t.Until)
		}
	}
	return nil
}
