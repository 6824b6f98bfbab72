package attest

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// hclOf is Azure's wrapping of a report, made here in its layout; data stand for what
// Azure binds, and kind is the type of the report.
func hclOf(report []byte, kind uint32, data string) []byte {
	u32 := func(n ...uint32) (b []byte) {
		for _, x := range n {
			b = binary.LittleEndian.AppendUint32(b, x)
		}
		return b
	}
	room := make([]byte, 1184)
	copy(room, report)
	return slices.Concat([]byte("HCLA"), u32(2, uint32(1236+len(data)), 2, 0, 0, 0, 0), room,
		u32(uint32(20+len(data)), 1, kind, 1, uint32(len(data))), []byte(data))
}

// asJSON is an object with one member, beside others that tools write.
func asJSON(name string, value any) []byte {
	b, _ := json.Marshal(map[string]any{name: value, "event_log": "[]", "tcbm": "541700000000000A"})
	return b
}

func numbersOf(b []byte) (all []int) {
	for _, x := range b {
		all = append(all, int(x))
	}
	return all
}

// folded is text in lines, as xxd -p and base64 write it.
func folded(text string, n int) string {
	var lines []string
	for len(text) > n {
		lines, text = append(lines, text[:n]), text[n:]
	}
	return strings.Join(append(lines, text), "\r\n") + "\n"
}

