package main

import (
	"context"
	"path/filepath"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/function"
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
	defer s.Close()
	p := client.Publication{Manifest: src.Manifest, Code: src.Code, Image: src.Image, Bond: amount}
	if err := s.CheckPublication(ctx, p); err != nil {
		return err
	}
	ctx, stop := s.WhileUp(ctx)
	defer stop()
	home, err := a.userHome()
	if err != nil {
		return err
	}
	me, err := a.openAlice(ctx, s, keys, nil)
	if err != nil {
		return err
	}
	defer me.Close()
	if err := a.fund(ctx, me); err != nil {
		return err
	}
	kept := client.Published(filepath.Join(home, "published"))
	f, known, err := kept.Find(ctx, s, me.Account(), p, force)
	switch {
	case err != nil:
	case known:
		err = me.AddBond(ctx, f, amount)
	default:
		f, err = me.Publish(ctx, p)
	}
	if err != nil {
		return err
	}
	if known {
		a.say("%s %s was published already, with this content: %s were added to its bond", f.Manifest.Name, f.Manifest.Version, amount)
	} else {
		a.say("%s %s is published, and %s of bond are locked; the broker at %s releases its key to attested enclaves", f.Manifest.Name, f.Manifest.Version, amount, s.Broker.Addr)
	}
	if err := kept.Save(f.ID(), src.Code); err != nil {
		a.say("%s this machine will not know the content again: %v", a.paint(amber, "warning:"), err)
	}
	return a.print(funcPublished{f.ID(), f.Code, amount, known}, f.ID().String()+"\n")
}
