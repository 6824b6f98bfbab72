package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"
	"github.com/prytany/prytany/task"
)

// This file takes off what tools and services put around a quote, and names what it
// cannot read. Nothing of it reaches a chain: a node shows its quote in the one form
// that appraisal reads.

// maxLayers bounds how many wrappings are taken off: Azure's attestation service takes
// base64 in JSON in base64 in JSON, and a shell may have put hex around that.
const maxLayers = 5

// layer is a wrapping: its name, and what is in it, if it is there.
type layer struct {
	name string
	open func(raw []byte) (inner []byte, ok bool)
}

// layers are tried in order. Hex goes before base64: hex digits are base64, too.
var layers = []layer{
	{"the kernel's answer (SNP_GET_REPORT)", openSNPAnswer},
	{"Azure's HCL report", openHCL},
	{"JSON", openJSON},
	{"hex", openHex},
	{"base64", openBase64},
}

// unwrap takes off all wrappings. opened are their names from outside in, and passed
// what was seen on the way, for the certificates in it.
func unwrap(raw []byte) (quote []byte, opened []string, passed [][]byte) {
	for len(opened) < maxLayers && !isQuote(raw) {
		at := slices.IndexFunc(layers, func(l layer) bool { _, ok := l.open(raw); return ok })
		if at < 0 {
			break
		}
		passed = append(passed, raw)
		opened = append(opened, layers[at].name)
		raw, _ = layers[at].open(raw)
	}
	return raw, opened, passed
}

// isQuote says whether it begins as one of the three that are read.
func isQuote(raw []byte) bool { return isSNP(raw) || isTDX(raw) || isNitro(raw) }

func isSNP(raw []byte) bool {
	return len(raw) >= abi.ReportSize && raw[0] >= 2 && raw[0] <= 5 && zero(raw[1:4])
}

// isTDX says whether it begins as a quote of version 4 or 5 of a TD, signed by ECDSA.
func isTDX(raw []byte) bool {
	const versions = "\x04\x05"
	return len(raw) > 0 && strings.IndexByte(versions, raw[0]) >= 0 &&
		bytes.HasPrefix(raw[1:], []byte{0, ecdsaP256, 0, teeTDX, 0, 0, 0})
}

// isNitro says whether it begins as a COSE_Sign1 by ES384, with its tag or without.
func isNitro(raw []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(raw, []byte{0xd2}), append([]byte{0x84, 0x44}, es384...))
}

// openSNPAnswer takes a report out of MSG_REPORT_RSP (AMD 56860, table 25): a status,
// the report's size, 24 bytes of zeros.
func openSNPAnswer(raw []byte) (report []byte, ok bool) {
	const head = 32
	if len(raw) < head+abi.ReportSize || !zero(raw[:4]) ||
		binary.LittleEndian.Uint32(raw[4:]) != abi.ReportSize || !zero(raw[8:head]) {
		return nil, false
	}
	return raw[head : head+abi.ReportSize], isSNP(raw[head:])
}

// Azure's HCL report: what its paravisor keeps in the vTPM, at index 0x01400001. A
// header, room for a hardware report, and data that this report is bound to.
const (
	hclReport = 32
	hclData   = hclReport + abi.ReportSize // sizes, type of the report, type of the hash
	hclBound  = hclData + 20               // what is bound
	hclSNP    = 2
	hclTDX    = 4
)

// isHCL says whether it is one, and of which type of report.
func isHCL(raw []byte) (kind uint32, ok bool) {
	if len(raw) < hclBound || !bytes.HasPrefix(raw, []byte("HCLA")) {
		return 0, false
	}
	return binary.LittleEndian.Uint32(raw[hclData+8:]), true
}

func openHCL(raw []byte) (report []byte, ok bool) {
	kind, ok := isHCL(raw)
	return raw[min(hclReport, len(raw)):min(hclData, len(raw))], ok && kind == hclSNP
}

// hclRow says whether the report in Azure's wrapping is bound to the data in it: SHA-256
// of them is what the report is over.
func hclRow(raw []byte) (r Row, ok bool) {
	if kind, ok := isHCL(raw); !ok || kind != hclSNP {
		return r, false
	}
	size, bound := uint64(binary.LittleEndian.Uint32(raw[hclData+16:])), raw[hclBound:]
	holds := false
	if size <= uint64(len(bound)) {
		sum := sha256.Sum256(bound[:size])
		holds = bytes.Equal(sum[:], raw[hclReport+0x50:hclReport+0x70])
	}
	actual := map[bool]string{true: "bound to the report", false: "not what the report is over"}[holds]
	return Row{What: "Azure's runtime data", Expected: "bound to the report", Actual: actual, Holds: &holds}, true
}

