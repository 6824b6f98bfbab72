package chain

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

const testChain = "prytany-test"

// patience bounds waits that should be short. No test asks how short.
const patience = 2 * time.Minute

func seedOf(name string) [32]byte { return sha256.Sum256([]byte("test key " + name)) }

// account is a person's or operator's key in tests.
func account(name string) ed25519.PrivateKey {
	seed := seedOf(name)
	return ed25519.NewKeyFromSeed(seed[:])
}

func addr(name string) task.Address { return task.PublicKey(account(name)) }

// identity of a chain's only validator; network gives others their shares.
func identity(i int) Identity {
	id, _ := Sole(seedOf(fmt.Sprint("consensus ", i)), seedOf(fmt.Sprint("beacon ", i)))
	return id
}

// worker is a node that could draw tickets: its VRF key is real.
func worker(i int) (task.Node, *vrf.PrivateKey) {
	key := vrf.NewKey(seedOf(fmt.Sprint("draw ", i)))
	return task.Node{
		Operator: addr(fmt.Sprint("operator ", i)), VRF: task.Key(key.Public()), Peer: addr(fmt.Sprint("peer ", i)),
		Runtimes: []string{task.RuntimeWasm}, Arch: "any", TEE: task.TEE{Kind: "simulated", Identity: addr(fmt.Sprint("chip ", i))},
	}, key
}

const workers = 4

// genesis has Alice and Bob, operators, workers, and as many validators as asked.
func genesis(validators int) ledger.Genesis {
	g := ledger.Genesis{Params: ledger.Embedded(testChain)}
	g.Reference = attest.Reference{AllowSimulated: true, Measurements: []task.Hash{{7}}}
	for _, who := range []string{"alice", "bob", "carol"} {
		g.Accounts = append(g.Accounts, ledger.Grant{Account: addr(who), Balance: 10_000 * task.PRY})
	}
	for i := range workers {
		n, _ := worker(i)
		g.Accounts = append(g.Accounts, ledger.Grant{Account: n.Operator, Balance: 100 * task.PRY})
		g.Nodes = append(g.Nodes, ledger.FirstNode{Node: n, Bond: 1000 * task.PRY, Profile: attest.Platform{Measurement: task.Hash{7}}.Profile()})
	}
	g.Beacon, _ = dealt(validators)
	return g
}

// dealt is the beacon of so many validators, and their identities. One alone has all
// of the secret.
func dealt(n int) (g beacon.Group, ids []Identity) {
	var keys []task.Key
	for i := range n {
		ids, keys = append(ids, identity(i)), append(keys, identity(i).Key())
	}
	if n == 1 {
		return beacon.OwnGroup(keys[0], ids[0].Shares[0]), ids
	}
	g, shares := beacon.DealtGroup(seedOf("dealer"), keys...)
	for i := range ids {
		ids[i].Shares = shares[i : i+1]
	}
	return g, ids
}

func single(t testing.TB) Config {
	return Config{Genesis: genesis(1), Identity: identity(0), Logger: testLog(t)}
}

// testLog shows warnings if the environment asks for them.
func testLog(testing.TB) *slog.Logger {
	if os.Getenv("CHAIN_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t testing.TB, c Config) (*Node, *Client) {
	t.Helper()
	n, err := Start(patient(t), c)
	if err != nil {
		t.Fatal(err)
	}
	client, err := Local(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n, client
}

func transfer(to string, a task.Amount) task.Body {
	return task.Body{Transfer: &task.Transfer{To: addr(to), Amount: a}}
}

func function() task.Function {
	return task.Function{
		Owner: addr("bob"), Code: task.Blob{CID: "bafy-code", Size: 10},
		Manifest: task.Manifest{
			Name: "sum", Version: "1", Runtime: task.RuntimeWasm, Royalty: task.PRY,
			Limits: task.Limits{Gas: 1e7, MemoryBytes: 1 << 20, OutputBytes: 1 << 20, WallMillis: 1000},
		},
	}
}

func publish() task.Body {
	return task.Body{Publish: &task.Publish{Function: function(), Bond: 1000 * task.PRY}}
}

func job() task.Task {
	return task.Task{
		Chain: testChain, Requester: addr("alice"), Function: function().ID(), Data: []task.Data{{Owner: addr("alice"), Blob: task.Blob{CID: "bafy-input", Size: 10}}},
		Recipient: task.NameRecipient("age1"), GasLimit: 1e9, GasPrice: 1000, Fee: 2 * task.PRY, Seats: 13, MinSeats: 3,
		Policy: task.Policy{MinTier: task.TierSimulated},
	}
}

func post() task.Body { k := job(); return task.Body{Post: &k} }

// submit expects a transaction to be applied.
func submit(t testing.TB, c *Client, who string, body task.Body) Receipt {
	t.Helper()
	r, err := c.Submit(patient(t), account(who), body)
	if err != nil {
		t.Fatalf("%s by %s: %v", body.Kind(), who, err)
	}
	return r
}

// jobOf is the task that a posting made.
func jobOf(r Receipt) task.TaskID {
	k := job()
	k.Nonce = r.Nonce
	return k.ID()
}

func conserved(t testing.TB, n *Node) {
	t.Helper()
	err := n.Read(func(height uint64, r ledger.Reader) error {
		if held, supply := r.Held(), r.Meta().Supply; held != supply {
			return fmt.Errorf("height %d: %s are held of a supply of %s", height, held, supply)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// atRest waits until the chain has no open task and its last header carries
// the app hash of the state: from then on it makes no block of its own.
func atRest(t testing.TB, n *Node, c *Client) uint64 {
	t.Helper()
	ctx := patient(t)
	for {
		meta, err := c.Meta(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hash, height := n.AppHash()
		header, err := c.signedHeader(ctx, height)
		if err != nil {
			t.Fatal(err)
		}
		if meta.Open == 0 && string(header.AppHash) == string(hash) {
			return height
		}
		if err := c.WaitHeight(ctx, height+1); err != nil {
			t.Fatalf("height %d, %d open: %v", height, meta.Open, err)
		}
	}
}
