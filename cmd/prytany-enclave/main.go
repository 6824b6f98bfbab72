// Command prytany-enclave is the enclave: the program that a worker starts for
// each task, and that is measured. It speaks the protocol of package tee on
// its standard input and output, within walls of the operating system (package
// walls). Its one argument, if there is one, is the path of the OCI runtime to
// start containers with, which its evidence then names.
//
// What is linked in is trusted with everybody's plaintext. So it is a program
// of its own, and linked.txt lists all of it; a test holds it to that list.
package main

import (
	"os"

	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/enclave"
	"github.com/prytany/prytany/tee/walls"
)

func main() {
	if err := serve(); err != nil {
		_ = tee.WriteFrame(os.Stdout, tee.Response{Error: err.Error()}) // whoever asks first hears it
		os.Exit(1)
	}
}

func serve() error {
	if err := tee.CheckEnvironment(os.Environ()); err != nil {
		return err
	}
	args, walled := walls.Arguments(os.Args[1:])
	var within *walls.Profile
	if walled {
		standing, err := walls.Enter()
		if err != nil {
			return err
		}
		within = &standing.Profile
	} else {
		enclave.Harden()
	}
	oci := ""
	if len(args) == 1 {
		oci = args[0]
	}
	return enclave.Serve(os.Stdin, os.Stdout, enclave.Standard(oci), within)
}