// inJSON are the members in which services and tools hand evidence out, the most
// telling first.
var inJSON = []string{
	"SnpReport",            // Azure's attestation service, inside of report
	"quote",                // Azure's metadata service, Intel's clients, dstack
	"tdx_quote",            // several agents
	"snp_report",           // the same
	"hcl_report",           // Azure's samples
	"attestation_report",   // SNP agents
	"attestation_document", // Nitro's
	"report",               // Azure's attestation service, Google's API
}

func openJSON(raw []byte) (inner []byte, ok bool) {
	var parts map[string]json.RawMessage
	if raw = trimmed(raw); !bytes.HasPrefix(raw, []byte("{")) || json.Unmarshal(raw, &parts) != nil {
		return nil, false
	}
	for _, name := range inJSON {
		if inner, ok = fromJSON(parts[name]); ok {
			return inner, true
		}
	}
	return nil, false
}

// fromJSON reads bytes as JSON has them: as text, or as a list of numbers.
func fromJSON(value json.RawMessage) ([]byte, bool) {
	var text string
	if json.Unmarshal(value, &text) == nil && text != "" {
		return []byte(text), true
	}
	var numbers []uint8Number
	if json.Unmarshal(value, &numbers) != nil || len(numbers) == 0 {
		return nil, false
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return b, true
}

// uint8Number is a byte that JSON has as a number: a list of byte would be base64.
type uint8Number uint8

func openHex(raw []byte) ([]byte, bool) {
	text := bytes.TrimPrefix(bytes.TrimPrefix(unspaced(raw), []byte("0x")), []byte("0X"))
	b := make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(b, text)
	return b, err == nil && len(b) > 0
}

// openBase64 reads the usual alphabet or that of URLs, filled up or not.
func openBase64(raw []byte) ([]byte, bool) {
	if bytes.Contains(raw, []byte("-----BEGIN ")) { // PEM
		return nil, false
	}
	text := strings.NewReplacer("-", "+", "_", "/").Replace(string(unspaced(raw)))
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return b, err == nil && len(b) > 0
}

// unspaced is text without blanks and line ends, which tools put in to fold it; and
// without quotation marks around it.
func unspaced(text []byte) []byte {
	text = bytes.Trim(trimmed(text), `"`)
	return slices.DeleteFunc(slices.Clone(text), func(c byte) bool { return strings.IndexByte(" \t\r\n", c) >= 0 })
}

func trimmed(text []byte) []byte { return bytes.Trim(text, "\ufeff \t\r\n") }

// Codes of what [FromVendor] refuses. They are no reason codes: nothing of it was judged.
const (
	NotEvidence = "not-evidence"       // nothing that is known
	NotRead     = "evidence-not-read"  // known, and not read here
	NotWhole    = "evidence-not-whole" // known, and cut off or damaged
)

// unread names what is known and not read, with what to bring in its place.
var unread = []struct {
	is   func(raw []byte) bool
	what string
	next string
}{
	{func(raw []byte) bool { return isSGX(raw) },
		"a quote of an SGX enclave: this network takes confidential VMs and Nitro enclaves", ""},
	{func(raw []byte) bool {
		return len(raw) >= quoteHeader && zero(raw[1:2]) && bytes.Equal(raw[4:8], []byte{teeTDX, 0, 0, 0})
	}, "a TDX quote of a version other than 4 and 5, or not signed by ECDSA on P-256",
		"have it made by Intel's quoting service, which writes 4 or 5"},
	{func(raw []byte) bool {
		kind, ok := isHCL(raw)
		return ok && kind == hclTDX || len(raw) == 1024 && raw[0] == teeTDX
	}, "a TD report, which only its own machine can check",
		"get a quote of it: from configfs-tsm, on Azure from http://169.254.169.254/acc/tdquote"},
	{func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("HCLA")) },
		"an HCL report of Azure's that holds no SEV-SNP report, or is cut off", ""},
	{func(raw []byte) bool { return len(raw) == abi.ReportSize && zero(raw[1:4]) && raw[0] > 0 },
		"an SEV-SNP report of a version other than 2 to 5", ""},
	{func(raw []byte) bool {
		return bytes.HasPrefix(trimmed(raw), []byte("eyJ")) && bytes.Count(raw, []byte(".")) == 2
	}, "a token (JWT): the word of a service for what it has checked, not evidence",
		"bring the report or quote that the service was given"},
	{isProtobuf, "a protobuf of go-sev-guest or go-tdx-guest", "have the tool write the vendor's own form: -outform bin"},
	{func(raw []byte) bool { return bytes.HasPrefix(raw, []byte("\xffTCG")) },
		"what a TPM has signed, alone: it counts with its keys, its log and its activators",
		"bring the evidence that a node shows"},
	{func(raw []byte) bool { return bytes.Contains(raw[:min(len(raw), 64)], []byte("Spec ID Event")) },
		"a log of a firmware's events, which is not judged", ""},
	{func(raw []byte) bool { return bytes.HasPrefix(raw, []byte{0xd9, 0x01, 0x8f}) },
		"a token of Arm's CCA, which this network does not take", ""},
	{func(raw []byte) bool { return bytes.HasPrefix(raw, []byte{0xd2, 0x84}) },
		"a COSE_Sign1 that is not signed as Nitro's hypervisor does (ES384)", ""},
	{isEKCert, "the certificate of a TPM's endorsement key, which is a part of evidence and none by itself",
		"bring the evidence that a node shows"},
	{isBeside, "certificates or collateral, which go beside evidence",
		"give the report or quote as FILE, and this one by --with"},
	{func(raw []byte) bool { return bytes.HasPrefix(trimmed(raw), []byte("{")) },
		"JSON with nothing in it that is known to hold evidence (" + strings.Join(inJSON, ", ") + ")",
		"take the quote out of it"},
}

