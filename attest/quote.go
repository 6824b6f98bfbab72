package attest

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
)

// This file reads the quotes of Intel's quoting enclaves (Intel TDX DCAP Quoting
// Library API, appendix 3). It is ours: the vendor's library panics at lengths that
// do not fit, and reads what its release reads. Every length is checked before what
// it measures is taken, and what nothing explains is refused.

// Sizes of a quote's parts, in bytes.
const (
	quoteHeader    = 48
	enclaveReport  = 384
	tdReport10     = 584 // of a TD of TDX 1.0
	tdReport15     = 648 // of a TD of TDX 1.5
	ecdsaSignature = 64  // r before s, on P-256
	ecdsaPoint     = 64
)

// What quotes are of, and how they are signed and certified.
const (
	teeSGX, teeTDX                 = 0, 0x81
	ecdsaP256                      = 2
	bodySGX, bodyTD10, bodyTD15    = 1, 2, 3 // of version 5
	certificationQE, certificatePC = 6, 5    // the quoting enclave's report, the PCK's chain
)

// tdxPlatform is a TDX quote, taken apart.
type tdxPlatform struct {
	version            int
	signed             []byte // what the attestation key has signed: all before the signature's size
	report             tdReport
	signature, key     []byte        // the quote's, and the attestation key that made it
	qe                 enclaveClaims // the quoting enclave's report
	qeSignature, qeOwn []byte        // the PCK's over that report, and the enclave's own data
	pck, between, root *certificate
	ext                pckClaims
	signatureAt        int // where the quote's signature begins
}

// tdReport is what the TDX module says of a TD: 584 bytes, and 64 more with TDX 1.5.
type tdReport []byte

func (r tdReport) svn() []byte           { return r[0:16] }
func (r tdReport) moduleSigner() []byte  { return r[64:112] }
func (r tdReport) moduleAttrs() []byte   { return r[112:120] }
func (r tdReport) attributes() []byte    { return r[120:128] }
func (r tdReport) measured() []byte      { return r[136:184] } // MRTD
func (r tdReport) register(i int) []byte { return r[328+48*i : 376+48*i] }
func (r tdReport) data() []byte          { return r[520:584] }
func (r tdReport) is15() bool            { return len(r) == tdReport15 }
func (r tdReport) laterSVN() []byte      { return r[584:600] } // of the module that runs now; TDX 1.5
func (r tdReport) serviceTDs() []byte    { return r[600:648] } // bound to it; TDX 1.5

// measurements are MRTD and the four registers.
func (r tdReport) measurements() [][]byte {
	all := [][]byte{r.measured()}
	for i := range 4 {
		all = append(all, r.register(i))
	}
	return all
}

// unsafe says why a TD's memory may leave its machine, or be another TD's to read: "" if
// it may not.
func (r tdReport) unsafe() string {
	switch {
	case r.attributes()[3]&(1<<5) != 0: // bit 29
		return "the TD can be migrated to another machine"
	case r.is15() && !zero(r.serviceTDs()):
		return "a service TD, which may have a hand in this one's state, is bound to it"
	}
	return ""
}

// enclaveClaims is what a processor says of an SGX enclave.
type enclaveClaims []byte

func (r enclaveClaims) miscSelect() []byte { return r[16:20] }
func (r enclaveClaims) attributes() []byte { return r[48:64] }
func (r enclaveClaims) signer() []byte     { return r[128:160] }
func (r enclaveClaims) product() uint32    { return uint32(binary.LittleEndian.Uint16(r[256:])) }
func (r enclaveClaims) svn() uint32        { return uint32(binary.LittleEndian.Uint16(r[258:])) }
func (r enclaveClaims) data() []byte       { return r[320:384] }

// pieces are bytes that are taken from the front. One that is too long is not
// there, and nothing after it.
type pieces struct {
	rest  []byte
	short bool
}

func (p *pieces) take(n uint64) []byte {
	if p.short = p.short || n > uint64(len(p.rest)); p.short {
		return nil
	}
	var front []byte
	front, p.rest = p.rest[:n:n], p.rest[n:]
	return front
}

func (p *pieces) u16() (n uint16) {
	if b := p.take(2); b != nil {
		n = binary.LittleEndian.Uint16(b)
	}
	return n
}

func (p *pieces) u32() (n uint32) {
	if b := p.take(4); b != nil {
		n = binary.LittleEndian.Uint32(b)
	}
	return n
}

// parseTDX reads a quote of version 4 or 5 of a TD, with an ECDSA key and a PCK's
// chain in it.
func parseTDX(raw []byte) (p tdxPlatform, err error) {
	all := pieces{rest: raw}
	p.version = int(all.u16())
	key, tee := all.u16(), all.u32()
	if all.short || p.version != 4 && p.version != 5 || key != ecdsaP256 || tee != teeTDX {
		return p, errors.New("not a quote of version 4 or 5 of a TD, signed by ECDSA on P-256")
	}
	all.take(quoteHeader - 8)
	body, size := uint16(bodyTD10), uint32(tdReport10)
	if p.version == 5 {
		body, size = all.u16(), all.u32()
	}
	if want := map[uint16]uint32{bodyTD10: tdReport10, bodyTD15: tdReport15}[body]; !all.short && size != want {
		return p, fmt.Errorf("a body of type %d and %d bytes: not a report of a TD", body, size)
	}
	p.report = all.take(uint64(size))
	p.signed = raw[:len(raw)-len(all.rest)]
	p.signatureAt = len(p.signed) + 4
	own := pieces{rest: all.take(uint64(all.u32()))}
	p.signature, p.key = own.take(ecdsaSignature), own.take(ecdsaPoint)
	certification := own.u16()
	cert := pieces{rest: own.take(uint64(own.u32()))}
	p.qe, p.qeSignature = cert.take(enclaveReport), cert.take(ecdsaSignature)
	p.qeOwn = cert.take(uint64(cert.u16()))
	chained := cert.u16()
	chain := cert.take(uint64(cert.u32()))
	switch {
	case all.short || own.short || cert.short:
		return p, fmt.Errorf("lengths that do not fit into its %d bytes", len(raw))
	case certification != certificationQE || chained != certificatePC:
		return p, fmt.Errorf("certified by types %d and %d, want %d and %d",
			certification, chained, certificationQE, certificatePC)
	case len(own.rest) > 0 || len(cert.rest) > 0:
		return p, errors.New("a part that is longer than what is in it")
	case !zero(all.rest): // some platforms pad what they hand out
		return p, errors.New("something other than padding after the quote")
	}
	ders, rest := readPEM(chain, 3)
	certs, err := certificates(ders)
	if err != nil || len(certs) != 3 || !zero(rest) {
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
