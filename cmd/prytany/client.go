package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
	"golang.org/x/term"
)

// openAlice opens the host of this user. She listens where a task of hers says
// that she does, if there is one.
func (a *app) openAlice(ctx context.Context, s *client.Session, keys wallet.Keystore, posted *task.Task) (*client.Client, error) {
	home, err := a.userHome()
	if err != nil {
		return nil, err
	}
	c := client.Config{
		Session: s, Account: keys.Account(), Peer: keys.Peer(), Log: a.logger(),
		Vault: wallet.Vault{Keys: keys, Dir: filepath.Join(home, "tasks")}, Blobs: filepath.Join(home, "blobs"),
	}
	if posted != nil {
		c.Listen, _, _ = strings.Cut(posted.Endpoint.Addr, "/p2p/")
		if !p2p.Free(c.Listen) { // she goes to the executor, then
			a.say("the task's address %s is taken: Alice is at another", c.Listen)
			c.Listen = ""
		}
	}
	return client.Open(ctx, c)
}

// defaultNetworkPath is the file that the last devnet of this user wrote.
func defaultNetworkPath() (string, error) {
	dir, err := configDir()
	return filepath.Join(dir, "network.json"), err
}

// connect finds the network and opens its chain.
func (a *app) connect(ctx context.Context) (*client.Session, error) {
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
	n, err := client.ParseNetwork(path, raw)
	if err != nil {
		return nil, err
	}
	s, err := n.Dial(ctx, a.logger())
	if code := task.CodeOf(err); err != nil && code != "wrong-chain" && code != "unproven" {
		err = task.Refuse("network-down", "the network of %s does not answer at %s: %v", path, n.RPC, err).WithNext("prytany devnet")
	}
	return s, err
}

// signIn opens this user's key and connects to the network.
func (a *app) signIn(ctx context.Context) (wallet.Keystore, *client.Session, error) {
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
func (a *app) fund(ctx context.Context, c *client.Client) error {
	gift, err := c.Fund(ctx)
	if gift > 0 {
		a.say("the devnet's faucet gave %s to %s", gift, c.Account().Short())
	}
	return err
}