// Each form in which tools and services hand evidence out comes to the quote that a node
// would have shown. The reports, quotes and documents are recorded ones, except where
// said; what is around them is made here, in the layouts that the tools write.
func TestFormsOfEvidence(t *testing.T) {
	report, quote, doc := vector(t, "sev-snp-genoa-report.bin"), vector(t, "tdx-2025-quote.bin"), vector(t, "nitro.cbor")
	vcek, ask := vector(t, "sev-snp-genoa-vcek.der"), vector(t, "sev-snp-genoa-ask.der")
	text := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	std, url := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	five := mustDecode[TDXQuote](quotesOfTDX(t)["version 5, of TDX 1.5"].ev.Quote).Quote // the test's own key
	answer := slices.Concat([]byte{0, 0, 0, 0, 0xa0, 4, 0, 0}, make([]byte, 24), report)
	maa, _ := json.Marshal(map[string]string{"SnpReport": url(report), "VcekCertChain": url([]byte(text(vcek) + text(ask)))})
	thim, _ := json.Marshal(map[string]string{"vcekCert": text(vcek), "tcbm": "541700000000000A", "certificateChain": text(ask)})
	google, _ := json.Marshal(map[string]string{"report": std(report), "auxBlob": std(amdTable(vcek, ask))})
	for _, row := range []struct {
		what   string
		raw    []byte
		beside [][]byte
		opened string
		kind   Kind
		inner  []byte
		whole  bool // nothing is missing
	}{
		{"snpguest report, configfs-tsm: as it is", report, nil, "", SEVSNP, report, false},
		{"the same with snpguest fetch's PEM files", report, [][]byte{[]byte(text(vcek)), []byte(text(ask))}, "", SEVSNP, report, true},
		{"configfs-tsm's outblob and auxblob", report, [][]byte{amdTable(vcek, ask)}, "", SEVSNP, report, true},
		{"go-sev-guest attest -extended", slices.Concat(report, amdTable(vcek, ask)), nil, "", SEVSNP, report, true},
		{"the kernel's answer to an ioctl, its room filled up", append(answer, make([]byte, 2784)...), nil, "the kernel's answer (SNP_GET_REPORT)", SEVSNP, report, false},
		{"a report in hex, as xxd -p writes it", []byte(folded(hex.EncodeToString(report), 60)), nil, "hex", SEVSNP, report, false},
		{"Azure's HCL report, from its vTPM", hclOf(report, 2, "{}"), nil, "Azure's HCL report", SEVSNP, report, false},
		{"the same, filled up as the vTPM's index is", append(hclOf(report, 2, "{}"), make([]byte, 900)...), nil, "Azure's HCL report", SEVSNP, report, false},
		{"the same with Azure's certificates (THIM)", hclOf(report, 2, "{}"), [][]byte{thim}, "Azure's HCL report", SEVSNP, report, true},
		{"Azure's HCL report in base64", []byte(std(hclOf(report, 2, "{}"))), nil, "base64, Azure's HCL report", SEVSNP, report, false},
		{"an HCL report as a list of numbers (trustee)", asJSON("hcl_report", numbersOf(hclOf(report, 2, "{}"))), nil, "JSON, Azure's HCL report", SEVSNP, report, false},
		{"a request to Azure's attestation service", asJSON("report", url(maa)), nil, "JSON, base64, JSON, base64", SEVSNP, report, true},
		{"what Google's API is sent", google, nil, "JSON, base64", SEVSNP, report, true},
		{"a quote as it is", quote, nil, "", TDX, quote, false},
		{"a quote filled up, as some drivers do", append(slices.Clone(quote), make([]byte, 3000)...), nil, "", TDX, append(slices.Clone(quote), make([]byte, 3000)...), false},
		{"a quote of version 5", five, nil, "", TDX, five, false},
		{"a quote in hex", []byte(hex.EncodeToString(quote)), nil, "hex", TDX, quote, false},
		{"a quote in hex with 0x (contracts)", []byte("0x" + hex.EncodeToString(quote) + "\n"), nil, "hex", TDX, quote, false},
		{"a quote in capital hex", []byte(strings.ToUpper(hex.EncodeToString(quote))), nil, "hex", TDX, quote, false},
		{"a quote in base64", []byte(std(quote)), nil, "base64", TDX, quote, false},
		{"a quote in base64, folded", []byte("\ufeff" + folded(std(quote), 76)), nil, "base64", TDX, quote, false},
		{"a quote in base64 for URLs", []byte(url(quote)), nil, "base64", TDX, quote, false},
		{"a quote in base64, quoted", []byte(`"` + std(quote) + `"`), nil, "base64", TDX, quote, false},
		{"Azure's metadata service (acc/tdquote)", asJSON("quote", url(quote)), nil, "JSON, base64", TDX, quote, false},
		{"dstack", asJSON("quote", hex.EncodeToString(five)), nil, "JSON, hex", TDX, five, false},
		{"hex of base64, by a careful shell", []byte(hex.EncodeToString([]byte(std(quote)))), nil, "hex, base64", TDX, quote, false},
		{"a document as it is", doc, nil, "", Nitro, doc, true},
		{"a document with its tag", append([]byte{0xd2}, doc...), nil, "", Nitro, append([]byte{0xd2}, doc...), true},
		{"a document in base64", []byte(std(doc)), nil, "base64", Nitro, doc, true},
		{"a document in JSON", asJSON("attestation_document", std(doc)), nil, "JSON, base64", Nitro, doc, true},
	} {
		v, err := FromVendor(row.raw, row.beside...)
		if err != nil {
			t.Errorf("%s: %v", row.what, err)
			continue
		}
		inner := v.Quote
		switch row.kind {
		case SEVSNP:
			inner = mustDecode[SNPQuote](v.Quote).Report
		case TDX:
			inner = mustDecode[TDXQuote](v.Quote).Quote
		case Nitro:
			inner = mustDecode[NitroQuote](v.Quote).Document
		}
		if v.Kind != row.kind || !bytes.Equal(inner, row.inner) || strings.Join(v.Opened, ", ") != row.opened || (len(v.Missing) == 0) != row.whole || len(v.Unused) > 0 {
			t.Errorf("%s: %s, the same bytes %t, opened %q, missing %q, unused %v", row.what, v.Kind, bytes.Equal(inner, row.inner), v.Opened, v.Missing, v.Unused)
		}
	}
}

