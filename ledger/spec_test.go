package ledger

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// The table of spec §3.9 has every parameter under its key, with the value of
// the embedded network.
func TestSpecSaysTheParameters(t *testing.T) {
	raw, err := os.ReadFile("../spec/03-registry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(raw), "## 3.9 Parameters")
	said := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| .*? \| ?(.*?) ?\|$`).FindAllStringSubmatch(table, -1) {
		said[row[1]] = row[2]
	}
	keys := map[string]uint64{}
	fields(reflect.ValueOf(Embedded("c")), keys)
	if len(said) != len(keys)+1 { // the chain's name is no number
		t.Errorf("the spec has %d parameters, the code %d", len(said), len(keys)+1)
	}
	for key, value := range keys {
		number, unit, _ := strings.Cut(strings.ReplaceAll(said[key], ",", ""), " ")
		n, err := strconv.ParseUint(number, 10, 64)
		if unit == "PRY" {
			n *= uint64(task.PRY)
		}
		if err != nil || n != value {
			t.Errorf("parameter %s: the spec says %q, the code %d", key, said[key], value)
		}
	}
}

// fields collects the numbers of a struct by their CBOR keys.
func fields(v reflect.Value, into map[string]uint64) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("cbor"), ",")
		switch {
		case f.Anonymous:
			fields(v.Field(i), into)
		case v.Field(i).CanUint():
			into[key] = v.Field(i).Uint()
		}
	}
}
