// Package task holds the nouns of Prytany: what Alice posts, what Bob
// publishes, what workers sign, and how each of them is written down.
//
// Everything that is hashed or signed is deterministic CBOR ([Encode]), is
// read back by one strict decoder ([Decode]), and is named by a hash under a
// domain tag ([H]). The package imports nothing else of Prytany, does no I/O
// and knows no rule of the protocol: rules live in sortition, committee,
// attest and ledger, which all speak in these types.
package task

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// ID names a noun of type T: H(tag, canonical bytes) (spec §1.3). The type
// parameter keeps a task's name from being used as a node's.
type ID[T any] [32]byte

// The names of the four things that have one.
type (
	TaskID     = ID[Task]
	FunctionID = ID[Function]
	NodeID     = ID[Node]
	TxID       = ID[Tx]
)

func (id ID[T]) String() string { return Hash(id).String() }

// Short is the first eight hex digits: for people, never for machines.
func (id ID[T]) Short() string { return Hash(id).Short() }

// IsZero says whether the name was never set.
func (id ID[T]) IsZero() bool { return id == ID[T]{} }

// MarshalText writes hex.
func (id ID[T]) MarshalText() ([]byte, error) { return Hash(id).MarshalText() }

// UnmarshalText reads 64 hex digits.
func (id *ID[T]) UnmarshalText(text []byte) error { return (*Hash)(id).UnmarshalText(text) }

// Key is an Ed25519 or VRF public key.
type Key [32]byte

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Short is the first eight hex digits: for people, never for machines.
func (k Key) Short() string { return hex.EncodeToString(k[:4]) }

// MarshalText writes hex.
func (k Key) MarshalText() ([]byte, error) { return Hash(k).MarshalText() }

// UnmarshalText reads 64 hex digits.
func (k *Key) UnmarshalText(text []byte) error { return (*Hash)(k).UnmarshalText(text) }

// Address is an account: the Ed25519 public key that signs for it (spec §2.1).
type Address = Key

// Signature is an Ed25519 signature over a Hash.
type Signature [64]byte

// Sign signs a hash. The tag inside the hash separates what is signed.
func Sign(key ed25519.PrivateKey, h Hash) Signature {
	return Signature(ed25519.Sign(key, h[:]))
}

// Verify says whether key signed h.
func (s Signature) Verify(key Key, h Hash) bool {
	return ed25519.Verify(key[:], h[:], s[:])
}

// PublicKey is the public half of an Ed25519 key as a Key.
func PublicKey(key ed25519.PrivateKey) Key { return Key(key.Public().(ed25519.PublicKey)) }

// Size limits of untrusted input, in bytes, checked before anything is
// allocated (spec §1.1).
const (
	MaxTx       = 64 << 10
	MaxBlob     = 256 << 20
	MaxEvidence = 28 << 10 // twice in a transaction: a pair
	MaxMessage  = 128 << 10
	MaxSealed   = 4 << 10
	MaxSchema   = 8 << 10
	maxText     = 256
	maxArgs     = 64
	maxArg      = 4096
)

// Blob names one encrypted file: its CIDv1 and its size in bytes.
type Blob struct {
	CID  string `cbor:"1,keyasint" json:"cid"`
	Size uint64 `cbor:"2,keyasint" json:"size,string"`
}

func (b Blob) check(what string) error {
	if b.CID == "" || len(b.CID) > maxText || !printable(b.CID) {
		return fmt.Errorf("%s: no CID", what)
	}
	if b.Size == 0 || b.Size > MaxBlob {
		return fmt.Errorf("%s: %d bytes, want 1 to %d", what, b.Size, MaxBlob)
	}
	return nil
}

