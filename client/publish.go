package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/broker"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/seal"
	"github.com/prytany/prytany/task"
)

// Publication is a function on its way to the chain.
type Publication struct {
	Manifest task.Manifest // without the image's blob, which publishing makes
	Code     []byte        // private
	Image    []byte        // public; empty if there is none
	Bond     task.Amount   // that vouches for the release of the code's key
}

// Publish encrypts the code, leaves it and its key with the network's broker, the image
// as it is, and registers the function. Codes: manifest-invalid, broker-unreachable,
// broker-refused, network-down, interrupted.
func (c *Client) Publish(ctx context.Context, p Publication) (task.Function, error) {
	f, err := c.publish(ctx, p)
	return f, p.cutShort(ctx, err)
}

// AddBond adds to the bond of a function that was published already.
func (c *Client) AddBond(ctx context.Context, f task.Function, bond task.Amount) error {
	_, err := c.Session.Node.Submit(ctx, c.account, task.Body{Publish: &task.Publish{Function: f, Bond: bond}})
	return Publication{Bond: bond}.cutShort(ctx, err)
}

func (p Publication) cutShort(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if e := CutShort(ctx, "it is not known whether the function was published"); e != nil {
		return e.WithMoney("%s of bond are locked, if it was", p.Bond).WithNext("prytany func list")
	}
	return err
}

func (c *Client) publish(ctx context.Context, p Publication) (task.Function, error) {
	id, err := seal.NewIdentity()
	if err != nil {
		return task.Function{}, err
	}
	file, err := seal.Encrypt(id.Recipient(), p.Code)
	if err != nil {
		return task.Function{}, err
	}
	code, err := c.Peer.Blobs.Put(ctx, file)
	if err != nil {
		return task.Function{}, err
	}
	f := task.Function{Owner: c.Account(), Manifest: p.Manifest, Code: code, Broker: c.Session.Broker}
	var image *task.Blob
	if p.Manifest.Image != nil {
		blob, err := c.Peer.Blobs.Put(ctx, p.Image)
		if err != nil {
			return f, err
		}
		image = &blob
		f.Manifest.Image = &task.Image{Digest: p.Manifest.Image.Digest, Blob: blob}
	}
	if err := f.Check(); err != nil {
		return f, task.Refuse("manifest-invalid", "%v", err)
	}
	d := broker.Deposit{Owner: f.Owner, Code: code, From: c.Peer.Host.Addr(), Identity: id.Secret(), Image: image}
	d.Signature = task.Sign(c.account, d.Hash())
	raw, err := c.Peer.Host.Request(ctx, c.Session.Broker.Addr, task.ProtoDeposit, task.Encode(d))
	if err != nil {
		return f, task.Refuse("broker-unreachable", "the key broker at %s does not answer: %v", c.Session.Broker.Addr, err)
	}
	reply, err := task.Decode[broker.DepositReply](raw, task.MaxMessage)
	if err != nil {
		return f, err
	}
	if reply.Refused != "" {
		return f, task.Refuse("broker-refused", "the key broker refused the function: %s", reply.Refused)
	}
	_, err = c.Session.Node.Submit(ctx, c.account, task.Body{Publish: &task.Publish{Function: f, Bond: p.Bond}})
	return f, err
}

// CheckPublication refuses a function that the chain would refuse for its wall limit, before
// anything is encrypted and brought to a broker.
func (s *Session) CheckPublication(ctx context.Context, src Publication) error {
	params, err := s.Node.Params(ctx)
	if err != nil {
		return err
	}
	f := task.Function{Manifest: src.Manifest, Code: task.Blob{Size: uint64(len(src.Code))}}
	if i := f.Manifest.Image; i != nil {
		f.Manifest.Image = &task.Image{Digest: i.Digest, Blob: task.Blob{Size: uint64(len(src.Image))}}
	}
	var e *task.Error
	if err := params.CheckFunction(f); errors.As(err, &e) {
		return e.WithMoney("nothing was locked")
	}
	return nil
}

// Published is a directory that remembers what code each function of this user
// has: the chain has only what it is encrypted to, anew each time.
type Published string

// Save remembers the code of a function.
func (d Published) Save(id task.FunctionID, code []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	digest := sha256.Sum256(code)
	return os.WriteFile(d.path(id), digest[:], 0o600)
}

func (d Published) path(id task.FunctionID) string { return filepath.Join(string(d), id.String()) }

// Find looks for a function of the same owner, name and version. If its content
// is the same too, it is the one that more bond goes to; any other of that name
// is refused, since nobody could tell the two apart.
func (d Published) Find(ctx context.Context, s *Session, owner task.Address, src Publication, force bool) (f task.Function, known bool, err error) {
	list, err := s.Node.Functions(ctx)
	if err != nil {
		return f, false, err
	}
	var taken *ledger.FunctionRecord
	for i := range list {
		have := list[i].Function
		if m := src.Manifest; have.Owner != owner || have.Manifest.Name != m.Name || have.Manifest.Version != m.Version {
			continue
		}
		if d.same(have, src) && have.Broker == s.Broker {
			return have, true, nil
		}
		taken = &list[i]
	}
	if taken == nil || force {
		return f, false, nil
	}
	return f, false, task.Refuse("function-exists", "you have published %s %s already, as %s with %s of bond, and for all that this machine knows with other content",
		src.Manifest.Name, src.Manifest.Version, taken.Function.ID().Short(), taken.Bond).
		WithMoney("nothing was locked").WithNext("raise version in the manifest; or --force, and then name it by its id")
}

func (d Published) same(f task.Function, src Publication) bool {
	digest, err := disk.ReadFile(d.path(f.ID()), disk.MaxSecret)
	code := sha256.Sum256(src.Code)
	if err != nil || !bytes.Equal(digest, code[:]) {
		return false
	}
	m := f.Manifest
	if (m.Image == nil) != (src.Manifest.Image == nil) {
		return false
	}
	if m.Image != nil { // where it lies is not what it is
		m.Image = &task.Image{Digest: m.Image.Digest}
	}
	return bytes.Equal(task.Encode(m), task.Encode(src.Manifest))
}
