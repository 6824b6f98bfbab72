package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"

	"github.com/prytany/prytany/task"
)

// TDXQuote is the quote of [TDX] evidence: the quote of the quoting enclave,
// with its certificates in it, and Intel's collateral for the platform.
type TDXQuote struct {
	Quote      []byte        `cbor:"1,keyasint"` // version 4 or 5
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
	if refused = p.checkSignatures(); refused != nil {
		return c, refused
	}
	info, qe, refused := q.Collateral.verify(p, root, anchors, want.Now, ref)
	if refused != nil {
		return c, refused
	}
	if refused = p.checkTCB(info, qe, ref); refused != nil {
		return c, refused
	}
	if unsafe := p.report.unsafe(); unsafe != "" {
		return c, task.Refuse(UnsafePolicy, "%s", unsafe)
	}
	return Claims{
		Tier: task.TierConfidential, Chip: identity(p.ext.ppid),
		Measurement: measurement(TDX, p.report.measurements()...),
		ReportData:  hashIn(p.report.data()), TCB: info.Evaluation, Debug: p.report.attributes()[0] != 0, // bits 0 to 7: under debug
	}, nil
}

// checkSignatures follows the chain of keys: the PCK signs the quoting
// enclave's report, that names the attestation key, and that signs the quote.
func (p tdxPlatform) checkSignatures() *task.Error {
	pck := ecdsaKey(p.pck, 256)
	if pck == nil || !p256(pck, p.qe, p.qeSignature) {
		return task.Refuse(BadSignature, "the PCK's signature over the quoting enclave's report does not hold")
	}
	bound := sha256.Sum256(slices.Concat(p.key, p.qeOwn))
	if hashIn(p.qe.data()) != bound {
		return task.Refuse(BadSignature, "the quoting enclave's report does not name the key that signed the quote")
	}
	attestation, err := ecdsa.ParseUncompressedPublicKey(pck.Curve, append([]byte{4}, p.key...))
	if err != nil || !p256(attestation, p.signed, p.signature) {
		return task.Refuse(BadSignature, "the attestation key's signature over the quote does not hold")
	}
	return nil
}

// p256 checks a signature of 64 bytes, r before s.
func p256(key *ecdsa.PublicKey, message, signature []byte) bool {
	digest := sha256.Sum256(message)
	return len(signature) == ecdsaSignature &&
		ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
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
	svn := p.report.svn()
	mismatch := func(format string, args ...any) *task.Error { return task.Refuse(EndorsementMismatch, format, args...) }
	switch {
	case info.ID != "TDX" || info.Version != 3 || qe.ID != "TD_QE" || qe.Version != 2:
		return mismatch("collateral for %s %d and %s %d, want TDX 3 and TD_QE 2", info.ID, info.Version, qe.ID, qe.Version)
	case !bytes.Equal(info.FMSPC, p.ext.fmspc) || !bytes.Equal(info.PCEID, p.ext.pceID):
		return mismatch("collateral for platforms %x, the PCK is of %x", []byte(info.FMSPC), p.ext.fmspc)
	case !masked(p.qe.attributes(), qe.AttributesMask, qe.Attributes) || !bytes.Equal(p.qe.signer(), qe.Signer) ||
		p.qe.product() != qe.Product || !masked(p.qe.miscSelect(), qe.SelectMask, qe.Select):
		return mismatch("the quoting enclave is not Intel's")
	case info.Evaluation < ref.TDX.MinEvaluation:
		return task.Refuse(StaleTCB, "TCB evaluation %d is below %d, the chain's floor", info.Evaluation, ref.TDX.MinEvaluation)
	}
	module := info.Module
	statuses := []string{status(qe.Levels, func(l tcbLevel) bool { return p.qe.svn() >= l.TCB.ISVSVN })}
	if svn[1] > 0 { // a module of a later generation has an identity of its own
		at := slices.IndexFunc(info.Modules, func(m tdxModule) bool { return m.ID == fmt.Sprintf("TDX_%02x", svn[1]) })
		if at < 0 {
			return mismatch("the collateral knows no TDX module of version %d", svn[1])
		}
		module = info.Modules[at]
		statuses = append(statuses, status(module.Levels, func(l tcbLevel) bool { return uint32(svn[0]) >= l.TCB.ISVSVN }))
	}
	if !bytes.Equal(p.report.moduleSigner(), module.Signer) || !masked(p.report.moduleAttrs(), module.AttributesMask, module.Attributes) {
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

// unsignTDX spoils the first byte of the quote's signature.
func unsignTDX(quote []byte) []byte {
	q, err := task.Decode[TDXQuote](quote, task.MaxEvidence)
	if err != nil {
		return nil
	}
	p, err := parseTDX(q.Quote)
	if err != nil {
		return nil
	}
	q.Quote = slices.Clone(q.Quote)
	q.Quote[p.signatureAt] ^= 1
	return task.Encode(q)
}
