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
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	greeting := fmt.Sprintf("Hello, %s!\n", bytes.TrimSpace(name))
	if err := os.WriteFile("/out/greeting.txt", []byte(greeting), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
