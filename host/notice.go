package host

import (
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Notice is what a person who starts a process may want to know at once.
type Notice interface{ notice() }

type (
	// Building says that enclave programs are built now, from the module's source in this
	// directory. It takes a while, once.
	Building struct{ Source string }
	// Unwalled says that enclaves have no walls of the operating system on this machine, and
	// why: they make simulated evidence only.
	Unwalled struct{ Why error }
	// Funded says that the devnet's faucet gave so much to a worker that had nothing.
	Funded struct {
		Account task.Address
		Amount  task.Amount
	}
	// Registered says that a worker has entered the registry, or has changed its entry.
	Registered struct{ Record ledger.NodeRecord }
	// Renewed says that a worker has shown its machine to the chain again.
	Renewed struct {
		Due    uint64 // the height by which it was to
		Lapsed bool   // it was too late, and draws again after a whole epoch
	}
)

func (Building) notice()   {}
func (Unwalled) notice()   {}
func (Funded) notice()     {}
func (Registered) notice() {}
func (Renewed) notice()    {}
