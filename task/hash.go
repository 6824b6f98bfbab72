package task

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Hash is a SHA-256 digest, written as 64 lower-case hex digits.
type Hash [32]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short is the first eight hex digits: for people, never for machines.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// IsZero says whether the hash was never set.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText writes hex.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads hex; anything but 64 hex digits is an error.
func (h *Hash) UnmarshalText(text []byte) error { return readHex(h[:], text) }

// Tag separates the domains of H: a digest made under one tag never equals
// one made under another (spec §1.2). The list is sorted and prefix-free,
// and a test holds it so.
type Tag string

// Every domain tag of the protocol stands here and nowhere else.
const (
	TagActivation   Tag = "activation"
	TagBeacon       Tag = "beacon"
	TagCase         Tag = "case"
	TagChip         Tag = "chip"
	TagCommitment   Tag = "commitment"
	TagDecline      Tag = "decline"
	TagDeposit      Tag = "deposit"
	TagEvidence     Tag = "evidence"
	TagExitNonce    Tag = "exit-nonce"
	TagFunction     Tag = "function"
	TagHPKE         Tag = "hpke-key"
	TagMeasurement  Tag = "measurement"
	TagName         Tag = "name"
	TagNode         Tag = "node"
	TagNonce        Tag = "verifier-nonce"
	TagNonceRoot    Tag = "root-of-nonces"
	TagPair         Tag = "pair"
	TagPlace        Tag = "place"
	TagRecipient    Tag = "recipient"
	TagReference    Tag = "reference"
	TagRegistration Tag = "registration"
	TagRelease      Tag = "release"
	TagReportData   Tag = "report-data"
	TagResult       Tag = "result"
	TagRuntime      Tag = "runtime"
	TagSalt         Tag = "salt"
	TagSeal         Tag = "seal"
	TagSeed         Tag = "seed"
	TagShowing      Tag = "showing"
	TagState        Tag = "state"
	TagTask         Tag = "task"
	TagTicket       Tag = "ticket"
	TagTransaction  Tag = "transaction"
	TagValues       Tag = "values"
	TagVote         Tag = "vote"
)

// H is SHA-256 over the tag and the parts, each with its length before it, so
// that no two different calls hash the same bytes (spec §1.2).
func H(tag Tag, parts ...[]byte) Hash {
	d := sha256.New()
	var n [8]byte
	d.Write([]byte{byte(len(tag))})
	d.Write([]byte(tag))
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		d.Write(n[:])
		d.Write(p)
	}
	var h Hash
	d.Sum(h[:0])
	return h
}

// U64 is the 8-byte big-endian form in which integers enter H.
func U64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