// Limits bound one run (spec §9.3). At any of them the run stops.
type Limits struct {
	Gas         uint64 `cbor:"1,keyasint" json:"gas,string"`
	MemoryBytes uint64 `cbor:"2,keyasint" json:"memory_bytes,string"`
	OutputBytes uint64 `cbor:"3,keyasint" json:"output_bytes,string"`
	WallMillis  uint64 `cbor:"4,keyasint" json:"wall_ms,string"`
	// GasLeast is the least that a run shows of its gas; what used less is paid as
	// if it had used that, and a task offers at least so much. 0: a 128th of the
	// run's limit (spec §9.8).
	GasLeast uint64 `cbor:"5,keyasint" json:"gas_least,string"`
}

// Image is the public part of a function, which its private code builds on:
// an interpreter, or an OCI image. Anyone can fetch and keep it.
type Image struct {
	Digest string `cbor:"1,keyasint" json:"digest"` // sha256:…, of the interpreter, or of the OCI manifest
	Blob   Blob   `cbor:"2,keyasint" json:"blob"`   // the interpreter itself, or a tar of the OCI layout; not encrypted
}

// Port is one file that a function reads from /in or writes to /out.
type Port struct {
	Name     string `cbor:"1,keyasint" json:"name"`             // of the file
	Type     string `cbor:"2,keyasint" json:"type"`             // media type (RFC 6838), such as image/png; empty for any
	Doc      string `cbor:"3,keyasint" json:"doc"`              // one line for Alice
	MaxBytes uint64 `cbor:"4,keyasint" json:"max_bytes,string"` // 0: what the blob allows
	Optional bool   `cbor:"5,keyasint" json:"optional"`
	// Schema, of an output, is what it may say: JSON Schema, of which package schema
	// takes a part. The enclave lets nothing out that does not fit (spec §9.10).
	Schema string `cbor:"6,keyasint,omitempty" json:"schema,omitempty"`
}

// Manifest is what Bob says of his function, in the clear.
type Manifest struct {
	Name        string   `cbor:"1,keyasint" json:"name"`
	Version     string   `cbor:"2,keyasint" json:"version"`
	Description string   `cbor:"3,keyasint" json:"description"`
	Runtime     string   `cbor:"4,keyasint" json:"runtime"`
	Args        []string `cbor:"5,keyasint" json:"args"`
	Limits      Limits   `cbor:"6,keyasint" json:"limits"`
	Royalty     Amount   `cbor:"7,keyasint" json:"royalty"`
	Image       *Image   `cbor:"8,keyasint,omitempty" json:"image,omitempty"`
	Arch        string   `cbor:"9,keyasint" json:"arch"`                        // Go's name of the processor that the code is for, empty for any
	Inputs      []Port   `cbor:"10,keyasint" json:"inputs"`                     // none: one file called input
	Outputs     []Port   `cbor:"11,keyasint" json:"outputs"`                    // none: whatever the function writes
	Policy      *Policy  `cbor:"12,keyasint,omitempty" json:"policy,omitempty"` // the least that Bob accepts of an enclave
	TaskArgs    bool     `cbor:"13,keyasint" json:"task_args"`                  // a task may add arguments, after Args
	Public      bool     `cbor:"14,keyasint" json:"public"`                     // the code is no secret
	Log         bool     `cbor:"15,keyasint" json:"log"`                        // Alice gets the function's standard error
	Exact       bool     `cbor:"16,keyasint" json:"exact"`                      // gas is signed to the last unit (spec §9.8)
	// SuitedPPM is the least of all stake, in parts per million, whose machines a
	// task's policy may ask for: who asks for fewer picks its own judges (spec
	// §10.1). 0: [DefaultSuited].
	SuitedPPM uint64 `cbor:"17,keyasint" json:"suited_ppm,string"`
}

// DefaultSuited is a third of the stake.
const DefaultSuited = 333_333

// Suited is the least of all stake that a task's policy may ask for, in parts per
// million.
func (m Manifest) Suited() uint64 {
	if m.SuitedPPM == 0 {
		return DefaultSuited
	}
	return m.SuitedPPM
}

