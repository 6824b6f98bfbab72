package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/prytany/prytany/task"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// This file reads X.509 certificates and revocation lists (RFC 5280) in the
// profile that AMD, Intel, AWS and the makers of TPMs use (spec §7.8), and
// follows a chain of them. What is outside of it is refused, so that nothing is
// left on which two readers could differ.

// certificate is one of version 3.
type certificate struct {
	signed
	raw                 []byte
	serial              []byte // its magnitude: none for 0
	issuer, subject     name
	notBefore, notAfter int64 // Unix seconds, both included
	key                 crypto.PublicKey
	ca                  bool
	below               int  // CAs that may come below it; -1: any number
	mayCertify, mayList bool // sign certificates, revocation lists
	extensions          []extension
}

// revocations are a revocation list.
type revocations struct {
	signed
	raw        []byte
	issuer     name
	this, next int64 // Unix seconds
	serials    [][]byte
}

// signed is what both are: bytes, and a signature over them.
type signed struct {
	tbs       []byte
	algorithm algorithm
	signature []byte
}

type extension struct {
	id       oid
	critical bool
	value    []byte
}

// name is a distinguished name. Two are the same if their bytes are.
type name struct {
	raw    []byte
	common string // its common name, "" without one
}

func (n name) String() string {
	if n.common == "" {
		return "a holder without a name"
	}
	return fmt.Sprintf("%q", n.common)
}

// Bounds, beyond what any vendor needs.
const (
	maxCertificate = 8 << 10 // bytes
	maxSerial      = 20      // bytes
	maxExtensions  = 32
	maxAttributes  = 32 // of a name
)

// algorithm is how something is signed.
type algorithm struct {
	hash     crypto.Hash
	rsa, pss bool
}

// algorithms are the accepted ones, each by all bytes of its identifier. AMD's
// certificates have the PSS trailer's default written out and left out.
var algorithms = func() map[string]algorithm {
	all := map[string]algorithm{}
	sha := map[crypto.Hash]byte{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}
	for h, n := range sha {
		all[string(sequence(ident(oidOf(1, 2, 840, 10045, 4, 3, uint64(n)+1))))] = algorithm{hash: h}
		all[string(sequence(ident(oidOf(1, 2, 840, 113549, 1, 1, uint64(n)+10)), null))] = algorithm{hash: h, rsa: true}
		digest := sequence(ident(oidOf(2, 16, 840, 1, 101, 3, 4, 2, uint64(n))), null)
		params := slices.Concat(
			element(asn1.Tag(0).ContextSpecific().Constructed(), digest),
			element(asn1.Tag(1).ContextSpecific().Constructed(), sequence(ident(oidOf(1, 2, 840, 113549, 1, 1, 8)), digest)),
			element(asn1.Tag(2).ContextSpecific().Constructed(), []byte{2, 1, byte(h.Size())}),
		)
		trailer := element(asn1.Tag(3).ContextSpecific().Constructed(), []byte{2, 1, 1})
		for _, p := range [][]byte{params, append(slices.Clone(params), trailer...)} {
			all[string(sequence(ident(oidOf(1, 2, 840, 113549, 1, 1, 10)), sequence(p)))] = algorithm{hash: h, rsa: true, pss: true}
		}
	}
	return all
}()

// curves are those of the accepted elliptic keys, and rsaKey is the identifier of
// RSA keys, each by all bytes of the identifier.
var (
	curves = map[string]elliptic.Curve{
		string(sequence(ident(oidOf(1, 2, 840, 10045, 2, 1)), ident(oidOf(1, 2, 840, 10045, 3, 1, 7)))): elliptic.P256(),
		string(sequence(ident(oidOf(1, 2, 840, 10045, 2, 1)), ident(oidOf(1, 3, 132, 0, 34)))):          elliptic.P384(),
		string(sequence(ident(oidOf(1, 2, 840, 10045, 2, 1)), ident(oidOf(1, 3, 132, 0, 35)))):          elliptic.P521(),
	}
	rsaKey = string(sequence(ident(oidOf(1, 2, 840, 113549, 1, 1, 1)), null))
	null   = []byte{5, 0}
)

// element, sequence and ident write short DER values.
func element(tag asn1.Tag, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return append([]byte{byte(tag), byte(len(body))}, body...)
}
func sequence(parts ...[]byte) []byte { return element(asn1.SEQUENCE, parts...) }
func ident(id oid) []byte             { return element(asn1.OBJECT_IDENTIFIER, []byte(id)) }

