package attest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"github.com/prytany/prytany/task"
)

// VendorQuote is a quote made of the files that a vendor's own tools write.
type VendorQuote struct {
	Kind    Kind
	Quote   []byte
	Missing []string // what must come beside it before it can be judged, and where to get it
}

// Describe is [Describe] for a quote that was made for no task: there are no
// keys, nonces and state that it could be over. now is in Unix seconds.
func (v VendorQuote) Describe(now int64, ref Reference) []Row {
	var d description
	if len(v.Missing) > 0 {
		d.row("kind", "", string(v.Kind), true)
		d.row("signatures and certificates", "hold", "not judged, for what is missing", false)
	} else {
		_, _ = d.quote(Evidence{Kind: v.Kind, Quote: v.Quote}, Expected{Now: now}, task.Policy{}, ref)
	}
	return append(d.rows, says(v.Kind, v.Quote)...)
}

// FromVendor recognises an SEV-SNP report, a TDX quote or a Nitro document, and
// what came beside it, in any order: certificates as DER, as PEM or in AMD's
// table, Intel's collateral as its service sends it, with the headers or
// without.
func FromVendor(raw []byte, beside ...[]byte) (VendorQuote, error) {
	all := sortOut(beside)
	switch {
	case len(raw) >= abi.ReportSize && slices.Contains([]byte{2, 3, 4, 5}, raw[0]) && zero(raw[1:4]):
		all.table(raw[abi.ReportSize:]) // an extended report has the certificates behind it
		return snpOf(raw[:abi.ReportSize], all), nil
	case bytes.HasPrefix(raw, []byte{4, 0, 2, 0, 0x81, 0, 0, 0}): // version 4, ECDSA on P-256, of a TD
		return tdxOf(raw, all), nil
	case bytes.HasPrefix(bytes.TrimPrefix(raw, []byte{0xd2}), append([]byte{0x84, 0x44}, es384...)): // COSE_Sign1
		return VendorQuote{Kind: Nitro, Quote: task.Encode(NitroQuote{Document: raw})}, nil
	}
	return VendorQuote{}, fmt.Errorf("neither an SEV-SNP report, nor a TDX quote of version 4, nor a Nitro document")
}

// sorted is what came beside a quote.
type sorted struct {
	certs []*x509.Certificate
	crls  []*x509.RevocationList
	json  [][]byte
}

func sortOut(files [][]byte) (s sorted) {
	for _, f := range files {
		switch {
		case bytes.HasPrefix(f, []byte("{")):
			s.json = append(s.json, bytes.TrimSpace(f))
		case bytes.Contains(f, []byte("-----BEGIN%20")): // as Intel sends a chain in a header
			for _, word := range strings.Fields(string(f)) {
				if text, err := url.PathUnescape(word); err == nil {
					s.pem([]byte(text))
				}
			}
		case bytes.Contains(f, []byte("-----BEGIN ")):
			s.pem(f)
		default:
			s.der(f)
			s.table(f)
		}
	}
	return s
}

func (s *sorted) pem(text []byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		s.der(block.Bytes)
	}
}

func (s *sorted) der(b []byte) {
	if c, err := x509.ParseCertificate(b); err == nil {
		s.certs = append(s.certs, c)
	} else if l, err := x509.ParseRevocationList(b); err == nil {
		s.crls = append(s.crls, l)
	}
}

// table reads AMD's table of certificates (GHCB specification, §4.1.8.1): of
// each its name, where it begins and its size, up to a name of zeros.
func (s *sorted) table(b []byte) {
	const entry = 24
	for at := 0; at+entry <= len(b) && !zero(b[at:at+16]); at += entry {
		from, size := uint64(binary.LittleEndian.Uint32(b[at+16:])), uint64(binary.LittleEndian.Uint32(b[at+20:]))
		if from+size > uint64(len(b)) {
			return
		}
		s.der(b[from : from+size])
	}
}

// cert is the first certificate whose subject begins so.
func (s sorted) cert(names ...string) []byte {
	for _, c := range s.certs {
		if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(c.Subject.CommonName, n) }) {
			return c.Raw
		}
	}
	return nil
}

