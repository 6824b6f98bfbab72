package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/prytany/prytany/task"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// TPMKeys are what a TPM is known by, in the TPM's own form (TPM 2.0 Library,
// part 2) and in certificates.
type TPMKeys struct {
	EK      []byte   `cbor:"1,keyasint"` // TPMT_PUBLIC of the endorsement key
	EKCert  []byte   `cbor:"2,keyasint"` // DER, by the TPM's maker
	EKChain [][]byte `cbor:"3,keyasint"` // DER, up to a root
	AK      []byte   `cbor:"4,keyasint"` // TPMT_PUBLIC of the key that quotes
}

// TPMQuote is the quote of [TPM] evidence.
type TPMQuote struct {
	Keys         TPMKeys       `cbor:"1,keyasint"`
	Endorsements []Endorsement `cbor:"2,keyasint"` // activators' word that AK and EK are of one TPM
	Log          []LogEntry    `cbor:"3,keyasint"` // what was extended into ProgramPCR since the boot
	PCRs         []task.Hash   `cbor:"4,keyasint"` // values of QuotedPCRs, in order
	Attest       []byte        `cbor:"5,keyasint"` // TPMS_ATTEST
	Signature    []byte        `cbor:"6,keyasint"` // TPMT_SIGNATURE
}

// Endorsement is an activator's signature over [Activation].
type Endorsement struct {
	Activator task.Key       `cbor:"1,keyasint"`
	Signature task.Signature `cbor:"2,keyasint"`
}

// LogEntry is one extension of ProgramPCR.
type LogEntry struct {
	What   string    `cbor:"1,keyasint"` // for people
	Digest task.Hash `cbor:"2,keyasint"` // what the register was extended with
}

// TPMReference is what a genesis says of TPMs. There are no roots that
// everybody knows: each maker has its own.
type TPMReference struct {
	Roots       [][]byte   `cbor:"1,keyasint" json:"roots"`            // DER, of the makers' CAs
	Activators  []task.Key `cbor:"2,keyasint" json:"activators"`       // may say that an AK is beside its EK (ADR 0017)
	Threshold   uint64     `cbor:"3,keyasint" json:"threshold,string"` // so many of them must
	PCRs        []PCRValue `cbor:"4,keyasint" json:"pcrs"`             // of the firmware; of a register named here one value must be had
	MinFirmware uint64     `cbor:"5,keyasint" json:"min_firmware,string"`
}

// PCRValue is an accepted value of a register.
type PCRValue struct {
	Index uint32    `cbor:"1,keyasint" json:"index"`
	Value task.Hash `cbor:"2,keyasint" json:"value"`
}

// ProgramPCR holds the program that was started as the enclave, and nothing
// else: it cannot be reset but by a reboot. The debug registers 16 and 23 can,
// so they are not looked at. Nothing else extends this one on a machine without
// system extensions (sysext); 14, for one, is the boot loader's.
const ProgramPCR = 13

// QuotedPCRs are the firmware's registers and the program's, all of the SHA-256
// bank.
var QuotedPCRs = []uint{0, 1, 2, 3, 4, 5, 6, 7, ProgramPCR}

// Bounds of a TPM's quote.
const (
	maxLog          = 64
	maxEndorsements = 16
)

// Activation is what an activator signs: the key of that name lives in the TPM
// with that endorsement key, which proved it (TPM2_ActivateCredential).
func Activation(chain string, ek task.Key, akName []byte) task.Hash {
	return task.H(task.TagActivation, []byte(chain), ek[:], akName)
}

// EKIdentity names a TPM: SHA-256 of its endorsement key's public area.
func EKIdentity(ek []byte) task.Key { return sha256.Sum256(ek) }

// KeyName is a key's name: it binds the public area, attributes and all.
func KeyName(public []byte) []byte {
	sum := sha256.Sum256(public)
	return append([]byte{0, 0x0b}, sum[:]...) // TPM_ALG_SHA256
}

