package attest

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
)

// Each odd certificate is refused by our own reader, whatever Go's says to it.
func TestOddCertificates(t *testing.T) {
	ca := (*authority)(nil).issue(elliptic.P384(), "CA", true)
	leaf := ca.issue(elliptic.P384(), "leaf", false)
	taken := 0
	for _, o := range oddities {
		p := takeApart(leaf.cert.Raw)
		o.change(p)
		der := p.sign(ca.key)
		_, err := readCertificate(der)
		_, theirs := x509.ParseCertificate(der)
		if (err == nil) != o.good {
			t.Errorf("%s: %v, want it taken: %t", o.name, err, o.good)
		}
		if err != nil && theirs == nil {
			taken++
		}
		t.Logf("%-70s | %v | Go: %v", o.name, err, theirs)
	}
	list := takeApart(ca.crl())
	for _, o := range oddLists {
		p := &parts{fields: slices.Clone(list.fields)}
		o.change(p)
		der := p.sign(ca.key)
		_, err := readRevocations(der)
		_, theirs := x509.ParseRevocationList(der)
		if (err == nil) != o.good {
			t.Errorf("a list: %s: %v, want it taken: %t", o.name, err, o.good)
		}
		if err != nil && theirs == nil {
			taken++
		}
		t.Logf("a list: %-62s | %v | Go: %v", o.name, err, theirs)
	}
	t.Logf("%d certificates and %d lists; of those that are refused, Go's parsers take %d", len(oddities), len(oddLists), taken)
}

// What Go's parser makes of a certificate is what ours does, of all that ours
// takes: two readers, one of them a stranger's.
func sameCertificate(t *testing.T, der []byte) {
	c, err := readAnyCertificate(der)
	if err != nil {
		return
	}
	if !bytes.Equal(c.raw, der) {
		t.Fatal("other bytes")
	}
	if canonical(der) != nil { // Go's takes no zeros before a serial number
		p := takeApart(der)
		p.fields[fSerial] = tlv(2, []byte{0}, c.serial)
		if len(c.serial) > 0 && c.serial[0] < 0x80 {
			p.fields[fSerial] = tlv(2, c.serial)
		}
		if err := canonical(tlv(0x30, p.fields...)); err != nil {
			t.Fatalf("taken, and it is not only its serial number that is not canonical: %v", err)
		}
		return
	}
	g, err := x509.ParseCertificate(der)
	if err != nil {
		if slices.ContainsFunc(c.extensions, func(x extension) bool { return x.id != oidKeyUsage && x.id != oidConstraints }) {
			return // Go's looks into extensions that nothing here depends on
		}
		t.Fatalf("taken, and Go says: %v", err)
	}
	key, ok := g.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !bytes.Equal(g.SerialNumber.Bytes(), c.serial) || g.SerialNumber.Sign() < 0:
		t.Fatal("another serial number")
	case !bytes.Equal(g.RawTBSCertificate, c.tbs) || !bytes.Equal(g.Signature, c.signature):
		t.Fatal("another signed part, or signature")
	case !bytes.Equal(g.RawIssuer, c.issuer.raw) || !bytes.Equal(g.RawSubject, c.subject.raw):
		t.Fatal("other names")
	case g.Subject.CommonName != c.subject.common || g.Issuer.CommonName != c.issuer.common:
		t.Fatalf("other common names: %q, %q", c.subject.common, c.issuer.common)
	case g.NotBefore.Unix() != c.notBefore || g.NotAfter.Unix() != c.notAfter:
		t.Fatal("other times")
	case !ok || !key.Equal(c.key):
		t.Fatal("another key")
	case g.IsCA != c.ca || c.below >= 0 && g.MaxPathLen != c.below || c.below < 0 && g.MaxPathLen > 0:
		t.Fatalf("CA %t, %d below; Go: %t, %d", c.ca, c.below, g.IsCA, g.MaxPathLen)
	case c.mayCertify != (g.KeyUsage == 0 || g.KeyUsage&x509.KeyUsageCertSign != 0) || c.mayList != (g.KeyUsage == 0 || g.KeyUsage&x509.KeyUsageCRLSign != 0):
		t.Fatalf("other usages: %b", g.KeyUsage)
	case len(g.Extensions) != len(c.extensions):
		t.Fatal("other extensions")
	}
	for i, x := range c.extensions {
		id, err := asn1.Marshal(g.Extensions[i].Id)
		if err != nil || string(id[2:]) != string(x.id) || !bytes.Equal(g.Extensions[i].Value, x.value) || g.Extensions[i].Critical != x.critical {
			t.Fatalf("another extension: %x", x.id)
		}
	}
	if want := algorithmOf[g.SignatureAlgorithm]; c.algorithm != want {
		t.Fatalf("another algorithm: %+v, want %+v", c.algorithm, want)
	}
}

