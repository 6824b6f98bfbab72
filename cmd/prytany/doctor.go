package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/debian"
	"github.com/prytany/prytany/function"
	"github.com/prytany/prytany/host"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/docker"
	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
	"github.com/prytany/prytany/tee/tpm"
	"github.com/prytany/prytany/tee/tpm/swtpm"
	"github.com/prytany/prytany/tee/walls"
	"github.com/spf13/cobra"
)

// finding is one thing that doctor looked at.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Need bool   `json:"needed"` // without it something in this release does not work
	Said string `json:"said"`
	Next string `json:"next,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Look at this machine and say what is missing for what", Args: none,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
}

func (a *app) doctor(ctx context.Context) error {
	list := append([]finding{a.checkGo(ctx), checkBuild()}, a.checkPrograms(ctx)...)
	list = append(list, checkTemp(), a.checkKey(), a.checkNetwork(ctx), checkInterpreter())
	list = append(list, a.checkContainers(ctx)...)
	list = append(list, checkSwtpm(), checkTEE())
	var text strings.Builder
	bad := false
	for _, f := range list {
		mark := "ok     "
		if !f.OK {
			mark = "missing"
			bad = bad || f.Need
		}
		fmt.Fprintf(&text, "%s  %-22s %s\n", mark, f.What, f.Said)
		if !f.OK && f.Next != "" {
			fmt.Fprintf(&text, "         %-22s next: %s\n", "", f.Next)
		}
	}
	if err := a.print(list, text.String()); err != nil {
		return err
	}
	if bad {
		return exitCode(1)
	}
	return nil
}

func (a *app) checkGo(ctx context.Context) finding {
	f := finding{What: "Go toolchain", Need: true, Next: "install Go 1.26 from https://go.dev/dl"}
	out, err := exec.CommandContext(ctx, "go", "version").Output()
	if err != nil {
		f.Said = "not found: demo and func build cannot compile functions"
		return f
	}
	f.OK, f.Said = true, strings.TrimSpace(string(out))
	return f
}

// checkPrograms looks for the enclave programs, and starts and ends the one.
func (a *app) checkPrograms(ctx context.Context) (list []finding) {
	for _, name := range []string{host.EnclaveProgram, host.DockerProgram} {
		f := finding{What: name, Need: name == host.EnclaveProgram}
		from, err := a.programs().Locate(name)
		var p *tee.Program
		if err == nil {
			p, err = from.Load(ctx)
		}
		if err != nil {
			f.Said = err.Error()
			var e *task.Error
			if errors.As(err, &e) {
				f.Said, f.Next = e.What, e.Next
			}
			list = append(list, f)
			continue
		}
		f.OK, f.Said = true, fmt.Sprintf("%s, measurement %s", from, p.Measurement)
		if f.Need {
			within := checkWalls(ctx, p)
			begin := time.Now()
			w := &walls.Profile{Kind: walls.Modules}
			if !within.OK {
				w = nil
			}
			if err := answers(ctx, p, w); err != nil {
				f.OK, f.Said = false, fmt.Sprintf("%s: %v", from, err)
			} else {
				f.Said += fmt.Sprintf(", answered in %d ms", time.Since(begin).Milliseconds())
			}
			list = append(list, f, within)
		} else {
			list = append(list, f)
		}
		_ = p.Close()
	}
	return list
}

// checkWalls tries the walls around an enclave of this machine.
func checkWalls(ctx context.Context, p *tee.Program) finding {
	f := finding{What: "walls", OK: true}
	s, err := walls.Try(ctx, p.Path(), walls.Profile{Kind: walls.Modules})
	var names []string
	for _, w := range s.Walls {
		names = append(names, w.Name)
	}
	f.Said = "around each enclave: " + strings.Join(names, ", ")
	if err != nil {
		f.OK, f.Said = false, err.Error()+"; without walls an enclave makes simulated evidence only"
		if e := (*task.Error)(nil); errors.As(err, &e) {
			f.Said, f.Next = e.What+"; without walls an enclave makes simulated evidence only", e.Next
		}
	}
	return f
}

// answers starts an enclave and asks it something, too early: it must say so.
func answers(ctx context.Context, p *tee.Program, w *walls.Profile) error {
	e, err := p.Start(ctx, w)
	if err != nil {
		return err
	}
	defer e.Close()
	if _, err := e.Exit(attest.Context{}, task.Hash{}); err == nil || !strings.Contains(err.Error(), "out of order") {
		return fmt.Errorf("it did not answer as an enclave does: %v", err)
	}
	return nil
}

func checkTemp() finding {
	f := finding{What: "temporary files", Need: true, Next: "set TMPDIR to a directory that can be written"}
	dir, err := os.MkdirTemp("", "prytany-doctor-")
	if err != nil {
		f.Said = err.Error()
		return f
	}
	_ = os.RemoveAll(dir)
	f.OK, f.Said = true, os.TempDir()
	return f
}

func (a *app) checkKey() finding {
	f := finding{What: "key", Next: "prytany key new"}
	path, err := a.keyPath()
	if err != nil {
		f.Said = err.Error()
		return f
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		f.Said = "none at " + path + ": func publish and run need one"
	case st.Mode().Perm()&0o077 != 0:
		f.Said, f.Next, f.Need = fmt.Sprintf("%s has mode %o", path, st.Mode().Perm()), "chmod 600 "+path, true
	default:
		f.OK, f.Said = true, path
	}
	return f
}

func (a *app) checkNetwork(ctx context.Context) finding {
	f := finding{What: "network", Next: "prytany devnet   (in another terminal)"}
	s, err := a.connect(ctx)
	if err != nil {
		f.Said = err.Error()
		return f
	}
	defer s.Close()
	f.OK, f.Said = true, fmt.Sprintf("%s at block %d", s.Chain, s.Node.Height())
	return f
}

// checkInterpreter looks for what publishing a Python function takes; a worker
// fetches it with the function.
func checkInterpreter() finding {
	f := finding{What: "runtime python", Next: "tools/python-wasi.sh   (needs npm)"}
	dir, err := function.ImagesDir()
	if err != nil {
		f.Said = err.Error()
		return f
	}
	found, _ := filepath.Glob(filepath.Join(dir, "python-*.wasm"))
	if len(found) == 0 {
		f.Said = "no interpreter in " + dir + ": workers can run Python functions; func test, func publish and demo --runtime python cannot"
		return f
	}
	f.OK, f.Said = true, found[len(found)-1]
	return f
}

// checkContainers tries each OCI runtime, and looks for the demo's image. One
// runtime is enough.
func (a *app) checkContainers(ctx context.Context) (list []finding) {
	all := container.Probe(ctx)
	if p, err := a.programs().Find(ctx, host.DockerProgram); err == nil {
		all = append(all, docker.Probe(ctx, docker.Config{Socket: dockerSocket(), Init: p.Path()}))
		_ = p.Close()
	}
	for _, s := range all {
		name := "runtime oci: " + s.Name
		if s.Name == task.RuntimeDocker {
			name = "runtime docker"
		}
		f := finding{What: name, OK: s.Available, Said: s.Version, Next: s.Hint}
		if !s.Available {
			f.Said = s.Why
		} else if !s.Digest.IsZero() {
			f.Said += ", digest " + s.Digest.String()
		}
		list = append(list, f)
	}
	f := finding{What: "image of the demo", Next: "tools/python-image.sh   (needs root and mmdebstrap)"}
	if dir, err := function.ImagesDir(); err == nil {
		f.Said = filepath.Join(dir, "python-pillow.tar")
		if _, err := os.Stat(f.Said); err == nil {
			f.OK = true
		} else {
			f.Said = "none at " + f.Said + ": demo --runtime oci needs one"
		}
	}
	return append(list, f, checkPackages())
}

// checkPackages looks for what images of Debian packages are built with.
func checkPackages() finding {
	f := finding{What: "Debian packages", Next: "a machine with Debian or Ubuntu builds images; they run anywhere"}
	if err := debian.Missing(); err != nil {
		f.Said = err.Error()
		return f
	}
	f.OK, f.Said = true, "apt-get and dpkg-deb are there: for images of packages, and demo --job validation"
	return f
}

// checkSwtpm looks for what demo --tee tpm needs.
func checkSwtpm() finding {
	f := finding{What: "software TPM", Next: "apt-get install swtpm swtpm-tools"}
	if err := swtpm.Missing(); err != nil {
		f.Said = err.Error()
		return f
	}
	f.OK, f.Said = true, "swtpm is there: for demo --tee tpm, and nothing that needs protection"
	return f
}

// checkTEE looks for what evidence could come from. A TPM serves node --tee tpm;
// the others are named, since nobody has run this release on them.
func checkTEE() finding {
	f := finding{What: "hardware TEE", Said: "none on this machine: its evidence is simulated, or a software TPM's"}
	var others []string
	for _, dev := range []string{"/dev/sev-guest", "/dev/tdx_guest", "/dev/nsm"} {
		if _, err := os.Stat(dev); err == nil {
			others = append(others, dev)
		}
	}
	if len(others) > 0 {
		f.Said = strings.Join(others, ", ") + ": its evidence can be appraised, and no enclave is built for it yet"
	}
	if _, err := os.Stat(tpm.DefaultPath); err == nil {
		f.OK, f.Said = true, tpm.DefaultPath+": for node --tee tpm"
	}
	return f
}