// Extended is a register after one more extension.
func Extended(register, digest task.Hash) task.Hash {
	return sha256.Sum256(append(register[:], digest[:]...))
}

// Check holds a TPM's keys against each other and the endorsement key's
// certificate against the genesis's roots, at a time in Unix seconds. It
// returns the quoting key and the tier of what that TPM shows. It cannot see
// whether both keys are in one TPM: that takes an activation (ADR 0017).
func (k TPMKeys) Check(now int64, ref Reference) (ak crypto.PublicKey, tier task.Tier, refused *task.Error) {
	malformed := func(what string, err error) (crypto.PublicKey, task.Tier, *task.Error) {
		return nil, 0, task.Refuse(QuoteMalformed, "%s: %v", what, err)
	}
	akArea, ak, err := publicArea(k.AK)
	if err != nil {
		return malformed("AK", err)
	}
	ekArea, ek, err := publicArea(k.EK)
	if err != nil {
		return malformed("EK", err)
	}
	cert, model, err := readEKCert(k.EKCert)
	if err != nil {
		return malformed("EK certificate", err)
	}
	chain, err := certificates(k.EKChain)
	if err != nil {
		return malformed("EK certificate's chain", err)
	}
	tier = task.TierMeasured
	if model.Software() {
		tier = task.TierSimulated
		if !ref.AllowSimulated {
			return nil, 0, task.Refuse(SimulatedRefused,
				"the TPM is software, or no chip of its maker is known (%s); this chain's genesis does not allow simulated evidence", model)
		}
	}
	if !strongAK(akArea) || !strongEK(ekArea) {
		return nil, 0, task.Refuse(WeakKey, "the quoting key or the endorsement key may leave the TPM, or be used on what the TPM has not made")
	}
	anchors, refused := roots(ref.TPM.Roots)
	if refused != nil {
		return nil, 0, refused
	}
	if _, refused = trusted(cert, chain, anchors, now, ref); refused != nil {
		return nil, 0, refused
	}
	if !samePublic(cert.key, ek) {
		return nil, 0, task.Refuse(EndorsementMismatch, "the EK certificate is of another key than the endorsement key")
	}
	return ak, tier, nil
}

func verifyTPM(quote []byte, want Expected, ref Reference) (c Claims, refused *task.Error) {
	q, a, err := parseTPM(quote)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	ak, tier, refused := q.Keys.Check(want.Now, ref)
	if refused != nil {
		return c, refused
	}
	if n, need := endorsed(q, want.Context.Chain, ref.TPM.Activators), max(1, int(ref.TPM.Threshold)); n < need {
		return c, task.Refuse(NotActivated, "%d activators say that the quoting key is in this TPM, this chain wants %d", n, need)
	}
	if !tpmSigned(ak, q) {
		return c, task.Refuse(BadSignature, "the attestation key's signature over the quote does not hold")
	}
	info, err := a.Attested.Quote()
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	if refused = checkPCRs(q, info, ref.TPM.PCRs); refused != nil {
		return c, refused
	}
	if a.FirmwareVersion < ref.TPM.MinFirmware {
		return c, task.Refuse(StaleTCB, "TPM firmware %#x is below %#x, the chain's floor", a.FirmwareVersion, ref.TPM.MinFirmware)
	}
	return Claims{
		Tier: tier, Chip: EKIdentity(q.Keys.EK), Measurement: programOf(q.Log),
		ReportData: exactHash(a.ExtraData.Buffer), TCB: a.FirmwareVersion, Boots: bootsOf(a),
	}, nil
}

// programOf is the program's digest, if it is all that the log holds. More
// means that something else was started as an enclave since the boot.
func programOf(log []LogEntry) task.Hash {
	if len(log) == 1 {
		return log[0].Digest
	}
	var parts [][]byte
	for _, e := range log {
		parts = append(parts, e.Digest[:])
	}
	return measurement(TPM, parts...)
}