// Endpoint is where an owner's keys are released: a multiaddr with a peer ID,
// and the account that signs the release on the chain.
type Endpoint struct {
	Addr    string  `cbor:"1,keyasint" json:"addr"`
	Account Address `cbor:"2,keyasint" json:"account"`
}

func (e Endpoint) named() bool { return len(e.Addr) <= maxText && printable(e.Addr) }

// Function is code that Bob has published: the manifest in the clear, the
// code as an encrypted blob, and the broker that releases its key.
type Function struct {
	Owner    Address  `cbor:"1,keyasint" json:"owner"`
	Manifest Manifest `cbor:"2,keyasint" json:"manifest"`
	Code     Blob     `cbor:"3,keyasint" json:"code"`
	Broker   Endpoint `cbor:"4,keyasint" json:"broker"`
}

// ID names the function (spec §1.3).
func (f Function) ID() FunctionID { return FunctionID(H(TagFunction, Encode(f))) }

// Size is that of its files, in bytes.
func (f Function) Size() uint64 {
	if i := f.Manifest.Image; i != nil {
		return f.Code.Size + i.Blob.Size
	}
	return f.Code.Size
}

// Check refuses what no node could run, before any money moves.
func (f Function) Check() error {
	if err := f.Manifest.Check(); err != nil {
		return err
	}
	if i := f.Manifest.Image; i != nil {
		if err := i.Blob.check("image"); err != nil {
			return err
		}
	}
	if !f.Broker.named() {
		return fmt.Errorf("broker: address too long, or not printable")
	}
	return f.Code.check("code")
}

