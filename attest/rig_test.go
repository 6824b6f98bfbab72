package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-tpm/tpm2"
	"github.com/prytany/prytany/task"
)

// The hardware's part, played by software under CAs that the test makes: the
// same shapes, so that what no real key would sign reaches its check.

// rig is a platform of one kind, honest evidence of it, and what a verifier
// expects. A row of the table changes the platform before it quotes, or the
// evidence after.
type rig struct {
	t       testing.TB
	kind    Kind
	quoter  Quoter
	snp     *snpRig
	tdx     *tdxRig
	nitro   *nitroRig
	tpm     *tpmRig
	keys    Keys
	nonce   task.Hash
	state   task.Hash
	runtime task.Hash // of containers
	ctx     Context   // what is quoted
	ev      Evidence
	want    Expected
	policy  task.Policy
	ref     Reference
}

// rigTime is when all of it happens, in Unix seconds.
const rigTime = 1_780_000_000 // May 2026

func newRig(t testing.TB, k Kind) *rig {
	r := &rig{t: t, kind: k, keys: Keys{Seal: SealKey([]byte("key")), Sign: task.Key{1}}, nonce: task.Hash{5}, state: EmptyState}
	r.ctx = Context{Chain: "c", Task: task.TaskID{1}, Attempt: 1, View: 2, Node: task.NodeID{3}, Round: task.PreRun, Function: task.FunctionID{4}}
	r.policy = task.Policy{MinTier: task.TierMeasured}
	r.ref = Reference{Kinds: []Kind{k}}
	r.want = Expected{Context: r.ctx, Kind: string(k), Nonce: task.Hash{5}, State: EmptyState, Now: rigTime}
	switch k {
	case Simulated:
		r.ref, r.policy.MinTier = Reference{AllowSimulated: true}, task.TierSimulated
		r.quoter = Platform{Chip: chip(1), Measurement: task.Hash{7}}.Quoter()
	case SEVSNP:
		r.snp = newSNPRig(r)
		r.quoter = r.snp
	case TDX:
		r.tdx = newTDXRig(r)
		r.quoter = r.tdx
	case Nitro:
		r.nitro = newNitroRig(r)
		r.quoter = r.nitro
	case TPM:
		r.tpm = newTPMRig(r)
		r.quoter = r.tpm
	}
	return r.quote().learn()
}

// quote has the platform quote, as it is now.
func (r *rig) quote() *rig {
	ev, err := Make(r.quoter, r.ctx, r.keys, r.nonce, r.state, r.runtime)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ev = ev
	return r
}

// learn registers the chip and accepts the measurement: both are honest.
func (r *rig) learn() *rig {
	c, err := r.ev.Claims(r.want, r.ref)
	if err != nil {
		r.t.Fatalf("%s: honest evidence: %v", r.kind, err)
	}
	r.want.Chip, r.ref.Measurements = c.Chip, []task.Hash{c.Measurement}
	return r
}

func (r *rig) appraise() Appraisal { return Appraise(r.ev, r.want, r.policy, r.ref) }

// authority is a key with a certificate.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

var serial int64

// fixedKey is the same in every process, so that the workers of a fuzz test
// know each other's roots.
func fixedKey(curve elliptic.Curve, name string) *ecdsa.PrivateKey {
	serial++
	sum := sha512.Sum384(append([]byte(name), byte(serial), byte(serial>>8)))
	scalar := sum[:curve.Params().BitSize/8]
	scalar[0] = 0 // below the order
	key, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		panic(err)
	}
	return key
}

// issue makes a certificate; by nobody, it signs itself.
func (a *authority) issue(curve elliptic.Curve, name string, ca bool, more ...pkix.Extension) *authority {
	key := fixedKey(curve, name)
	return a.issueFor(key.Public(), key, name, ca, more...)
}

func (a *authority) issueFor(public crypto.PublicKey, key *ecdsa.PrivateKey, name string, ca bool, more ...pkix.Extension) *authority {
	serial++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, ExtraExtensions: more, IsCA: ca, BasicConstraintsValid: ca,
		NotBefore: time.Unix(rigTime-1000, 0), NotAfter: time.Unix(rigTime+5*365*24*3600, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		id := sha256.Sum256([]byte(name))
		c.SubjectKeyId = id[:20]
	}
	by, parent := key, c
	if a != nil {
		by, parent = a.key, a.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, by)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{key, cert}
}

