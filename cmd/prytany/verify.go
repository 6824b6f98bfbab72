package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/prytany/prytany/chain/proof"
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

// pinned is a trust file: the root and where it came from.
type pinned struct {
	proof.Trust
	Source string `json:"source"`
}

func trustPath(chain string) (string, error) {
	dir, err := configDir()
	return filepath.Join(dir, "trust", filepath.Base(chain)+".json"), err
}

// pin keeps a chain's root of trust on this machine.
func pin(t proof.Trust, source string) error {
	path, err := trustPath(t.Chain)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(pinned{t, source}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}

func loadTrust(path, chain string) (pinned, error) {
	var p pinned
	if path == "" {
		var err error
		if path, err = trustPath(chain); err != nil {
			return p, err
		}
	}
	raw, err := disk.ReadFile(path, disk.MaxSetting)
	if errors.Is(err, fs.ErrNotExist) {
		return p, task.Refuse("could-not", "no trusted validators are pinned here for chain %q (looked at %s)", chain, path).
			WithNext("prytany verify RECEIPT --trust FILE, with the trust file of somebody you believe")
	}
	if err != nil {
		return p, task.Refuse("could-not", "%v", err)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, task.Refuse("could-not", "trust file %s: %v", path, err)
	}
	return p, nil
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
	report := receipt.Verify(r, receipt.Trust{
		Beacon: trust.Beacon.Verify,
		State: func(p, key, value []byte) error {
			parsed, err := proof.Parse(p)
			if err != nil {
				return err
			}
			return proof.Check(parsed, trust.Trust, key, value)
		},
	})
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
