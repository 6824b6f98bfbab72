package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/faucet"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
	"golang.org/x/term"
)

// What Alice offers where she says nothing else.
const (
	defaultGasPrice = 50 // base units per million gas: 0.05 PRY for 10⁹ instructions
	defaultFee      = 2 * task.PRY
	defaultMinSeats = 4
	defaultBond     = 100 * task.PRY
)

// client is Alice on the network: the owner's client with a host and blobs.
type client struct {
	*owner.Client
	*peer.Peer
}

// openAlice opens the host of this user. She listens where a task of hers says
// that she does, if there is one.
func (a *app) openAlice(ctx context.Context, s *session, keys wallet.Keystore, posted *task.Task) (*client, error) {
	home, err := a.userHome()
	if err != nil {
		return nil, err
	}
	host := p2p.Config{Key: keys.Peer(), Log: a.logger()}
	if posted != nil {
		host.Listen, _, _ = strings.Cut(posted.Endpoint.Addr, "/p2p/")
		if !p2p.Free(host.Listen) { // she goes to the executor, then
			a.say("the task's address %s is taken: Alice is at another", host.Listen)
			host.Listen = ""
		}
	}
	return openClient(ctx, s.chain, keys.Account(), host, wallet.Vault{Keys: keys, Dir: filepath.Join(home, "tasks")}, filepath.Join(home, "blobs"), s.Bootstrap)
}

// openClient opens a host for a person and connects it. Blobs are in dir.
func openClient(ctx context.Context, c chain.Pinned, account ed25519.PrivateKey, host p2p.Config, v wallet.Vault, dir string, near []string) (*client, error) {
	s, err := peer.Open(ctx, host, dir, blob.Space{Bytes: peer.Space, Evict: true}, near)
	if err != nil {
		return nil, err
	}
	cl := &client{Peer: s, Client: &owner.Client{
		Account: account, Endpoint: s.Host.Addr(), Chain: c, Blobs: s.Blobs, Net: s.Host, Vault: v, Log: host.Log,
		Policy: task.Policy{MinTier: task.TierSimulated},
	}}
	s.Host.Handle(task.ProtoRelease, cl.AnswerRelease)
	s.Host.Receive(task.ProtoResult, cl.HearResult)
	return cl, nil
}

// networkFile is how other processes find a network: no secrets.
type networkFile struct {
	Chain     string        `json:"chain"`
	RPC       string        `json:"rpc"`
	Trust     chain.Trust   `json:"trust"`
	Bootstrap []string      `json:"bootstrap"`
	Broker    task.Endpoint `json:"broker"`
	Faucet    string        `json:"faucet"` // the devnet's, empty on a real network
}

// defaultNetworkPath is the file that the last devnet of this user wrote.
func defaultNetworkPath() (string, error) {
	dir, err := configDir()
	return filepath.Join(dir, "network.json"), err
}

// session is a command's connection to a network.
type session struct {
	networkFile
	chain chain.Pinned
}

// connect finds the network and opens its chain.
func (a *app) connect(ctx context.Context) (*session, error) {
	path := a.network
	if path == "" {
		var err error
		if path, err = defaultNetworkPath(); err != nil {
			return nil, err
		}
	}
	raw, err := disk.ReadFile(path, disk.MaxSetting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, task.Refuse("no-network", "there is no network file at %s", path).WithNext("prytany devnet   (in another terminal), or --network FILE")
	}
	if err != nil {
		return nil, task.Refuse("network-malformed", "%v", err)
	}
	var s session
	if err := json.Unmarshal(raw, &s.networkFile); err != nil {
		return nil, task.Refuse("network-malformed", "%s: %v", path, err)
	}
	if s.Chain == "" || s.Chain != s.Trust.Chain || s.Trust.Validators.IsZero() {
		return nil, task.Refuse("network-malformed", "%s names chain %.60q and trusts chain %.60q, or no validators: it must pin one chain", path, s.Chain, s.Trust.Chain).
			WithNext("get the file anew from whoever runs the network")
	}
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := chain.Dial(dial, s.RPC, s.Trust, a.logger())
	if code := task.CodeOf(err); code == "wrong-chain" || code == "unproven" {
		return nil, err
	}
	if err != nil {
		return nil, task.Refuse("network-down", "the network of %s does not answer at %s: %v", path, s.RPC, err).WithNext("prytany devnet")
	}
	s.chain = chain.Pinned{Client: c, Trust: s.Trust}
	return &s, nil
}

func (s *session) close() { _ = s.chain.Client.Close() }

// signIn opens this user's key and connects to the network.
func (a *app) signIn(ctx context.Context) (wallet.Keystore, *session, error) {
	keys, err := a.keystore()
	if err != nil {
		return keys, nil, err
	}
	s, err := a.connect(ctx)
	return keys, s, err
}

// keystore opens this user's key, once.
func (a *app) keystore() (wallet.Keystore, error) {
	if a.keys != nil {
		return *a.keys, nil
	}
	home, err := a.userHome()
	if err != nil {
		return wallet.Keystore{}, err
	}
	path := filepath.Join(home, "key.age")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return wallet.Keystore{}, task.Refuse("key-missing", "there is no key at %s", path).WithNext("prytany key new --home %s", task.ShellWord(home))
	}
	pass, err := a.passphrase("Passphrase: ")
	if err != nil {
		return wallet.Keystore{}, err
	}
	k, err := wallet.Load(path, pass)
	if err == nil {
		a.keys = &k
	}
	return k, err
}

// passphrase comes from a file or a terminal; never from an argument, and not
// from the environment, which others may read.
func (a *app) passphrase(prompt string) (string, error) {
	if a.passFile != "" {
		var raw []byte
		var err error
		if a.passFile == "-" {
			raw, err = io.ReadAll(io.LimitReader(a.in, disk.MaxSecret))
		} else {
			raw, err = disk.ReadPiped(a.passFile, disk.MaxSecret)
		}
		if err != nil {
			return "", usage("--passphrase-file: %v", err)
		}
		pass := strings.TrimRight(string(raw), "\r\n")
		if pass == "" {
			return "", usage("the passphrase is empty")
		}
		return pass, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", usage("a passphrase is needed and there is no terminal to ask on").WithNext("--passphrase-file FILE")
	}
	_, _ = io.WriteString(a.err, prompt)
	raw, err := term.ReadPassword(int(f.Fd()))
	_, _ = io.WriteString(a.err, "\n")
	if err == nil && len(raw) == 0 {
		err = usage("the passphrase is empty")
	}
	return string(raw), err
}

// newPassphrase asks for one that is chosen now: on a terminal twice, since nobody sees
// what he types.
func (a *app) newPassphrase() (string, error) {
	pass, err := a.passphrase("Choose a passphrase: ")
	if err != nil || a.passFile != "" {
		return pass, err
	}
	again, err := a.passphrase("The same again: ")
	if err == nil && again != pass {
		err = task.Refuse("passphrase-differs", "the two passphrases are not the same; nothing was written").WithNext("the same command again")
	}
	return pass, err
}

// fund asks the devnet's faucet for an account that has nothing.
func (a *app) fund(ctx context.Context, s *session, sv *peer.Peer, account task.Address) error {
	gift, err := faucet.Ask(ctx, sv.Host, s.Faucet, s.chain, account)
	if gift > 0 {
		a.say("the devnet's faucet gave %s to %s", gift, account.Short())
	}
	return err
}
