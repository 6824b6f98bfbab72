package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

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
		Use: "schema", Short: "Print the JSON Schema of the manifest", Args: none,
		RunE: func(*cobra.Command, []string) error { _, err := a.out.Write(manifestSchemaJSON); return err },
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
	c.AddCommand(init, schema, a.funcBuildCommand(), a.funcTestCommand(), pub, list, show, a.funcWithdrawCommand())
	return c
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
	if dir == "" {
		return usage("prytany func init takes DIR, and was given an empty name")
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return task.Refuse("dir-not-empty", "%s is not empty", dir).WithNext("prytany func init ANOTHER-DIR")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage("DIR: %v", err)
	}
	tmp, err := os.MkdirTemp("", "prytany-init-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := unpackExample(tmp); err != nil {
		return err
	}
	from := filepath.Join(tmp, "examples", templates[i].example)
	name := functionName(dir, templates[i].example)
	if err := renameFunction(from, name); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return err
	}
	if template == "go-wasm" {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+name+"\n\ngo 1.26\n"), 0o644); err != nil {
			return err
		}
	}
	a.say("next: edit the files in %s, then prytany func test %s --input FILE", dir, shellWord(dir))
	return a.print(funcMade{dir, template}, dir+"\n")
}

// functionName is a directory's own name, if it will do for a function and for
// a module of Go's.
func functionName(dir, otherwise string) string {
	path, err := filepath.Abs(dir)
	if name := filepath.Base(path); err == nil && plainName.MatchString(name) {
		return name
	}
	return otherwise
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// renameFunction writes a function's name into the manifest of an example.
func renameFunction(dir, name string) error {
	path, raw, err := readManifest(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(path, nameField.ReplaceAll(raw, []byte("${1}"+name+"${2}")), 0o644)
}

var nameField = regexp.MustCompile(`(?m)^(\s*"name": "|name: )[^"\n]*("?)`)

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
	rows := []funcRow{}
	for _, f := range list {
		m := f.Function.Manifest
		rows = append(rows, funcRow{f.Function.ID(), f.Function.Owner, m, f.Bond})
		fmt.Fprintf(&text, "%s  %s %s  by %s  royalty %s  %s\n", f.Function.ID(), m.Name, m.Version, f.Function.Owner.Short(), m.Royalty, m.Description)
	}
	return a.print(rows, text.String())
}
