package schema_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/prytany/prytany/schema"
)

// The README says how much the example's report can say.
func TestTheReportOfTheExample(t *testing.T) {
	raw, err := os.ReadFile("../examples/validation/report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("at most %d bits", s.Bits()); !bytes.Contains(readme, []byte(want)) {
		t.Errorf("README.md does not say %q", want)
	}
}
