package attest

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/google/go-sev-guest/abi"
	"github.com/prytany/prytany/task"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// SNPQuote is the quote of [SEVSNP] evidence: the report of the secure
// processor, and the chip's certificate with the one that signed it.
type SNPQuote struct {
	Report []byte `cbor:"1,keyasint"` // ATTESTATION_REPORT, 1,184 bytes
	VCEK   []byte `cbor:"2,keyasint"` // DER
	ASK    []byte `cbor:"3,keyasint"` // DER
}

// SNPReference is what a genesis says of SEV-SNP.
type SNPReference struct {
	Roots    [][]byte   `cbor:"1,keyasint" json:"roots"`    // DER; none: AMD's
	Products []string   `cbor:"2,keyasint" json:"products"` // product lines; none: Genoa and Turin
	MinTCB   []SNPFloor `cbor:"3,keyasint" json:"min_tcb"`
}

// reached says whether a TCB is up to a floor of its product line: to one of
// them if there are several, and else which is missed.
func (r SNPReference) reached(product string, tcb uint64) (missed uint64, ok bool) {
	ok = true
	for _, f := range r.MinTCB {
		switch {
		case f.Product != product:
		case bytewise(tcb, f.TCB):
			return 0, true
		default:
			missed, ok = f.TCB, false
		}
	}
	return missed, ok
}

// SNPFloor is the least TCB of a product line, byte by byte.
type SNPFloor struct {
	Product string `cbor:"1,keyasint" json:"product"`
	TCB     uint64 `cbor:"2,keyasint" json:"tcb,string"`
}

// defaultProducts leaves out Milan: its keys have been extracted (ADR 0016).
var defaultProducts = []string{"Genoa", "Turin"}

func (r SNPReference) products() []string {
	if len(r.Products) == 0 {
		return defaultProducts
	}
	return r.Products
}

// verifySNP checks an attestation report (AMD 56860, table 23) and the chain of
// its VCEK (AMD 57230).
func verifySNP(quote []byte, want Expected, ref Reference) (c Claims, refused *task.Error) {
	q, err := task.Decode[SNPQuote](quote, task.MaxEvidence)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	certs, err := certificates([][]byte{q.VCEK, q.ASK})
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "VCEK or ASK: %v", err)
	}
	if len(q.Report) != abi.ReportSize {
		return c, task.Refuse(QuoteMalformed, "a report of %d bytes, want %d", len(q.Report), abi.ReportSize)
	}
	r, err := abi.ReportToProto(q.Report)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "report: %v", err)
	}
	anchors, refused := roots(ref.SNP.Roots, arkMilan, arkGenoa, arkTurin)
	if refused != nil {
		return c, refused
	}
	root, refused := trusted(certs[0], certs[1:], anchors, want.Now, ref)
	if refused != nil {
		return c, refused
	}
	if refused := snpSigned(q.Report, certs[0]); refused != nil {
		return c, refused
	}
	product := strings.TrimPrefix(root.subject.common, "ARK-")
	e, err := parseVCEK(certs[0], product)
	if err != nil {
		return c, task.Refuse(EndorsementMismatch, "VCEK: %v", err)
	}
	allowed := ref.SNP.products()
	policy, _ := abi.ParseSnpPolicy(r.Policy) // the report was parsed with it
	signer, _ := abi.ParseSignerInfo(r.SignerInfo)
	switch {
	case !slices.Contains(allowed, product):
		return c, task.Refuse(WrongProduct, "a %s processor; this chain accepts %s", product, strings.Join(allowed, ", "))
	case signer.SigningKey != abi.VcekReportSigner || signer.MaskChipKey:
		return c, task.Refuse(EndorsementMismatch, "the report is signed by a key that names no chip")
	case e.chip != [64]byte(r.ChipId):
		return c, task.Refuse(EndorsementMismatch, "the report is of chip %x, the VCEK of chip %x", r.ChipId[:8], e.chip[:8])
	case e.tcb != r.ReportedTcb:
		return c, task.Refuse(EndorsementMismatch, "the report's TCB is %#016x, the VCEK is of %#016x", r.ReportedTcb, e.tcb)
	case policy.MigrateMA:
		return c, task.Refuse(UnsafePolicy, "the guest's policy lets a migration agent move it")
	case r.Vmpl != 0:
		return c, task.Refuse(UnsafePolicy, "the report comes from privilege level %d, not from the most privileged one", r.Vmpl)
	}
	if floor, ok := ref.SNP.reached(product, r.ReportedTcb); !ok {
		return c, task.Refuse(StaleTCB, "TCB %#016x is below %#016x, the chain's floor for %s", r.ReportedTcb, floor, product)
	}
	return Claims{
		Product: product, Tier: task.TierConfidential, Chip: identity(r.ChipId), Measurement: measurement(SEVSNP, r.Measurement),
		ReportData: hashIn(r.ReportData), TCB: r.ReportedTcb, Debug: policy.Debug,
	}, nil
}

