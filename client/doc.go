// Package client is what people do on a network, as a library: Alice has tasks done, Bob
// publishes functions, and anybody looks things up and checks receipts. It prints nothing
// and reads no flag, file of settings or terminal; progress comes by callbacks.
//
// A [Network] says where a network is and what is believed of it; [Network.Dial] gives a
// [Session], in which everything is read. Who acts opens a [Client]: a host that executors
// reach, an account, and a vault for the secrets of tasks under way.
//
//	run, err := alice.Post(ctx, job)                   // money is locked, nothing is secret yet
//	end, err := alice.Follow(ctx, run, client.Take{…}) // the key goes to the attested enclave only
//	fmt.Println(end.Result.Output.Files["out.txt"])
//
// The example of [Client.Follow] does all of it, on a network in its own process.
//
// Whatever a node says of money, functions, workers and results counts with a proof
// against the pinned validators only. Errors are [task.Error]s with stable codes.
package client
