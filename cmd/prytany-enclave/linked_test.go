package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write linked.txt anew")

// linked lists the packages in this program, each with its module's version;
// those of the standard library and of this module have none.
func linked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}{{with .Module}}{{with .Version}} {{.}}{{end}}{{end}}", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	list := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(list)
	return list
}

// What is in the enclave is in linked.txt, and nobody adds to it by the way.
func TestLinked(t *testing.T) {
	now := linked(t)
	if *rewrite {
		if err := os.WriteFile("linked.txt", []byte(strings.Join(now, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("linked.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := difference(strings.Split(strings.TrimSpace(string(raw)), "\n"), now); diff != "" {
		t.Errorf("what is linked into the enclave has changed:\n%sif that is meant: go test ./cmd/prytany-enclave -run TestLinked -rewrite", diff)
	}
}

// difference has a line for what only one of two lists has: - the first, + the
// second.
func difference(a, b []string) string {
	var diff strings.Builder
	for _, side := range []struct {
		mark      string
		has, lack []string
	}{{"- ", a, b}, {"+ ", b, a}} {
		for _, line := range side.has {
			if !slices.Contains(side.lack, line) {
				diff.WriteString(side.mark + line + "\n")
			}
		}
	}
	return diff.String()
}

func TestDifference(t *testing.T) {
	for _, row := range []struct {
		a, b []string
		want string
	}{
		{nil, nil, ""},
		{[]string{"a", "b"}, []string{"a", "b"}, ""},
		{[]string{"a"}, []string{"a", "net/http"}, "+ net/http\n"},
		{[]string{"a", "b v1"}, []string{"a", "b v2"}, "- b v1\n+ b v2\n"},
	} {
		if got := difference(row.a, row.b); got != row.want {
			t.Errorf("%v, %v: %q, want %q", row.a, row.b, got, row.want)
		}
	}
}

// forbidden are what must never be in the enclave, whatever linked.txt says, by
// the beginning of their import paths.
var forbidden = map[string]string{
	"net/http":                                  "the enclave speaks to nobody but the node, over a pipe; an HTTP client is a way out",
	"golang.org/x/net":                          "the enclave speaks to nobody but the node, over a pipe",
	"google.golang.org/grpc":                    "the enclave speaks to nobody but the node, over a pipe",
	"plugin":                                    "code that was not measured",
	"runtime/cgo":                               "the program is static, and the same whoever builds it",
	"github.com/spf13":                          "the enclave takes no arguments: whoever starts it would configure it",
	"github.com/libp2p":                         "the network is the node's",
	"github.com/ipfs/boxo":                      "files are the node's: they come by the pipe",
	"github.com/cometbft":                       "the chain is the node's: the enclave believes no host about it",
	"github.com/dgraph-io":                      "the enclave keeps nothing",
	"go.etcd.io/bbolt":                          "the enclave keeps nothing",
	"go.opentelemetry.io":                       "telemetry is a way out",
	"github.com/prometheus":                     "telemetry is a way out",
	"github.com/moby/moby":                      "the Docker engine sees the plaintext: its client is in prytany-enclave-docker alone",
	"github.com/prytany/prytany/chain":          "the chain is the node's",
	"github.com/prytany/prytany/ledger":         "the enclave takes no decision of the chain's",
	"github.com/prytany/prytany/node":           "the node is outside",
	"github.com/prytany/prytany/owner":          "owners are outside",
	"github.com/prytany/prytany/p2p":            "the network is the node's",
	"github.com/prytany/prytany/blob":           "files are the node's: they come by the pipe",
	"github.com/prytany/prytany/journal":        "the enclave keeps nothing",
	"github.com/prytany/prytany/sandbox/docker": "the Docker engine sees the plaintext",
	"testing": "tests are not shipped",
}

func TestForbidden(t *testing.T) {
	for _, line := range linked(t) {
		for path, why := range forbidden {
			p, _, _ := strings.Cut(line, " ")
			if p == "golang.org/x/net/bpf" { // an assembler of filters: the walls'
				continue
			}
			if p == path || strings.HasPrefix(p, path+"/") {
				t.Errorf("%s is linked in: %s", p, why)
			}
		}
	}
}
