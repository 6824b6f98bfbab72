package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

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
	nitro := func(name string) recording {
		return recording{Nitro, task.Encode(NitroQuote{Document: vector(t, name)}), nitroTime(t, name), Reference{Kinds: []Kind{Nitro}}}
	}
	snp := func(name string, at int64, products ...string) recording {
		return recording{SEVSNP, task.Encode(SNPQuote{
			Report: vector(t, name+"-report.bin"), VCEK: vector(t, name+"-vcek.der"), ASK: vector(t, name+"-ask.der"),
		}), at, Reference{Kinds: []Kind{SEVSNP}, SNP: SNPReference{Products: products}}}
	}
	tdx := func(name string, at int64) recording {
		return recording{TDX, task.Encode(TDXQuote{Quote: vector(t, name+"-quote.bin"), Collateral: TDXCollateral{
			TCBInfo: vector(t, name+"-tcb-info.json"), QEIdentity: vector(t, name+"-qe-identity.json"),
			Signer: vector(t, name+"-signer.der"), RootCRL: vector(t, name+"-root-crl.der"), PCKCRL: vector(t, name+"-pck-crl.der"),
		}}), at, Reference{Kinds: []Kind{TDX}}}
	}
	return map[string]recording{
		"sev-snp":             snp("sev-snp-genoa", 1_771_600_000),          // 20 February 2026
		"sev-snp Milan debug": snp("sev-snp-milan", 1_670_000_000, "Milan"), // 2 December 2022
		"tdx":                 tdx("tdx-2025", 1_751_328_000),               // 1 July 2025
		"tdx old":             tdx("tdx-2023", 1_688_169_600),               // 1 July 2023
		"nitro":               nitro("nitro.cbor"),
		"nitro debug":         nitro("nitro-debug.cbor"),
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
		"sev-snp": {later: CertificateExpired}, "sev-snp Milan debug": {debug: true, later: CertificateExpired},
		"tdx": {later: StaleCollateral}, "tdx old": {now: StaleTCB, later: StaleCollateral}, // that machine's microcode was old: the last thing that is looked at
		"nitro": {later: StaleQuote}, "nitro debug": {debug: true, later: StaleQuote},
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

// Real evidence of each vendor passes every rule of a whole appraisal, under a
// genesis that asks no less than the defaults and a task that asks for the best.
// What it cannot pass is the last one, that it was made for this task: nobody's
// enclave but ours binds that.
func TestRecordedEvidenceIsAppraised(t *testing.T) {
	for name, change := range map[string]func(*Reference){
		"sev-snp": func(ref *Reference) { ref.SNP.MinTCB = []SNPFloor{{"Genoa", 0x54_17_0000_0000_00_0a}} },
		"tdx":     func(ref *Reference) { ref.TDX.MinEvaluation = 17 },
		"nitro":   func(*Reference) {},
	} {
		r := recordings(t)[name]
		c, err := r.claims()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		change(&r.ref)
		r.ref.Measurements = []task.Hash{c.Measurement}
		policy := task.Policy{MinTier: task.TierConfidential, Kinds: []string{string(r.kind)}, Measurements: []task.Hash{c.Measurement}}
		ours := Context{Chain: "recorded", Round: task.PreRun}
		keys := Keys{Seal: SealKey(nil)}
		nonce := task.Hash{1}
		e := Evidence{Kind: r.kind, Round: task.PreRun, Keys: keys, Nonce: nonce, State: EmptyState, Quote: r.quote}
		want := Expected{Context: ours, Chip: c.Chip, Kind: string(r.kind), Nonce: e.Nonce, State: EmptyState, Now: r.at}
		if a := Appraise(e, want, policy, r.ref); a.Reason != NotBound || a.Claims != c {
			t.Errorf("%s: %+v, want all but the binding to hold", name, a)
		}
	}
}

// The older TDX machine is good on a chain that accepts microcode which is older
// than any that the collateral still has a level for: all else about it holds.
func TestRecordedTDXWhereItsStatusIsAccepted(t *testing.T) {
	r := recordings(t)["tdx old"]
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

// A genesis may name many roots: makers of TPMs are many.
func TestManyRoots(t *testing.T) {
	r := recordings(t)["nitro"]
	for range 20 {
		r.ref.Nitro.Roots = append(r.ref.Nitro.Roots, arkGenoa)
	}
	r.ref.Nitro.Roots = append(r.ref.Nitro.Roots, awsRoot)
	if _, err := r.claims(); err != nil {
		t.Error(err)
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

// signedPart is what a list of revoked certificates has of one.
func signedPart(t testing.TB, der []byte) task.Hash {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(c.RawTBSCertificate)
}

// Real evidence under other rules, or with other parts, has its reason too.
func TestRecordedEvidenceIsRefused(t *testing.T) {
	for _, row := range []struct {
		name, of, reason string
		change           func(*recording)
	}{
		{"Milan by default", "sev-snp Milan debug", WrongProduct, func(r *recording) { r.ref.SNP.Products = nil }},
		{"another product alone", "sev-snp", WrongProduct, func(r *recording) { r.ref.SNP.Products = []string{"Turin"} }},
		{"another root", "sev-snp", UntrustedChain, func(r *recording) { r.ref.SNP.Roots = [][]byte{arkMilan} }},
		{"another vendor's root", "tdx", UntrustedChain, func(r *recording) { r.ref.TDX.Roots = [][]byte{arkGenoa} }},
		{"another vendor's root", "nitro", UntrustedChain, func(r *recording) { r.ref.Nitro.Roots = [][]byte{intelRoot} }},
		{"ASK of another product", "sev-snp", UntrustedChain, func(r *recording) {
			q := mustDecode[SNPQuote](r.quote)
			q.ASK = vector(t, "sev-snp-milan-ask.der")
			r.quote = task.Encode(q)
		}},
		{"certificates of another chip", "sev-snp", BadSignature, func(r *recording) {
			r.ref.SNP.Products = []string{"Milan"}
			q := mustDecode[SNPQuote](r.quote)
			q.VCEK, q.ASK = vector(t, "sev-snp-milan-vcek.der"), vector(t, "sev-snp-milan-ask.der")
			r.quote = task.Encode(q)
		}},
		{"TCB floor", "sev-snp", StaleTCB, func(r *recording) { r.ref.SNP.MinTCB = []SNPFloor{{"Genoa", 0x55 << 56}} }},
		{"before it was issued", "sev-snp", CertificateExpired, func(r *recording) { r.at = 1_700_000_000 }},
		{"chip revoked", "sev-snp", Revoked, func(r *recording) { r.ref.Revoked = []task.Hash{signedPart(t, vector(t, "sev-snp-genoa-vcek.der"))} }},
		{"collateral of two months ago", "tdx", StaleCollateral, func(r *recording) { r.at += 60 * 24 * 3600 }},
		{"evaluation floor", "tdx", StaleTCB, func(r *recording) { r.ref.TDX.MinEvaluation = 18 }},
		{"signer's certificate run out", "tdx old", CertificateExpired, func(r *recording) { r.at = 1_750_000_000 }},
		{"collateral of another year", "tdx", StaleCollateral, func(r *recording) {
			q, old := mustDecode[TDXQuote](r.quote), mustDecode[TDXQuote](recordings(t)["tdx old"].quote)
			q.Collateral.TCBInfo = old.Collateral.TCBInfo
			r.quote = task.Encode(q)
		}},
		{"TCB info in place of the QE identity", "tdx", QuoteMalformed, func(r *recording) {
			q := mustDecode[TDXQuote](r.quote)
			q.Collateral.QEIdentity = q.Collateral.TCBInfo
			r.quote = task.Encode(q)
		}},
		{"a word after its certificates", "tdx", QuoteMalformed, func(r *recording) {
			q := mustDecode[TDXQuote](r.quote)
			q.Quote[bytes.LastIndexByte(q.Quote, '\n')+1] = 1
			r.quote = task.Encode(q)
		}},
		{"a word after the quote", "tdx", QuoteMalformed, func(r *recording) {
			q := mustDecode[TDXQuote](r.quote)
			q.Quote[len(q.Quote)-1] = 1
			r.quote = task.Encode(q)
		}},
		{"document of two days ago", "nitro", StaleQuote, func(r *recording) { r.at += 48 * 3600 }},
		{"root revoked", "nitro", Revoked, func(r *recording) { r.ref.Revoked = []task.Hash{signedPart(t, awsRoot)} }},
	} {
		r := recordings(t)[row.of]
		row.change(&r)
		if _, err := r.claims(); task.CodeOf(err) != row.reason {
			t.Errorf("%s: %s: %v, want %s", row.of, row.name, err, row.reason)
		}
	}
}