// parseTPM reads the quote, and what the TPM says in it.
func parseTPM(quote []byte) (q TPMQuote, a *tpm2.TPMSAttest, err error) {
	if q, err = task.Decode[TPMQuote](quote, task.MaxEvidence); err != nil {
		return q, nil, err
	}
	if len(q.Log) > maxLog || len(q.Endorsements) > maxEndorsements || len(q.PCRs) != len(QuotedPCRs) {
		return q, nil, fmt.Errorf("a log of %d entries, %d endorsements, %d registers: out of bounds", len(q.Log), len(q.Endorsements), len(q.PCRs))
	}
	if a, err = tpm2.Unmarshal[tpm2.TPMSAttest](q.Attest); err != nil {
		return q, nil, err
	}
	if a.Magic != tpm2.TPMGeneratedValue || a.Type != tpm2.TPMSTAttestQuote {
		return q, nil, fmt.Errorf("not a quote that a TPM has made")
	}
	return q, a, nil
}

// publicArea reads a key's public area: in its one form, named by SHA-256, and
// on its curve.
func publicArea(raw []byte) (*tpm2.TPMTPublic, crypto.PublicKey, error) {
	p, err := tpm2.Unmarshal[tpm2.TPMTPublic](raw)
	if err != nil {
		return nil, nil, err
	}
	if p.NameAlg != tpm2.TPMAlgSHA256 || !bytes.Equal(tpm2.Marshal(p), raw) {
		return nil, nil, fmt.Errorf("not in its one form, or not named by SHA-256")
	}
	key, err := tpm2.Pub(*p)
	if e, ok := key.(*ecdsa.PublicKey); ok && err == nil {
		_, err = e.ECDH()
	}
	return p, key, err
}

// strongAK says whether a key can sign nothing but what its TPM has made, and
// cannot leave it.
func strongAK(p *tpm2.TPMTPublic) bool {
	o := p.ObjectAttributes
	return o.FixedTPM && o.FixedParent && o.SensitiveDataOrigin && o.Restricted && o.SignEncrypt && !o.Decrypt
}

// strongEK says whether a key decrypts nothing but what its TPM protects.
func strongEK(p *tpm2.TPMTPublic) bool {
	o := p.ObjectAttributes
	return o.FixedTPM && o.FixedParent && o.SensitiveDataOrigin && o.Restricted && o.Decrypt && !o.SignEncrypt
}

// endorsed counts the activators, each once, whose word for the AK holds.
func endorsed(q TPMQuote, chain string, activators []task.Key) (n int) {
	h := Activation(chain, EKIdentity(q.Keys.EK), KeyName(q.Keys.AK))
	for _, a := range activators {
		if slices.ContainsFunc(q.Endorsements, func(e Endorsement) bool { return e.Activator == a && e.Signature.Verify(a, h) }) {
			n++
		}
	}
	return n
}

// tpmSigned checks the quote's signature, by ECDSA on P-256 or RSASSA, with
// SHA-256.
func tpmSigned(ak crypto.PublicKey, q TPMQuote) bool {
	s, err := tpm2.Unmarshal[tpm2.TPMTSignature](q.Signature)
	if err != nil || !bytes.Equal(tpm2.Marshal(s), q.Signature) {
		return false
	}
	digest := sha256.Sum256(q.Attest)
	switch key := ak.(type) {
	case *ecdsa.PublicKey:
		e, err := s.Signature.ECDSA()
		return err == nil && e.Hash == tpm2.TPMAlgSHA256 && key.Curve.Params().BitSize == 256 &&
			ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(e.SignatureR.Buffer), new(big.Int).SetBytes(e.SignatureS.Buffer))
	case *rsa.PublicKey:
		r, err := s.Signature.RSASSA()
		return err == nil && r.Hash == tpm2.TPMAlgSHA256 && goodRSA(key) &&
			rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], r.Sig.Buffer) == nil
	}
	return false
}