// isSGX says whether it is a quote of an SGX enclave: of versions 1 and 2, which EPID
// has signed, or of 3 to 5.
func isSGX(raw []byte) bool {
	const least = quoteHeader + enclaveReport
	return len(raw) >= least && raw[0] >= 1 && raw[0] <= 5 && raw[1] == 0 && raw[2] <= 3 && raw[3] == 0 &&
		!zero(raw[8:48]) && (raw[0] < 3 || zero(raw[4:8]))
}

// isProtobuf says whether it is a message of Google's tools: a first part that begins
// with a version, or the same as text.
func isProtobuf(raw []byte) bool {
	text := unspaced(raw[:min(len(raw), 64)])
	if bytes.HasPrefix(text, []byte("report{")) || bytes.HasPrefix(text, []byte("report:{")) ||
		bytes.HasPrefix(text, []byte("header{")) || bytes.HasPrefix(text, []byte("header:{")) {
		return true
	}
	if len(raw) < 4 || raw[0] != 0x0a { // field 1, of some length
		return false
	}
	_, n := binary.Uvarint(raw[1:])
	return n > 0 && len(raw) > 2+n && raw[1+n] == 0x08 && raw[2+n] >= 2 && raw[2+n] <= 5 // its field 1, a small number
}

// isEKCert says whether it is a certificate that names a TPM, as DER, as PEM or as a TPM
// holds it.
func isEKCert(raw []byte) bool {
	if block, _ := pem.Decode(raw); block != nil {
		raw = block.Bytes
	}
	_, err := StoredCertificate(raw)
	return err == nil
}

// isBeside says whether it is what [besides] reads.
func isBeside(raw []byte) bool {
	s := &besides{}
	s.add(raw)
	return len(s.certs)+len(s.crls) > 0 || slices.ContainsFunc(s.json, func(b beside[[]byte]) bool {
		return member(b.part, "tcbInfo") != nil || member(b.part, "enclaveIdentity") != nil
	})
}

// refuse says what a file is that is not read: by what is inside of all its wrappings,
// or else of all but one, and so on.
func refuse(raw []byte, opened []string, passed [][]byte) *task.Error {
	for stage := append(slices.Clone(passed), raw); len(stage) > 0; stage = stage[:len(stage)-1] {
		in := ""
		if around := opened[:len(stage)-1]; len(around) > 0 {
			in = ", in " + strings.Join(around, ", in ")
		}
		for _, u := range unread {
			if !u.is(stage[len(stage)-1]) {
				continue
			}
			err := task.Refuse(NotRead, "%s%s", u.what, in)
			if u.next != "" {
				err = err.WithNext("%s", u.next)
			}
			return err
		}
	}
	return task.Refuse(NotEvidence,
		"neither a receipt, nor a node's evidence, nor an SEV-SNP report, a TDX quote or a Nitro document "+
			"in any form that is known")
}