// Extensions that are read here, and those that would have to be.
var (
	oidKeyUsage         = oidOf(2, 5, 29, 15)
	oidSAN              = oidOf(2, 5, 29, 17)
	oidConstraints      = oidOf(2, 5, 29, 19)
	oidNameConstraints  = oidOf(2, 5, 29, 30)
	oidPolicies         = oidOf(2, 5, 29, 32)
	oidExtendedKeyUsage = oidOf(2, 5, 29, 37)
	standard            = string(oidOf(2, 5, 29)) // begins the names of X.509's own
	oidCommonName       = oidOf(2, 5, 4, 3)
)

// readCertificate reads a certificate that holds nothing which is not understood.
func readCertificate(der []byte) (*certificate, error) {
	c, err := readAnyCertificate(der)
	if err == nil && slices.ContainsFunc(c.extensions, func(x extension) bool { return x.critical && x.id == oidSAN }) {
		return nil, errors.New("a critical alternative name")
	}
	return c, err
}

// readAnyCertificate leaves the alternative name to its caller, critical or not.
func readAnyCertificate(der []byte) (c *certificate, err error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(der), maxCertificate)
	}
	c = &certificate{raw: der}
	var body, algorithmID, validity, key cryptobyte.String
	if c.signed, body, err = readSigned(der, canonicalCertificate); err != nil {
		return nil, err
	}
	var version cryptobyte.String
	if !body.ReadASN1(&version, asn1.Tag(0).ContextSpecific().Constructed()) || !bytes.Equal(version, []byte{2, 1, 2}) {
		return nil, errors.New("not of version 3")
	}
	if c.serial, err = readSerial(&body); err != nil {
		return nil, err
	}
	if !body.ReadASN1Element(&algorithmID, asn1.SEQUENCE) || algorithms[string(algorithmID)] != c.algorithm {
		return nil, errors.New("signed by another algorithm than it says")
	}
	if c.issuer, err = readName(&body); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if len(c.issuer.raw) == 2 {
		return nil, errors.New("issued by nobody")
	}
	if !body.ReadASN1(&validity, asn1.SEQUENCE) || !readTime(&validity, &c.notBefore) || !readTime(&validity, &c.notAfter) || !validity.Empty() || c.notBefore > c.notAfter {
		return nil, errors.New("no time in which it is valid")
	}
	if c.subject, err = readName(&body); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	if !body.ReadASN1(&key, asn1.SEQUENCE) {
		return nil, errors.New("no public key")
	}
	if c.key, err = readKey(key); err != nil {
		return nil, err
	}
	var list cryptobyte.String
	if !body.ReadASN1(&list, asn1.Tag(3).ContextSpecific().Constructed()) || !body.Empty() {
		return nil, errors.New("no extensions, or something else than those behind the key")
	}
	if c.extensions, err = readExtensions(&list); err != nil {
		return nil, fmt.Errorf("extensions: %w", err)
	}
	if !list.Empty() {
		return nil, errors.New("something behind the extensions")
	}
	return c, c.readUsages()
}

// readSigned takes something signed apart. Of its body it has seen only that it
// is in its one form.
func readSigned(der []byte, form func([]byte) error) (s signed, body cryptobyte.String, err error) {
	if err := form(der); err != nil {
		return s, nil, err
	}
	all := cryptobyte.String(der)
	var whole, tbs, algorithmID cryptobyte.String
	known := false
	if all.ReadASN1(&whole, asn1.SEQUENCE) && whole.ReadASN1Element(&tbs, asn1.SEQUENCE) && whole.ReadASN1Element(&algorithmID, asn1.SEQUENCE) {
		s.tbs, body = tbs, tbs
		s.algorithm, known = algorithms[string(algorithmID)]
	}
	if !known {
		return s, nil, errors.New("signed by no accepted algorithm")
	}
	if !whole.ReadASN1BitStringAsBytes(&s.signature) || !whole.Empty() || !body.ReadASN1(&body, asn1.SEQUENCE) {
		return s, nil, errors.New("not something signed")
	}
	if !s.algorithm.rsa && !goodECDSA(s.signature) {
		return s, nil, errors.New("a signature that is not two positive numbers")
	}
	return s, body, nil
}

// goodECDSA says whether a signature is two positive numbers of the size of the
// largest curve. Anybody could write it in another form.
func goodECDSA(der []byte) bool {
	var both cryptobyte.String
	s := cryptobyte.String(der)
	ok := canonical(der) == nil && s.ReadASN1(&both, asn1.SEQUENCE)
	for range 2 {
		var n cryptobyte.String
		ok = ok && both.ReadASN1(&n, asn1.INTEGER) && len(n) <= 67 && n[0] < 0x80 && !zero(n)
	}
	return ok && both.Empty()
}

