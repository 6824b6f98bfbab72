package task

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the vector file anew")

const vectorFile = "../spec/vectors/encoding.json"

// vector is one value: its canonical bytes and what names or signs it, in hex.
type vector struct {
	What  string `json:"what"`
	Bytes string `json:"bytes"`
	Hash  string `json:"hash"`
}

// vectors pin the encoding of what is hashed or signed (spec §1), so that
// another implementation can be checked against it and this one cannot drift.
func vectors() []vector {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	f := Function{
		Owner: Key{1}, Code: Blob{CID: "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4", Size: 12}, Broker: Endpoint{Addr: "/ip4/127.0.0.1/tcp/1", Account: Key{2}},
		Manifest: Manifest{Name: "poster", Version: "1.0.0", Description: "d", Runtime: RuntimeWasm, Args: []string{"--levels", "6"}, Limits: Limits{1e9, 1 << 28, 1 << 24, 60_000, 1e7}, Royalty: PRY / 2},
	}
	t := Task{
		Chain: "c", Requester: Key{3}, Nonce: 4, Function: f.ID(), Data: []Data{{Owner: Key{3}, Blob: Blob{CID: f.Code.CID, Size: 5}}}, Recipient: NameRecipient("age1"), GasLimit: 1e9, GasPrice: 100,
		Fee: 2 * PRY, Seats: 13, MinSeats: 4, Policy: Policy{MinTier: TierSimulated, Measurements: []Hash{{9}}},
	}
	n := Node{Operator: Key{1}, VRF: Key{2}, Peer: Key{3}, Addr: "/ip4/127.0.0.1/tcp/2", Runtimes: []string{RuntimeWasm}, Arch: "amd64", TEE: TEE{Kind: "simulated", Identity: Key{4}}}
	v := Vote{Task: t.ID(), Attempt: 1, View: 2, Node: n.ID()}
	r := Reveal{Ballot: Ballot{Task: t.ID(), View: 2}, Node: n.ID(), Verdict: OK, Pair: Hash{5}, Place: 1, Salt: Hash{6}}
	p := Pair{Ballot: r.Ballot, Digests: [2]Hash{{7}, {8}}}
	e := Exit{Ballot: r.Ballot, Evidence: []byte{9}}
	res := Result{Task: t.ID(), Node: n.ID(), Outcome: RunOK, Gas: 7, Size: 8, Keys: []Hash{{1}, {2}}}
	tx := SignTx(key, Tx{Chain: "c", Nonce: 4, Salt: 1 << 40, Body: Body{Post: &t}})
	row := func(what string, raw []byte, h Hash) vector { return vector{what, hex.EncodeToString(raw), h.String()} }
	return []vector{
		row(`H("seed", "ab")`, []byte("ab"), H(TagSeed, []byte("ab"))),
		row("function, its id", Encode(f), Hash(f.ID())),
		row("task, its id", Encode(t), Hash(t.ID())),
		row("node, its id (keys only)", Encode(n), Hash(n.ID())),
		row("vote, what is signed", Encode(v), v.Hash()),
		row("reveal, the commitment it opens", Encode(r), r.Digest()),
		row("pair of evidence, what its executor signs", Encode(p), p.Hash()),
		row("ballot, what the VRF of its executor is evaluated on", Encode(r.Ballot), Hash(r.Ballot.PairInput())),
		row("exit, what its executor signs", Encode(e), e.Hash()),
		row("result, what the enclave signs", Encode(res), res.Hash()),
		row("transaction that posts the task, its id", tx, H(TagTransaction, tx)),
	}
}

func TestVectors(t *testing.T) {
	fresh, err := json.MarshalIndent(vectors(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fresh = append(fresh, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, fresh) {
		t.Errorf("the encoding has changed: %s is not what it gives now; a change of wire format needs an ADR, then -update", vectorFile)
	}
	for _, v := range vectors() {
		raw, _ := hex.DecodeString(v.Bytes)
		if v.What[:4] == "task" {
			if back, err := Decode[Task](raw, MaxTx); err != nil || back.ID().String() != v.Hash {
				t.Errorf("%s does not read back: %v", v.What, err)
			}
		}
	}
}