func (a *authority) crl(revoked ...*x509.Certificate) []byte {
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(rigTime-3600, 0), NextUpdate: time.Unix(rigTime+7*24*3600, 0)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Unix(rigTime-7200, 0)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		panic(err)
	}
	return der
}

func sign(key *ecdsa.PrivateKey, digest []byte) (r, s *big.Int) {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		panic(err)
	}
	return r, s
}

// raw is a signature of 64 or 96 bytes.
func raw(key *ecdsa.PrivateKey, digest []byte) []byte {
	n := key.Params().BitSize / 8
	out := make([]byte, 2*n)
	r, s := sign(key, digest)
	r.FillBytes(out[:n])
	s.FillBytes(out[n:])
	return out
}

// snpRig is a Genoa processor.
type snpRig struct {
	ark, ask, vcek *authority
	product        string
	report         []byte // without report data and signature
	tcb            uint64 // of the VCEK
	chip           [64]byte
}

func newSNPRig(r *rig) *snpRig {
	s := &snpRig{product: "Genoa", tcb: 0x4817000000000a03, chip: [64]byte{1, 2, 3}, report: make([]byte, abi.ReportSize)}
	b := s.report
	binary.LittleEndian.PutUint32(b[0:], 3)         // version
	binary.LittleEndian.PutUint64(b[8:], 0x30000)   // policy: SMT, reserved bit
	binary.LittleEndian.PutUint32(b[0x34:], 1)      // ECDSA on P-384
	binary.LittleEndian.PutUint64(b[0x180:], s.tcb) // reported TCB
	copy(b[0x90:], slices.Repeat([]byte{0xaa}, 48)) // launch digest
	copy(b[0x1A0:], s.chip[:])                      // chip
	b[0x188], b[0x189], b[0x18A] = 0x19, 0x11, 0x01 // family, model, stepping
	s.issue(r)
	return s
}

// issue makes the chain anew, for what the chip is now.
func (s *snpRig) issue(r *rig) {
	s.ark = (*authority)(nil).issue(elliptic.P384(), "ARK-"+s.product, true)
	s.ask = s.ark.issue(elliptic.P384(), "SEV-"+s.product, true)
	s.vcek = s.ask.issue(elliptic.P384(), "SEV-VCEK", false, s.extensions()...)
	r.ref.SNP.Roots = [][]byte{s.ark.cert.Raw}
}

func (s *snpRig) extensions() []pkix.Extension {
	byteOf := func(id int, at int) pkix.Extension {
		der, _ := asn1.Marshal(int(byte(s.tcb >> (8 * at))))
		return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 3, id}, Value: der}
	}
	chip := pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1, 4}, Value: s.chip[:]}
	if s.product == "Turin" {
		chip.Value = s.chip[:8]
		return []pkix.Extension{byteOf(9, 0), byteOf(1, 1), byteOf(2, 2), byteOf(3, 3), byteOf(8, 7), chip}
	}
	return []pkix.Extension{byteOf(1, 0), byteOf(2, 1), byteOf(4, 2), byteOf(5, 3), byteOf(6, 4), byteOf(7, 5), byteOf(3, 6), byteOf(8, 7), chip}
}

func (*snpRig) Kind() Kind { return SEVSNP }

func (s *snpRig) Quote(data task.Hash) ([]byte, error) {
	b := slices.Clone(s.report)
	copy(b[0x50:], data[:])
	digest := sha512.Sum384(b[:0x2A0])
	R, S := sign(s.vcek.key, digest[:])
	if err := abi.SetSignature(R, S, b); err != nil {
		return nil, err
	}
	return task.Encode(SNPQuote{Report: b, VCEK: s.vcek.cert.Raw, ASK: s.ask.cert.Raw}), nil
}

// nitroRig is a hypervisor.
type nitroRig struct {
	root, zone, leaf *authority
	doc              nitroDocument
	protected        []byte
	longData         bool
	more             []*authority // in the bundle too
}