// checkPCRs holds the registers against the quote, the log against its
// register, and the firmware against the genesis.
func checkPCRs(q TPMQuote, info *tpm2.TPMSQuoteInfo, firmware []PCRValue) *task.Error {
	selected := make([]byte, 3)
	for _, i := range QuotedPCRs {
		selected[i/8] |= 1 << (i % 8)
	}
	s := info.PCRSelect.PCRSelections
	if len(s) != 1 || s[0].Hash != tpm2.TPMAlgSHA256 || !bytes.Equal(s[0].PCRSelect, selected) {
		return task.Refuse(WrongPCRs, "the quote is over other registers than %v of the SHA-256 bank", QuotedPCRs)
	}
	var all []byte
	for _, v := range q.PCRs {
		all = append(all, v[:]...)
	}
	if sum := sha256.Sum256(all); !bytes.Equal(sum[:], info.PCRDigest.Buffer) {
		return task.Refuse(WrongPCRs, "the registers' values are not what was quoted")
	}
	var program task.Hash
	for _, e := range q.Log {
		program = Extended(program, e.Digest)
	}
	if program != q.PCRs[len(q.PCRs)-1] {
		return task.Refuse(LogMismatch, "the log does not lead to register %d as it was quoted", ProgramPCR)
	}
	for i, have := range q.PCRs {
		named, ok := false, false
		for _, v := range firmware {
			if uint(v.Index) == QuotedPCRs[i] {
				named, ok = true, ok || v.Value == have
			}
		}
		if named && !ok {
			return task.Refuse(WrongFirmware, "register %d is %s, which is no reference value", QuotedPCRs[i], have.Short())
		}
	}
	return nil
}

// exactHash is qualifying data of 32 bytes; anything else is bound to nothing.
func exactHash(b []byte) (h task.Hash) {
	if len(b) == len(h) {
		copy(h[:], b)
	}
	return h
}

func bootsOf(a *tpm2.TPMSAttest) uint64 {
	return uint64(a.ClockInfo.ResetCount)<<32 | uint64(a.ClockInfo.RestartCount)
}

// Boots counts the machine's starts up to this evidence; nil if its kind counts
// none, or the evidence cannot be read.
func (e Evidence) Boots() *uint64 {
	if e.Kind != TPM {
		return nil
	}
	_, a, err := parseTPM(e.Quote)
	if err != nil {
		return nil
	}
	n := bootsOf(a)
	return &n
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// TPMModel is what an EK certificate says of its TPM (TCG EK Credential
// Profile, §3.2.9).
type TPMModel struct {
	Manufacturer string // as "id:" and eight hex digits
	Model        string
	Version      string
}

func (m TPMModel) String() string {
	return fmt.Sprintf("model %q of manufacturer %q", m.Model, m.Manufacturer)
}

// Software says whether it may be a program that behaves like a TPM: its maker is not
// one that makes chips, or its model is named as programs are. It is one rule for the
// TPMs of swtpm, of hypervisors and of clouds (Google, Microsoft, VMware, Amazon): who
// runs such a program can read its keys. It goes by the makers of chips, since a list of
// all programs would always lack one.
func (m TPMModel) Software() bool {
	maker := strings.ToUpper(strings.TrimPrefix(m.Manufacturer, "id:"))
	return !slices.Contains(chipMakers, maker) || namesSoftware(m.Model)
}

// chipMakers are those in the TCG's registry of vendors (version 1.07) that make TPMs
// as chips or as firmware in one. Microsoft is not among them: its TPMs are programs
// for the most part, and by its certificates a Pluton cannot be told from those. Nor
// are Google and IBM, for the same reason.
var chipMakers = []string{
	"414D4400", // AMD
	"41544D4C", // Atmel
	"4252434D", // Broadcom
	"4353434F", // Cisco
	"464C5953", // Flyslice
	"48495349", // Huawei
	"49465800", // Infineon
	"494E5443", // Intel
	"4E534D20", // National Semiconductor
	"4E534700", // NSING
	"4E544300", // Nuvoton
	"4E545A00", // Nationz
	"51434F4D", // Qualcomm
	"524F4343", // Rockchip
	"5345414C", // WISeKey
	"534D5343", // SMSC
	"534D534E", // Samsung
	"534E5300", // Sinosun
	"53544D20", // STMicroelectronics
	"54584E00", // Texas Instruments
	"57454300", // Winbond
}

// namesSoftware says whether a name is one that programs have, or their CAs.
func namesSoftware(name string) bool {
	name = strings.ToLower(name)
	words := []string{"swtpm", "vtpm", "virtual", "simulat", "emulat", "software"}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(name, word) })
}