// readSerial reads a serial number, as its magnitude: zeros before it are nothing.
// AMD gives some the number 0.
func readSerial(s *cryptobyte.String) ([]byte, error) {
	var n cryptobyte.String
	if !s.ReadASN1(&n, asn1.INTEGER) || n[0] >= 0x80 {
		return nil, errors.New("a serial number that is negative, or none")
	}
	magnitude := bytes.TrimLeft(n, "\x00")
	if len(magnitude) > maxSerial {
		return nil, fmt.Errorf("a serial number of %d bytes", len(magnitude))
	}
	return magnitude, nil
}

func readTime(s *cryptobyte.String, unix *int64) (ok bool) {
	var b cryptobyte.String
	var tag asn1.Tag
	if !s.ReadAnyASN1(&b, &tag) || tag != asn1.UTCTime && tag != asn1.GeneralizedTime {
		return false
	}
	*unix, ok = timeOf(tag, b)
	return ok
}

// readName reads a distinguished name.
func readName(s *cryptobyte.String) (n name, err error) {
	var whole cryptobyte.String
	if !s.ReadASN1Element(&whole, asn1.SEQUENCE) {
		return n, errors.New("no name")
	}
	n.raw = whole
	all, err := readAttributes(whole)
	for _, a := range all {
		switch {
		case a.id != oidCommonName:
		case n.common != "":
			return n, errors.New("two common names")
		default:
			n.common = a.text
		}
	}
	return n, err
}

// attribute is a part of a name.
type attribute struct {
	id   oid
	text string
}

// readAttributes reads the parts of a name, all of them texts. The order within
// a set is not looked at: makers of TPMs do not keep DER's.
func readAttributes(der []byte) (all []attribute, err error) {
	var name cryptobyte.String
	s := cryptobyte.String(der)
	ok := s.ReadASN1(&name, asn1.SEQUENCE) && s.Empty()
	for ok && !name.Empty() {
		var set cryptobyte.String
		ok = name.ReadASN1(&set, asn1.SET) && !set.Empty()
		for ok && !set.Empty() {
			var one, text cryptobyte.String
			var id oid
			var tag asn1.Tag
			ok = set.ReadASN1(&one, asn1.SEQUENCE)
			if ok {
				id, ok = readOID(&one)
			}
			ok = ok && one.ReadAnyASN1(&text, &tag) && one.Empty() && len(all) < maxAttributes &&
				(tag == asn1.UTF8String || tag == asn1.PrintableString || tag == asn1.IA5String)
			all = append(all, attribute{id, string(text)})
		}
	}
	if !ok {
		return nil, errors.New("a name that is not made of texts")
	}
	return all, nil
}

// readKey reads a public key: RSA of an accepted size, or a point on its curve.
func readKey(s cryptobyte.String) (crypto.PublicKey, error) {
	var id cryptobyte.String
	var bits []byte
	if !s.ReadASN1Element(&id, asn1.SEQUENCE) || !s.ReadASN1BitStringAsBytes(&bits) || !s.Empty() {
		return nil, errors.New("a public key that cannot be read")
	}
	if curve, ok := curves[string(id)]; ok {
		key, err := ecdsa.ParseUncompressedPublicKey(curve, bits)
		if err != nil {
			return nil, errors.New("a public key that is not a point on its curve, uncompressed")
		}
		return key, nil
	}
	if string(id) != rsaKey || canonical(bits) != nil {
		return nil, errors.New("a public key of no accepted kind")
	}
	var both cryptobyte.String
	var n big.Int
	var e uint64
	pair := cryptobyte.String(bits)
	if !pair.ReadASN1(&both, asn1.SEQUENCE) || !both.ReadASN1Integer(&n) || !both.ReadASN1Integer(&e) || !both.Empty() || e != 65537 {
		return nil, errors.New("an RSA key that cannot be read, or has another exponent than 65537")
	}
	key := &rsa.PublicKey{N: &n, E: int(e)}
	if !goodRSA(key) {
		return nil, fmt.Errorf("an RSA key of %d bits", n.BitLen())
	}
	return key, nil
}

// goodRSA says whether a key is one that every release of Go takes, whatever its
// settings, and quickly.
func goodRSA(k *rsa.PublicKey) bool {
	return k.E == 65537 && k.N.Sign() > 0 && k.N.Bit(0) == 1 && slices.Contains([]int{2048, 3072, 4096}, k.N.BitLen())
}

