package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/google/go-tdx-guest/abi"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/prytany/prytany/task"
)

// TDXQuote is the quote of [TDX] evidence: the quote of the quoting enclave,
// with its certificates in it, and Intel's collateral for the platform.
type TDXQuote struct {
	Quote      []byte        `cbor:"1,keyasint"` // version 4
	Collateral TDXCollateral `cbor:"2,keyasint"`
}

// TDXCollateral is what Intel's provisioning service says of a platform (PCS
// API v4). It goes stale within weeks, so it comes with the evidence.
type TDXCollateral struct {
	TCBInfo    []byte `cbor:"1,keyasint"` // JSON, signed
	QEIdentity []byte `cbor:"2,keyasint"` // JSON, signed
	Signer     []byte `cbor:"3,keyasint"` // DER, of the key that signed both
	RootCRL    []byte `cbor:"4,keyasint"` // DER
	PCKCRL     []byte `cbor:"5,keyasint"` // DER
}

// TDXReference is what a genesis says of TDX.
type TDXReference struct {
	Roots         [][]byte `cbor:"1,keyasint" json:"roots"`                  // DER; none: Intel's
	MinEvaluation uint64   `cbor:"2,keyasint" json:"min_evaluation,string"`  // least TCB evaluation data number
	MaxAgeSeconds uint64   `cbor:"3,keyasint" json:"max_age_seconds,string"` // of collateral; 0: 30 days
	Statuses      []string `cbor:"4,keyasint" json:"statuses"`               // accepted TCB statuses beside UpToDate
}

const (
	collateralAge   = 30 * 24 * 3600 // seconds
	collateralAhead = 36 * 3600      // it may have been issued since the task was drawn
)

// platform is a TDX quote, taken apart.
type tdxPlatform struct {
	body               *pb.TDQuoteBody
	signed             *pb.Ecdsa256BitQuoteV4AuthData
	qe                 *pb.EnclaveReport
	pck, between, root *certificate
	ext                pckClaims
}

func verifyTDX(quote []byte, want Expected, ref Reference) (c Claims, refused *task.Error) {
	q, err := task.Decode[TDXQuote](quote, task.MaxEvidence)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	p, err := parseTDX(q.Quote)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	anchors, refused := roots(ref.TDX.Roots, intelRoot)
	if refused != nil {
		return c, refused
	}
	root, refused := trusted(p.pck, []*certificate{p.between}, anchors, want.Now, ref)
	if refused != nil {
		return c, refused
	}
	if !bytes.Equal(root.raw, p.root.raw) {
		return c, task.Refuse(UntrustedChain, "the quote names another root than the one that it chains to")
	}
	if refused = p.checkSignatures(q.Quote); refused != nil {
		return c, refused
	}
	info, qe, refused := q.Collateral.verify(p, root, anchors, want.Now, ref)
	if refused != nil {
		return c, refused
	}
	if refused = p.checkTCB(info, qe, ref); refused != nil {
		return c, refused
	}
	attributes := p.body.GetTdAttributes()
	if attributes[3]&(1<<5) != 0 { // bit 29
		return c, task.Refuse(UnsafePolicy, "the TD can be migrated to another machine")
	}
	return Claims{
		Tier: task.TierConfidential, Chip: identity(p.ext.ppid),
		Measurement: measurement(TDX, append([][]byte{p.body.GetMrTd()}, p.body.GetRtmrs()...)...),
		ReportData:  hashIn(p.body.GetReportData()), TCB: info.Evaluation, Debug: attributes[0] != 0, // bits 0 to 7: under debug
	}, nil
}

