package tee

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tsm"
)

// inputs are the leaves of what a node can say: fields of the pipe's own types.
// What belongs to the core is one input, for it is bound by one hash or judged
// as a whole.
func inputs(t reflect.Type, path string, to *[]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	const ours = "github.com/prytany/prytany/tee"
	if t.Kind() != reflect.Struct || t.PkgPath() != ours && !strings.HasPrefix(t.PkgPath(), ours+"/") {
		*to = append(*to, path)
		return
	}
	for f := range t.Fields() {
		if f.IsExported() {
			inputs(f.Type, strings.TrimPrefix(path+"."+f.Name, "."), to)
		}
	}
}

// Each input of the enclave stands in the specification, with why the host
// gains nothing by it; a new one has to be thought about before it passes here.
func TestEveryInputIsAccountedFor(t *testing.T) {
	var have []string
	inputs(reflect.TypeFor[Request](), "", &have)
	spec, err := os.ReadFile("../spec/09-execution.md")
	if err != nil {
		t.Fatal(err)
	}
	section := string(spec)
	section = section[strings.Index(section, "## 9.1"):strings.Index(section, "## 9.2")]
	var written []string
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*?) \\|(.*)\\|$").FindAllStringSubmatch(section, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			written = append(written, strings.Trim(name, "`"))
		}
		if len(strings.TrimSpace(m[2])) < 20 {
			t.Errorf("%s: %q is no reason", m[1], m[2])
		}
	}
	slices.Sort(have)
	slices.Sort(written)
	if len(have) < 20 || !slices.Equal(have, written) {
		t.Errorf("the pipe takes\n%s\nand spec §9.1.5 has\n%s", strings.Join(have, "\n"), strings.Join(written, "\n"))
	}
}

// A host cannot say two platforms, nor one of another kind.
func TestOnePlatform(t *testing.T) {
	sim, hardware := &Simulated{Measurement: [32]byte{7}}, &vmQuoter
	for name, p := range map[string]Platform{
		"none":                          {},
		"simulated without a chip":      {Kind: attest.Simulated},
		"a chip, and said to be a TPM":  {Kind: attest.TPM, Simulated: sim},
		"a chip, and said to be Nitro":  {Kind: attest.Nitro, Simulated: sim},
		"a VM, and said to be another":  {Kind: attest.TDX, VM: hardware},
		"a VM, and a chip":              {Kind: attest.SEVSNP, VM: hardware, Simulated: sim},
		"a chip, and a VM":              {Kind: attest.Simulated, VM: hardware, Simulated: sim},
		"a TPM, and a chip":             {Kind: attest.TPM, TPM: &tpmQuoter, Simulated: sim},
		"a VM, and said to be nothing":  {VM: hardware},
		"a VM that is said to be a TPM": {Kind: attest.TPM, VM: hardware},
	} {
		if q, err := p.Quoter(); err == nil {
			t.Errorf("%s: %T", name, q)
		}
	}
	for kind, p := range map[attest.Kind]Platform{
		attest.Simulated: {Simulated: sim}, attest.TPM: {TPM: &tpmQuoter}, attest.SEVSNP: {VM: hardware}, attest.Nitro: {},
	} {
		p.Kind = kind
		if q, err := p.Quoter(); err != nil || q.Kind() != kind {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

var (
	vmQuoter  = tsm.Quoter{Is: attest.SEVSNP}
	tpmQuoter = tpm.Quoter{Path: tpm.DefaultPath}
)

// An enclave does not start in an environment that is not the one given to it:
// the Go runtime obeys words in there.
func TestEnvironment(t *testing.T) {
	for _, extra := range []string{"GODEBUG=x509usefallbackroots=1", "TMPDIR=/host", "GOGC=100", "HOME=/root"} {
		if err := CheckEnvironment(append(slices.Clone(environment), extra)); err == nil {
			t.Errorf("%s was let pass", extra)
		}
	}
	if err := CheckEnvironment(environment); err != nil {
		t.Error(err)
	}
}