// readExtensions reads a list of extensions, none of them twice.
func readExtensions(s *cryptobyte.String) (all []extension, err error) {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
		return nil, errors.New("none")
	}
	for !list.Empty() {
		var one, value cryptobyte.String
		var x extension
		ok := list.ReadASN1(&one, asn1.SEQUENCE)
		if ok {
			x.id, ok = readOID(&one)
		}
		if ok && one.PeekASN1Tag(asn1.BOOLEAN) { // false is the default, and not written
			ok = one.ReadASN1Boolean(&x.critical) && x.critical
		}
		switch {
		case !ok || !one.ReadASN1(&value, asn1.OCTET_STRING) || !one.Empty():
			return nil, errors.New("one that cannot be read")
		case slices.ContainsFunc(all, func(o extension) bool { return o.id == x.id }):
			return nil, errors.New("one twice")
		case len(all) == maxExtensions:
			return nil, errors.New("too many")
		case strings.HasPrefix(string(x.id), standard) && canonical(value) != nil:
			return nil, errors.New("one that is not DER")
		}
		x.value = value
		all = append(all, x)
	}
	return all, nil
}

// readUsages reads what a certificate's key is for, and refuses what it would
// have to obey and does not understand.
func (c *certificate) readUsages() error {
	c.below, c.mayCertify, c.mayList = -1, true, true
	for _, x := range c.extensions {
		ok := !x.critical
		s := cryptobyte.String(x.value)
		switch x.id {
		case oidKeyUsage:
			var bits cryptobyte.String // the number of unused bits comes first. AMD leaves zeros at the end
			ok = s.ReadASN1(&bits, asn1.BIT_STRING) && len(bits) > 1 && len(bits) <= 3
			if ok {
				c.mayCertify, c.mayList = bits[1]&(1<<2) != 0, bits[1]&(1<<1) != 0
			}
		case oidConstraints:
			var body cryptobyte.String
			ok = s.ReadASN1(&body, asn1.SEQUENCE)
			if ok && !body.Empty() {
				ok = body.ReadASN1Boolean(&c.ca) && c.ca
			}
			if ok && !body.Empty() {
				n, small := readNumber(body, 255)
				ok, c.below = small, int(n)
			}
		case oidExtendedKeyUsage, oidPolicies:
			ok = s.PeekASN1Tag(asn1.SEQUENCE) // any will do
		case oidSAN:
			ok = s.PeekASN1Tag(asn1.SEQUENCE)
		case oidNameConstraints:
			ok = false
		}
		if !ok {
			return fmt.Errorf("extension %x is malformed, or critical and not known", string(x.id))
		}
	}
	return nil
}

// readRevocations reads a revocation list of version 2: a whole one, of its
// issuer's own certificates.
func readRevocations(der []byte) (l *revocations, err error) {
	if len(der) > task.MaxEvidence {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(der), task.MaxEvidence)
	}
	l = &revocations{raw: der}
	var body, algorithmID cryptobyte.String
	var version uint64
	if l.signed, body, err = readSigned(der, canonical); err != nil {
		return nil, err
	}
	if !body.ReadASN1Integer(&version) || version != 1 {
		return nil, errors.New("not of version 2")
	}
	if !body.ReadASN1Element(&algorithmID, asn1.SEQUENCE) || algorithms[string(algorithmID)] != l.algorithm {
		return nil, errors.New("signed by another algorithm than it says")
	}
	if l.issuer, err = readName(&body); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if !readTime(&body, &l.this) || !readTime(&body, &l.next) || l.this > l.next {
		return nil, errors.New("no time in which it holds")
	}
	if body.PeekASN1Tag(asn1.SEQUENCE) {
		var list cryptobyte.String
		if !body.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
			return nil, errors.New("a list of nothing")
		}
		for !list.Empty() {
			var one cryptobyte.String
			var when int64
			if !list.ReadASN1(&one, asn1.SEQUENCE) {
				return nil, errors.New("an entry that cannot be read")
			}
			serial, err := readSerial(&one)
			if err != nil {
				return nil, err
			}
			if !readTime(&one, &when) {
				return nil, errors.New("an entry without a time")
			}
			if !one.Empty() {
				if err := nothingCritical(&one); err != nil {
					return nil, err
				}
			}
			l.serials = append(l.serials, serial)
		}
	}
	var list cryptobyte.String
	if !body.ReadASN1(&list, asn1.Tag(0).ContextSpecific().Constructed()) || !body.Empty() {
		return nil, errors.New("no extensions, or something else than those behind the list")
	}
	return l, nothingCritical(&list)
}

// nothingCritical reads the extensions of a revocation list or of an entry: what
// is critical there changes what the list means, and is not understood.
func nothingCritical(s *cryptobyte.String) error {
	all, err := readExtensions(s)
	switch {
	case err != nil:
		return fmt.Errorf("extensions: %w", err)
	case !s.Empty() || slices.ContainsFunc(all, func(x extension) bool { return x.critical }):
		return errors.New("an extension that is critical, or something behind them")
	}
	return nil
}

