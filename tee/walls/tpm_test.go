package walls

import (
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tpm/swtpm"
)

// A TPM behind a socket is let in, and quotes.
func TestTPMInside(t *testing.T) {
	if err := swtpm.Missing(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	ca, err := swtpm.OpenCA(dir + "/ca")
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Setup(t.Context(), dir+"/tpm"); err != nil {
		t.Fatal(err)
	}
	s, err := swtpm.Start(dir + "/tpm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop() }()
	d, err := tpm.Open(s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	q := tpm.Quoter{Path: s.Socket}
	if q.Log, err = d.Measure("enclave", task.Hash{1}); err != nil {
		t.Fatal(err)
	}
	if q.Keys, err = d.Keys(nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	let := []string{s.Socket, s.Socket + ".lock"}
	for _, path := range let { // they are for everybody, and are to be their owner's first
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := cell{Profile: Profile{Kind: Modules, Let: let}, told: []string{"quoter=" + hex.EncodeToString(task.Encode(q))}}
	if is := c.ends(t, "quote by a TPM"); is != "done" {
		t.Error(is)
	}
	needRoot(t)
	c.Kind = Containers
	if err := Start(&exec.Cmd{Path: "/proc/self/exe"}, c.Profile); task.CodeOf(err) != "walls-missing" {
		t.Errorf("root's own: %v", err)
	}
	for _, access := range []func(string) error{
		func(path string) error { return errors.Join(os.Chown(path, 0, 12345), os.Chmod(path, 0o660)) }, // for a group
		func(path string) error { return errors.Join(os.Chown(path, 0, 0), os.Chmod(path, 0o666)) },     // for everybody
	} {
		for _, path := range let {
			if err := access(path); err != nil {
				t.Fatal(err)
			}
		}
		if is := c.ends(t, "quote by a TPM"); is != "done" {
			t.Error(is)
		}
	}
}
