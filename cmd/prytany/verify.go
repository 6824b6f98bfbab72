package main

import (
	"fmt"
	"path/filepath"
	"runtime/debug"

	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	var trust string
	c := &cobra.Command{
		Use:   "verify RECEIPT",
		Short: "Check a receipt offline, and say in words what holds and what was only simulated",
		Long: "Needs no network. The root of trust is the hash of the chain's validator set and its beacon's\n" +
			"key: pinned on this machine by `prytany demo` and `prytany devnet`, or given with --trust.\nExit code 0: it holds. 1: it does not. 2: it could not be checked.",
		Args: exactly(1, "RECEIPT"),
		RunE: func(_ *cobra.Command, args []string) error { return a.verify(args[0], trust) },
	}
	c.Flags().StringVar(&trust, "trust", "", "file with the trusted chain and validators")
	return c
}

// pins are the roots of trust that are kept on this machine.
func pins() (client.Pins, error) {
	dir, err := configDir()
	return client.Pins(filepath.Join(dir, "trust")), err
}

// pin keeps a chain's root of trust on this machine.
func pin(t proof.Trust, source string) error {
	kept, err := pins()
	if err != nil {
		return err
	}
	return kept.Save(t, source)
}

func loadTrust(path, chain string) (client.Pin, error) {
	if path != "" {
		return client.LoadPin(path, chain)
	}
	kept, err := pins()
	if err != nil {
		return client.Pin{}, err
	}
	return kept.Load(chain)
}

func (a *app) verify(path, trustFile string) error {
	raw, err := disk.ReadFile(path, receipt.MaxSize)
	if err != nil {
		return task.Refuse("could-not", "%v", err)
	}
	r, err := receipt.Parse(raw)
	if err != nil {
		return err
	}
	trust, err := loadTrust(trustFile, r.Case.Task.Chain)
	if err != nil {
		return err
	}
	report := client.Verify(r, trust)
	text := fmt.Sprintf("%strusted: chain %s, validators %s, beacon %s, pinned by %s\n", report.Text(), trust.Chain, trust.Validators.Short(), trust.Beacon.Short(), trust.Source)
	if err := a.print(report, text); err != nil {
		return err
	}
	if !report.Holds() {
		return exitCode(1)
	}
	return nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: none,
		RunE: func(*cobra.Command, []string) error { return a.printVersion() },
	}
}

func (a *app) printVersion() error {
	v, goVersion := "devel", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v = info.Main.Version
		}
	}
	return a.print(versionShown{v, goVersion}, fmt.Sprintf("prytany %s (%s)\n", v, goVersion))
}
