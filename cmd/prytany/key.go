package main

import (
	"bufio"
	"fmt"
	"io"
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
	if err := a.keySave(path, k); err != nil {
		return err
	}
	a.tell("words", "these 24 words are the key; write them down, they are not shown again:\n  "+k.Mnemonic())
	return nil
}

func (a *app) keySave(path string, k wallet.Keystore) error {
	pass, err := a.passphrase("Choose a passphrase: ")
	if err != nil {
		return err
	}
	if err := wallet.Save(path, k, pass); err != nil {
		return err
	}
	address := task.PublicKey(k.Account())
	return a.print(keyFile{address, path}, fmt.Sprintf("%s\n", address))
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
	return a.keySave(path, k)
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
		defer s.close()
		acct, err := s.chain.Account(c.Context(), address)
		if err != nil {
			return err
		}
		out.Balance = &acct.Balance
		text = fmt.Sprintf("%s\nbalance %s on %s\n", address, acct.Balance, s.Chain)
	}
	return a.print(out, text)
}