func newNitroRig(r *rig) *nitroRig {
	n := &nitroRig{protected: es384}
	n.root = (*authority)(nil).issue(elliptic.P384(), "aws.nitro-enclaves", true)
	n.zone = n.root.issue(elliptic.P384(), "zone", true)
	n.leaf = n.zone.issue(elliptic.P384(), "i-0123-enc4567", false)
	r.ref.Nitro.Roots = [][]byte{n.root.cert.Raw}
	n.doc = nitroDocument{ModuleID: "i-0123-enc4567", Digest: "SHA384", Timestamp: (rigTime + 5) * 1000, PCRs: map[uint64][]byte{}}
	for i := range uint64(3) {
		n.doc.PCRs[i] = slices.Repeat([]byte{byte(i) + 1}, 48)
	}
	return n
}

func (*nitroRig) Kind() Kind { return Nitro }

func (n *nitroRig) Quote(data task.Hash) ([]byte, error) {
	d := n.doc
	d.Certificate, d.Bundle, d.UserData = n.leaf.cert.Raw, [][]byte{n.root.cert.Raw, n.zone.cert.Raw}, data[:]
	for _, a := range n.more {
		d.Bundle = append(d.Bundle, a.cert.Raw)
	}
	if n.longData {
		d.UserData = append(slices.Clone(d.UserData), 1)
	}
	payload, err := cbor.Marshal(d)
	if err != nil {
		return nil, err
	}
	s := coseSign1{Protected: n.protected, Unprotected: cbor.RawMessage{0xa0}, Payload: payload}
	s.Signature = raw(n.leaf.key, sigDigest(s))
	doc, err := cbor.Marshal(s)
	return task.Encode(NitroQuote{Document: doc}), err
}

// tdxRig is a platform with Intel's services beside it. What is not of the
// test's making is as in the recorded quote: the quoting enclave, the PCK's
// extension, the forms of the collateral.
type tdxRig struct {
	root, platform, pck, tcbSigner *authority
	attestation                    *ecdsa.PrivateKey
	header, body, qe               []byte
	descriptor                     []byte // of the body, in version 5
	info                           map[string]any
	identity                       map[string]any
	revoked                        []*x509.Certificate
	crlBy                          *authority
}

func newTDXRig(r *rig) *tdxRig {
	recorded := vector(r.t, "tdx-2023-quote.bin")
	p, err := parseTDX(recorded)
	if err != nil {
		r.t.Fatal(err)
	}
	x := &tdxRig{header: slices.Clone(recorded[:0x30]), body: slices.Clone(recorded[0x30:0x278])}
	// size, signature, key, type and size of the certification data
	at := 0x278 + 4 + 64 + 64 + 6
	x.qe = slices.Clone(recorded[at : at+384])
	x.body[120] = 0 // attributes: not under debug
	var asRecorded []pkix.Extension
	pck, err := x509.ParseCertificate(p.pck.raw)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range pck.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 35}) { // who signed it
			asRecorded = append(asRecorded, e)
		}
	}
	p256 := elliptic.P256()
	x.root = (*authority)(nil).issue(p256, "Intel SGX Root CA", true)
	x.platform = x.root.issue(p256, "Intel SGX PCK Platform CA", true)
	x.pck = x.platform.issue(p256, "Intel SGX PCK Certificate", false, asRecorded...)
	x.tcbSigner = x.root.issue(p256, "Intel SGX TCB Signing", false)
	x.attestation = fixedKey(p256, "attestation")
	x.crlBy = x.platform
	r.ref.TDX.Roots = [][]byte{x.root.cert.Raw}
	x.info, x.identity = body(r.t, "tdx-2023-tcb-info.json", "tcbInfo"), body(r.t, "tdx-2023-qe-identity.json", "enclaveIdentity")
	for _, m := range []map[string]any{x.info, x.identity} {
		m["issueDate"], m["nextUpdate"] = stamp(-3600), stamp(20*24*3600)
	}
	// The machine's microcode has been updated since: a level that it reaches.
	level := x.info["tcbLevels"].([]any)[0].(map[string]any)["tcb"].(map[string]any)
	for i, svn := range p.ext.components {
		level["sgxtcbcomponents"].([]any)[i].(map[string]any)["svn"] = int(svn)
	}
	for i, svn := range p.report.svn() {
		level["tdxtcbcomponents"].([]any)[i].(map[string]any)["svn"] = int(svn)
	}
	return x
}

