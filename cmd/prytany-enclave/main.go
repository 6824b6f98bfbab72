// Command prytany-enclave is the enclave: the program that a worker starts for
// each task, and that is measured. It speaks the protocol of package tee on
// its standard input and output, and takes no argument.
//
// What is linked in is trusted with everybody's plaintext. So it is a program
// of its own, and linked.txt lists all of it; a test holds it to that list.
package main

import (
	"os"

	"github.com/prytany/prytany/tee/enclave"
)

func main() {
	if enclave.Serve(os.Stdin, os.Stdout, enclave.Standard()) != nil {
		os.Exit(1)
	}
}
