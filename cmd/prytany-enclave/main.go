// Command prytany-enclave is the enclave: the program that a worker starts for
// each task, and that is measured. It speaks the protocol of package tee on
// its standard input and output. Its one argument, if there is one, is the path of
// the OCI runtime to start containers with, which its evidence then names.
//
// What is linked in is trusted with everybody's plaintext. So it is a program
// of its own, and linked.txt lists all of it; a test holds it to that list.
package main

import (
	"os"

	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/enclave"
)

func main() {
	oci := ""
	if len(os.Args) == 2 {
		oci = os.Args[1]
	}
	if tee.CheckEnvironment(os.Environ()) != nil || enclave.Serve(os.Stdin, os.Stdout, enclave.Standard(oci)) != nil {
		os.Exit(1)
	}
}
