package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/peer"
	"github.com/prytany/prytany/task"
)

func (a *app) funcPublish(ctx context.Context, dir, bond string, force bool) error {
	amount, err := task.ParseAmount(bond)
	if err != nil {
		return usage("--bond: %v", err)
	}
	src, err := function.Load(ctx, dir, a.say)
	if err != nil {
		return err
	}
	if m := src.Manifest; m.Log && !m.Public {
		a.say("%s the log is on, and the code is private: whoever runs %s reads what it writes to its standard error, such as tracebacks (log: in the manifest)", a.paint(amber, "warning:"), m.Name)
	}
	keys, s, err := a.signIn(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := lasts(ctx, s, src); err != nil {
		return err
	}
	ctx, stop := s.whileUp(ctx)
	defer stop()
	home, err := a.userHome()
	if err != nil {
		return err
	}
	me, err := peer.Open(ctx, p2p.Config{Key: keys.Peer(), Log: a.logger()}, filepath.Join(home, "blobs"), blob.Space{Bytes: peer.Space, Evict: true}, s.Bootstrap)
	if err != nil {
		return err
	}
	defer me.Close()
	account := keys.Account()
	if err := a.fund(ctx, s, me, task.PublicKey(account)); err != nil {
		return err
	}
	kept := contents(filepath.Join(home, "published"))
	f, known, err := kept.find(ctx, s, task.PublicKey(account), src, force)
	switch {
	case err != nil:
	case known:
		_, err = s.chain.Submit(ctx, account, task.Body{Publish: &task.Publish{Function: f, Bond: amount}})
	default:
		f, err = publish(ctx, me.Host, s.chain, me.Blobs, account, publication{Source: src, broker: s.Broker, bond: amount})
	}
	if err != nil {
		if e := cutShort(ctx, "it is not known whether the function was published"); e != nil {
			return e.WithMoney("%s of bond are locked, if it was", amount).WithNext("prytany func list")
		}
		return err
	}
	if known {
		a.say("%s %s was published already, with this content: %s were added to its bond", f.Manifest.Name, f.Manifest.Version, amount)
	} else {
		a.say("%s %s is published, and %s of bond are locked; the broker at %s releases its key to attested enclaves", f.Manifest.Name, f.Manifest.Version, amount, s.Broker.Addr)
	}
	if err := kept.save(f.ID(), src.Code); err != nil {
		a.say("%s this machine will not know the content again: %v", a.paint(amber, "warning:"), err)
	}
	return a.print(funcPublished{f.ID(), f.Code, amount, known}, f.ID().String()+"\n")
}

// lasts refuses a function that the chain would refuse for its wall limit, before
// anything is encrypted and brought to a broker.
func lasts(ctx context.Context, s *session, src function.Source) error {
	params, err := s.chain.Params(ctx)
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

// contents is a directory that remembers what code each function of this user
// has: the chain has only what it is encrypted to, anew each time.
type contents string

func (d contents) save(id task.FunctionID, code []byte) error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	digest := sha256.Sum256(code)
	return os.WriteFile(d.path(id), digest[:], 0o600)
}

func (d contents) path(id task.FunctionID) string { return filepath.Join(string(d), id.String()) }

// find looks for a function of the same owner, name and version. If its content
// is the same too, it is the one that more bond goes to; any other of that name
// is refused, since nobody could tell the two apart.
func (d contents) find(ctx context.Context, s *session, owner task.Address, src function.Source, force bool) (f task.Function, known bool, err error) {
	list, err := s.chain.Functions(ctx)
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

func (d contents) same(f task.Function, src function.Source) bool {
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
