// Command prytany-enclave-docker is the enclave of docker functions. It has a
// client of the Docker Engine API in it, and shows the engine all that a
// function sees: so it is a program apart, with a measurement of its own, and
// quotes by the simulated platform only (spec §9.6.8).
//
// Its argument, if there is one, is the engine's socket. Who has that commands the
// engine, and no walls would hold him: it has none. It is the first process of the
// engine's containers, too.
package main

import (
	"context"
	"os"

	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/docker"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/enclave"
	"github.com/prytany/prytany/tee/walls"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == container.InitArg {
		os.Exit(container.InitMain(os.Stdin, os.Stdout))
	}
	enclave.Harden()
	if tee.CheckEnvironment(os.Environ()) != nil || enclave.Serve(os.Stdin, os.Stdout, enclave.Runtimes{task.RuntimeDocker: {Simulated: true, Open: open}}, nil) != nil {
		os.Exit(1)
	}
}

func open(ctx context.Context, _ task.Manifest) (enclave.Runner, func(), error) {
	var c docker.Config
	if args, _ := walls.Arguments(os.Args[1:]); len(args) == 1 {
		c.Socket = args[0]
	}
	d, err := docker.New(ctx, c)
	return d, func() { _ = d.Close() }, err
}