// Check refuses a manifest that no node could run. Where its image lies it need
// not say yet.
func (m Manifest) Check() error {
	if m.Name == "" || len(m.Name) > maxText || len(m.Version) > maxText || len(m.Description) > 4*maxText {
		return fmt.Errorf("manifest: name, version or description is missing or too long")
	}
	for _, text := range []string{m.Name, m.Version, m.Description} {
		if !printable(text) {
			return fmt.Errorf("manifest: %.100q has characters that do not print", text)
		}
	}
	if !slices.Contains(Runtimes, m.Runtime) {
		return fmt.Errorf("manifest: runtime %q is not known; have %s", m.Runtime, strings.Join(Runtimes, ", "))
	}
	if err := m.checkImage(); err != nil {
		return err
	}
	if err := errors.Join(checkPorts("inputs", m.Inputs), checkPorts("outputs", m.Outputs)); err != nil {
		return err
	}
	if err := m.checkSchemas(); err != nil {
		return err
	}
	if m.Policy != nil {
		if err := m.checkPolicy(); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	if m.SuitedPPM > 1_000_000 {
		return fmt.Errorf("manifest: suited: %d parts of the stake, more than a million", m.SuitedPPM)
	}
	if err := m.Limits.check(); err != nil {
		return err
	}
	return m.checkArgs()
}

// checkArgs holds a manifest to its command line. A task's arguments come after
// it, so where arguments say which program runs, Bob must have said it: with an
// image's entrypoint, or a bare interpreter, Alice could choose a program that
// hands her his code.
func (m Manifest) checkArgs() error {
	switch {
	case m.Runtime != RuntimeWasm && len(m.Args) == 0:
		return fmt.Errorf("manifest: args: runtime %s needs the whole command, or a task's arguments would be it", m.Runtime)
	case m.Runtime == RuntimePython && (m.Args[0] == "" || m.Args[0][0] == '-'):
		return fmt.Errorf("manifest: args: the first is the script, such as /code/main.py, and not %.40q", m.Args[0])
	}
	if err := checkArgs(m.Args); err != nil {
		return fmt.Errorf("manifest: args: %w", err)
	}
	return nil
}

func (m Manifest) checkPolicy() error {
	switch p := m.Policy; {
	case len(p.Accept) > 0:
		return fmt.Errorf("policy: it is Alice who accepts a function's weaknesses, and not its manifest")
	case m.Runtime == RuntimeDocker && p.MinTier > TierSimulated:
		return fmt.Errorf("policy: runtime docker is for the tier simulated only: its engine is the host's")
	default:
		return p.check()
	}
}

func (l Limits) check() error {
	for _, x := range []struct {
		name      string
		have, max uint64
		words     string
	}{
		{"gas", l.Gas, math.MaxUint64, ""},
		{"memory", l.MemoryBytes, 4 << 30, "4GiB"},
		{"output", l.OutputBytes, MaxBlob, "256MiB"},
		{"wall", l.WallMillis, 24 * 3600 * 1000, "24h"},
	} {
		if x.have == 0 {
			return fmt.Errorf("manifest: limits.%s must be above zero", x.name)
		}
		if x.have > x.max {
			return fmt.Errorf("manifest: limits.%s is over its maximum, %s", x.name, x.words)
		}
	}
	if l.GasLeast > l.Gas {
		return fmt.Errorf("manifest: limits.gas_least is %d, more than limits.gas", l.GasLeast)
	}
	return nil
}

// The runtimes (spec §9.3).
const (
	RuntimeWasm   = "wasm"   // WASI preview 1, the embedded default
	RuntimePython = "python" // CPython on WASI: the interpreter is the image
	RuntimeOCI    = "oci"    // an OCI image, by runsc, crun or runc
	RuntimeDocker = "docker" // an OCI image, by a Docker-compatible engine
)

// Runtimes are all that a manifest may name, in the order of their age.
var Runtimes = []string{RuntimeWasm, RuntimePython, RuntimeOCI, RuntimeDocker}

// checkImage holds the runtime to what it builds on. An OCI function may be
// private as a whole; the other runtimes have their part in the open.
func (m Manifest) checkImage() error {
	switch {
	case m.Runtime == RuntimeWasm && m.Image != nil:
		return fmt.Errorf("manifest: a wasm function has no image: the module is all there is")
	case m.Runtime == RuntimeWasm || m.Runtime == RuntimeOCI && m.Image == nil:
	case m.Image == nil:
		return fmt.Errorf("manifest: runtime %s needs an image", m.Runtime)
	case !digestForm.MatchString(m.Image.Digest):
		return fmt.Errorf("manifest: image digest %.100q is not sha256: and 64 lower-case hex digits", m.Image.Digest)
	}
	native := m.Runtime == RuntimeOCI || m.Runtime == RuntimeDocker
	if native != (m.Arch != "") || len(m.Arch) > 16 || !printable(m.Arch) {
		return fmt.Errorf("manifest: an architecture goes with the runtimes oci and docker, and with no other")
	}
	return nil
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

const maxPorts = 64

// checkPorts refuses names that are no file directly in /in or /out.
func checkPorts(what string, ports []Port) error {
	if len(ports) > maxPorts {
		return fmt.Errorf("manifest: %d %s, at most %d", len(ports), what, maxPorts)
	}
	seen := map[string]bool{}
	for _, p := range ports {
		switch {
		case !portName.MatchString(p.Name):
			return fmt.Errorf("manifest: %s: %.80q is no file name of letters, digits, dot, dash and underscore", what, p.Name)
		case seen[p.Name]:
			return fmt.Errorf("manifest: %s: %s stands twice", what, p.Name)
		case !printable(p.Type) || !printable(p.Doc):
			return fmt.Errorf("manifest: %s: type or text of %s has characters that do not print", what, p.Name)
		case len(p.Type) > maxText || len(p.Doc) > 4*maxText:
			return fmt.Errorf("manifest: %s: type or text of %s is too long", what, p.Name)
		case p.MaxBytes > MaxBlob:
			return fmt.Errorf("manifest: %s: %s may have %d bytes, at most %d", what, p.Name, p.MaxBytes, MaxBlob)
		}
		seen[p.Name] = true
	}
	return nil
}

// Bounded says whether all that a run writes is held to schemas (spec §9.10).
func (m Manifest) Bounded() bool { return len(m.Outputs) > 0 && m.Outputs[0].Schema != "" }

// checkSchemas sees to it that nothing goes out beside what has a schema, if
// something has one. Whether it is one, package schema says.
func (m Manifest) checkSchemas() error {
	for _, p := range m.Inputs {
		if p.Schema != "" {
			return fmt.Errorf("manifest: inputs: %s has a schema, which only outputs are held to", p.Name)
		}
	}
	for _, p := range m.Outputs {
		switch {
		case len(p.Schema) > MaxSchema || !printable(p.Schema):
			return fmt.Errorf("manifest: outputs: the schema of %s is too long, or not printable", p.Name)
		case (p.Schema != "") != m.Bounded():
			return fmt.Errorf("manifest: outputs: if one has a schema all have: %s could carry out what the others may not", p.Name)
		}
	}
	if m.Bounded() && m.Log {
		return fmt.Errorf("manifest: log: where outputs have schemas there is no log, which could carry out anything")
	}
	return nil
}

// printable says whether text can be shown on a terminal as it is: what a stranger
// has the chain hold must not move a reader's cursor, nor turn her line around.
// The chain judges it, so the rule is these numbers and no version of Unicode.
func printable(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x2069 || r == 0xfeff
	})
}

