package main

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/function"
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
	init.Flags().StringVar(&template, "template", "go-wasm", "what to start from: "+function.Templates())
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the manifest", Args: none,
		RunE: func(*cobra.Command, []string) error { _, err := a.out.Write(function.Schema); return err },
	}
	var bond string
	var force bool
	pub := &cobra.Command{
		Use: "publish DIR", Short: "Encrypt a function and publish it; its key goes to the network's broker", Args: exactly(1, "DIR"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcPublish(c.Context(), args[0], bond, force) },
	}
	pub.Flags().StringVar(&bond, "bond", "100", "PRY that vouch for the key's release; publishing the same again adds to them")
	pub.Flags().BoolVar(&force, "force", false, "publish other content under a name and version of yours that are taken")
	list := &cobra.Command{
		Use: "list", Short: "List the published functions", Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return a.funcList(c) },
	}
	show := &cobra.Command{
		Use: "show FUNCTION", Short: "Print a function's record, with the outcome of each task", Args: exactly(1, "FUNCTION"),
		RunE: func(c *cobra.Command, args []string) error { return a.funcShow(c.Context(), args[0]) },
	}
	c.AddCommand(init, schema, a.funcBuildCommand(), a.funcLockCommand(), a.funcTestCommand(), pub, list, show, a.funcWithdrawCommand())
	return c
}

func (a *app) funcInit(dir, template string) error {
	if err := function.Init(dir, template); err != nil {
		return err
	}
	a.say("next: edit the files in %s, then prytany func test %s --input FILE", dir, task.ShellWord(dir))
	return a.print(funcMade{dir, template}, dir+"\n")
}

func (a *app) funcList(c *cobra.Command) error {
	s, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	defer s.Close()
	list, err := s.Node.Functions(c.Context())
	if err != nil {
		return err
	}
	var text strings.Builder
	rows := []funcRow{}
	for _, f := range list {
		m := f.Function.Manifest
		rows = append(rows, funcRow{f.Function.ID(), f.Function.Owner, m, f.Bond})
		fmt.Fprintf(&text, "%s  %s %s  by %s  royalty %s  %s\n", f.Function.ID(), m.Name, m.Version, f.Function.Owner.Short(), m.Royalty, m.Description)
	}
	return a.print(rows, text.String())
}