// What is known and not read is named; what is nothing is not taken for something.
func TestFormsThatAreNotRead(t *testing.T) {
	report, quote := vector(t, "sev-snp-genoa-report.bin"), vector(t, "tdx-2025-quote.bin")
	std := base64.StdEncoding.EncodeToString
	ek := newRig(t, TPM).tpm.ek.cert.Raw
	with := func(b []byte, at int, set ...byte) []byte {
		b = slices.Clone(b)
		copy(b[at:], set)
		return b
	}
	sgx := func(version byte, key byte) []byte {
		return with(make([]byte, 1000), 0, slices.Concat([]byte{version, 0, key, 0}, make([]byte, 4), bytes.Repeat([]byte{9}, 40))...)
	}
	answer := slices.Concat([]byte{0, 0, 0, 0, 0xa0, 4, 0, 0}, make([]byte, 24), report)
	for _, row := range []struct {
		what string
		raw  []byte
		code string
		says string
	}{
		{"an SGX quote of version 3", sgx(3, 2), NotRead, "SGX"},
		{"an SGX quote of version 3, P-384", sgx(3, 3), NotRead, "SGX"},
		{"an SGX quote of version 4", sgx(4, 2), NotRead, "SGX"},
		{"an SGX quote of version 5", sgx(5, 2), NotRead, "SGX"},
		{"an SGX quote of EPID", sgx(2, 1), NotRead, "SGX"},
		{"an SGX quote in base64", []byte(std(sgx(3, 2))), NotRead, "SGX enclave: this network takes confidential VMs and Nitro enclaves, in base64"},
		{"a TDX quote of version 6", with(quote, 0, 6), NotRead, "TDX quote of a version other"},
		{"a TDX quote by P-384", with(quote, 2, 3), NotRead, "TDX quote of a version other"},
		{"a TDX quote of version 6 in JSON", asJSON("quote", std(with(quote, 0, 6))), NotRead, "in JSON, in base64"},
		{"a TD report", with(make([]byte, 1024), 0, 0x81), NotRead, "TD report"},
		{"a TD report in Azure's HCL report", hclOf(with(make([]byte, 1024), 0, 0x81), 4, "{}"), NotRead, "TD report"},
		{"what Azure's metadata service is sent for a quote", asJSON("report", base64.RawURLEncoding.EncodeToString(with(make([]byte, 1024), 0, 0x81))), NotRead, "TD report"},
		{"an HCL report that is cut off", hclOf(report, 2, "{}")[:1200], NotRead, "HCL"},
		{"an HCL report of another type", hclOf(report, 3, "{}"), NotRead, "HCL"},
		{"an SEV-SNP report of version 6", with(report, 0, 6), NotRead, "SEV-SNP report of a version"},
		{"a token of a service", []byte("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovLyJ9.c2ln"), NotRead, "token (JWT)"},
		{"go-sev-guest's protobuf", slices.Concat([]byte{0x0a, 0xb0, 0x09, 0x08, 0x03, 0x10, 0x00}, report), NotRead, "protobuf"},
		{"go-tdx-guest's protobuf", slices.Concat([]byte{0x0a, 0x30, 0x08, 0x04, 0x10, 0x02}, quote), NotRead, "protobuf"},
		{"a protobuf as text", []byte("report: {\n  version: 2\n"), NotRead, "protobuf"},
		{"a TPM's quote", []byte("\xffTCG\x80\x18rest of it"), NotRead, "TPM"},
		{"a TPM's certificate", ek, NotRead, "endorsement key"},
		{"a TPM's certificate as PEM", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ek}), NotRead, "endorsement key"},
		{"an event log", slices.Concat(make([]byte, 32), []byte("Spec ID Event03\x00")), NotRead, "log"},
		{"a token of Arm's", []byte{0xd9, 0x01, 0x8f, 0xa2}, NotRead, "CCA"},
		{"a COSE_Sign1 by ES256", []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0}, NotRead, "ES384"},
		{"a certificate", vector(t, "sev-snp-genoa-vcek.der"), NotRead, "beside"},
		{"a certificate as PEM", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: vector(t, "sev-snp-genoa-vcek.der")}), NotRead, "beside"},
		{"a revocation list", vector(t, "tdx-2025-pck-crl.der"), NotRead, "beside"},
		{"collateral", vector(t, "tdx-2025-tcb-info.json"), NotRead, "beside"},
		{"JSON of something else", []byte(`{"tee":"snp","evidence":{}}`), NotRead, "JSON with nothing"},
		{"JSON with an empty quote", []byte(`{"quote":""}`), NotRead, "JSON with nothing"},
		{"a quote that is cut off, in hex", []byte(hex.EncodeToString(quote[:2000])), NotWhole, "TDX quote that is not whole"},
		{"a document that is cut off", vector(t, "nitro.cbor")[:2000], NotWhole, "Nitro document that is not whole"},
		{"a report with rubbish behind it", slices.Concat(report, []byte("rubbish")), NotWhole, "7 bytes behind it"},
		{"a report that is cut off", report[:1183], NotEvidence, "neither"},
		{"the kernel's answer with something in its head", with(answer, 9, 1), NotEvidence, "neither"},
		{"the kernel's answer that says an error", with(answer, 0, 0x16), NotEvidence, "neither"},
		{"words", []byte("rubbish"), NotEvidence, "neither"},
		{"words that are base64", []byte("rubbishes"), NotEvidence, "neither"},
		{"digits", []byte("1234"), NotEvidence, "neither"},
		{"blanks", []byte(" \n"), NotEvidence, "neither"},
		{"nothing", nil, NotEvidence, "neither"},
	} {
		v, err := FromVendor(row.raw)
		if err == nil {
			t.Errorf("%s was taken for %s", row.what, v.Kind)
			continue
		}
		if task.CodeOf(err) != row.code || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v; want %s, %q", row.what, err, row.code, row.says)
		}
	}
}

