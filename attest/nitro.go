package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/prytany/prytany/task"
)

// NitroQuote is the quote of [Nitro] evidence: the document that the hypervisor
// has signed, with its certificates in it.
type NitroQuote struct {
	Document []byte `cbor:"1,keyasint"` // COSE_Sign1 (RFC 9052), not canonical
}

// NitroReference is what a genesis says of Nitro Enclaves.
type NitroReference struct {
	Roots [][]byte `cbor:"1,keyasint" json:"roots"` // DER; none: AWS's
}

// A document's certificate is valid for some hours, so it is judged at the
// document's own time, which the hypervisor signs. That must be about the
// task's: not before its seed but for a wrong clock, and not after the longest
// run. In seconds.
const (
	nitroBefore = 10 * 60
	nitroAfter  = 36 * 3600
)

// nitroDocument is the signed payload (AWS Nitro Enclaves, attestation_process.md).
type nitroDocument struct {
	ModuleID    string            `cbor:"module_id"`
	Digest      string            `cbor:"digest"`
	Timestamp   uint64            `cbor:"timestamp"` // milliseconds
	PCRs        map[uint64][]byte `cbor:"pcrs"`
	Certificate []byte            `cbor:"certificate"`
	Bundle      [][]byte          `cbor:"cabundle"` // root first
	PublicKey   []byte            `cbor:"public_key"`
	UserData    []byte            `cbor:"user_data"`
	Nonce       []byte            `cbor:"nonce"`
}

// coseSign1 is the envelope. Its external data are empty.
type coseSign1 struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected cbor.RawMessage // empty: nobody signs it
	Payload     []byte
	Signature   []byte
}

// nitroMode is CBOR as AWS writes it: bounded, without duplicate keys.
var nitroMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 64, MaxMapPairs: 64, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// es384 is the protected header {1: -35}.
var es384 = []byte{0xa1, 0x01, 0x38, 0x22}

func verifyNitro(quote []byte, want Expected, ref Reference) (c Claims, refused *task.Error) {
	q, err := task.Decode[NitroQuote](quote, task.MaxEvidence)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	s, d, err := parseNitro(q.Document)
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "%v", err)
	}
	if !bytes.Equal(s.Protected, es384) || !bytes.Equal(s.Unprotected, []byte{0xa0}) || d.Digest != "SHA384" || len(d.Bundle) == 0 || len(d.Bundle) > maxChain {
		return c, task.Refuse(QuoteMalformed, "want ES384 over SHA384 registers and a certificate bundle")
	}
	for i := range uint64(3) {
		if len(d.PCRs[i]) != sha512.Size384 {
			return c, task.Refuse(QuoteMalformed, "register %d has %d bytes, want %d", i, len(d.PCRs[i]), sha512.Size384)
		}
	}
	certs, err := certificates(append([][]byte{d.Certificate}, d.Bundle[1:]...))
	if err != nil {
		return c, task.Refuse(QuoteMalformed, "certificates: %v", err)
	}
	at := int64(d.Timestamp / 1000)
	if at < want.Now-nitroBefore || at > want.Now+nitroAfter {
		return c, task.Refuse(StaleQuote, "the document is of %s and is judged at %s", utc(at), utc(want.Now))
	}
	anchors, refused := roots(ref.Nitro.Roots, awsRoot)
	if refused != nil {
		return c, refused
	}
	if _, refused = trusted(certs[0], certs[1:], anchors, at, ref); refused != nil {
		return c, refused
	}
	key := ecdsaKey(certs[0], 384)
	if key == nil || len(s.Signature) != 96 || !ecdsa.Verify(key, sigDigest(s), new(big.Int).SetBytes(s.Signature[:48]), new(big.Int).SetBytes(s.Signature[48:])) {
		return c, task.Refuse(BadSignature, "the hypervisor's signature over the document does not hold")
	}
	machine, _, ok := strings.Cut(d.ModuleID, "-enc")
	if !ok || machine == "" {
		return c, task.Refuse(QuoteMalformed, "module id %q names no machine and enclave", d.ModuleID)
	}
	return Claims{
		Tier: task.TierConfidential, Chip: identity([]byte(machine)), Measurement: measurement(Nitro, d.PCRs[0], d.PCRs[1], d.PCRs[2]),
		ReportData: hashIn(d.UserData), Debug: zero(d.PCRs[0]), // a debug enclave's registers are zero
	}, nil
}

// parseNitro reads the envelope and what is in it, but not the certificates.
func parseNitro(document []byte) (s coseSign1, d nitroDocument, err error) {
	if err := nitroMode.Unmarshal(bytes.TrimPrefix(document, []byte{0xd2}), &s); err != nil { // tag 18, or none
		return s, d, fmt.Errorf("not a COSE_Sign1: %w", err)
	}
	if err := nitroMode.Unmarshal(s.Payload, &d); err != nil {
		return s, d, fmt.Errorf("payload: %w", err)
	}
	return s, d, nil
}

// sigDigest is SHA-384 of the Sig_structure (RFC 9052 §4.4).
func sigDigest(s coseSign1) []byte {
	d := sha512.Sum384(task.Encode([]any{"Signature1", s.Protected, []byte{}, s.Payload}))
	return d[:]
}

func zero(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) }
