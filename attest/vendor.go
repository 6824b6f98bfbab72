package attest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url" //nolint:depguard // for the escapes of a header; it opens nothing
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"
	"github.com/prytany/prytany/task"
)

// VendorQuote is a quote made of the files that a vendor's own tools write.
type VendorQuote struct {
	Kind    Kind
	Quote   []byte
	Opened  []string    // wrappings that were taken off, from outside in
	Missing []string    // what must come beside it before it can be judged, and where to get it
	Refused *task.Error // why every chain refuses it, whatever comes beside it
	Unused  []int       // files beside it that are nothing to it, by their place
	more    []Row       // what a wrapping says
}

// FromVendor recognises an SEV-SNP report, a TDX quote or a Nitro document in the forms
// in which tools and services hand it out. What comes beside it may be in any order:
// certificates as DER, PEM or AMD's table; JSON with certificates in it, as Azure serves
// it; Intel's collateral as its service sends it, with the headers or without. Where
// several files could serve for one part, it takes one that fits the quote.
func FromVendor(raw []byte, beside ...[]byte) (v VendorQuote, err error) {
	s := &besides{}
	for i, f := range beside {
		s.file = i
		s.add(f)
	}
	quote, opened, passed := unwrap(raw)
	s.file = -1 // certificates may be in the file itself
	for _, f := range passed {
		s.inJSON(trimmed(f))
	}
	switch {
	case isSNP(quote):
		if rest := quote[abi.ReportSize:]; !s.table(rest) && !zero(rest) { // an extended report
			return v, task.Refuse(NotWhole, "an SEV-SNP report with %d bytes behind it that are no table of certificates",
				len(rest))
		}
		v = s.snp(quote[:abi.ReportSize])
	case isTDX(quote):
		if v, err = s.tdx(quote); err != nil {
			return v, task.Refuse(NotWhole, "a TDX quote that is not whole: %v", err)
		}
	case isNitro(quote):
		if _, _, err := parseNitro(quote); err != nil {
			return v, task.Refuse(NotWhole, "a Nitro document that is not whole: %v", err)
		}
		v = VendorQuote{Kind: Nitro, Quote: task.Encode(NitroQuote{Document: quote})}
	default:
		return v, refuse(quote, opened, passed)
	}
	v.Opened = opened
	for _, f := range passed {
		if r, ok := hclRow(f); ok {
			v.more = append(v.more, r)
		}
	}
	for i := range beside {
		if !slices.Contains(s.used, i) {
			v.Unused = append(v.Unused, i)
		}
	}
	return v, nil
}

// Describe is [Describe] for a quote that was made for no task: there are no
// keys, nonces and state that it could be over. now is in Unix seconds.
func (v VendorQuote) Describe(now int64, ref Reference) []Row {
	var d description
	switch {
	case v.Refused != nil:
		d.row("kind", "", string(v.Kind), true)
		d.row("signatures and certificates", "hold", v.Refused.Error(), false)
	case len(v.Missing) > 0:
		d.row("kind", "", string(v.Kind), true)
		d.row("signatures and certificates", "", "not judged, for what is missing", false)
	default:
		_, _ = d.quote(Evidence{Kind: v.Kind, Quote: v.Quote}, Expected{Now: now}, task.Policy{}, ref)
	}
	return slices.Concat(d.rows, says(v.Kind, v.Quote), v.more)
}

// besides is what came beside a quote.
type besides struct {
	file  int // that is being read
	certs []beside[*certificate]
	crls  []beside[*revocations]
	json  []beside[[]byte]
	used  []int
}

// beside is a part, and the file that it is from.
type beside[T any] struct {
	part T
	file int
}

func (s *besides) add(f []byte) {
	f = bytes.TrimLeft(f, "\ufeff \t\r\n")
	head, body, http := bytes.Cut(f, []byte("\r\n\r\n"))
	switch {
	case bytes.HasPrefix(f, []byte("HTTP/")): // as curl -i writes it
		s.headers(head)
		if http {
			s.add(body)
		}
	case bytes.HasPrefix(f, []byte("{")):
		s.json = append(s.json, beside[[]byte]{bytes.TrimSpace(f), s.file})
		s.inJSON(f)
	case bytes.Contains(f, []byte("-----BEGIN%20")):
		s.headers(f)
	case bytes.Contains(f, []byte("-----BEGIN ")):
		s.pem(f)
	default:
		s.der(f)
		s.table(f)
	}
}

