package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/host"
	"github.com/spf13/cobra"
)

func (a *app) devnetCommand() *cobra.Command {
	var workers int
	var dir, rpc, tee string
	var oci []string
	c := &cobra.Command{
		Use:   "devnet",
		Short: "Run a whole network in this process, for other terminals to use, until Ctrl-C",
		Args:  none,
		RunE:  func(c *cobra.Command, _ []string) error { return a.devnet(c.Context(), workers, dir, rpc, tee, oci) },
	}
	checkTEE := teeFlag(c, &tee, "a software TPM for each worker")
	c.PreRunE = func(*cobra.Command, []string) error { return checkTEE() }
	c.Flags().IntVar(&workers, "workers", 10, "how many workers, 4 to 64")
	ociFlag(c, &oci)
	c.Flags().StringVar(&dir, "dir", "", "keep the network here and go on with it next time (default: a temporary directory)")
	c.Flags().StringVar(&rpc, "rpc", "127.0.0.1:26757", "loopback address of the chain's RPC")
	return c
}

func (a *app) devnet(ctx context.Context, workers int, dir, rpc, tee string, oci []string) error {
	if workers < 4 || workers > 64 {
		return usage("--workers is %d, want 4 to 64", workers)
	}
	if name, _, err := net.SplitHostPort(rpc); err != nil || !loopback(name) {
		return usage("--rpc: %q is no loopback address such as 127.0.0.1:26757; the devnet's chain is for this machine alone", rpc)
	}
	a.say("starting %d workers, one validator, a key broker and a faucet", workers)
	a.say("%s", a.paint(amber, "the TEE is SIMULATED and the broker keeps everyone's keys: for trying things out, not for secrets"))
	if tee == string(attest.TPM) {
		a.say("%s", a.paint(amber, softwareTPMs))
	}
	if dir == "" {
		tmp, err := os.MkdirTemp("", "prytany-devnet-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	}
	n, err := host.Start(ctx, host.Config{
		Home: dir, Workers: workers, TEE: attest.Kind(tee), Enclaves: a.enclaves(oci), RPC: rpc, Patience: committee.Embedded, Log: a.logger(), EngineLog: a.engineLogger(),
	})
	if err != nil {
		return err
	}
	f := networkOf(n)
	path := a.network
	if path == "" {
		if path, err = defaultNetworkPath(); err != nil {
			return err
		}
	}
	if err := writeNetwork(path, f); err != nil {
		return errors.Join(err, n.Stop())
	}
	a.say("up: chain %s; other terminals find it through %s", f.Chain, path)
	a.say("try: prytany key new; prytany func init hello; prytany func publish hello; prytany run hello --input FILE --output out.txt")
	if err := a.print(devnetUp{path, f.RPC}, path+"\n"); err != nil {
		return err
	}
	<-ctx.Done()
	a.say("stopping")
	done := make(chan error, 1)
	go func() { done <- n.Stop() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		return fmt.Errorf("some part of the network did not stop within 10 s")
	}
}

// networkOf is how others find a devnet.
func networkOf(n *host.Devnet) client.Network {
	return client.Network{
		Chain: n.Params.Chain, RPC: n.Chain.RPC(), Trust: n.Client.Trust, Bootstrap: n.Bootstrap(),
		Broker: n.BrokerAt(), Faucet: n.BrokerAt().Addr,
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func writeNetwork(path string, f client.Network) error {
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := pin(f.Trust, "prytany devnet on this machine"); err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}