// Azure's report is over the data beside it, and attest show says if it is not.
func TestAzuresRuntimeData(t *testing.T) {
	report := slices.Clone(vector(t, "sev-snp-genoa-report.bin"))
	data := `{"keys":[]}`
	sum := sha256.Sum256([]byte(data))
	copy(report[0x50:], sum[:])
	size := hclBound - 4
	for _, row := range []struct {
		what  string
		raw   []byte
		holds bool
	}{
		{"its data", hclOf(report, 2, data), true},
		{"its data, filled up", append(hclOf(report, 2, data), 0, 0), true},
		{"other data", hclOf(report, 2, `{"keys":[1]}`), false},
		{"a size that is too large", func() []byte {
			b := hclOf(report, 2, data)
			copy(b[size:], "\xff\xff\xff\xff")
			return b
		}(), false},
		{"a size that is too small", func() []byte { b := hclOf(report, 2, data); b[size]--; return b }(), false},
	} {
		v, err := FromVendor(row.raw)
		if err != nil || len(v.more) != 1 || *v.more[0].Holds != row.holds {
			t.Errorf("%s: %+v, %v", row.what, v.more, err)
		}
	}
}

// What a chain with the default rules refuses of real evidence, with certificates and
// without.
func TestByDefault(t *testing.T) {
	all := recordings(t)
	codes := func(why []*task.Error) string {
		var list []string
		for _, w := range why {
			list = append(list, w.Code)
			if w.Code == UntrustedChain && !strings.Contains(w.What, "until a genesis names its root") {
				t.Errorf("%q does not say what a chain that takes TPMs has done", w.What)
			}
			if len(w.What) < 12 {
				t.Errorf("%s: %q is no sentence", w.Code, w.What)
			}
		}
		return strings.Join(list, " ")
	}
	bound := newRig(t, TDX)
	bound.tdx.version5(true)
	bound.tdx.body[600], bound.tdx.body[120] = 1, 1
	bound.quoter = bound.tdx
	bound.quote()
	pm := newRig(t, TPM)
	soft := newRig(t, TPM)
	soft.tpm.model.Model = "vTPM"
	soft.tpm.certify(fixedKey(elliptic.P256(), "ek"))
	soft.quote()
	report := func(change func(r []byte)) []byte {
		r := slices.Clone(vector(t, "sev-snp-genoa-report.bin"))
		change(r)
		return task.Encode(SNPQuote{Report: r})
	}
	for _, row := range []struct {
		what   string
		kind   Kind
		quote  []byte
		judged bool
		at     int64
		want   string
	}{
		{"Genoa", SEVSNP, all["sev-snp"].quote, true, all["sev-snp"].at, ""},
		{"Genoa, too late", SEVSNP, all["sev-snp"].quote, true, 2_000_000_000, CertificateExpired},
		{"Milan in debug mode", SEVSNP, all["sev-snp Milan debug"].quote, true, all["sev-snp Milan debug"].at, WrongProduct + " " + DebugEnclave},
		{"Genoa, alone", SEVSNP, report(func([]byte) {}), false, 0, ""},
		{"Milan, alone", SEVSNP, report(func(r []byte) { r[0x189] = 1 }), false, 0, WrongProduct},
		{"a VLEK's of a guest that may be migrated", SEVSNP, report(func(r []byte) { r[0x48] |= 4; r[10] |= 4 }), false, 0, EndorsementMismatch + " " + UnsafePolicy},
		{"from a lesser privilege level", SEVSNP, report(func(r []byte) { r[0x30] = 1 }), false, 0, UnsafePolicy},
		{"TDX", TDX, all["tdx"].quote, true, all["tdx"].at, ""},
		{"TDX of old microcode", TDX, all["tdx old"].quote, true, all["tdx old"].at, StaleTCB},
		{"TDX, alone, under debug and with a service TD", TDX, bound.ev.Quote, false, 0, DebugEnclave + " " + UnsafePolicy},
		{"Nitro", Nitro, all["nitro"].quote, true, all["nitro"].at, ""},
		{"Nitro in debug mode", Nitro, all["nitro debug"].quote, true, all["nitro debug"].at, DebugEnclave},
		{"a TPM", TPM, pm.ev.Quote, true, rigTime, UntrustedChain},
		{"a cloud's TPM", TPM, soft.ev.Quote, true, rigTime, SimulatedRefused},
		{"simulated", Simulated, newRig(t, Simulated).ev.Quote, true, rigTime, SimulatedRefused},
		{"nothing", SEVSNP, nil, true, rigTime, QuoteMalformed},
	} {
		if got := codes(ByDefault(row.kind, row.quote, row.judged, row.at)); got != row.want {
			t.Errorf("%s: %q, want %q", row.what, got, row.want)
		}
	}
}