// parseTDX reads a quote of version 4 with an ECDSA key and a PCK chain in it.
func parseTDX(raw []byte) (p tdxPlatform, err error) {
	if err := checkTDXSizes(raw); err != nil {
		return p, err
	}
	parsed, err := abi.QuoteToProto(raw)
	if err != nil {
		return p, err
	}
	q, ok := parsed.(*pb.QuoteV4)
	if !ok {
		return p, fmt.Errorf("not a quote of version 4")
	}
	if err := abi.CheckQuoteV4(q); err != nil {
		return p, err
	}
	if q.GetHeader().GetTeeType() != abi.TeeTDX || q.GetHeader().GetAttestationKeyType() != abi.AttestationKeyType {
		return p, fmt.Errorf("not of a TD, or not signed by ECDSA on P-256")
	}
	if len(bytes.Trim(q.GetExtraBytes(), "\x00")) > 0 { // some platforms pad what they hand out
		return p, fmt.Errorf("something other than padding after the quote")
	}
	cert := q.GetSignedData().GetCertificationData().GetQeReportCertificationData()
	p.body, p.signed, p.qe = q.GetTdQuoteBody(), q.GetSignedData(), cert.GetQeReport()
	chain, rest := readPEM(cert.GetPckCertificateChainData().GetPckCertChain(), 3)
	certs, err := certificates(chain)
	if err != nil || len(certs) != 3 || len(bytes.Trim(rest, "\x00")) > 0 {
		return p, fmt.Errorf("want a PCK certificate, its CA and the root: %d certificates, %v", len(certs), err)
	}
	p.pck, p.between, p.root = certs[0], certs[1], certs[2]
	p.ext, err = parsePCK(p.pck)
	return p, err
}

// readPEM reads up to most certificates in PEM's one form: lines of 64, and nothing
// between them. Nobody signs the text around a certificate.
func readPEM(text []byte, most int) (ders [][]byte, rest []byte) {
	for len(ders) < most {
		block, _ := pem.Decode(text)
		if block == nil {
			break
		}
		form := bytes.TrimSuffix(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}), []byte("\n"))
		behind, ok := bytes.CutPrefix(text, form)
		if !ok {
			break
		}
		ders, text = append(ders, block.Bytes), bytes.TrimPrefix(behind, []byte("\n"))
	}
	return ders, text
}

// checkTDXSizes follows the lengths that a quote of version 4 nests, before they
// reach the library: this release of it panics at some that do not fit
// (google/go-tdx-guest, pull request 104).
func checkTDXSizes(raw []byte) error {
	const (
		size = 0x278            // after header and body: of what is signed
		cert = size + 4 + 0x80  // after signature and key: type and size of the certification data
		auth = cert + 6 + 0x1C0 // after the quoting enclave's report and signature: size of its data
	)
	if len(raw) < auth+2 {
		return fmt.Errorf("%d bytes, too few for a quote", len(raw))
	}
	end := size + 4 + uint64(binary.LittleEndian.Uint32(raw[size:]))
	chain := auth + 2 + uint64(binary.LittleEndian.Uint16(raw[auth:])) // type and size of the certificate chain
	if end > uint64(len(raw)) || chain+6 > end {
		return fmt.Errorf("lengths that do not fit into its %d bytes", len(raw))
	}
	return nil
}

// checkSignatures follows the chain of keys: the PCK signs the quoting
// enclave's report, that names the attestation key, and that signs the quote.
func (p tdxPlatform) checkSignatures(raw []byte) *task.Error {
	cert := p.signed.GetCertificationData().GetQeReportCertificationData()
	report, err := abi.EnclaveReportToAbiBytes(p.qe)
	pck := ecdsaKey(p.pck, 256)
	if err != nil || pck == nil || !p256(pck, report, cert.GetQeReportSignature()) {
		return task.Refuse(BadSignature, "the PCK's signature over the quoting enclave's report does not hold")
	}
	key := p.signed.GetEcdsaAttestationKey()
	bound := sha256.Sum256(slices.Concat(key, cert.GetQeAuthData().GetData()))
	if hashIn(p.qe.GetReportData()) != bound {
		return task.Refuse(BadSignature, "the quoting enclave's report does not name the key that signed the quote")
	}
	attestation, err := ecdsa.ParseUncompressedPublicKey(pck.Curve, append([]byte{4}, key...))
	if err != nil || !p256(attestation, raw[:0x278], p.signed.GetSignature()) { // header and body
		return task.Refuse(BadSignature, "the attestation key's signature over the quote does not hold")
	}
	return nil
}

// p256 checks a signature of 64 bytes, r before s.
func p256(key *ecdsa.PublicKey, message, signature []byte) bool {
	der, err := abi.SignatureToDER(signature)
	digest := sha256.Sum256(message)
	return err == nil && ecdsa.VerifyASN1(key, digest[:], der)
}

