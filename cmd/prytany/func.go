package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) funcCommand() *cobra.Command {
	c := &cobra.Command{Use: "func", Short: "Write, build and publish functions: Bob's side"}
	init := &cobra.Command{
		Use: "init DIR", Short: "Start a function from the example: Go source and a manifest", Args: exactly(1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return a.funcInit(args[0]) },
	}
	build := &cobra.Command{
		Use: "build DIR", Short: "Compile a function to WASM", Args: exactly(1, "DIR"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcBuild(c, args[0]) },
	}
	var bond string
	pub := &cobra.Command{
		Use: "publish DIR", Short: "Encrypt a function and publish it; its key goes to the network's broker", Args: exactly(1, "DIR"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcPublish(c, args[0], bond) },
	}
	pub.Flags().StringVar(&bond, "bond", "100", "PRY that vouch for the key's release")
	list := &cobra.Command{
		Use: "list", Short: "List the published functions", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.funcList(c) },
	}
	show := &cobra.Command{
		Use: "show FUNCTION", Short: "Print a function's record, with the outcome of each task", Args: exactly(1, "FUNCTION"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcShow(c.Context(), args[0]) },
	}
	c.AddCommand(init, build, pub, list, show)
	return c
}

// exactly asks for n arguments, by name.
func exactly(n int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %s", c.CommandPath(), names).WithNext("%s --help", c.CommandPath())
		}
		return nil
	}
}

func (a *app) funcInit(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return task.Refuse("dir-not-empty", "%s is not empty", dir)
	}
	tmp, err := os.MkdirTemp("", "prytany-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := unpackExample(tmp); err != nil {
		return err
	}
	name := filepath.Base(dir)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(tmp, "examples", "hello"))); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+name+"\n\ngo 1.26\n"), 0o644); err != nil {
		return err
	}
	a.say("next: edit %s and %s, then prytany func publish %s", filepath.Join(dir, "main.go"), filepath.Join(dir, manifestName), dir)
	return a.print(map[string]string{"dir": dir}, dir+"\n")
}

// loadFunction reads a manifest and gets the WASM: function.wasm beside it, or
// compiled from the Go source.
func (a *app) loadFunction(c *cobra.Command, dir string) (task.Manifest, []byte, error) {
	raw, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return task.Manifest{}, nil, task.Refuse("manifest-missing", "there is no %s in %s", manifestName, dir).WithNext("prytany func init DIR")
	}
	if err != nil {
		return task.Manifest{}, nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return m, nil, err
	}
	if code, err := os.ReadFile(filepath.Join(dir, wasmName)); err == nil {
		return m, code, nil
	}
	a.say("compiling %s to WASM", dir)
	code, err := buildGo(c.Context(), dir)
	return m, code, err
}

// wasmName is a function's compiled code, if its author brings it.
const wasmName = "function.wasm"

func (a *app) funcBuild(c *cobra.Command, dir string) error {
	code, err := buildGo(c.Context(), dir)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, wasmName)
	if err := os.WriteFile(path, code, 0o644); err != nil {
		return err
	}
	return a.print(map[string]any{"file": path, "bytes": len(code)}, path+"\n")
}

func (a *app) funcPublish(c *cobra.Command, dir, bond string) error {
	ctx := c.Context()
	amount, err := task.ParseAmount(bond)
	if err != nil {
		return usage("--bond: %v", err)
	}
	m, code, err := a.loadFunction(c, dir)
	if err != nil {
		return err
	}
	keys, err := a.keystore()
	if err != nil {
		return err
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	home, err := a.userHome()
	if err != nil {
		return err
	}
	me, err := openService(ctx, p2p.Config{Key: keys.Peer(), Log: a.logger()}, filepath.Join(home, "blobs"), s.Bootstrap)
	if err != nil {
		return err
	}
	defer me.close()
	if err := a.fund(ctx, s, me, task.PublicKey(keys.Account())); err != nil {
		return err
	}
	f, err := publish(ctx, me.host, s.chain, me.blobs, keys.Account(), publication{manifest: m, code: code, broker: s.Broker, bond: amount})
	if err != nil {
		return err
	}
	a.say("%s %s is published; the broker at %s releases its key to attested enclaves", m.Name, m.Version, s.Broker.Addr)
	return a.print(map[string]any{"function": f.ID(), "code": f.Code}, f.ID().String()+"\n")
}

func (a *app) funcList(c *cobra.Command) error {
	s, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	defer s.close()
	list, err := s.chain.Functions(c.Context())
	if err != nil {
		return err
	}
	var text strings.Builder
	type row struct {
		ID       task.FunctionID `json:"id"`
		Owner    task.Address    `json:"owner"`
		Manifest task.Manifest   `json:"manifest"`
		Bond     task.Amount     `json:"bond"`
	}
	rows := []row{}
	for _, f := range list {
		m := f.Function.Manifest
		rows = append(rows, row{f.Function.ID(), f.Function.Owner, m, f.Bond})
		fmt.Fprintf(&text, "%s  %s %s  by %s  royalty %s  %s\n", f.Function.ID(), m.Name, m.Version, f.Function.Owner.Short(), m.Royalty, m.Description)
	}
	return a.print(rows, text.String())
}
