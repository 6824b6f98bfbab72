// Package swtpm starts software TPMs, for tests and demonstrations: each keeps
// its state in a directory and serves one Unix socket. Such a TPM protects
// nothing, and its certificate, by a CA made here, says that it is software.
package swtpm

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/task"
)

// Missing says what is not installed, or is nil.
func Missing() error {
	for _, name := range []string{"swtpm", "swtpm_setup", "swtpm_localca"} {
		if _, err := exec.LookPath(name); err != nil {
			return task.Refuse("tpm-missing", "%s is not installed, so there is no software TPM", name).
				WithNext("apt-get install swtpm swtpm-tools")
		}
	}
	return nil
}

// CA makes the certificates of the TPMs that are set up with it.
type CA struct {
	dir string
	mu  sync.Mutex // swtpm's tool makes one certificate at a time
}

// OpenCA makes a CA in a directory, or takes the one that is there.
func OpenCA(dir string) (*CA, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	tool, err := exec.LookPath("swtpm_localca")
	if err != nil {
		return nil, Missing()
	}
	for name, text := range map[string]string{
		"setup.conf": fmt.Sprintf("create_certs_tool = %s\ncreate_certs_tool_config = %s/ca.conf\ncreate_certs_tool_options = %s/ca.options\nactive_pcr_banks = sha256\n", tool, dir, dir),
		"ca.conf":    fmt.Sprintf("statedir = %s\nsigningkey = %s/signkey.pem\nissuercert = %s/issuercert.pem\ncertserial = %s/certserial\n", dir, dir, dir, dir),
		"ca.options": "--platform-manufacturer Prytany\n--platform-version 1\n--platform-model software\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return &CA{dir: dir}, nil
}

// Root is the certificate that a chain must name to take these TPMs, DER. It is
// there after the first Setup.
func (ca *CA) Root() ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(ca.dir, "issuercert.pem"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("swtpm: the CA's certificate is not PEM")
	}
	return block.Bytes, nil
}

// Setup makes a TPM's state in a directory, with keys and a certificate,
// unless it is there.
func (ca *CA) Setup(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "tpm2-00.permall")); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	out, err := exec.CommandContext(ctx, "swtpm_setup", "--tpm2", "--tpmstate", dir, "--create-ek-cert", "--config", filepath.Join(ca.dir, "setup.conf")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("swtpm_setup: %w: %s", err, out)
	}
	return nil
}

// TPM is a running one.
type TPM struct {
	Socket string
	cmd    *exec.Cmd
}

// Start runs the TPM whose state is in a directory, as after power on. It dies
// with this process.
func Start(dir string) (*TPM, error) {
	// A path of a socket holds some hundred bytes at most.
	run, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		return nil, err
	}
	t := &TPM{Socket: filepath.Join(run, "tpm.sock")}
	t.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+t.Socket, "--flags", "not-need-init,startup-clear")
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := t.cmd.Start(); err != nil {
		_ = os.RemoveAll(run)
		return nil, fmt.Errorf("swtpm: %w", err)
	}
	for range 500 {
		if c, err := net.Dial("unix", t.Socket); err == nil { // it listens
			_ = c.Close()
			return t, t.share()
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = t.Stop()
	return nil, fmt.Errorf("swtpm: it does not come up")
}

// share lets in enclaves that are no user of this machine, whose walls let these
// two files through. Nobody else gets as far: the directory is its owner's.
func (t *TPM) share() error {
	lock, err := os.Create(t.Socket + ".lock")
	if err != nil {
		return err
	}
	return errors.Join(lock.Chmod(0o666), lock.Close(), os.Chmod(t.Socket, 0o666))
}

// Stop is power off.
func (t *TPM) Stop() error {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	_ = t.cmd.Wait() // the signal is why it ended
	return os.RemoveAll(filepath.Dir(t.Socket))
}