var portName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// CanRun says whether a node has what a function needs: only its executor
// must; anyone can verify.
func (n Node) CanRun(m Manifest) bool {
	return slices.Contains(n.Runtimes, m.Runtime) && (m.Arch == "" || m.Arch == n.Arch)
}

func checkArgs(args []string) error {
	if len(args) > maxArgs {
		return fmt.Errorf("%d arguments, at most %d", len(args), maxArgs)
	}
	for _, a := range args {
		if len(a) > maxArg {
			return fmt.Errorf("an argument of %d bytes, at most %d", len(a), maxArg)
		}
		if strings.ContainsRune(a, 0) {
			return fmt.Errorf("an argument with a zero byte")
		}
	}
	return nil
}

// Tier is how much a kind of evidence protects (spec §7.1).
type Tier uint8

// The tiers, weakest first.
const (
	TierSimulated    Tier = 1 // nothing: the host can read everything
	TierMeasured     Tier = 2 // integrity, but no memory secrecy against the owner of the machine
	TierConfidential Tier = 3 // hardware-encrypted memory
)

var tierWords = Words{"", "simulated", "measured", "hardware-confidential"}

func (t Tier) String() string { return tierWords.Of(uint8(t)) }

// MarshalText is the tier's word.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads one.
func (t *Tier) UnmarshalText(text []byte) error { return ReadWord(tierWords, t, text) }

// Task is one job: what a requester wants run on whose data.
type Task struct {
	Chain     string     `cbor:"1,keyasint" json:"chain"`
	Requester Address    `cbor:"2,keyasint" json:"requester"`
	Nonce     uint64     `cbor:"3,keyasint" json:"nonce,string"` // of the posting transaction: equal tasks get different names
	Function  FunctionID `cbor:"4,keyasint" json:"function"`
	Data      []Data     `cbor:"5,keyasint" json:"data"`
	Args      []string   `cbor:"6,keyasint" json:"args"`
	Recipient Hash       `cbor:"7,keyasint" json:"recipient"` // names whom the result is encrypted to: [NameRecipient]
	Endpoint  Endpoint   `cbor:"8,keyasint" json:"endpoint"`  // of the requester, and of the inputs that it owns
	GasLimit  uint64     `cbor:"9,keyasint" json:"gas_limit,string"`
	GasPrice  Amount     `cbor:"10,keyasint" json:"gas_price"` // base units per 1,000,000 gas
	Fee       Amount     `cbor:"11,keyasint" json:"fee"`       // of the whole committee, split by seats
	Seats     uint32     `cbor:"12,keyasint" json:"seats"`     // τ, the expected size of the committee
	MinSeats  uint32     `cbor:"13,keyasint" json:"min_seats"`
	Policy    Policy     `cbor:"14,keyasint" json:"policy"`
	// MaxLoad is how many times the usual price of room its owner pays at the most,
	// for the chain may fill up before the task comes to it. 0 sets no limit.
	MaxLoad uint64 `cbor:"15,keyasint" json:"max_load,string"`
}