// revokes says whether a list names a certificate.
func (l *revocations) revokes(c *certificate) bool {
	return slices.ContainsFunc(l.serials, func(n []byte) bool { return bytes.Equal(n, c.serial) })
}

// listed says whether a CA has issued a revocation list.
func (c *certificate) listed(l *revocations) bool {
	return bytes.Equal(c.subject.raw, l.issuer.raw) && c.ca && c.mayList && l.signedBy(c.key)
}

// signedBy says whether a signature is of a key.
func (s signed) signedBy(key crypto.PublicKey) bool {
	h := s.algorithm.hash.New()
	h.Write(s.tbs)
	digest := h.Sum(nil)
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return !s.algorithm.rsa && ecdsa.VerifyASN1(k, digest, s.signature)
	case *rsa.PublicKey:
		if s.algorithm.pss {
			return rsa.VerifyPSS(k, s.algorithm.hash, digest, s.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return s.algorithm.rsa && rsa.VerifyPKCS1v15(k, s.algorithm.hash, digest, s.signature) == nil
	}
	return false
}

// issued says whether a CA has issued a certificate. below is how many other CAs
// come between the two and a leaf.
func (c *certificate) issued(o *certificate, below int) bool {
	return bytes.Equal(c.subject.raw, o.issuer.raw) && c.ca && c.mayCertify && (c.below < 0 || below <= c.below) && o.signedBy(c.key)
}

// validAt says whether a certificate is valid at a time in Unix seconds.
func (c *certificate) validAt(at int64) bool { return c.notBefore <= at && at <= c.notAfter }

// path leads from a leaf to a root: of several that issued it the first that is
// valid, or the first. Each certificate between has a name of its own, so there
// is no choice among them; nil if there is no way.
func path(leaf *certificate, between, roots []*certificate, at int64) []*certificate {
	chain := []*certificate{leaf}
	between = slices.Clone(between)
	for {
		last, below := chain[len(chain)-1], len(chain)-1
		issuer := func(c *certificate) bool { return c.issued(last, below) }
		i := slices.IndexFunc(roots, func(c *certificate) bool { return c.validAt(at) && issuer(c) })
		if i < 0 {
			i = slices.IndexFunc(roots, issuer)
		}
		if i >= 0 {
			return append(chain, roots[i])
		}
		if i = slices.IndexFunc(between, issuer); i < 0 {
			return nil
		}
		chain = append(chain, between[i])
		between = slices.Delete(between, i, i+1)
	}
}

// trusted checks a certificate up to one of the roots at a time (Unix seconds),
// and that none on the way is revoked, in this order. It returns the root.
func trusted(leaf *certificate, between, roots []*certificate, at int64, ref Reference) (*certificate, *task.Error) {
	chain := path(leaf, between, roots, at)
	if chain == nil {
		return nil, task.Refuse(UntrustedChain, "the certificate of %s does not chain to a trusted root", leaf.subject)
	}
	for _, c := range chain {
		if !c.validAt(at) {
			return nil, task.Refuse(CertificateExpired, "the certificate of %s is valid from %s until %s; it is judged at %s", c.subject, utc(c.notBefore), utc(c.notAfter), utc(at))
		}
	}
	for _, c := range chain {
		if ref.revoked(sha256.Sum256(c.tbs)) {
			return nil, task.Refuse(Revoked, "the certificate of %s is on this chain's list of revoked ones", c.subject)
		}
	}
	return chain[len(chain)-1], nil
}

// certificates reads a list of certificates, the leaf first. Each has a subject of
// its own: or checking a chain could be made to take a hundred slow signatures.
func certificates(ders [][]byte) ([]*certificate, error) {
	if len(ders) > maxChain {
		return nil, errors.New("too many certificates")
	}
	list := make([]*certificate, len(ders))
	for i, der := range ders {
		c, err := readCertificate(der)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list[:i], func(o *certificate) bool { return bytes.Equal(o.subject.raw, c.subject.raw) }) {
			return nil, fmt.Errorf("two certificates of %s", c.subject)
		}
		list[i] = c
	}
	return list, nil
}

// maxChain bounds a list of certificates.
const maxChain = 8

// ecdsaKey is a certificate's, on the curve that its kind uses.
func ecdsaKey(c *certificate, bits int) *ecdsa.PublicKey {
	if key, ok := c.key.(*ecdsa.PublicKey); ok && key.Curve.Params().BitSize == bits {
		return key
	}
	return nil
}