// Whatever file comes: no panic, at most so many wrappings, and what was a quote inside
// of one is the same quote without it.
func FuzzUnwrap(f *testing.F) {
	report, quote, doc := vector(f, "sev-snp-genoa-report.bin"), vector(f, "tdx-2025-quote.bin"), vector(f, "nitro.cbor")
	for _, q := range [][]byte{report, quote, doc, hclOf(report, 2, "{}"), hclOf(nil, 4, "{}")} {
		f.Add(q)
		f.Add([]byte(hex.EncodeToString(q)))
		f.Add([]byte(base64.StdEncoding.EncodeToString(q)))
		f.Add(asJSON("quote", base64.RawURLEncoding.EncodeToString(q)))
	}
	f.Add([]byte(fmt.Sprintf(`{"report":"%x"}`, `{"SnpReport":"00"}`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		inner, opened, passed := unwrap(raw)
		if len(opened) > maxLayers || len(opened) != len(passed) || len(inner) > len(raw) {
			t.Fatalf("%d bytes in %d wrappings, %d passed, of %d bytes", len(inner), len(opened), len(passed), len(raw))
		}
		if len(opened) > 0 && !bytes.Equal(passed[0], raw) {
			t.Fatal("what was passed first is not what came")
		}
		if !isQuote(inner) {
			if code := refuse(inner, opened, passed).Code; code != NotRead && code != NotEvidence {
				t.Fatal(code)
			}
			return
		}
		if again, more, _ := unwrap(inner); len(more) > 0 || !bytes.Equal(again, inner) {
			t.Fatal("a quote that is taken out of itself")
		}
		_, _ = FromVendor(raw)
	})
}
