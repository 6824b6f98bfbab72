// Command prytany runs private code on private data, on machines that nobody
// has to trust.
//
// It is flags and printing. What it does is in libraries that print nothing: package
// host starts the processes of a network, package client is what Alice and Bob do,
// package function makes functions.
//
// stdout carries data only; progress and errors go to stderr. Exit codes: 0
// done, 1 it did not hold or did not work, 2 it could not be tried.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/wallet"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is what all commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	json     bool
	verbose  bool
	quiet    bool
	home     string
	network  string
	passFile string
	keys     *wallet.Keystore // nil until it was needed
	colour   bool             // stderr is a terminal and NO_COLOR is not set
}

// run is the whole program but for the process around it.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	if f, ok := errOut.(*os.File); ok {
		a.colour = term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process, whatever it hangs in
	root := a.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	if ctx.Err() != nil {
		err = interrupted(err)
	}
	a.explain(err)
	switch task.CodeOf(err) {
	case "usage", "could-not", godebugSet, goDiffers, attest.NotEvidence, attest.NotRead, attest.NotWhole:
		return 2
	}
	return 1
}

// interrupted says of an error that a signal was its cause, unless it says
// more: what became of money.
func interrupted(err error) error {
	var e *task.Error
	if errors.As(err, &e) && (e.Code == "interrupted" || e.Money != "") {
		return err
	}
	return task.Refuse("interrupted", "stopped by a signal before it was done: %v", err)
}

// exitCode ends the program without another word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// explain writes an error for a person, or for a program with --json.
func (a *app) explain(err error) {
	var e *task.Error
	if !errors.As(err, &e) {
		e = &task.Error{Code: "failed", What: err.Error()}
	}
	if a.json {
		var u unfinished
		_ = errors.As(err, &u)
		_ = json.NewEncoder(a.err).Encode(struct {
			Error *task.Error `json:"error"`
			*finished
		}{e, u.finished})
		return
	}
	fmt.Fprintf(a.err, "%s %s\n", a.paint(red, "error["+visible(e.Code)+"]:"), visible(e.What))
	for _, line := range []struct{ label, text string }{{"fault", e.Fault}, {"money", e.Money}, {"next", e.Next}} {
		if line.text != "" {
			fmt.Fprintf(a.err, "  %s: %s\n", line.label, visible(line.text))
		}
	}
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "prytany",
		Short:         "Private code on private data, on machines that nobody has to trust",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.checkFit(c) },
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "write JSON to stdout, and lines of JSON to stderr")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "write the log to stderr")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on stderr")
	f.StringVar(&a.home, "home", "", "directory of this user's keys (default: PRYTANY_HOME, or prytany in the user's data directory)")
	f.StringVar(&a.network, "network", "", "network file to use (default: the one that the last devnet here wrote)")
	f.StringVar(&a.passFile, "passphrase-file", "", "read the key's passphrase from a file, - for stdin (default: ask)")
	root.AddCommand(
		a.demoCommand(), a.devnetCommand(), a.keyCommand(), a.funcCommand(), a.runCommand(),
		a.taskCommand(), a.nodeCommand(), a.chainCommand(), a.validatorCommand(), a.verifyCommand(), a.attestCommand(), a.simulateCommand(), a.doctorCommand(), a.versionCommand(),
	)
	version := root.Flags().Bool("version", false, "print the version")
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return unknown(c, args)
		case *version:
			return a.printVersion()
		}
		return c.Help()
	}
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// userHome is where this user's keys are.
func (a *app) userHome() (string, error) {
	if a.home != "" {
		return a.home, nil
	}
	if h := os.Getenv("PRYTANY_HOME"); h != "" {
		return h, nil
	}
	if h := os.Getenv("XDG_DATA_HOME"); h != "" {
		return filepath.Join(h, "prytany"), nil
	}
	h, err := os.UserHomeDir()
	return filepath.Join(h, ".local", "share", "prytany"), err
}

// configDir is where pinned networks are: no secrets.
func configDir() (string, error) {
	h, err := os.UserConfigDir()
	return filepath.Join(h, "prytany"), err
}

// logger writes warnings to stderr, and with --verbose everything.
func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelInfo
	}
	if a.quiet {
		level = slog.LevelError
	}
	if a.json {
		return slog.New(slog.NewJSONHandler(a.err, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}

// engineLogger is for the chain's engine, which warns of every connection that
// ends; its failures are errors of the command.
func (a *app) engineLogger() *slog.Logger {
	if a.verbose {
		return a.logger()
	}
	return slog.New(slog.DiscardHandler)
}

// print writes a result to stdout: as JSON, or as text.
func (a *app) print(v any, text string) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	_, err := fmt.Fprint(a.out, screen(text))
	return err
}

// Colours of the terminal.
const (
	red   = "31"
	green = "32"
	amber = "33"
	dim   = "2"
	bold  = "1"
)

func (a *app) paint(colour, s string) string {
	if !a.colour || a.json {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// visible is text of somebody else's for a terminal, without its last line's end.
func visible(text string) string { return strings.TrimRight(escape(text), "\n") }

// escape writes control characters out, which could do anything on a terminal.
func escape(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\ufffd") {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\x%02x", r)
		}
	}
	return b.String()
}

// ours are the colours that paint writes. They are all that a terminal may obey of
// what this program prints.
var ours = regexp.MustCompile("\x1b\\[(?:0|1|2|31|32|33)m")

// screen is whole output for a terminal: visible, but for our own colours. All text
// for people goes through it, so that nobody has to remember whose words are in it.
func screen(text string) string {
	var b strings.Builder
	at := 0
	for _, m := range append(ours.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		b.WriteString(escape(text[at:m[0]]))
		b.WriteString(text[m[0]:m[1]])
		at = m[1]
	}
	return b.String()
}

// say writes a line of progress to stderr.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		a.tell("progress", fmt.Sprintf(format, args...))
	}
}

// tell writes a line to stderr: as it is, or for a program, with what it is.
func (a *app) tell(what, text string) {
	if a.json {
		_ = json.NewEncoder(a.err).Encode(map[string]string{what: text})
		return
	}
	fmt.Fprintln(a.err, screen(text))
}