var algorithmOf = map[x509.SignatureAlgorithm]algorithm{
	x509.ECDSAWithSHA256: {hash: crypto.SHA256}, x509.ECDSAWithSHA384: {hash: crypto.SHA384}, x509.ECDSAWithSHA512: {hash: crypto.SHA512},
	x509.SHA256WithRSA: {hash: crypto.SHA256, rsa: true}, x509.SHA384WithRSA: {hash: crypto.SHA384, rsa: true}, x509.SHA512WithRSA: {hash: crypto.SHA512, rsa: true},
	x509.SHA256WithRSAPSS: {crypto.SHA256, true, true}, x509.SHA384WithRSAPSS: {crypto.SHA384, true, true}, x509.SHA512WithRSAPSS: {crypto.SHA512, true, true},
}

// sameRevocations is the same for lists.
func sameRevocations(t *testing.T, der []byte) {
	l, err := readRevocations(der)
	if err != nil {
		return
	}
	g, err := x509.ParseRevocationList(der)
	if err != nil {
		return // Go's looks into the list's number and key identifier
	}
	if !bytes.Equal(g.RawTBSRevocationList, l.tbs) || !bytes.Equal(g.Signature, l.signature) || !bytes.Equal(g.RawIssuer, l.issuer.raw) ||
		g.ThisUpdate.Unix() != l.this || g.NextUpdate.Unix() != l.next || len(g.RevokedCertificateEntries) != len(l.serials) || algorithmOf[g.SignatureAlgorithm] != l.algorithm {
		t.Fatal("another list")
	}
	for i, e := range g.RevokedCertificateEntries {
		if !bytes.Equal(e.SerialNumber.Bytes(), l.serials[i]) || e.SerialNumber.Sign() < 0 {
			t.Fatal("another serial number")
		}
	}
}

// Whatever bytes come: a certificate, a list, an alternative name, or nothing; no
// panic, and Go's parser agrees on what is taken.
func FuzzReadCertificate(f *testing.F) {
	ca := (*authority)(nil).issue(elliptic.P384(), "CA", true)
	leaf := ca.issue(elliptic.P384(), "leaf", false)
	for _, o := range oddities {
		p := takeApart(leaf.cert.Raw)
		o.change(p)
		f.Add(p.sign(ca.key))
	}
	for _, o := range oddLists {
		p := takeApart(ca.crl())
		o.change(p)
		f.Add(p.sign(ca.key))
	}
	for _, der := range [][]byte{arkMilan, arkGenoa, arkTurin, intelRoot, awsRoot, newRig(f, TPM).tpm.ek.cert.Raw} {
		f.Add(der)
	}
	files, err := filepath.Glob("../spec/vectors/evidence/*.der")
	if err != nil || len(files) == 0 {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(vector(f, filepath.Base(name)))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		sameCertificate(t, der)
		sameRevocations(t, der)
		_, _, _ = readEKCert(der)
		if c, err := readAnyCertificate(der); err == nil {
			_, _ = parseVCEK(c, "Genoa")
			_, _ = parsePCK(c)
			c.signedBy(c.key)
		}
	})
}

