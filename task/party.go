package task

import "fmt"

// Role is a party's part in a task.
type Role uint8

// The roles. One account may have several.
const (
	Requester Role = 1 // posts the task, pays for it, and gets the result
	DataOwner Role = 2 // owns an input
	CodeOwner Role = 3 // owns the function
)

var roleWords = Words{"", "requester", "data-owner", "code-owner"}

func (r Role) String() string { return roleWords.Of(uint8(r)) }

// MarshalText is the role's word.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads one.
func (r *Role) UnmarshalText(text []byte) error { return ReadWord(roleWords, r, text) }

// Party is one of those who have a part in a task, whose word or silence can end it.
// Nodes are none: each task draws its own.
type Party struct {
	Role    Role     `json:"role"`
	Account Address  `json:"account"`
	At      Endpoint `json:"at"`   // where it is reached; its account signs releases beside the party's own
	File    Blob     `json:"file"` // whose key the party releases; the requester has none
	// Releases says whether the party has something to release, and Names whether whom
	// the result is for is in that: in the first release of the requester's, which is
	// for its data, if it has any.
	Releases bool `json:"releases"`
	Names    bool `json:"names_recipient"`
}

// SpeaksFor says whether an account signs the party's releases.
func (p Party) SpeaksFor(a Address) bool { return a == p.Account || a == p.At.Account }

// Parties are those of a task, in the one order in which the protocol numbers them:
// the requester, the data owners as the task names them, the code owner. Releases,
// locks, outcomes and faults name a party by its place in this list (spec §1.8), for
// one account may stand in it more than once.
func Parties(t Task, f Function) []Party {
	all := make([]Party, 0, len(t.Data)+2)
	all = append(all, Party{Role: Requester, Account: t.Requester, At: t.Endpoint, Releases: true, Names: true})
	for _, d := range t.Data {
		p := Party{Role: DataOwner, Account: d.Owner, At: t.Endpoint, File: d.Blob, Releases: true}
		if d.Broker != nil {
			p.At = *d.Broker
		}
		if d.Owner == t.Requester && all[0].Names {
			p.Names, all[0].Names, all[0].Releases = true, false, false
		}
		all = append(all, p)
	}
	return append(all, Party{Role: CodeOwner, Account: f.Owner, At: f.Broker, File: f.Code, Releases: true})
}

// MaxData bounds the inputs of a task.
const MaxData = 16

// Data is an input of a task, and who owns it.
type Data struct {
	Owner Address `cbor:"1,keyasint" json:"owner"`
	Blob  Blob    `cbor:"2,keyasint" json:"blob"`
	// Broker is where its key is released. It is left out where the requester owns
	// the input: there it is the task's endpoint.
	Broker *Endpoint `cbor:"3,keyasint,omitempty" json:"broker,omitempty"`
}

// checkData refuses a list of inputs that nobody could fetch. All of them together
// are no more than one blob: they go into one enclave.
func (t Task) checkData() error {
	if len(t.Data) == 0 || len(t.Data) > MaxData {
		return fmt.Errorf("data: %d inputs, want 1 to %d", len(t.Data), MaxData)
	}
	seen := map[string]bool{}
	for i, d := range t.Data {
		what := fmt.Sprintf("input %d", i+1)
		if err := d.Blob.check(what); err != nil {
			return err
		}
		switch {
		case seen[d.Blob.CID]:
			return fmt.Errorf("%s: its file stands twice", what)
		case (d.Owner == t.Requester) != (d.Broker == nil):
			return fmt.Errorf("%s: a broker goes with an owner who is not the requester, and with no other", what)
		case d.Broker != nil && !d.Broker.named():
			return fmt.Errorf("%s: broker address too long, or not printable", what)
		}
		seen[d.Blob.CID] = true
	}
	if size := t.DataSize(); size > MaxBlob {
		return fmt.Errorf("data: %d bytes together, at most %d", size, MaxBlob)
	}
	return nil
}

// DataSize is that of all inputs, in bytes.
func (t Task) DataSize() (n uint64) {
	for _, d := range t.Data {
		n += d.Blob.Size
	}
	return n
}