// inJSON reads the certificates in an object's texts: as PEM, as base64 of PEM, or as
// base64 of AMD's table.
func (s *besides) inJSON(object []byte) {
	var parts map[string]json.RawMessage
	if json.Unmarshal(object, &parts) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		var text string
		if json.Unmarshal(parts[name], &text) != nil {
			continue
		}
		s.pem([]byte(text))
		if b, ok := openBase64([]byte(text)); ok {
			s.pem(b)
			s.table(b)
		}
	}
}

// headers reads the certificates that Intel sends in them.
func (s *besides) headers(f []byte) {
	for _, word := range strings.Fields(string(f)) {
		if text, err := url.PathUnescape(word); err == nil && strings.HasPrefix(text, "-----BEGIN ") {
			s.pem([]byte(text))
		}
	}
}

func (s *besides) pem(text []byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		s.der(block.Bytes)
	}
}

func (s *besides) der(b []byte) (read bool) {
	if c, err := readCertificate(b); err == nil {
		s.certs = append(s.certs, beside[*certificate]{c, s.file})
		return true
	}
	l, err := readRevocations(b)
	if err == nil {
		s.crls = append(s.crls, beside[*revocations]{l, s.file})
	}
	return err == nil
}

// table reads AMD's table of certificates (GHCB specification, §4.1.8.1): of
// each its name, where it begins and its size, up to a name of zeros.
func (s *besides) table(b []byte) (read bool) {
	const entry = 24
	for at := 0; at+entry <= len(b) && !zero(b[at:at+16]); at += entry {
		from, size := uint64(binary.LittleEndian.Uint32(b[at+16:])), uint64(binary.LittleEndian.Uint32(b[at+20:]))
		if from+size > uint64(len(b)) {
			break
		}
		read = s.der(b[from:from+size]) || read
	}
	return read
}

// pick is the best of what may do: the last that fits, or the first if none
// does, so that judging it says why.
func pick[T any](s *besides, all []beside[T], may, fits func(T) bool) (best T, found bool) {
	at := -1
	for i, b := range all {
		if may(b.part) && (at < 0 || fits(b.part)) {
			at = i
		}
	}
	if at < 0 {
		return best, false
	}
	s.used = append(s.used, all[at].file)
	return all[at].part, true
}

func whichever[T any](T) bool { return true }

// cert is a certificate whose subject begins so.
func (s *besides) cert(fits func(*certificate) bool, names ...string) *certificate {
	c, _ := pick(s, s.certs, func(c *certificate) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(c.subject.common, n) })
	}, fits)
	return c
}

// der is a certificate's bytes, if there is one.
func der(c *certificate) []byte {
	if c == nil {
		return nil
	}
	return c.raw
}

// snpUnknown stands for a product line that a report does not name.
const snpUnknown = "PRODUCT"

func (s *besides) snp(report []byte) VendorQuote {
	product := snpProduct(report)
	vcek := s.cert(func(c *certificate) bool {
		v, err := parseVCEK(c, strings.TrimPrefix(c.issuer.common, "SEV-"))
		return err == nil && bytes.Equal(v.chip[:], report[0x1A0:0x1E0]) &&
			v.tcb == binary.LittleEndian.Uint64(report[0x180:])
	}, "SEV-VCEK")
	if vcek != nil && product == snpUnknown {
		product = strings.TrimPrefix(vcek.issuer.common, "SEV-")
	}
	ask := s.cert(func(c *certificate) bool {
		return vcek == nil || bytes.Equal(c.subject.raw, vcek.issuer.raw)
	}, "SEV-Genoa", "SEV-Milan", "SEV-Turin")
	v := VendorQuote{Kind: SEVSNP, Quote: task.Encode(SNPQuote{Report: report, VCEK: der(vcek), ASK: der(ask)})}
	note := ""
	if product == snpUnknown {
		note = " (PRODUCT is Milan, Genoa or Turin: this report does not say which)"
	}
	if v.Refused = nameless(report); v.Refused != nil {
		return v // no certificate could help
	}
	if vcek == nil {
		v.Missing = append(v.Missing, "the chip's VCEK: "+vcekURL(product, report)+note)
	}
	if ask == nil {
		v.Missing = append(v.Missing, "AMD's ASK: "+amdKDS+product+"/cert_chain"+note)
	}
	return v
}

