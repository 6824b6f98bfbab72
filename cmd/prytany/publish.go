package main

import (
	"context"
	"crypto/ed25519"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/broker"
	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// publication is a function on its way to the chain.
type publication struct {
	function.Source
	broker task.Endpoint
	bond   task.Amount
}

// publish encrypts the code, leaves it and its key with the broker, the image
// as it is, and registers the function.
func publish(ctx context.Context, host *p2p.Host, c chain.Pinned, blobs *blob.Store, account ed25519.PrivateKey, p publication) (task.Function, error) {
	id, err := seal.NewIdentity()
	if err != nil {
		return task.Function{}, err
	}
	file, err := seal.Encrypt(id.Recipient(), p.Code)
	if err != nil {
		return task.Function{}, err
	}
	code, err := blobs.Put(ctx, file)
	if err != nil {
		return task.Function{}, err
	}
	f := task.Function{Owner: task.PublicKey(account), Manifest: p.Manifest, Code: code, Broker: p.broker}
	var image *task.Blob
	if p.Manifest.Image != nil {
		blob, err := blobs.Put(ctx, p.Image)
		if err != nil {
			return f, err
		}
		image = &blob
		f.Manifest.Image = &task.Image{Digest: p.Manifest.Image.Digest, Blob: blob}
	}
	if err := f.Check(); err != nil {
		return f, task.Refuse("manifest-invalid", "%v", err)
	}
	d := broker.Deposit{Owner: f.Owner, Code: code, From: host.Addr(), Identity: id.Secret(), Image: image}
	d.Signature = task.Sign(account, d.Hash())
	raw, err := host.Request(ctx, p.broker.Addr, task.ProtoDeposit, task.Encode(d))
	if err != nil {
		return f, task.Refuse("broker-unreachable", "the key broker at %s does not answer: %v", p.broker.Addr, err)
	}
	reply, err := task.Decode[broker.DepositReply](raw, task.MaxMessage)
	if err != nil {
		return f, err
	}
	if reply.Refused != "" {
		return f, task.Refuse("broker-refused", "the key broker refused the function: %s", reply.Refused)
	}
	_, err = c.Submit(ctx, account, task.Body{Publish: &task.Publish{Function: f, Bond: p.bond}})
	return f, err
}