// snpSigned checks the report's signature: ECDSA on P-384 with SHA-384.
func snpSigned(report []byte, vcek *certificate) *task.Error {
	key := ecdsaKey(vcek, 384)
	if key == nil || abi.SignatureAlgo(report) != abi.SignEcdsaP384Sha384 {
		return task.Refuse(BadSignature, "neither report nor VCEK may use another algorithm than ECDSA on P-384")
	}
	signature, err := abi.ReportToSignatureDER(report)
	digest := sha512.Sum384(abi.SignedComponent(report))
	if err != nil || !ecdsa.VerifyASN1(key, digest[:], signature) {
		return task.Refuse(BadSignature, "the VCEK's signature over the report does not hold")
	}
	return nil
}

// unsignSNP spoils the first byte of the signature.
func unsignSNP(quote []byte) []byte {
	q, err := task.Decode[SNPQuote](quote, task.MaxEvidence)
	if err != nil {
		return nil
	}
	q.Report = slices.Clone(q.Report)
	q.Report[0x2A0] ^= 1
	return task.Encode(q)
}

// bytewise compares TCB versions, each byte of which is a component of its own.
func bytewise(tcb, floor uint64) bool {
	for i := 0; i < 64; i += 8 {
		if byte(tcb>>i) < byte(floor>>i) {
			return false
		}
	}
	return true
}

// vcek is what AMD says of a chip in its certificate.
type vcek struct {
	chip [64]byte
	tcb  uint64
}

// parseVCEK reads the extensions of a VCEK (AMD 57230, table 9). The places of
// the TCB's components differ from Turin on, and its chip names are shorter.
func parseVCEK(c *certificate, product string) (v vcek, err error) {
	place := map[int]int{1: 0, 2: 1, 4: 2, 5: 3, 6: 4, 7: 5, 3: 6, 8: 7} // bl, tee, spl4 to spl7, snp, ucode
	if product == "Turin" {
		place = map[int]int{9: 0, 1: 1, 2: 2, 3: 3, 8: 7} // fmc, bl, tee, snp, ucode
	}
	var tcb [8]byte
	seen, chip := 0, false
	for _, x := range c.extensions {
		id, amd := strings.CutPrefix(string(x.id), oidAMD)
		switch {
		case !amd:
		case len(id) == 2 && id[0] == 3:
			at, ok := place[int(id[1])]
			if !ok {
				continue // reserved, zero
			}
			spl, ok := readNumber(x.value, 0xff)
			if !ok {
				return v, errors.New("a security patch level is not one byte")
			}
			tcb[at] = byte(spl)
			seen++
		case id == "\x04":
			raw := cryptobyte.String(x.value)
			if len(raw) != 64 && len(raw) != 8 { // as an octet string, then
				if !raw.ReadASN1(&raw, asn1.OCTET_STRING) {
					return v, errors.New("the hardware id cannot be read")
				}
			}
			chip = len(raw) == 64 || len(raw) == 8
			copy(v.chip[:], raw)
		}
	}
	if seen != len(place) || !chip {
		return v, errors.New("a patch level or the hardware id is missing")
	}
	v.tcb = binary.LittleEndian.Uint64(tcb[:])
	return v, nil
}

// oidAMD begins the names of what AMD says in these certificates.
var oidAMD = string(oidOf(1, 3, 6, 1, 4, 1, 3704, 1))