// NameRecipient names an age recipient. It is long, and comes to the enclave with
// Alice's release; nobody else needs it.
func NameRecipient(recipient string) Hash { return H(TagRecipient, []byte(recipient)) }

// ID names the task (spec §1.3).
func (t Task) ID() TaskID { return TaskID(H(TagTask, Encode(t))) }

// Bounds of a committee (spec §5.2).
const (
	MaxSeats     = 1024
	DefaultSeats = 13
)

// Check refuses a task that is malformed whatever the state of the chain.
func (t Task) Check() error {
	if err := t.checkData(); err != nil {
		return err
	}
	if err := checkArgs(t.Args); err != nil {
		return err
	}
	if t.Recipient.IsZero() {
		return fmt.Errorf("recipient: missing")
	}
	if !t.Endpoint.named() {
		return fmt.Errorf("endpoint: address too long, or not printable")
	}
	if t.Seats == 0 || t.Seats > MaxSeats || t.MinSeats < 2 || t.MinSeats > t.Seats {
		return fmt.Errorf("seats: want 2 ≤ minimum ≤ expected ≤ %d, have %d and %d", MaxSeats, t.MinSeats, t.Seats)
	}
	if t.GasLimit == 0 {
		return fmt.Errorf("gas limit: must be above zero")
	}
	return t.Policy.check()
}

// Node is a worker's registration (spec §3.1). VRF and Peer are never the
// operator's account key; Peer is the libp2p identity and signs votes.
type Node struct {
	Operator Address  `cbor:"1,keyasint" json:"operator"`
	VRF      Key      `cbor:"2,keyasint" json:"vrf"`
	Peer     Key      `cbor:"3,keyasint" json:"peer"`
	Addr     string   `cbor:"4,keyasint" json:"addr"`
	Runtimes []string `cbor:"5,keyasint" json:"runtimes"`
	Arch     string   `cbor:"6,keyasint" json:"arch"`
	TEE      TEE      `cbor:"7,keyasint" json:"tee"`
}

// TEE is a node's root of trust: what kind, and the key or chip identity that
// its evidence must chain to.
type TEE struct {
	Kind     string `cbor:"1,keyasint" json:"kind"`
	Identity Key    `cbor:"2,keyasint" json:"identity"`
}

// ID names the node by its keys alone, so that it may move to another address.
func (n Node) ID() NodeID {
	return NodeID(H(TagNode, n.Operator[:], n.VRF[:], n.Peer[:]))
}

// Check refuses a malformed registration.
func (n Node) Check() error {
	if n.VRF == n.Operator || n.Peer == n.Operator || n.VRF == n.Peer {
		return fmt.Errorf("operator, VRF and peer keys must be three different keys")
	}
	if len(n.Addr) > maxText || len(n.Arch) > maxText || len(n.Runtimes) == 0 || len(n.Runtimes) > 8 || n.TEE.Kind == "" || len(n.TEE.Kind) > maxText {
		return fmt.Errorf("address, architecture, runtimes or TEE kind missing or too long")
	}
	for _, text := range []string{n.Addr, n.Arch, n.TEE.Kind} {
		if !printable(text) {
			return fmt.Errorf("%.100q has characters that do not print", text)
		}
	}
	for _, r := range n.Runtimes {
		if !slices.Contains(Runtimes, r) {
			return fmt.Errorf("runtime %q is not known", r)
		}
	}
	return nil
}