// A chain holds for us where it holds for Go, with CAs in any order and of any
// sort: expired, no CA, of too short a path, signed by another key of that name.
func TestChainsAsGoFollowsThem(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(1, 2))
	one := func(n int) bool { return random.IntN(n) == 0 }
	held, failed := 0, map[string]int{}
	for range 400 {
		root := (*authority)(nil).issue(elliptic.P256(), "root", true)
		by, length := root, random.IntN(4)
		var between []*x509.Certificate
		for i := range length + 1 {
			ca := i < length
			tmpl := &x509.Certificate{
				SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprintf("c%d", i)}, BasicConstraintsValid: true,
				IsCA: ca && !one(10), NotBefore: time.Unix(rigTime-1000, 0), NotAfter: time.Unix(rigTime+1000, 0),
			}
			if one(10) {
				tmpl.NotAfter = time.Unix(rigTime-1, 0)
			} else if one(10) {
				tmpl.NotBefore = time.Unix(rigTime+1, 0)
			}
			if tmpl.IsCA && !one(8) {
				tmpl.KeyUsage = x509.KeyUsageCertSign
			} else if one(3) {
				tmpl.KeyUsage = x509.KeyUsageDigitalSignature
			}
			if tmpl.IsCA && one(3) {
				tmpl.MaxPathLen = random.IntN(3)
				tmpl.MaxPathLenZero = tmpl.MaxPathLen == 0
			}
			key, signer, parent := fixedKey(elliptic.P256(), "key"), by.key, *by.cert
			if one(12) {
				signer, parent.PublicKey = key, &key.PublicKey // not its issuer's, but in its name
			}
			der, err := x509.CreateCertificate(rand.Reader, tmpl, &parent, &key.PublicKey, signer)
			if err != nil {
				t.Fatal(err)
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			between = append(between, cert)
			by = &authority{key, cert}
		}
		leaf := between[length]
		between = between[:length]
		if one(8) && length > 0 {
			between = between[1:]
		}
		random.Shuffle(len(between), func(i, j int) { between[i], between[j] = between[j], between[i] })
		o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: time.Unix(rigTime, 0), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		o.Roots.AddCert(root.cert)
		ours := func(c *x509.Certificate) *certificate {
			read, err := readCertificate(c.Raw)
			if err != nil {
				t.Fatal(err)
			}
			return read
		}
		var mine []*certificate
		for _, c := range between {
			o.Intermediates.AddCert(c)
			mine = append(mine, ours(c))
		}
		_, theirs := leaf.Verify(o)
		_, refused := trusted(ours(leaf), mine, []*certificate{ours(root.cert)}, rigTime, Reference{})
		if (refused == nil) != (theirs == nil) {
			t.Errorf("%v; Go: %v", refused, theirs)
		}
		if refused == nil {
			held++
		} else {
			failed[refused.Code]++
		}
	}
	t.Logf("%d hold, %v do not", held, failed)
	if held < 80 || failed[UntrustedChain] < 50 || failed[CertificateExpired] < 30 {
		t.Error("too few of a sort")
	}
}

// A revoked certificate stays so when its signature is written in its other form,
// s as n − s, which anybody can do: the list names what is signed.
func TestRevokedWhateverItsSignature(t *testing.T) {
	r := newRig(t, Nitro)
	leaf := r.nitro.leaf.cert
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(leaf.Signature, &v); err != nil {
		t.Fatal(err)
	}
	v.S.Sub(elliptic.P384().Params().N, v.S)
	other, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	der := tlv(0x30, leaf.RawTBSCertificate, inside(leaf.Raw)[1], tlv(3, []byte{0}, other))
	r.nitro.leaf = &authority{r.nitro.leaf.key, &x509.Certificate{Raw: der}}
	if a := r.quote().appraise(); a.Reason != "" || bytes.Equal(der, leaf.Raw) {
		t.Fatalf("%s: %s", a.Reason, a.Detail)
	}
	r.ref.Revoked = []task.Hash{signedPart(t, leaf.Raw)}
	if a := r.appraise(); a.Reason != Revoked {
		t.Errorf("%s %s", a.Verdict, a.Reason)
	}
}