// verify checks that the collateral is Intel's, is fresh, and revokes nothing.
func (k TDXCollateral) verify(p tdxPlatform, root *certificate, anchors []*certificate, now int64, ref Reference) (info tcbInfo, qe qeIdentity, refused *task.Error) {
	malformed := func(what string, err error) (tcbInfo, qeIdentity, *task.Error) {
		return info, qe, task.Refuse(QuoteMalformed, "collateral: %s: %v", what, err)
	}
	signer, err := readCertificate(k.Signer)
	if err != nil {
		return malformed("signer", err)
	}
	rootCRL, err := readRevocations(k.RootCRL)
	if err != nil {
		return malformed("root CRL", err)
	}
	pckCRL, err := readRevocations(k.PCKCRL)
	if err != nil {
		return malformed("PCK CRL", err)
	}
	if _, refused = trusted(signer, nil, anchors, now, ref); refused != nil {
		return info, qe, refused
	}
	key := ecdsaKey(signer, 256)
	if signer.subject.common != "Intel SGX TCB Signing" || key == nil {
		return info, qe, task.Refuse(UntrustedChain, "%s may not sign collateral", signer.subject)
	}
	if refused = signedJSON(k.TCBInfo, "tcbInfo", key, &info); refused != nil {
		return info, qe, refused
	}
	if refused = signedJSON(k.QEIdentity, "enclaveIdentity", key, &qe); refused != nil {
		return info, qe, refused
	}
	if !root.listed(rootCRL) || !p.between.listed(pckCRL) {
		return info, qe, task.Refuse(BadSignature, "a revocation list is not signed by the CA of the quote's chain")
	}
	age := int64(ref.TDX.MaxAgeSeconds)
	if age == 0 {
		age = collateralAge
	}
	for _, d := range []struct {
		what         string
		issued, next int64
	}{
		{"TCB info", info.IssueDate.Unix(), info.NextUpdate.Unix()}, {"QE identity", qe.IssueDate.Unix(), qe.NextUpdate.Unix()},
		{"PCK CRL", pckCRL.this, pckCRL.next}, {"root CRL", rootCRL.this, rootCRL.next},
	} {
		old := d.what != "root CRL" && d.issued < now-age // the root's is issued once a year
		if d.next < now || old || d.issued > now+collateralAhead {
			return info, qe, task.Refuse(StaleCollateral, "%s of %s, good until %s; it is judged at %s", d.what, utc(d.issued), utc(d.next), utc(now))
		}
	}
	for _, r := range []struct {
		list *revocations
		cert *certificate
	}{{rootCRL, p.between}, {rootCRL, signer}, {pckCRL, p.pck}} {
		if r.list.revokes(r.cert) {
			return info, qe, task.Refuse(Revoked, "Intel has revoked the certificate of %s", r.cert.subject)
		}
	}
	return info, qe, nil
}

// signedJSON reads {"name":value,"signature":"hex"}, byte for byte as Intel writes
// it: the signature is over the value's bytes as they stand. No parser of JSON
// sees what Intel has not signed.
func signedJSON(raw []byte, name string, key *ecdsa.PublicKey, into any) *task.Error {
	const before, after = `,"signature":"`, `"}`
	value, begins := bytes.CutPrefix(raw, []byte(`{"`+name+`":`))
	value, ends := bytes.CutSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte(after))
	at := len(value) - hex.EncodedLen(64)
	if !begins || !ends || at < len(before) || !bytes.HasSuffix(value[:at], []byte(before)) {
		return task.Refuse(QuoteMalformed, "collateral: %s: not as Intel writes it", name)
	}
	signature, err := hex.DecodeString(string(value[at:]))
	form := hex.EncodeToString(signature) == string(value[at:])
	value = value[:at-len(before)]
	if err != nil || !form || !p256(key, value, signature) {
		return task.Refuse(BadSignature, "the signature over the %s does not hold", name)
	}
	if err := json.Unmarshal(value, into); err != nil {
		return task.Refuse(QuoteMalformed, "collateral: %s: %v", name, err)
	}
	return nil
}

