package attest

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
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

var (
	oidSGX = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	// Its parts, by their last number.
	sgxPPID, sgxTCB, sgxPCEID, sgxFMSPC, sgxPCESVN = 1, 2, 3, 4, 17
)

type sgxPart struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// parsePCK reads the SGX extension. What it names is there exactly once, and
// has its size.
func parsePCK(c *x509.Certificate) (p pckClaims, err error) {
	at := -1
	for i, x := range c.Extensions {
		if x.Id.Equal(oidSGX) {
			at = i
		}
	}
	if at < 0 {
		return p, fmt.Errorf("the PCK certificate names no platform")
	}
	parts, err := sgxParts(c.Extensions[at].Value, oidSGX)
	if err != nil {
		return p, err
	}
	for _, want := range []struct {
		id, size int
		to       *[]byte
	}{{sgxPPID, 16, &p.ppid}, {sgxPCEID, 2, &p.pceID}, {sgxFMSPC, 6, &p.fmspc}} {
		if rest, err := asn1.Unmarshal(parts[want.id].FullBytes, want.to); err != nil || len(rest) > 0 || len(*want.to) != want.size {
			return p, fmt.Errorf("the PCK certificate's part %d has not %d bytes", want.id, want.size)
		}
	}
	svns, err := sgxParts(parts[sgxTCB].FullBytes, append(slices.Clone(oidSGX), sgxTCB))
	if err != nil {
		return p, err
	}
	for id := 1; id <= sgxPCESVN; id++ {
		n, most := 0, 0xff
		if id == sgxPCESVN {
			most = 0xffff
		}
		if rest, err := asn1.Unmarshal(svns[id].FullBytes, &n); err != nil || len(rest) > 0 || n < 0 || n > most {
			return p, fmt.Errorf("the PCK certificate's TCB component %d is no number up to %d", id, most)
		}
		if id == sgxPCESVN {
			p.pceSVN = uint16(n)
		} else {
			p.components[id-1] = byte(n)
		}
	}
	return p, nil
}

// sgxParts reads a sequence of values, each named under an arc.
func sgxParts(der []byte, arc asn1.ObjectIdentifier) (map[int]asn1.RawValue, error) {
	var list []sgxPart
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("the PCK certificate's extension cannot be read: %v", err)
	}
	parts := map[int]asn1.RawValue{}
	for _, p := range list {
		last := len(p.ID) - 1
		if last != len(arc) || !slices.Equal(p.ID[:last], arc) {
			continue
		}
		if _, twice := parts[p.ID[last]]; twice {
			return nil, fmt.Errorf("the PCK certificate says its part %d twice", p.ID[last])
		}
		parts[p.ID[last]] = p.Value
	}
	return parts, nil
}
