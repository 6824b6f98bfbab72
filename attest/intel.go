package attest

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// What Intel's provisioning service says, as far as it is looked at (PCS API
// v4, TCB info V3 and QE identity V2), and what stands in a PCK certificate
// (Intel SGX PCK Certificate and CRL Profile, §1.3.5). These are here because
// the library's own package for them brings an HTTP client with it.

type tcbInfo struct {
	ID         string      `json:"id"`
	Version    int         `json:"version"`
	IssueDate  time.Time   `json:"issueDate"`
	NextUpdate time.Time   `json:"nextUpdate"`
	FMSPC      hexBytes    `json:"fmspc"`
	PCEID      hexBytes    `json:"pceId"`
	Evaluation uint64      `json:"tcbEvaluationDataNumber"`
	Module     tdxModule   `json:"tdxModule"`
	Modules    []tdxModule `json:"tdxModuleIdentities"` // of later generations
	Levels     []tcbLevel  `json:"tcbLevels"`
}

type tdxModule struct {
	ID             string     `json:"id"`
	Signer         hexBytes   `json:"mrsigner"`
	Attributes     hexBytes   `json:"attributes"`
	AttributesMask hexBytes   `json:"attributesMask"`
	Levels         []tcbLevel `json:"tcbLevels"`
}

type qeIdentity struct {
	ID             string     `json:"id"`
	Version        int        `json:"version"`
	IssueDate      time.Time  `json:"issueDate"`
	NextUpdate     time.Time  `json:"nextUpdate"`
	Select         hexBytes   `json:"miscselect"`
	SelectMask     hexBytes   `json:"miscselectMask"`
	Attributes     hexBytes   `json:"attributes"`
	AttributesMask hexBytes   `json:"attributesMask"`
	Signer         hexBytes   `json:"mrsigner"`
	Product        uint32     `json:"isvprodid"`
	Levels         []tcbLevel `json:"tcbLevels"`
}

type tcbLevel struct {
	TCB struct {
		SGX    []tcbComponent `json:"sgxtcbcomponents"`
		TDX    []tcbComponent `json:"tdxtcbcomponents"`
		PCESVN uint16         `json:"pcesvn"`
		ISVSVN uint32         `json:"isvsvn"`
	} `json:"tcb"`
	Status string `json:"tcbStatus"`
}

type tcbComponent struct {
	SVN byte `json:"svn"`
}

// Statuses of a TCB level that have a rule of their own.
const (
	upToDate     = "UpToDate"
	levelRevoked = "Revoked"
)

type hexBytes []byte

// UnmarshalJSON reads a string of hex digits.
func (b *hexBytes) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	var err error
	*b, err = hex.DecodeString(text)
	return err
}

// pckClaims is what a PCK certificate says of its platform.
type pckClaims struct {
	ppid, pceID, fmspc []byte
	components         [16]byte
	pceSVN             uint16
}

// oidSGX is the extension, and begins the names of its parts: what is behind it
// is a part's number.
var oidSGX = oidOf(1, 2, 840, 113741, 1, 13, 1)

const sgxPPID, sgxTCB, sgxPCEID, sgxFMSPC, sgxPCESVN = "\x01", "\x02", "\x03", "\x04", 17

// parsePCK reads the SGX extension. What it names is there exactly once, and
// has its size.
func parsePCK(c *certificate) (p pckClaims, err error) {
	at := slices.IndexFunc(c.extensions, func(x extension) bool { return x.id == oidSGX })
	if at < 0 {
		return p, errors.New("the PCK certificate names no platform")
	}
	if err := canonical(c.extensions[at].value); err != nil {
		return p, fmt.Errorf("the PCK certificate's extension: %w", err)
	}
	parts, err := sgxParts(c.extensions[at].value, string(oidSGX))
	if err != nil {
		return p, err
	}
	for _, want := range []struct {
		id   string
		size int
		to   *[]byte
	}{{sgxPPID, 16, &p.ppid}, {sgxPCEID, 2, &p.pceID}, {sgxFMSPC, 6, &p.fmspc}} {
		var value cryptobyte.String
		part := parts[want.id]
		if !part.ReadASN1(&value, asn1.OCTET_STRING) || len(value) != want.size {
			return p, fmt.Errorf("the PCK certificate's part %d has not %d bytes", want.id[0], want.size)
		}
		*want.to = value
	}
	svns, err := sgxParts(parts[sgxTCB], string(oidSGX)+sgxTCB)
	if err != nil {
		return p, err
	}
	for id := byte(1); id <= sgxPCESVN; id++ {
		most := uint64(0xff)
		if id == sgxPCESVN {
			most = 0xffff
		}
		n, ok := readNumber(svns[string([]byte{id})], most)
		switch {
		case !ok:
			return p, fmt.Errorf("the PCK certificate's TCB component %d is no number up to %d", id, most)
		case id == sgxPCESVN:
			p.pceSVN = uint16(n)
		default:
			p.components[id-1] = byte(n)
		}
	}
	return p, nil
}

// sgxParts reads a sequence of values, each named under an arc.
func sgxParts(der []byte, arc string) (map[string]cryptobyte.String, error) {
	var list cryptobyte.String
	s := cryptobyte.String(der)
	ok := s.ReadASN1(&list, asn1.SEQUENCE)
	parts := map[string]cryptobyte.String{}
	for ok && !list.Empty() {
		var one cryptobyte.String
		var id oid
		if ok = list.ReadASN1(&one, asn1.SEQUENCE); ok {
			id, ok = readOID(&one)
		}
		part, under := strings.CutPrefix(string(id), arc)
		if !under {
			continue
		}
		if _, twice := parts[part]; twice {
			return nil, fmt.Errorf("the PCK certificate says its part %x twice", part)
		}
		parts[part] = one
	}
	if !ok {
		return nil, errors.New("the PCK certificate's extension cannot be read")
	}
	return parts, nil
}
