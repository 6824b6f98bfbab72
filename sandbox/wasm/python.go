package wasm

import (
	_ "embed"
	"strings"
)

// pythonStart is what the interpreter runs first. It keeps Bob's source out of
// Alice's log.
//
//go:embed python_start.py
var pythonStart string

// pythonArgs makes the arguments of an interpreter that are to run Bob's
// program run pythonStart, which runs it. They are, as on Python's command
// line: options, what to run (a file, -m module or -c code), and arguments.
// Where nothing is to be run they stay as they are.
func pythonArgs(args []string) []string {
	start := func(options []string, how, what string, rest []string) []string {
		return append(append(append([]string{}, options...), "-c", pythonStart, how, what), rest...)
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--" && i+1 < len(args):
			return start(args[:i], "file", args[i+1], args[i+2:])
		case a == "-" || a == "--":
			return args // standard input, of which there is none
		case strings.HasPrefix(a, "--check-hash-based-pycs"):
			if a == "--check-hash-based-pycs" {
				i++
			}
		case strings.HasPrefix(a, "--"):
			return args // Python tells of itself
		case !strings.HasPrefix(a, "-"):
			return start(args[:i], "file", a, args[i+1:])
		default:
			n := strings.IndexAny(a, "cmWX") // letters before it are options of their own
			if n < 0 {
				continue
			}
			how, what, rest := a[n], a[n+1:], args[i+1:]
			if what == "" {
				if len(rest) == 0 {
					return args // Python says what is missing
				}
				what, rest = rest[0], rest[1:]
			}
			if how == 'W' || how == 'X' {
				i = len(args) - len(rest) - 1
				continue
			}
			options := append([]string{}, args[:i]...)
			if n > 1 {
				options = append(options, a[:n])
			}
			return start(options, "-"+string(how), what, rest)
		}
	}
	return args
}