// version5 makes the platform quote in version 5, a TD of TDX 1.0 or 1.5.
func (x *tdxRig) version5(td15 bool) {
	x.header, x.descriptor = slices.Clone(x.header), []byte{bodyTD10, 0, 0x48, 2, 0, 0}
	x.header[0] = 5
	if td15 {
		x.descriptor = []byte{bodyTD15, 0, 0x88, 2, 0, 0}
		x.body = slices.Concat(x.body, x.body[:16], make([]byte, 48))
	}
}

func stamp(in int64) string { return time.Unix(rigTime+in, 0).UTC().Format(time.RFC3339) }

func body(t testing.TB, file, name string) (m map[string]any) {
	var all map[string]map[string]any
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(vector(t, file), &parts); err != nil {
		t.Fatal(err)
	}
	all = map[string]map[string]any{}
	if err := json.Unmarshal(parts[name], &m); err != nil {
		t.Fatal(err)
	}
	all[name] = m
	return m
}

// signedBody is collateral, by Intel's signer or another.
func signedBody(by *authority, name string, m map[string]any) []byte {
	value, _ := json.Marshal(m)
	digest := sha256.Sum256(value)
	return []byte(fmt.Sprintf(`{"%s":%s,"signature":"%x"}`, name, value, raw(by.key, digest[:])))
}

func (*tdxRig) Kind() Kind { return TDX }

func (x *tdxRig) Quote(data task.Hash) ([]byte, error) {
	b := slices.Clone(x.body)
	copy(b[520:584], make([]byte, 64))
	copy(b[520:], data[:])
	signed := slices.Concat(x.header, x.descriptor, b)
	key := point(&x.attestation.PublicKey)
	auth := make([]byte, 32)
	qe := slices.Clone(x.qe)
	bound := sha256.Sum256(append(slices.Clone(key), auth...))
	copy(qe[320:], append(bound[:], make([]byte, 32)...))
	qeDigest, digest := sha256.Sum256(qe), sha256.Sum256(signed)
	var chain []byte
	for _, a := range []*authority{x.pck, x.platform, x.root} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	u16 := func(n int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(n)) }
	u32 := func(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
	cert := slices.Concat(qe, raw(x.pck.key, qeDigest[:]), u16(len(auth)), auth, u16(5), u32(len(chain)), chain)
	data2 := slices.Concat(raw(x.attestation, digest[:]), key, u16(6), u32(len(cert)), cert)
	return task.Encode(TDXQuote{Quote: slices.Concat(signed, u32(len(data2)), data2), Collateral: TDXCollateral{
		TCBInfo: signedBody(x.tcbSigner, "tcbInfo", x.info), QEIdentity: signedBody(x.tcbSigner, "enclaveIdentity", x.identity),
		Signer: x.tcbSigner.cert.Raw, RootCRL: x.root.crl(x.revoked...), PCKCRL: x.crlBy.crl(x.revoked...),
	}}), nil
}

// tpmRig is a TPM of a maker.
type tpmRig struct {
	maker, ek  *authority
	ak         *ecdsa.PrivateKey
	activators []ed25519.PrivateKey
	akArea     tpm2.TPMTPublic
	ekArea     tpm2.TPMTPublic
	model      TPMModel
	attest     tpm2.TPMSAttest
	pcrs       []task.Hash
	log        []LogEntry
	selection  []byte
	chain      string // for which the activators speak
	speak      int    // how many of them do
}