// nameless says why a report names no chip, if it does not: then no chain can tell which
// node it is of.
func nameless(report []byte) *task.Error {
	signer, err := abi.ParseSignerInfo(binary.LittleEndian.Uint32(report[0x48:]))
	switch {
	case err != nil:
		return task.Refuse(QuoteMalformed, "report: %v", err)
	case signer.SigningKey == abi.VlekReportSigner:
		return task.Refuse(EndorsementMismatch,
			"the report is signed by a key that AMD has given to the cloud (VLEK), which names no chip")
	case signer.SigningKey != abi.VcekReportSigner || signer.MaskChipKey:
		return task.Refuse(EndorsementMismatch, "the report is signed by no key: the host has withheld the chip's")
	case zero(report[0x1A0:0x1E0]):
		return task.Refuse(EndorsementMismatch, "the host has masked the chip's id, by which a node is known")
	}
	return nil
}

// amdKDS is AMD's service for certificates (AMD 57230, §4).
const amdKDS = "https://kdsintf.amd.com/vcek/v1/"

// snpProduct is the product line of the processor that a report names, from its
// version 3 on. AMD's service calls Bergamo and Siena Genoa.
func snpProduct(report []byte) string {
	family, model := report[0x188], report[0x189]
	switch {
	case report[0] < 3:
	case family == 0x19 && model < 0x10:
		return "Milan"
	case family == 0x19 && (model < 0x20 || model >= 0xa0 && model < 0xb0):
		return "Genoa"
	case family == 0x1a && model < 0x20:
		return "Turin"
	}
	return snpUnknown
}

func vcekURL(product string, report []byte) string {
	tcb, chip := report[0x180:0x188], report[0x1A0:0x1E0]
	if product == "Turin" {
		return fmt.Sprintf("%s%s/%x?fmcSPL=%d&blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d",
			amdKDS, product, chip[:8], tcb[0], tcb[1], tcb[2], tcb[3], tcb[7])
	}
	return fmt.Sprintf("%s%s/%x?blSPL=%d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d",
		amdKDS, product, chip, tcb[0], tcb[1], tcb[6], tcb[7])
}

// Intel's service for collateral (PCS API v4).
const (
	intelPCS     = "https://api.trustedservices.intel.com/"
	intelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

func (s *besides) tdx(quote []byte) (v VendorQuote, err error) {
	p, err := parseTDX(quote)
	if err != nil {
		return v, err
	}
	of := func(name string, fits func(part json.RawMessage) bool) []byte {
		b, _ := pick(s, s.json,
			func(b []byte) bool { return member(b, name) != nil },
			func(b []byte) bool { return fits(member(b, name)) })
		return b
	}
	crl := func(by *certificate) []byte {
		l, found := pick(s, s.crls, func(l *revocations) bool { return bytes.Equal(l.issuer.raw, by.subject.raw) }, whichever)
		if !found {
			return nil
		}
		return l.raw
	}
	k := TDXCollateral{
		TCBInfo: of("tcbInfo", func(part json.RawMessage) bool {
			var i tcbInfo
			return json.Unmarshal(part, &i) == nil && i.ID == "TDX" && bytes.Equal(i.FMSPC, p.ext.fmspc)
		}),
		QEIdentity: of("enclaveIdentity", func(part json.RawMessage) bool {
			var i qeIdentity
			return json.Unmarshal(part, &i) == nil && i.ID == "TD_QE"
		}),
		Signer:  der(s.cert(whichever, "Intel SGX TCB Signing")),
		RootCRL: crl(p.root), PCKCRL: crl(p.between),
	}
	v = VendorQuote{Kind: TDX, Quote: task.Encode(TDXQuote{Quote: quote, Collateral: k})}
	ca := "platform"
	if strings.Contains(p.pck.issuer.common, "Processor") {
		ca = "processor"
	}
	info := fmt.Sprintf("%stdx/certification/v4/tcb?fmspc=%X", intelPCS, p.ext.fmspc)
	for _, m := range []struct {
		have        []byte
		what, where string
	}{
		{k.TCBInfo, "TCB info", info},
		{k.QEIdentity, "QE identity", intelPCS + "tdx/certification/v4/qe/identity"},
		{k.Signer, "the certificate that signs both", "header TCB-Info-Issuer-Chain of " + info},
		{k.RootCRL, "revocation list of the root", intelRootCRL},
		{k.PCKCRL, "revocation list of the PCK's CA", intelPCS + "sgx/certification/v4/pckcrl?encoding=der&ca=" + ca},
	} {
		if len(m.have) == 0 {
			v.Missing = append(v.Missing, m.what+": "+m.where)
		}
	}
	return v, nil
}

// member is a part of a JSON object; nil if it is none, or has none.
func member(object []byte, name string) json.RawMessage {
	var parts map[string]json.RawMessage
	if json.Unmarshal(object, &parts) != nil {
		return nil
	}
	return parts[name]
}
