package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/prytany/prytany/task"
)

// quotesOfTDX are quotes in each form, by the test's own platform.
func quotesOfTDX(t testing.TB) map[string]*rig {
	all := map[string]*rig{}
	for name, form := range map[string]func(*tdxRig){
		"version 4":             func(*tdxRig) {},
		"version 5, of TDX 1.0": func(x *tdxRig) { x.version5(false) },
		"version 5, of TDX 1.5": func(x *tdxRig) { x.version5(true) },
	} {
		r := newRig(t, TDX)
		form(r.tdx)
		r.quoter = r.tdx
		r.quote()
		all[name] = r
	}
	return all
}

// The same TD is the same program on the same machine, whatever version its quoting
// service writes.
func TestVersionsOfTDX(t *testing.T) {
	var first *Claims
	for name, r := range quotesOfTDX(t) {
		a := r.appraise()
		if a.Verdict != task.OK {
			t.Errorf("%s: %s: %s", name, a.Reason, a.Detail)
			continue
		}
		if first == nil {
			first = &a.Claims
		}
		if a.Claims != *first {
			t.Errorf("%s: %+v, want %+v", name, a.Claims, *first)
		}
	}
}

// What only version 5 can say wrong.
func TestVersion5OfTDX(t *testing.T) {
	for _, row := range []struct {
		name, reason string
		change       func(*tdxRig)
	}{
		{"a service TD is bound", UnsafePolicy, func(x *tdxRig) { x.body[600] = 1 }},
		{"the last byte of a service TD's", UnsafePolicy, func(x *tdxRig) { x.body[647] = 1 }},
		{"under debug", DebugEnclave, func(x *tdxRig) { x.body[120] = 1 }},
		{"may be migrated", UnsafePolicy, func(x *tdxRig) { x.body[123] = 1 << 5 }},
		{"a TD of 1.0 that is said to be of 1.5", QuoteMalformed, func(x *tdxRig) { x.body = x.body[:584] }},
		{"a TD of 1.5 that is said to be of 1.0", QuoteMalformed, func(x *tdxRig) { x.descriptor[0] = bodyTD10 }},
		{"a TD of 1.5 in the size of 1.0", QuoteMalformed, func(x *tdxRig) { x.descriptor[2] = 0x48 }},
		{"a body of an enclave", QuoteMalformed, func(x *tdxRig) { x.descriptor[0] = bodySGX }},
		{"a body of no known type", QuoteMalformed, func(x *tdxRig) { x.descriptor[0] = 4 }},
		{"a body of a type in the second byte", QuoteMalformed, func(x *tdxRig) { x.descriptor[1] = 1 }},
		{"a body that is longer than all", QuoteMalformed, func(x *tdxRig) { x.descriptor[5] = 0xff }},
		{"version 4 with a descriptor", QuoteMalformed, func(x *tdxRig) { x.header[0] = 4 }},
		{"version 6", QuoteMalformed, func(x *tdxRig) { x.header[0] = 6 }},
		{"version 0x105", QuoteMalformed, func(x *tdxRig) { x.header[1] = 1 }},
		{"an enclave's", QuoteMalformed, func(x *tdxRig) { x.header[4] = 0 }},
		{"signed by another algorithm", QuoteMalformed, func(x *tdxRig) { x.header[2] = 3 }},
	} {
		r := newRig(t, TDX)
		r.tdx.version5(true)
		row.change(r.tdx)
		r.quoter = r.tdx
		r.quote()
		if a := r.appraise(); a.Reason != row.reason {
			t.Errorf("%s: %q (%s), want %q", row.name, a.Reason, a.Detail, row.reason)
		}
	}
}

// No byte of a quote of version 5 can be changed unseen.
func TestVersion5IsBound(t *testing.T) {
	r := quotesOfTDX(t)["version 5, of TDX 1.5"]
	whole := mustDecode[TDXQuote](r.ev.Quote)
	for i := range whole.Quote {
		if i > 0x520 && i%17 != 0 { // the certificates are longer than the rest
			continue
		}
		q := whole
		q.Quote = bytes.Clone(whole.Quote)
		q.Quote[i] ^= 1 << (i % 8)
		r.ev.Quote = task.Encode(q)
		if a := r.appraise(); a.Verdict == task.OK {
			t.Errorf("byte %d changed, and nobody saw", i)
		}
	}
}

// Lengths that do not fit are an error, wherever in a quote of either version they
// stand: no panic, and nothing is taken but the quote.
func TestLengthsOfTDX(t *testing.T) {
	for name, r := range quotesOfTDX(t) {
		quote := mustDecode[TDXQuote](r.ev.Quote).Quote
		if _, err := parseTDX(quote); err != nil {
			t.Fatal(err)
		}
		padded := append(slices.Clone(quote), make([]byte, 40)...)
		if _, err := parseTDX(padded); err != nil {
			t.Errorf("%s, padded: %v", name, err)
		}
		if _, err := parseTDX(append(padded, 1)); err == nil {
			t.Errorf("%s: taken with a byte behind its padding", name)
		}
		// A part with one byte more than what is in it, which nobody signs.
		p, _ := parseTDX(quote)
		own := p.signatureAt - 4
		cert, chain := own+4+64+64+2, own+4+64+64+6+384+64+2+len(p.qeOwn)+2
		for what, sizes := range map[string][]int{"the signature's": {own}, "the certification's": {own, cert}} {
			longer := append(slices.Clone(quote), 0)
			for _, at := range sizes {
				binary.LittleEndian.PutUint32(longer[at:], binary.LittleEndian.Uint32(longer[at:])+1)
			}
			if _, err := parseTDX(longer); err == nil {
				t.Errorf("%s: taken with a byte more in %s part", name, what)
			}
			if what == "the certification's" { // and in the chain's, too: padding, that is taken
				binary.LittleEndian.PutUint32(longer[chain:], binary.LittleEndian.Uint32(longer[chain:])+1)
				if _, err := parseTDX(longer); err != nil {
					t.Errorf("%s: the sizes are not where this test believes: %v", name, err)
				}
			}
		}
		for at := range 0x570 { // up to the certificates
			if _, err := parseTDX(quote[:at]); err == nil {
				t.Errorf("%s: taken when cut off at %d", name, at)
			}
			for _, set := range []string{"\x00\x00", "\xff\xff", "\x3f\x00\x00\x00", "\xff\xff\xff\xff"} {
				bad := slices.Clone(quote)
				copy(bad[at:], set)
				for _, end := range []int{len(bad), at + 4, at + 0x86, at + 0xffff} {
					_, _ = parseTDX(bad[:min(end, len(bad))])
				}
			}
		}
	}
}

