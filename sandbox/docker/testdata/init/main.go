// Command init is the first process of the tests' Docker containers, as
// prytany is of others.
package main

import (
	"os"

	"github.com/prytany/prytany/sandbox/container"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == container.InitArg {
		os.Exit(container.InitMain(os.Stdin, os.Stdout))
	}
	os.Exit(2)
}
