package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-tdx-guest/pcs"
	"github.com/prytany/prytany/task"
)

// vector reads recorded evidence. Where it comes from stands beside it.
func vector(t testing.TB, name string) []byte {
	raw, err := os.ReadFile(filepath.Join("../spec/vectors/evidence", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// recording is real evidence, and the time at which it was good.
type recording struct {
	kind  Kind
	quote []byte
	at    int64
	ref   Reference
}

func recordings(t testing.TB) map[string]recording {
	nitro := func(name string) []byte { return task.Encode(NitroQuote{Document: vector(t, name)}) }
	milan := Reference{Kinds: []Kind{SEVSNP}, SNP: SNPReference{Products: []string{"Milan"}}}
	return map[string]recording{
		"sev-snp": {SEVSNP, task.Encode(SNPQuote{
			Report: vector(t, "sev-snp-report.bin"), VCEK: vector(t, "sev-snp-vcek.der"), ASK: vector(t, "sev-snp-ask.der"),
		}), 1_670_000_000, milan},
		"tdx": {TDX, task.Encode(TDXQuote{Quote: vector(t, "tdx-quote.bin"), Collateral: TDXCollateral{
			TCBInfo: vector(t, "tdx-tcb-info.json"), QEIdentity: vector(t, "tdx-qe-identity.json"),
			Signer: vector(t, "tdx-signer.der"), RootCRL: vector(t, "tdx-root-crl.der"), PCKCRL: vector(t, "tdx-pck-crl.der"),
		}}), 1_688_169_600, Reference{Kinds: []Kind{TDX}}}, // 1 July 2023
		"nitro":       {Nitro, nitro("nitro.cbor"), nitroTime(t, "nitro.cbor"), Reference{Kinds: []Kind{Nitro}}},
		"nitro debug": {Nitro, nitro("nitro-debug.cbor"), nitroTime(t, "nitro-debug.cbor"), Reference{Kinds: []Kind{Nitro}}},
	}
}

func nitroTime(t testing.TB, name string) int64 {
	var s coseSign1
	var d nitroDocument
	if nitroMode.Unmarshal(vector(t, name), &s) != nil || nitroMode.Unmarshal(s.Payload, &d) != nil {
		t.Fatal("vector cannot be read")
	}
	return int64(d.Timestamp / 1000)
}

func (r recording) claims() (Claims, error) {
	return Evidence{Kind: r.kind, Quote: r.quote}.Claims(Expected{Now: r.at}, r.ref)
}

// Real evidence holds at its own time, under the vendors' own roots; and long
// after, it does not.
func TestRecordedEvidence(t *testing.T) {
	for name, want := range map[string]struct {
		debug bool
		now   string // reason, if something about it was bad when it was recorded
		later string
	}{
		"sev-snp": {debug: true, later: CertificateExpired},
		"tdx":     {now: StaleTCB, later: StaleCollateral}, // that machine's microcode was old: the last thing that is looked at
		"nitro":   {later: StaleQuote}, "nitro debug": {debug: true, later: StaleQuote},
	} {
		r := recordings(t)[name]
		c, err := r.claims()
		if task.CodeOf(err) != want.now {
			t.Errorf("%s: %v, want %q", name, err, want.now)
		}
		if err == nil && (c.Tier != task.TierConfidential || c.Debug != want.debug || c.Chip == (task.Key{}) || c.Measurement.IsZero()) {
			t.Errorf("%s: %+v", name, c)
		}
		if len(r.quote) > task.MaxEvidence-4<<10 {
			t.Errorf("%s: a quote of %d bytes leaves no room for keys and nonces", name, len(r.quote))
		}
		years := int64(1) // collateral and documents are stale in one year, a VCEK in ten
		if want.later == CertificateExpired {
			years = 10
		}
		r.at += years * 365 * 24 * 3600
		if _, err := r.claims(); task.CodeOf(err) != want.later {
			t.Errorf("%s, %d years later: %v, want %s", name, years, err, want.later)
		}
		t.Logf("%s: %d bytes, %+v", name, len(r.quote), c)
	}
}

// The same TDX machine is good on a chain that accepts microcode which is older
// than any that the collateral still has a level for: all else about it holds.
func TestRecordedTDXWhereItsStatusIsAccepted(t *testing.T) {
	r := recordings(t)["tdx"]
	r.ref.TDX.Statuses = []string{"unknown"}
	c, err := r.claims()
	if err != nil || c.Tier != task.TierConfidential || c.Debug || c.Chip == (task.Key{}) || c.Measurement.IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
}

// The roots that are built in are the ones that the vendors publish.
func TestVendorRoots(t *testing.T) {
	for want, der := range map[string][]byte{
		"69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd": arkMilan,
		"4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1": arkGenoa,
		"1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a": arkTurin,
		"44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3": intelRoot,
		"641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b": awsRoot,
	} {
		if sum := sha256.Sum256(der); hex.EncodeToString(sum[:]) != want {
			t.Errorf("a root has fingerprint %x, want %s", sum, want)
		}
	}
}

// No byte of real evidence can be changed unseen. Every 17th is tried, so that it
// takes seconds; all of them take a minute.
func TestRecordedEvidenceIsBound(t *testing.T) {
	for name, r := range recordings(t) {
		_, asRecorded := r.claims()
		before, err := r.claims()
		free := 0
		for i := range r.quote {
			if i%17 != 0 {
				continue
			}
			bad := r
			bad.quote = bytes.Clone(r.quote)
			bad.quote[i] ^= 1 << (i % 8)
			c, err := bad.claims()
			switch {
			case err == nil:
				t.Errorf("%s: byte %d changed, and nobody saw: %+v, was %+v", name, i, c, before)
			case asRecorded != nil && err.Error() == asRecorded.Error():
				free++ // what is refused in the end is not all looked at
			}
		}
		if free > 0 {
			t.Logf("%s: %d of %d changes come to the same: %v", name, free, len(r.quote), err)
		}
	}
}

// Real evidence under other rules, or with other parts, has its reason too.
func TestRecordedEvidenceIsRefused(t *testing.T) {
	for _, row := range []struct {
		name, of, reason string
		change           func(*recording)
	}{
		{"Milan by default", "sev-snp", WrongProduct, func(r *recording) { r.ref.SNP.Products = nil }},
		{"another root", "sev-snp", UntrustedChain, func(r *recording) { r.ref.SNP.Roots = [][]byte{arkGenoa} }},
		{"another vendor's root", "tdx", UntrustedChain, func(r *recording) { r.ref.TDX.Roots = [][]byte{arkGenoa} }},
		{"another vendor's root", "nitro", UntrustedChain, func(r *recording) { r.ref.Nitro.Roots = [][]byte{intelRoot} }},
		{"ASK of another product", "sev-snp", UntrustedChain, func(r *recording) {
			q := mustDecode[SNPQuote](r.quote)
			q.ASK = arkGenoa
			r.quote = task.Encode(q)
		}},
		{"TCB floor", "sev-snp", StaleTCB, func(r *recording) { r.ref.SNP.MinTCB = []SNPFloor{{"Milan", 0xff << 56}} }},
		{"before it was issued", "sev-snp", CertificateExpired, func(r *recording) { r.at = 1_600_000_000 }},
		{"chip revoked", "sev-snp", Revoked, func(r *recording) { r.ref.Revoked = []task.Hash{sha256.Sum256(vector(t, "sev-snp-vcek.der"))} }},
		{"collateral of two months ago", "tdx", StaleCollateral, func(r *recording) { r.at += 60 * 24 * 3600 }},
		{"signer's certificate run out", "tdx", CertificateExpired, func(r *recording) { r.at = 1_750_000_000 }},
		{"TCB info in place of the QE identity", "tdx", BadSignature, func(r *recording) {
			q := mustDecode[TDXQuote](r.quote)
			q.Collateral.QEIdentity = q.Collateral.TCBInfo
			r.quote = task.Encode(q)
		}},
		{"document of two days ago", "nitro", StaleQuote, func(r *recording) { r.at += 48 * 3600 }},
		{"root revoked", "nitro", Revoked, func(r *recording) { r.ref.Revoked = []task.Hash{sha256.Sum256(awsRoot)} }},
	} {
		r := recordings(t)[row.of]
		row.change(&r)
		if _, err := r.claims(); task.CodeOf(err) != row.reason {
			t.Errorf("%s: %s: %v, want %s", row.of, row.name, err, row.reason)
		}
	}
}

// What is read of a PCK certificate here is what go-tdx-guest reads.
func TestPCKAsTheLibraryReadsIt(t *testing.T) {
	p, err := parseTDX(vector(t, "tdx-quote.bin"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := pcs.PckCertificateExtensions(p.pck)
	if err != nil {
		t.Fatal(err)
	}
	if want.PPID != hex.EncodeToString(p.ext.ppid) || want.FMSPC != hex.EncodeToString(p.ext.fmspc) || want.PCEID != hex.EncodeToString(p.ext.pceID) ||
		want.TCB.PCESvn != p.ext.pceSVN || !bytes.Equal(want.TCB.CPUSvnComponents, p.ext.components[:]) {
		t.Errorf("%+v, want %+v", p.ext, want)
	}
}
