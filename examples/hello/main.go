// Command hello is the smallest function: it reads the file in /in, greets
// whoever it names, and writes the greeting to /out.
package main

import (
	"bytes"
	"fmt"
	"os"
)

func main() {
	name, err := os.ReadFile("/in/input")
	if err == nil {
		greeting := fmt.Sprintf("Hello, %s!\n", bytes.TrimSpace(name))
		err = os.WriteFile("/out/greeting.txt", []byte(greeting), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)                                   // for you
		_ = os.WriteFile("/out/error.txt", []byte(err.Error()), 0o600) // for Alice
		os.Exit(1)
	}
}
