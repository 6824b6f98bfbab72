package client_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/owner"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// key makes a key that is worth nothing outside this example.
func key(of string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(of))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Bob publishes a function, Alice has it run on a file of hers, and anybody may check the
// receipt. The network is in this process; on another, a Session comes of Network.Dial.
func ExampleClient_Follow() {
	ctx, home, quiet := context.Background(), must(os.MkdirTemp("", "prytany-example-")), slog.New(slog.DiscardHandler)
	defer os.RemoveAll(home)

	// A network: four workers, a validator and a key broker.
	alices, bobs := key("Alice"), key("Bob")
	net := must(host.Start(ctx, host.Config{
		Home: home, Workers: 4, Patience: committee.Embedded, Log: quiet,
		Grants: []ledger.Grant{{Account: task.PublicKey(alices), Balance: 1000 * task.PRY}, {Account: task.PublicKey(bobs), Balance: 1000 * task.PRY}},
	}))
	defer func() { _ = net.Stop() }()
	session := &client.Session{Node: net.Client, Network: client.Network{
		Chain: net.Params.Chain, Trust: net.Client.Trust, Bootstrap: net.Bootstrap(), Broker: net.BrokerAt(),
	}}

	// Bob's code is encrypted; its key is with his broker.
	code := must(function.LoadExample(ctx, "hello", func(string, ...any) {}))
	bob := must(client.Open(ctx, client.Config{Session: session, Account: bobs, Peer: key("Bob's host")}))
	defer bob.Close()
	hello := must(bob.Publish(ctx, client.Publication{Manifest: code.Manifest, Code: code.Code, Bond: 100 * task.PRY}))

	// Alice's input is encrypted; its key goes to the attested enclave only.
	alice := must(client.Open(ctx, client.Config{Session: session, Account: alices, Peer: key("Alice's host")}))
	defer alice.Close()
	input := must(tee.PackInputs(hello.Manifest, map[string][]byte{"input": []byte("Alice\n")}))
	run := must(alice.Post(ctx, owner.Job{
		Function: hello.ID(), Input: input, GasLimit: hello.Manifest.Limits.Gas, GasPrice: client.GasPrice, Fee: client.Fee,
		Seats: task.DefaultSeats, MinSeats: client.MinSeats, Policy: task.Policy{MinTier: task.TierSimulated},
	}))
	end := must(alice.Follow(ctx, run, client.Take{
		Event: func(e ledger.Event) { quiet.Info("news", "block", e.Height, "phase", e.Phase) },
	}))
	if err := end.Err(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("outcome:", end.Case.Settlement.Outcome)
	fmt.Printf("%s", end.Result.Output.Files["greeting.txt"])

	// The receipt needs no network.
	made := must(receipt.Parse(end.Receipt))
	fmt.Println("receipt holds:", client.Verify(made, client.Pin{Trust: net.Client.Trust}).Holds())

	// Output:
	// outcome: ok
	// Hello, Alice!
	// receipt holds: true
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
