// Deep nests as deep as packages of the standard library let it, by their own
// limits for WebAssembly.
package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"go/parser"
	"os"
	"regexp"
	"strconv"
	"strings"
)

type element struct{ X *element }

func main() {
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "xml":
		err = xml.Unmarshal([]byte(strings.Repeat("<X>", n)+strings.Repeat("</X>", n)), new(element))
	case "regexp":
		_, err = regexp.Compile("^x{1," + strconv.Itoa(n) + "}y{1," + strconv.Itoa(n) + "}$")
	case "parser":
		_, err = parser.ParseExpr(strings.Repeat("(", n) + "1" + strings.Repeat(")", n))
	case "json":
		err = json.Unmarshal([]byte(strings.Repeat("[", n)+strings.Repeat("]", n)), new(any))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
