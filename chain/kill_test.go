package chain

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

// victimHome names the variable that makes the test binary a victim.
const victimHome = "PRYTANY_TEST_VICTIM"

// victim runs a validator on disk that posts tasks and moves money without end,
// and says so after each receipt. It is there to be killed.
func victim(home string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	n, err := Start(ctx, Config{Home: home, Genesis: genesis(1), Identity: identity(0)})
	fail(err)
	c, err := Local(n)
	fail(err)
	_, err = c.Submit(ctx, account("bob"), publish())
	fail(err)
	for {
		_, err := c.Submit(ctx, account("alice"), post())
		if task.CodeOf(err) != "function-bond-low" { // too many tasks are open
			fail(err)
		}
		for range 5 {
			r, err := c.Submit(ctx, account("alice"), transfer("bob", 1))
			fail(err)
			fmt.Println(r.Nonce)
		}
	}
}

// What a client holds a receipt for survives kill −9 at any moment, and the
// validator goes on.
func TestKillMinusNine(t *testing.T) {
	home := t.TempDir()
	var last uint64
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimHome+"="+home)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 7 + 4*round {
			if !lines.Scan() {
				t.Fatalf("round %d: the validator ended by itself: %s", round, complaints.String())
			}
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	config := single(t)
	config.Home = home
	n, c := start(t, config)
	if acct, err := c.Account(patient(t), addr("alice")); err != nil || acct.Nonce <= last {
		t.Errorf("nonce %d was given a receipt, the state's next is %d: %v", last, acct.Nonce, err)
	}
	conserved(t, n)
	atRest(t, n, c)
	conserved(t, n)
}