func newTPMRig(r *rig) *tpmRig {
	p := &tpmRig{chain: "c", speak: 2, model: TPMModel{"id:494E5443", "INTEL", "id:00000001"}, selection: []byte{0xff, 0x20, 0x00}}
	p.maker = (*authority)(nil).issue(elliptic.P384(), "a TPM maker's CA", true)
	p.ak = fixedKey(elliptic.P256(), "ak")
	p.akArea = area(&p.ak.PublicKey, tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, Restricted: true, SignEncrypt: true})
	ek := fixedKey(elliptic.P256(), "ek")
	p.ekArea = area(&ek.PublicKey, tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, AdminWithPolicy: true, Restricted: true, Decrypt: true})
	p.certify(ek)
	for i := range byte(3) {
		p.activators = append(p.activators, chip(i+20))
		r.ref.TPM.Activators = append(r.ref.TPM.Activators, task.PublicKey(chip(i+20)))
	}
	r.ref.TPM.Threshold, r.ref.TPM.Roots = 2, [][]byte{p.maker.cert.Raw}
	p.attest = tpm2.TPMSAttest{
		Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote, FirmwareVersion: 7,
		ClockInfo: tpm2.TPMSClockInfo{ResetCount: 3, RestartCount: 1},
	}
	program := task.Hash{77}
	p.log = []LogEntry{{What: "enclave", Digest: program}}
	p.pcrs = make([]task.Hash, len(QuotedPCRs))
	p.pcrs[0], p.pcrs[len(p.pcrs)-1] = task.Hash{9}, Extended(task.Hash{}, program)
	r.ref.TPM.PCRs = []PCRValue{{0, task.Hash{9}}, {0, task.Hash{10}}}
	return p
}

// certify makes the maker's certificate for an endorsement key.
func (p *tpmRig) certify(ek *ecdsa.PrivateKey) {
	rdn := pkix.RelativeDistinguishedNameSET{
		{Type: tcg(1), Value: p.model.Manufacturer}, {Type: tcg(2), Value: p.model.Model}, {Type: tcg(3), Value: p.model.Version},
	}
	name, _ := asn1.Marshal(pkix.RDNSequence{rdn})
	san, _ := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	p.ek = p.maker.issueFor(&ek.PublicKey, ek, "", false, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: san})
}

// tcg names what an EK certificate says of its TPM.
func tcg(n int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 2, n} }

// point is a key on P-256 as its two coordinates.
func point(key *ecdsa.PublicKey) []byte {
	raw, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	return raw[1:] // uncompressed, behind a 4
}

func area(key *ecdsa.PublicKey, attributes tpm2.TPMAObject) tpm2.TPMTPublic {
	xy := point(key)
	return tpm2.TPMTPublic{
		Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: attributes,
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			CurveID: tpm2.TPMECCNistP256, Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgNull}, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: xy[:32]}, Y: tpm2.TPM2BECCParameter{Buffer: xy[32:]},
		}),
	}
}

func (*tpmRig) Kind() Kind { return TPM }

func (p *tpmRig) Quote(data task.Hash) ([]byte, error) {
	a := p.attest
	a.ExtraData = tpm2.TPM2BData{Buffer: data[:]}
	var all []byte
	for _, v := range p.pcrs {
		all = append(all, v[:]...)
	}
	sum := sha256.Sum256(all)
	a.Attested = tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
		PCRSelect: tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: p.selection}}},
		PCRDigest: tpm2.TPM2BDigest{Buffer: sum[:]},
	})
	q := TPMQuote{
		Keys: TPMKeys{EK: tpm2.Marshal(p.ekArea), EKCert: p.ek.cert.Raw, AK: tpm2.Marshal(p.akArea)},
		Log:  p.log, PCRs: p.pcrs, Attest: tpm2.Marshal(a),
	}
	h := Activation(p.chain, EKIdentity(q.Keys.EK), KeyName(q.Keys.AK))
	for _, k := range p.activators[:p.speak] {
		q.Endorsements = append(q.Endorsements, Endorsement{task.PublicKey(k), task.Sign(k, h)})
	}
	digest := sha256.Sum256(q.Attest)
	R, S := sign(p.ak, digest[:])
	q.Signature = tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash: tpm2.TPMAlgSHA256, SignatureR: tpm2.TPM2BECCParameter{Buffer: R.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: S.Bytes()},
	})})
	return task.Encode(q), nil
}