func snpOf(report []byte, s sorted) VendorQuote {
	q := SNPQuote{Report: report, VCEK: s.cert("SEV-VCEK"), ASK: s.cert("SEV-Genoa", "SEV-Milan", "SEV-Turin")}
	v := VendorQuote{Kind: SEVSNP, Quote: task.Encode(q)}
	product := snpProduct(report)
	if len(q.VCEK) == 0 {
		v.Missing = append(v.Missing, "the chip's VCEK: "+vcekURL(product, report))
	}
	if len(q.ASK) == 0 {
		v.Missing = append(v.Missing, "AMD's ASK: "+amdKDS+product+"/cert_chain")
	}
	return v
}

// amdKDS is AMD's service for certificates (AMD 57230, §4).
const amdKDS = "https://kdsintf.amd.com/vcek/v1/"

// snpProduct is the product line that a report names, from its version 3 on.
func snpProduct(report []byte) string {
	eax := abi.FmsToCpuid1Eax(report[0x188], report[0x189], report[0x18A])
	switch abi.SevProductFromCpuid1Eax(eax).GetName() {
	case sevsnp.SevProduct_SEV_PRODUCT_MILAN:
		return "Milan"
	case sevsnp.SevProduct_SEV_PRODUCT_GENOA:
		return "Genoa"
	case sevsnp.SevProduct_SEV_PRODUCT_TURIN:
		return "Turin"
	}
	return "{Milan, Genoa or Turin}"
}

func vcekURL(product string, report []byte) string {
	tcb, chip := report[0x180:0x188], report[0x1A0:0x1E0]
	if product == "Turin" {
		return fmt.Sprintf("%s%s/%x?fmcSPL=%d&blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", amdKDS, product, chip[:8], tcb[0], tcb[1], tcb[2], tcb[3], tcb[7])
	}
	return fmt.Sprintf("%s%s/%x?blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d", amdKDS, product, chip, tcb[0], tcb[1], tcb[6], tcb[7])
}

// Intel's service for collateral (PCS API v4).
const (
	intelPCS     = "https://api.trustedservices.intel.com/"
	intelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

func tdxOf(quote []byte, s sorted) VendorQuote {
	q := TDXQuote{Quote: quote}
	q.Collateral.Signer = s.cert("Intel SGX TCB Signing")
	for _, j := range s.json {
		var parts map[string]json.RawMessage
		_ = json.Unmarshal(j, &parts) // it has no such part, then
		if parts["tcbInfo"] != nil {
			q.Collateral.TCBInfo = j
		}
		if parts["enclaveIdentity"] != nil {
			q.Collateral.QEIdentity = j
		}
	}
	for _, l := range s.crls {
		if strings.Contains(l.Issuer.CommonName, "Root") {
			q.Collateral.RootCRL = l.Raw
		} else {
			q.Collateral.PCKCRL = l.Raw
		}
	}
	v := VendorQuote{Kind: TDX, Quote: task.Encode(q)}
	p, err := parseTDX(quote)
	if err != nil {
		return v // verifying it will say why
	}
	ca := "platform"
	if strings.Contains(p.pck.Issuer.CommonName, "Processor") {
		ca = "processor"
	}
	info := fmt.Sprintf("%stdx/certification/v4/tcb?fmspc=%X", intelPCS, p.ext.fmspc)
	for _, m := range []struct {
		have        []byte
		what, where string
	}{
		{q.Collateral.TCBInfo, "TCB info", info},
		{q.Collateral.QEIdentity, "QE identity", intelPCS + "tdx/certification/v4/qe/identity"},
		{q.Collateral.Signer, "the certificate that signs both", "header TCB-Info-Issuer-Chain of " + info},
		{q.Collateral.RootCRL, "revocation list of the root", intelRootCRL},
		{q.Collateral.PCKCRL, "revocation list of the PCK's CA", intelPCS + "sgx/certification/v4/pckcrl?encoding=der&ca=" + ca},
	} {
		if len(m.have) == 0 {
			v.Missing = append(v.Missing, m.what+": "+m.where)
		}
	}
	return v
}