// checkTCB holds the platform's patch levels against Intel's word for them.
func (p tdxPlatform) checkTCB(info tcbInfo, qe qeIdentity, ref Reference) *task.Error {
	svn := p.body.GetTeeTcbSvn()
	mismatch := func(format string, args ...any) *task.Error { return task.Refuse(EndorsementMismatch, format, args...) }
	switch {
	case info.ID != "TDX" || info.Version != 3 || qe.ID != "TD_QE" || qe.Version != 2:
		return mismatch("collateral for %s %d and %s %d, want TDX 3 and TD_QE 2", info.ID, info.Version, qe.ID, qe.Version)
	case !bytes.Equal(info.FMSPC, p.ext.fmspc) || !bytes.Equal(info.PCEID, p.ext.pceID):
		return mismatch("collateral for platforms %x, the PCK is of %x", []byte(info.FMSPC), p.ext.fmspc)
	case !masked(p.qe.GetAttributes(), qe.AttributesMask, qe.Attributes) || !bytes.Equal(p.qe.GetMrSigner(), qe.Signer) ||
		p.qe.GetIsvProdId() != qe.Product || !maskedSelect(p.qe.GetMiscSelect(), qe):
		return mismatch("the quoting enclave is not Intel's")
	case info.Evaluation < ref.TDX.MinEvaluation:
		return task.Refuse(StaleTCB, "TCB evaluation %d is below %d, the chain's floor", info.Evaluation, ref.TDX.MinEvaluation)
	}
	module := info.Module
	statuses := []string{status(qe.Levels, func(l tcbLevel) bool { return p.qe.GetIsvSvn() >= l.TCB.ISVSVN })}
	if svn[1] > 0 { // a module of a later generation has an identity of its own
		at := slices.IndexFunc(info.Modules, func(m tdxModule) bool { return m.ID == fmt.Sprintf("TDX_%02x", svn[1]) })
		if at < 0 {
			return mismatch("the collateral knows no TDX module of version %d", svn[1])
		}
		module = info.Modules[at]
		statuses = append(statuses, status(module.Levels, func(l tcbLevel) bool { return uint32(svn[0]) >= l.TCB.ISVSVN }))
	}
	if !bytes.Equal(p.body.GetMrSignerSeam(), module.Signer) || !masked(p.body.GetSeamAttributes(), module.AttributesMask, module.Attributes) {
		return mismatch("the TDX module is not Intel's")
	}
	statuses = append(statuses, status(info.Levels, func(l tcbLevel) bool {
		return p.ext.pceSVN >= l.TCB.PCESVN && reached(p.ext.components[:], l.TCB.SGX, 0) && reached(svn, l.TCB.TDX, 2*min(1, int(svn[1])))
	}))
	for _, s := range statuses {
		switch {
		case s == levelRevoked:
			return task.Refuse(Revoked, "Intel has revoked this TCB level")
		case s != upToDate && !slices.Contains(ref.TDX.Statuses, s):
			return task.Refuse(StaleTCB, "Intel calls this TCB level %q", s)
		}
	}
	return nil
}

// status is that of the first level that is reached; they come best first.
func status(levels []tcbLevel, reached func(tcbLevel) bool) string {
	for _, l := range levels {
		if reached(l) {
			return l.Status
		}
	}
	return "unknown"
}

// reached says whether all components from one on are up to a level's.
func reached(have []byte, want []tcbComponent, from int) bool {
	if len(have) != len(want) {
		return false
	}
	for i := from; i < len(have); i++ {
		if have[i] < want[i].SVN {
			return false
		}
	}
	return true
}

func masked(have, mask, want []byte) bool {
	if len(have) != len(mask) || len(have) != len(want) {
		return false
	}
	for i := range have {
		if have[i]&mask[i] != want[i] {
			return false
		}
	}
	return true
}

func maskedSelect(have uint32, qe qeIdentity) bool {
	b := []byte{byte(have), byte(have >> 8), byte(have >> 16), byte(have >> 24)}
	return masked(b, qe.SelectMask, qe.Select)
}

// unsignTDX spoils the first byte of the quote's signature.
func unsignTDX(quote []byte) []byte {
	q, err := task.Decode[TDXQuote](quote, task.MaxEvidence)
	if err != nil || len(q.Quote) <= 0x27C {
		return nil
	}
	q.Quote = slices.Clone(q.Quote)
	q.Quote[0x27C] ^= 1
	return task.Encode(q)
}
