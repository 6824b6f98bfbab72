package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

func (a *app) funcCommand() *cobra.Command {
	c := &cobra.Command{Use: "func", Short: "Write, try, build and publish functions: Bob's side"}
	var template string
	init := &cobra.Command{
		Use: "init DIR", Short: "Start a function: source and a manifest", Args: exactly(1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error { return a.funcInit(args[0], template) },
	}
	init.Flags().StringVar(&template, "template", "go-wasm", "what to start from: "+templateNames())
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the manifest", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { _, err := a.out.Write(manifestSchemaJSON); return err },
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
	c.AddCommand(init, schema, a.funcBuildCommand(), a.funcTestCommand(), pub, list, show, a.funcWithdrawCommand())
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

// templates are what a function may start from: examples that this program carries.
var templates = []struct{ name, example string }{
	{"go-wasm", "hello"}, {"python", "python"}, {"python-container", "pillow"}, {"container", "container"},
}

func templateNames() string {
	var names []string
	for _, t := range templates {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

func (a *app) funcInit(dir, template string) error {
	i := slices.IndexFunc(templates, func(t struct{ name, example string }) bool { return t.name == template })
	if i < 0 {
		return usage("--template: %q is none of %s", template, templateNames())
	}
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
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(tmp, "examples", templates[i].example))); err != nil {
		return err
	}
	if template == "go-wasm" {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+filepath.Base(dir)+"\n\ngo 1.26\n"), 0o644); err != nil {
			return err
		}
	}
	a.say("next: edit the files in %s, then prytany func test %s --input FILE", dir, dir)
	return a.print(map[string]string{"dir": dir, "template": template}, dir+"\n")
}

func (a *app) funcPublish(c *cobra.Command, dir, bond string) error {
	ctx := c.Context()
	amount, err := task.ParseAmount(bond)
	if err != nil {
		return usage("--bond: %v", err)
	}
	src, err := a.loadSource(ctx, dir)
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
	f, err := publish(ctx, me.host, s.chain, me.blobs, keys.Account(), publication{source: src, broker: s.Broker, bond: amount})
	if err != nil {
		return err
	}
	m := f.Manifest
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
