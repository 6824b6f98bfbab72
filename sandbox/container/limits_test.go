package container

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process passes its limits on to what it starts. Narrow ones that the host has
// given to the enclave are the host's failure, and not the function's.
func TestNarrowLimitsAreTheMachines(t *testing.T) {
	skipInShort(t)
	if name := os.Getenv("PRYTANY_TEST_NARROW"); name != "" {
		j, r := job(t, "hold", "64", "300"), open(t, name)
		var id int
		var l unix.Rlimit
		if _, err := fmt.Sscan(os.Getenv("PRYTANY_TEST_LIMIT"), &id, &l.Cur); err != nil {
			t.Fatal(err)
		}
		l.Max = l.Cur
		if err := unix.Setrlimit(id, &l); err != nil {
			t.Fatal(err)
		}
		res, err := r.Run(t.Context(), j)
		fmt.Printf("it ended: %v, %v\n", res.Outcome, err)
		return
	}
	const inherited, own, ok = "outcome 0, this process is limited to", "outcome 0, ", "ok, <nil>"
	for _, c := range []struct {
		what string
		id   int
		most uint64
		want string
	}{
		{"processes", unix.RLIMIT_NPROC, 2, inherited},
		{"stack", unix.RLIMIT_STACK, 64 << 10, inherited},
		{"processor time", unix.RLIMIT_CPU, 20, inherited},
		{"address space", unix.RLIMIT_AS, 16 << 30, inherited},
		{"data", unix.RLIMIT_DATA, 4 << 30, inherited},
		{"open files", unix.RLIMIT_NOFILE, 64, own}, // a job has its own, which are then refused
		{"core", unix.RLIMIT_CORE, 0, ok},
	} {
		t.Run(c.what, func(t *testing.T) {
			two(t, func(t *testing.T, r *Runtime) {
				if r.engine.kernel && c.want != ok {
					t.Skip("it is refused before a runtime starts")
				}
				cmd := exec.Command("/proc/self/exe", "-test.run=^TestNarrowLimitsAreTheMachines$")
				cmd.Env = append(os.Environ(), "PRYTANY_TEST_NARROW="+r.Name(), fmt.Sprintf("PRYTANY_TEST_LIMIT=%d %d", c.id, c.most))
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "it ended: "+c.want) {
					t.Errorf("%v: %.800s", err, out)
				}
			})
		})
	}
}