// StoredCertificate takes a certificate out of what a TPM holds at the place for it. Some
// makers put the TCG's header before it (PC Client Implementation 1.21, §7.3.2: a tag, a
// type, a size, and a tag again), and some fill the place up behind it.
func StoredCertificate(held []byte) ([]byte, error) {
	if size, ok := bytes.CutPrefix(held, []byte{0x10, 0x01, 0}); ok && len(size) >= 2 {
		n := int(size[0])<<8 | int(size[1])
		if n > len(size)-2 {
			return nil, fmt.Errorf("a header for %d bytes, and %d behind it", n, len(size)-2)
		}
		held = bytes.TrimPrefix(size[2:2+n], []byte{0x10, 0x02})
	}
	var der cryptobyte.String
	s := cryptobyte.String(held)
	if !s.ReadASN1Element(&der, asn1.SEQUENCE) {
		return nil, errors.New("no certificate begins there")
	}
	_, _, err := readEKCert(der)
	return der, err
}

var (
	oidTPMManufacturer = oidOf(2, 23, 133, 2, 1)
	oidTPMModel        = oidOf(2, 23, 133, 2, 2)
	oidTPMVersion      = oidOf(2, 23, 133, 2, 3)
)

// readEKCert reads an EK certificate, and in its alternative name, which is
// critical with some makers, the TPM's model.
func readEKCert(der []byte) (c *certificate, m TPMModel, err error) {
	if c, err = readAnyCertificate(der); err != nil {
		return nil, m, err
	}
	if i := slices.IndexFunc(c.extensions, func(x extension) bool { return x.id == oidSAN }); i >= 0 {
		if m, err = readSAN(c.extensions[i].value); err != nil {
			return nil, m, err
		}
	}
	if m.Manufacturer == "" || m.Model == "" {
		return nil, m, errors.New("it names no manufacturer and model")
	}
	return c, m, nil
}

// readSAN reads the TPM's model from the directory names that the names must
// hold, in which each of its fields is once.
func readSAN(value []byte) (m TPMModel, err error) {
	var names cryptobyte.String
	s := cryptobyte.String(value)
	ok := s.ReadASN1(&names, asn1.SEQUENCE)
	for ok && !names.Empty() {
		var one cryptobyte.String
		var tag asn1.Tag
		if ok = names.ReadAnyASN1(&one, &tag); !ok || tag != asn1.Tag(4).ContextSpecific().Constructed() {
			continue
		}
		all, err := readAttributes(one)
		if err != nil {
			return m, fmt.Errorf("its directory name: %w", err)
		}
		for _, a := range all {
			field := map[oid]*string{oidTPMManufacturer: &m.Manufacturer, oidTPMModel: &m.Model, oidTPMVersion: &m.Version}[a.id]
			switch {
			case field == nil:
			case *field != "":
				return m, errors.New("it says something about its TPM twice")
			default:
				*field = a.text
			}
		}
	}
	if !ok {
		return m, errors.New("its alternative name cannot be read")
	}
	return m, nil
}
