package main

import (
	"strings"

	"github.com/prytany/prytany/task"
	"github.com/spf13/cobra"
)

// usage is an error of the command line itself: exit code 2.
func usage(format string, args ...any) *task.Error { return task.Refuse("usage", format, args...) }

// helpOf says where a command is explained.
func helpOf(c *cobra.Command) string { return c.CommandPath() + " --help" }

// exactly asks for n arguments, by name.
func exactly(n int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %s", c.CommandPath(), names).WithNext("%s", helpOf(c))
		}
		return nil
	}
}

// none asks for no arguments.
func none(c *cobra.Command, args []string) error {
	if len(args) > 0 && c.HasSubCommands() {
		return unknown(c, args)
	}
	if len(args) > 0 {
		return usage("%s takes no arguments, and was given %q", c.CommandPath(), args[0]).WithNext("%s", helpOf(c))
	}
	return nil
}

// strict makes every wrong command line an error with the code usage: left to
// itself, cobra prints help and calls it success.
func strict(c *cobra.Command) {
	for _, sub := range c.Commands() {
		strict(sub)
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage("%v", err).WithNext("%s", helpOf(c)) })
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err != nil && task.CodeOf(err) == "" {
				return usage("%v", err).WithNext("%s", helpOf(c))
			}
			return err
		}
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.Args, c.RunE = cobra.ArbitraryArgs, unknown
	}
}

// unknown refuses what is no subcommand of c.
func unknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage("%s takes a subcommand: %s", c.CommandPath(), subcommands(c)).WithNext("%s", helpOf(c))
	}
	next := helpOf(c)
	c.SuggestionsMinimumDistance = 2
	if like := c.SuggestionsFor(args[0]); len(like) > 0 {
		next = c.CommandPath() + " " + like[0]
	}
	return usage("%s has no subcommand %q; it has %s", c.CommandPath(), args[0], subcommands(c)).WithNext("%s", next)
}

func subcommands(c *cobra.Command) string {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return strings.Join(names, ", ")
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Explain a command",
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknown(of, rest)
			}
			return of.Help()
		},
	}
}
