package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
	"github.com/spf13/cobra"
)

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make, show and restore this user's key"}
	c.AddCommand(
		&cobra.Command{Use: "new", Short: "Make a key: one encrypted file, and 24 words for paper", Args: none, RunE: func(*cobra.Command, []string) error { return a.keyNew() }},
		&cobra.Command{Use: "show", Short: "Print the account's address, and its balance if a network is up", Args: none, RunE: func(c *cobra.Command, _ []string) error { return a.keyShow(c) }},
		&cobra.Command{Use: "restore", Short: "Make the key file again from its 24 words, read from stdin", Args: none, RunE: func(*cobra.Command, []string) error { return a.keyRestore() }},
		&cobra.Command{Use: "export FILE", Short: "Copy the key file, as it is under its passphrase, to FILE", Args: exactly(1, "FILE"), RunE: func(_ *cobra.Command, args []string) error { return a.keyExport(args[0]) }},
		&cobra.Command{Use: "import FILE", Short: "Take a key file that was exported, or copied from another home", Args: exactly(1, "FILE"), RunE: func(_ *cobra.Command, args []string) error { return a.keyImport(args[0]) }},
	)
	return c
}

func (a *app) keyPath() (string, error) {
	home, err := a.userHome()
	return filepath.Join(home, "key.age"), err
}

func (a *app) keyNew() error {
	path, err := a.keyPath()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return task.Refuse("key-exists", "%s exists already and is not overwritten", path).WithNext("prytany key show, or --home for another user")
	}
	k, err := wallet.New()
	if err != nil {
		return err
	}
	words := k.Mnemonic()
	if a.json { // a program finds them where the rest is
		return a.keySave(path, k, words)
	}
	if err := a.keySave(path, k, ""); err != nil {
		return err
	}
	a.tell("words", "these 24 words are the key; write them down, they are not shown again:\n  "+words)
	return nil
}

// keySave writes a key under a passphrase that is chosen for it.
func (a *app) keySave(path string, k wallet.Keystore, words string) error {
	pass, err := a.newPassphrase()
	if err != nil {
		return err
	}
	if err := wallet.Save(path, k, pass); err != nil {
		return err
	}
	return a.keyPrint(k, path, words)
}

func (a *app) keyPrint(k wallet.Keystore, path, words string) error {
	address := task.PublicKey(k.Account())
	return a.print(keyFile{address, path, words}, fmt.Sprintf("%s\n", address))
}

// keyExport copies the key file, once it is known that it opens: a copy that does not
// is found too late.
func (a *app) keyExport(to string) error {
	from, err := a.keyPath()
	if err != nil {
		return err
	}
	return a.keyCopy(from, to)
}

func (a *app) keyImport(from string) error {
	to, err := a.keyPath()
	if err != nil {
		return err
	}
	return a.keyCopy(from, to)
}

func (a *app) keyCopy(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return task.Refuse("key-exists", "%s exists already and is not overwritten", to).WithNext("another file, or --home for another user")
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return task.Refuse("key-missing", "there is no key at %s", from)
	}
	pass, err := a.passphrase("Its passphrase: ")
	if err != nil {
		return err
	}
	k, err := wallet.Copy(from, to, pass)
	if err != nil {
		return err
	}
	return a.keyPrint(k, to, "")
}

func (a *app) keyRestore() error {
	path, err := a.keyPath()
	if err != nil {
		return err
	}
	a.say("type the 24 words:")
	line, _ := bufio.NewReader(io.LimitReader(a.in, disk.MaxSecret)).ReadString('\n')
	k, err := wallet.FromMnemonic(strings.Join(strings.Fields(line), " "))
	if err != nil {
		return err
	}
	return a.keySave(path, k, "")
}

func (a *app) keyShow(c *cobra.Command) error {
	k, err := a.keystore()
	if err != nil {
		return err
	}
	address := task.PublicKey(k.Account())
	out := keyShown{Address: address}
	text := fmt.Sprintf("%s\n", address)
	if s, err := a.connect(c.Context()); err == nil {
		defer s.Close()
		acct, err := s.Node.Account(c.Context(), address)
		if err != nil {
			return err
		}
		out.Balance = &acct.Balance
		text = fmt.Sprintf("%s\nbalance %s on %s\n", address, acct.Balance, s.Chain)
	}
	return a.print(out, text)
}