// asTheLibrary reads a quote of version 4 by go-tdx-guest, which panics at lengths
// that do not fit (google/go-tdx-guest, pull request 104).
func asTheLibrary(raw []byte) (q *pb.QuoteV4, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	parsed, err := abi.QuoteToProto(raw)
	if err != nil {
		return nil, err
	}
	return parsed.(*pb.QuoteV4), abi.CheckQuoteV4(parsed.(*pb.QuoteV4))
}

// sameQuote holds what is read here against what the library reads: two readers,
// one of them a stranger's.
func sameQuote(t *testing.T, raw []byte) {
	p, err := parseTDX(raw)
	if err != nil || p.version != 4 {
		return
	}
	q, err := asTheLibrary(raw)
	if err != nil {
		t.Fatalf("taken, and the library says: %v", err)
	}
	b, s := q.GetTdQuoteBody(), q.GetSignedData()
	c := s.GetCertificationData().GetQeReportCertificationData()
	var misc [4]byte
	for i := range misc {
		misc[i] = byte(c.GetQeReport().GetMiscSelect() >> (8 * i))
	}
	for name, row := range map[string][2][]byte{
		"MRTD": {b.GetMrTd(), p.report.measured()}, "report data": {b.GetReportData(), p.report.data()},
		"RTMR0": {b.GetRtmrs()[0], p.report.register(0)}, "RTMR3": {b.GetRtmrs()[3], p.report.register(3)},
		"attributes": {b.GetTdAttributes(), p.report.attributes()}, "TCB": {b.GetTeeTcbSvn(), p.report.svn()},
		"module's signer": {b.GetMrSignerSeam(), p.report.moduleSigner()}, "module's attributes": {b.GetSeamAttributes(), p.report.moduleAttrs()},
		"signature": {s.GetSignature(), p.signature}, "key": {s.GetEcdsaAttestationKey(), p.key},
		"QE's signer": {c.GetQeReport().GetMrSigner(), p.qe.signer()}, "QE's attributes": {c.GetQeReport().GetAttributes(), p.qe.attributes()},
		"QE's data": {c.GetQeReport().GetReportData(), p.qe.data()}, "QE's selection": {misc[:], p.qe.miscSelect()},
		"QE's signature": {c.GetQeReportSignature(), p.qeSignature}, "QE's own data": {c.GetQeAuthData().GetData(), p.qeOwn},
	} {
		if !bytes.Equal(row[0], row[1]) {
			t.Errorf("%s: %x, the library reads %x", name, row[1], row[0])
		}
	}
	if c.GetQeReport().GetIsvProdId() != p.qe.product() || c.GetQeReport().GetIsvSvn() != p.qe.svn() {
		t.Errorf("QE %d of version %d: the library reads otherwise", p.qe.product(), p.qe.svn())
	}
}

func TestQuotesAsTheLibraryReadsThem(t *testing.T) {
	for _, name := range []string{"tdx-2023-quote.bin", "tdx-2025-quote.bin"} {
		if p, err := parseTDX(vector(t, name)); err != nil || p.version != 4 {
			t.Fatalf("%s: %v", name, err)
		}
		sameQuote(t, vector(t, name))
	}
}

// Whatever bytes come: no panic, and the library reads the same where both do.
func FuzzParseTDX(f *testing.F) {
	f.Add(vector(f, "tdx-2023-quote.bin"))
	f.Add(vector(f, "tdx-2025-quote.bin"))
	for _, r := range quotesOfTDX(f) {
		f.Add(mustDecode[TDXQuote](r.ev.Quote).Quote)
	}
	f.Fuzz(sameQuote)
}

// What is read of a PCK certificate here is what go-tdx-guest reads.
func TestPCKAsTheLibraryReadsIt(t *testing.T) {
	p, err := parseTDX(vector(t, "tdx-2023-quote.bin"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := x509.ParseCertificate(p.pck.raw)
	if err != nil {
		t.Fatal(err)
	}
	want, err := pcs.PckCertificateExtensions(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if want.PPID != hex.EncodeToString(p.ext.ppid) || want.FMSPC != hex.EncodeToString(p.ext.fmspc) || want.PCEID != hex.EncodeToString(p.ext.pceID) ||
		want.TCB.PCESvn != p.ext.pceSVN || !bytes.Equal(want.TCB.CPUSvnComponents, p.ext.components[:]) {
		t.Errorf("%+v, want %+v", p.ext, want)
	}
}