// A revocation list is of the CA that its name says, that may issue one, and that
// has signed it.
func TestWhoIssuesLists(t *testing.T) {
	ca := (*authority)(nil).issue(elliptic.P384(), "CA", true)
	list, err := readRevocations(ca.crl())
	if err != nil {
		t.Fatal(err)
	}
	usage := func(bits byte) func(*parts) {
		return func(p *parts) { p.replace([]byte{0x55, 0x1d, 15}, yes, []byte{3, 2, 0, bits}) }
	}
	for name, row := range map[string]struct {
		good   bool
		change func(*parts)
	}{
		"its CA":                        {true, func(*parts) {}},
		"a CA that may issue lists":     {true, usage(0x02)},
		"a CA that may certify only":    {false, usage(0x04)},
		"one of another name":           {false, set(fSubject, nameOf(12, "other"))},
		"one that is no CA":             {false, func(p *parts) { p.replace([]byte{0x55, 0x1d, 19}, nil, []byte{0x30, 0}) }},
		"one of that name, another key": {false, set(fKey, rsaOf(2048, 0xa5, e65537))},
	} {
		p := takeApart(ca.cert.Raw)
		row.change(p)
		c, err := readCertificate(p.sign(ca.key))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.listed(list) != row.good {
			t.Errorf("%s: %t", name, !row.good)
		}
	}
}

// Of two roots with one name and key, as when a maker renews its own, the one that
// is valid counts.
func TestARenewedRoot(t *testing.T) {
	ca := (*authority)(nil).issue(elliptic.P384(), "CA", true)
	leaf, err := readCertificate(ca.issue(elliptic.P384(), "leaf", false).cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	p := takeApart(ca.cert.Raw)
	p.fields[fValidity] = times(23, "200101000000Z", "210101000000Z")
	old, err := readCertificate(p.sign(ca.key))
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := readCertificate(ca.cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, roots := range [][]*certificate{{old, renewed}, {renewed, old}} {
		if root, refused := trusted(leaf, nil, roots, rigTime, Reference{}); refused != nil || root != renewed {
			t.Errorf("%v", refused)
		}
	}
	if _, refused := trusted(leaf, nil, []*certificate{old}, rigTime, Reference{}); refused == nil || refused.Code != CertificateExpired {
		t.Errorf("%v", refused)
	}
}

// A TPM's model is said once: of two somebody else might believe the other.
func TestATPMHasOneModel(t *testing.T) {
	field := func(n byte, text string) []byte {
		return tlv(0x31, tlv(0x30, tlv(6, []byte{0x67, 0x81, 0x05, 0x02, n}), tlv(12, []byte(text))))
	}
	names := func(sets ...[]byte) []byte { return tlv(0xa4, tlv(0x30, sets...)) }
	other := tlv(0x82, []byte("tpm.example")) // another form of name
	for i, row := range []struct {
		san  []byte
		good bool
	}{
		{tlv(0x30, names(field(1, "id:1"), field(2, "m"), field(3, "v"))), true},
		{tlv(0x30, other, names(field(1, "id:1"), field(2, "m"))), true},
		{tlv(0x30, names(field(1, "id:1"), field(2, "swtpm"), field(2, "m"))), false},
		{tlv(0x30, names(field(1, "id:1"), field(2, "swtpm")), names(field(2, "m"))), false},
		{tlv(0x30, tlv(0xa4, []byte{5, 0})), false},
		{[]byte{4, 0}, false},
	} {
		if m, err := readSAN(row.san); (err == nil) != row.good {
			t.Errorf("row %d: %+v, %v", i, m, err)
		}
	}
}
