// Command guest is a function: it writes its input in capitals.
package main

import (
	"bytes"
	"os"
)

func main() {
	b, err := os.ReadFile("/in/input")
	if err == nil {
		err = os.WriteFile("/out/output", bytes.ToUpper(b), 0o600)
	}
	if err != nil {
		panic(err)
	}
}
