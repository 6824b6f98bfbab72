package host

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/journal"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/node"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/vrf"
)

// Worker is one worker with its own home: keys, host, files and journal of verdicts.
type Worker struct {
	*node.Worker
	Name string     // in a devnet
	Peer *peer.Peer // its host and files
	Node task.Node  // as it is registered

	home    string
	bond    task.Amount
	keys    workerKeys
	journal *journal.Journal
	log     *slog.Logger
	tpm     *tpm.Quoter // its platform; nil is the simulated one
	shown   showing     // what it was registered with
	notice  func(Notice)
	cancel  context.CancelFunc // ends its Run
	owned   []func() error     // what ends with a worker that is alone in its process
}

// openWorker opens a worker's home, making its keys on first use, and its
// host, at the address of the last time if none is given. Others' files may take
// so much space, in bytes. It does not work before attach and Run.
func openWorker(ctx context.Context, home, listen string, space uint64, runtimes []string, trace func(string, []byte), log *slog.Logger) (*Worker, error) {
	seed, err := secretFile(filepath.Join(home, "worker.key"))
	if err != nil {
		return nil, err
	}
	w := &Worker{keys: deriveKeys(seed[:]), log: log, notice: func(Notice) {}}
	if w.journal, err = journal.Open(filepath.Join(home, "votes.db")); err != nil {
		return nil, err
	}
	if listen == "" {
		listen = peer.LastAddress(home)
	}
	c := p2p.Config{Key: w.keys.peer, Listen: listen, Log: log, Trace: trace}
	if w.Peer, err = peer.Open(ctx, c, filepath.Join(home, "blobs"), blob.Space{Bytes: space, Evict: true}, nil); err != nil {
		return nil, errors.Join(err, w.journal.Close())
	}
	w.Node = w.keys.registration(w.Peer.Host.Addr(), runtimes)
	w.home = home
	return w, peer.KeepAddress(home, w.Peer.Host)
}

// attach gives the worker its chain and its platform, and in some demos a lie.
func (w *Worker) attach(chain node.Chain, p *platform, params ledger.Params, patience committee.Patience, corrupt func(node.Config) node.Config) {
	quote := func(over task.Hash) ([]byte, error) {
		q, err := w.platform(p.program.Measurement).Quoter()
		if err != nil {
			return nil, err
		}
		return q.Quote(over)
	}
	config := node.Config{
		Node: w.Node, Operator: w.keys.operator, Peer: w.keys.peer, VRF: w.keys.vrf, Chain: chain, Net: w.Peer.Host,
		Blobs: w.Peer.Blobs, Journal: w.journal, Enclaves: p.enclaves(w.platform, filepath.Join(w.home, "compiled")), Appraise: attest.Appraise, Patience: patience, Slots: 2, Log: w.log,
		ChainID: params.Chain, RenewBlocks: params.RenewBlocks, Quote: quote, Renewed: func(due uint64, lapsed bool) { w.notice(Renewed{due, lapsed}) },
		Epoch: params.EpochBlocks, Fits: func(ref attest.Reference, runtime string) error {
			if err := w.shown.under(ref); err != nil {
				return err
			}
			return p.accepted(ref, runtime)
		},
	}
	if corrupt != nil {
		config = corrupt(config)
	}
	w.Worker = node.New(config)
	w.Peer.Host.Receive(task.ProtoCommittee, w.HearMessage)
}

// platform is what the worker's enclaves quote by.
func (w *Worker) platform(measurement task.Hash) tee.Platform {
	if w.tpm != nil {
		return tee.Platform{Kind: attest.TPM, TPM: w.tpm}
	}
	return tee.Platform{Kind: attest.Simulated, Simulated: &tee.Simulated{ChipSeed: w.keys.chip, Measurement: measurement}}
}

// enrol makes the worker's registration over a beacon, and says what its quote shows.
func (w *Worker) enrol(measurement task.Hash, chain string, ref attest.Reference, late ledger.Beacon) (r task.Register, profile attest.Profile, err error) {
	q, err := w.platform(measurement).Quoter()
	if err != nil {
		return r, profile, err
	}
	s := showing{tee: w.Node.TEE, bound: task.RegistrationHash(chain, w.Node, late.Value), chain: chain, at: time.Now().Unix()}
	if s.quote, err = q.Quote(s.bound); err != nil {
		return r, profile, err
	}
	w.shown = s
	r = task.Register{Node: w.Node, Possession: task.Sign(w.keys.peer, s.bound), Quote: s.quote, Beacon: late.Height}
	profile, err = s.profile(ref)
	return r, profile, err
}

// showing is a quote of the worker's machine, and when it was made: it is judged as
// of then, whatever the values, since only they can make it worse.
type showing struct {
	tee   task.TEE
	quote []byte
	bound task.Hash
	chain string
	at    int64
}

func (s showing) profile(ref attest.Reference) (attest.Profile, error) {
	return attest.Enrol(s.tee, s.quote, s.bound, s.chain, s.at, ref)
}

// under says whether reference values accept the machine, nil if so.
func (s showing) under(ref attest.Reference) error {
	p, err := s.profile(ref)
	if err != nil {
		return err
	}
	return p.Accepted(s.tee, ref)
}

func (w *Worker) close() error {
	return errors.Join(w.Peer.Close(), w.journal.Close())
}

// workerKeys are a worker's secrets, all derived from one seed.
type workerKeys struct {
	operator, peer ed25519.PrivateKey
	vrf            *vrf.PrivateKey
	chip           [32]byte // the simulated platform's
}

func deriveKeys(seed []byte) workerKeys {
	part := func(what string) [32]byte {
		b, err := hkdf.Key(sha256.New, seed, nil, "prytany worker "+what, 32)
		if err != nil {
			panic(err) // only for lengths that no hash can give
		}
		return [32]byte(b)
	}
	op, peer := part("operator"), part("peer")
	return workerKeys{
		operator: ed25519.NewKeyFromSeed(op[:]), peer: ed25519.NewKeyFromSeed(peer[:]),
		vrf: vrf.NewKey(part("vrf")), chip: part("simulated chip"),
	}
}

// registration is the node's entry for the registry.
func (k workerKeys) registration(addr string, runtimes []string) task.Node {
	return task.Node{
		Operator: task.PublicKey(k.operator), VRF: task.Key(k.vrf.Public()), Peer: task.PublicKey(k.peer), Addr: addr,
		Runtimes: runtimes, Arch: runtime.GOARCH,
		TEE: task.TEE{Kind: string(attest.Simulated), Identity: task.PublicKey(ed25519.NewKeyFromSeed(k.chip[:]))},
	}
}
