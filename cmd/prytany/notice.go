package main

import (
	"github.com/prytany/prytany/host"
)

// programs are the enclave programs, which a release carries.
func (a *app) programs() host.Programs {
	return host.Programs{Beside: beside, Carried: embedded, Notice: a.notice}
}

// enclaves says by what this program starts enclaves.
func (a *app) enclaves(oci []string) host.Enclaves {
	return host.Enclaves{Programs: a.programs(), OCI: oci, DockerSocket: dockerSocket(), Notice: a.notice}
}

// beside is where enclave programs are looked for first, if not beside this one.
var beside = ""

// notice tells what happens while a process starts.
func (a *app) notice(n host.Notice) {
	switch n := n.(type) {
	case host.Building:
		a.say("building the enclave programs from %s (kept for the next time)", n.Source)
	case host.Unwalled:
		a.say("WARNING: enclaves have no walls of the operating system here, and can make simulated evidence only: %v", n.Why)
	case host.Funded:
		a.say("the devnet's faucet gave %s to %s", n.Amount, n.Account.Short())
	case host.Registered:
		a.say("registered with a bond of %s; it counts from epoch %d on", n.Record.Bond, lastEpoch(n.Record))
	case host.Renewed:
		if n.Lapsed {
			a.say("the machine is shown to the chain again, too late: the worker draws again after a whole epoch")
			return
		}
		a.say("the machine is shown to the chain again; that was due by block %d", n.Due)
	}
}
