package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

// Validators must judge alike, bit for bit. What they judge with is all in this
// program, but for the standard library, which differs between releases of Go and
// by settings of the process (ADR 0025). So one release is named, and no setting.

// goRelease is that of go.mod's toolchain line.
var goRelease = "go1.26.8"

// Codes of what such a process is refused for.
const (
	godebugSet = "godebug-set"
	goDiffers  = "go-differs"
)

// judgesNothing are the commands, by their first word, that appraise no evidence, or
// none that anybody else will.
var judgesNothing = []string{"completion", "doctor", "func", "help", "key", "simulate", "version"}

// fit says whether a process may judge evidence: for a chain, for a worker, for an
// owner, for who reads a receipt.
func fit() error {
	info, _ := debug.ReadBuildInfo()
	return fitWith(os.Getenv("GODEBUG"), runtime.Version(), goRelease, info)
}

func fitWith(godebug, release, want string, info *debug.BuildInfo) error {
	if godebug != "" {
		return task.Refuse(godebugSet, "GODEBUG is set to %q here: it changes what Go's library accepts, and so what this process would find of evidence", godebug).
			WithNext("unset GODEBUG, and the same again")
	}
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "DefaultGODEBUG" && s.Value != "" {
				return task.Refuse(godebugSet, "this program was built with GODEBUG settings of its own: %q", s.Value).WithNext("build it without GOFIPS140, from an unchanged go.mod")
			}
		}
	}
	if release != want {
		return task.Refuse(goDiffers, "this program was built by %s; all who judge evidence are built by %s, or they could find different things", release, want).
			WithNext("GOTOOLCHAIN=%s go build ./cmd/prytany", want)
	}
	return nil
}

// judgesForOthers are the commands whose verdicts are a chain's, or cost a bond.
var judgesForOthers = []string{"devnet", "node"}

// checkFit comes before every command that judges. Who judges for himself alone, as
// an owner or a reader of receipts does, is told that he could find something else
// than others by another release of Go. Who judges for others does not begin.
func (a *app) checkFit(c *cobra.Command) error {
	for c.Parent() != nil && c.Parent().Parent() != nil {
		c = c.Parent()
	}
	if c.Parent() == nil || slices.Contains(judgesNothing, c.Name()) {
		return nil
	}
	err := fit()
	if task.CodeOf(err) == goDiffers && !slices.Contains(judgesForOthers, c.Name()) {
		a.say("note: %v", err)
		return nil
	}
	return err
}

// checkBuild is doctor's word on the same.
func checkBuild() finding {
	f := finding{What: "this build", Said: runtime.Version() + ", GODEBUG not set: it judges evidence as all others do"}
	err := fit()
	if e, ok := err.(*task.Error); ok { //nolint:errorlint // it is made just above
		f.Said, f.Next = e.What, e.Next
	}
	f.OK = err == nil
	return f
}
