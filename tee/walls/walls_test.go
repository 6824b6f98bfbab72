package walls

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// program is the test binary, static.
var program = sync.OnceValues(func() (string, error) {
	if !withC {
		return os.Executable()
	}
	dir, err := os.MkdirTemp("", "walls")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "test", "-c", "-o", dir+"/walls.test", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir + "/walls.test", nil
})

// A cell is a prisoner in walls.
type cell struct {
	Profile
	without string   // the wall that is left out
	told    []string // NAME=value
	input   []byte
}

// start puts code into a cell.
func (c cell) start(t testing.TB, what string) (cmd *exec.Cmd, in io.WriteCloser, out io.ReadCloser) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd = &exec.Cmd{Path: path, Args: append([]string{prisonerName, what, c.without}, c.told...)}
	in, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if out, err = cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := Start(cmd, c.Profile); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// ends says in a word how what was tried in a cell has ended.
func (c cell) ends(t testing.TB, what string) string {
	t.Helper()
	cmd, in, out := c.start(t, what)
	go func() { _, _ = in.Write(c.input); in.Close() }()
	said, _ := io.ReadAll(out)
	_ = cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		if status.Signal() == unix.SIGSYS {
			return "killed"
		}
		return status.Signal().String()
	}
	return strings.TrimSpace(string(said))
}

// world is what there is on the host to be reached.
func world(t *testing.T) []string {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.Process.Kill(); _ = victim.Wait() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	abstract := fmt.Sprintf("prytany-walls-%d", os.Getpid())
	a, err := net.Listen("unix", "@"+abstract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	// A directory that another program left open, for whoever is started.
	fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"name=" + name, "secret=" + secret, fmt.Sprintf("pid=%d", victim.Process.Pid),
		fmt.Sprintf("port=%d", l.Addr().(*net.TCPAddr).Port), "abstract=" + abstract,
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// A row says how an attempt ends: with all walls of Modules; with all of them
// but the filter of system calls, so that it is seen what stands behind it; and
// in Containers. "done" is what an attacker can do, and why says what it gives
// him.
type row struct{ attempt, modules, behind, containers, why string }

var table = []row{
	{"read /etc/passwd", "ENOENT", "ENOENT", "ENOENT", ""},
	{"read a secret", "ENOENT", "ENOENT", "ENOENT", ""},
	{"read /proc/self/environ", "ENOENT", "ENOENT", "done", "its own: settings of the Go runtime"},
	{"write /proc/1/mem", "ENOENT", "ENOENT", "done", "its own, which it has anyway"},
	{"read the host's process", "ENOENT", "ENOENT", "ENOENT", ""},
	{"read a disk", "ENOENT", "ENOENT", "ENOENT", ""},
	{"list /", "EACCES", "EACCES", "done", "names of directories of programs"},
	{"list above /", "EACCES", "EACCES", "done", "the same: nothing is above"},
	{"list /root", "ENOENT", "ENOENT", "ENOENT", ""},
	{"write into /", "EROFS", "EROFS", "EROFS", ""},
	{"write a secret", "ENOENT", "ENOENT", "ENOENT", ""},
	{"write a program of the host", "ENOENT", "ENOENT", "EACCES", ""},
	{"write above the cgroup", "ENOENT", "ENOENT", "EROFS", ""},
	{"write a cgroup of the host", "ENOENT", "ENOENT", "EACCES", ""},
	{"write a kernel's setting", "ENOENT", "ENOENT", "EACCES", ""},
	{"fill the memory", "EFBIG", "EFBIG", "ENOSPC", ""},
	{"an inherited directory", "EBADF", "EBADF", "EBADF", ""},
	{"chroot through a descriptor", "killed", "EPERM", "ENOENT", "there is nothing above the root to come out at"},
	{"a device node", "killed", "EPERM", "EPERM", ""},
	{"run what is mapped", "EPERM", "EPERM", "EPERM", ""},
	{"memory that is written and run", "killed", "done", "done", "the filter alone forbids it"},
	{"a call of another architecture", "killed", "done", "killed", "the filter alone forbids it"},

	{"AF_INET", "killed", "done", "done", "nothing is at its end"},
	{"AF_INET6", "killed", "done", "done", "nothing is at its end"},
	{"AF_UNIX", "killed", "done", "done", "nothing is at its end"},
	{"AF_NETLINK", "killed", "done", "done", "speaks of its own network namespace"},
	{"AF_PACKET", "killed", "EPERM", "EPERM", ""},
	{"AF_VSOCK", "killed", "done", "EPERM", "the filter alone forbids it: it is in no namespace"},
	{"AF_ALG", "killed", "", "EPERM", ""}, // behind: as the kernel has it
	{"connect to the host", "killed", "EACCES", "ENETUNREACH", ""},
	{"send to the host", "killed", "ENETUNREACH", "ENETUNREACH", ""},
	{"an abstract socket of the host", "killed", "ECONNREFUSED", "ECONNREFUSED", ""},

	{"signal a process", "killed", "ESRCH", "ESRCH", ""},
	{"signal a thread", "ESRCH", "ESRCH", "ESRCH", ""},
	{"signal everyone", "killed", "ESRCH", "ESRCH", ""},
	{"trace a process", "killed", "ESRCH", "ESRCH", ""},
	{"hold a process", "killed", "ESRCH", "ESRCH", ""},
	{"read a process", "killed", "ESRCH", "ESRCH", ""},
	{"write a process", "killed", "ESRCH", "ESRCH", ""},
	{"a process's limits", "EPERM", "ESRCH", "ESRCH", ""},
	{"run a program", "killed", "ENOENT", "", "it is the enclave then, in the same walls"},
	{"run memory", "killed", "ENOENT", "ENOENT", "a script without its interpreter: a program runs, in the same walls"},
	{"a process", "killed", "done", "done", "in the same walls"},
	{"a process, vfork", "killed", "done", "done", "in the same walls"},
	{"a process by clone3", "killed", "done", "done", "in the same walls"},
	{"a user namespace", "killed", "done", "done", "in the same walls: it owns nothing of the host's"},
	{"a mount namespace", "killed", "EPERM", "done", "of the same mounts"},
	{"a network namespace", "killed", "EPERM", "done", "another empty one"},
	{"enter a namespace", "killed", "EINVAL", "EINVAL", ""},
	{"mount", "killed", "EPERM", "done", "a file system in memory"},
	{"mount /proc", "killed", "EPERM", "done", "of its own processes"},
	{"mount /sys", "killed", "EPERM", "EPERM", ""},
	{"mount a disk", "killed", "EPERM", "EPERM", ""},
	{"mount the host's cgroups", "killed", "EPERM", "EPERM", ""},
	{"make /usr writable", "killed", "ENOENT", "done", "for nobody of the host's, to whom nothing there belongs"},
	{"unmount", "killed", "EPERM", "done", "its own"},
	{"a new root", "killed", "EPERM", "done", "with nothing in it"},
	{"a file by its handle", "killed", "EPERM", "EPERM", ""},

	{"keys", "killed", "done", "EPERM", "its own, of its user namespace"},
	{"bpf", "killed", "EINVAL", "EPERM", ""},
	{"perf events", "killed", "EACCES", "EPERM", ""},
	{"io_uring", "killed", "", "EPERM", ""}, // behind: as the machine is set
	{"userfaultfd", "killed", "", "EPERM", ""},
	{"kexec", "killed", "", "EPERM", ""},
	{"a module", "killed", "", "EPERM", ""},
	{"reboot", "killed", "EPERM", "EPERM", ""},
	{"swap", "killed", "EPERM", "EPERM", ""},
	{"the host's name", "killed", "EPERM", "done", "its own, in its UTS namespace"},
	{"the clock", "killed", "EPERM", "EPERM", ""},
	{"the kernel's log", "killed", "EPERM", "EPERM", ""},
	{"raise a limit", "EPERM", "EPERM", "EPERM", ""},
	{"type into a terminal", "killed", "ENOTTY", "ENOTTY", ""},
	{"become dumpable", "killed", "done", "done", "for processes of its own user, of which there are none outside"},
	{"become root", "killed", "EPERM", "done", "it is, of its own namespaces; not of the host"},
	{"become a user", "killed", "EINVAL", "EINVAL", ""},
	{"all capabilities", "killed", "EPERM", "EPERM", ""},
	{"another filter", "killed", "done", "done", "beside this one, not in its place"},
	{"learn the host's name", "EPERM", "ENODATA", "ENODATA", ""},
}

// Code that has escaped from its engine tries all that there is to try. Some of
// it is refused by several walls; the second column is without the outermost.
func TestEscape(t *testing.T) {
	w := world(t)
	seen := map[string]bool{}
	for _, r := range table {
		seen[r.attempt] = true
	}
	for name := range attempts {
		if !seen[name] {
			t.Errorf("%q is in no row", name)
		}
	}
	for _, col := range []struct {
		name string
		cell cell
		want func(row) string
	}{
		{"modules", cell{Profile: Profile{Kind: Modules}, told: w}, func(r row) string { return r.modules }},
		{"behind", cell{Profile: Profile{Kind: Modules}, told: w, without: seccomp}, func(r row) string { return r.behind }},
		{"containers", cell{Profile: Profile{Kind: Containers}, told: w}, func(r row) string { return r.containers }},
	} {
		t.Run(col.name, func(t *testing.T) {
			if col.name != "modules" {
				needRoot(t)
			}
			for _, r := range table {
				want := col.want(r)
				if want == "killed" && runtime.GOARCH != "amd64" && r.attempt == "a call of another architecture" {
					continue
				}
				is := col.cell.ends(t, r.attempt)
				if want == "" && r.attempt != "run a program" {
					if is == "done" && col.name == "containers" {
						t.Errorf("%s: %s", r.attempt, is)
					}
					continue
				}
				if is != want {
					t.Errorf("%s: %s, want %s", r.attempt, is, want)
				}
				if want == "done" && r.why == "" {
					t.Errorf("%s can be done, and nothing says why", r.attempt)
				}
			}
		})
	}
}

// With all walls the enclave still does its work.
func TestWorkInside(t *testing.T) {
	told := []string{fmt.Sprintf("processors=%d", runtime.GOMAXPROCS(0))}
	for _, chore := range []string{
		"nothing", "modules", "compiled modules", "threads", "garbage", "preemption", "time", "chance", "4 GiB",
		"files in scratch", "processors",
	} {
		if is := (cell{Profile: Profile{Kind: Modules}, told: told}).ends(t, chore); is != "done" {
			t.Errorf("%s: %s", chore, is)
		}
	}
	if is := (cell{Profile: Profile{Kind: Modules}}).ends(t, "a panic is not told"); is != "" {
		t.Errorf("it said %s", is)
	}
}

// The files by which a platform quotes are let in, each for just what it is
// for, and beside them nothing.
func TestLetIn(t *testing.T) {
	needRoot(t)
	dir := t.TempDir() // root's, as a test's swtpm is
	socket, lock, reports := dir+"/tpm.sock", dir+"/tpm.sock.lock", dir+"/report"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, f := range []string{lock, dir + "/group", dir + "/other"} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(reports, 0o755), os.Chmod(dir+"/group", 0o660), os.Chown(dir+"/group", 0, 12345), os.Chown(dir+"/other", 12345, 0)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		chore string
		let   []string
		what  string
		want  string
	}{
		{"open what is let in", []string{"/dev/zero"}, "/dev/zero", "done"},
		{"open what is let in", []string{"/dev/zero"}, "/dev/null", "EROFS"}, // it is not there, and cannot be made
		{"open what is let in", []string{socket, lock}, lock, "done"},
		{"open what is let in", []string{dir + "/group"}, dir + "/group", "done"},
		{"open what is let in", []string{dir + "/other"}, dir + "/other", "done"},
		{"open what is let in", nil, lock, "ENOENT"},
		{"open what is let in", []string{lock}, lock + ".other", "EROFS"},
		{"ask a device", []string{"/dev/zero"}, "/dev/zero", "EFAULT"}, // it was asked
		{"ask a device", []string{lock}, lock, "killed"},
		{"ask a socket", []string{socket, lock}, socket, "done"},
		{"ask a socket", []string{lock}, socket, "killed"},
		{"AF_INET", []string{socket, lock}, "", "killed"},
		{"AF_VSOCK", []string{socket, lock}, "", "killed"},
		{"list /", []string{socket, lock}, "", "EACCES"},
		{"become root", []string{lock}, "", "killed"},
		{"make a directory", []string{reports}, reports, "done"},
		{"make a directory", []string{reports}, dir, "EROFS"},
	} {
		is := cell{Profile: Profile{Kind: Modules, Let: c.let}, told: []string{"let=" + c.what}}.ends(t, c.chore)
		if is != c.want {
			t.Errorf("%s, %s of %v: %s, want %s", c.chore, c.what, c.let, is, c.want)
		}
	}
	// What the parent's files are like by default is nothing to the new root.
	mask := unix.Umask(0o077)
	is := cell{Profile: Profile{Kind: Modules, Let: []string{dir + "/group"}}, told: []string{"let=" + dir + "/group"}}.ends(t, "open what is let in")
	unix.Umask(mask)
	if is != "done" {
		t.Errorf("with a strict umask: %s", is)
	}
	if err := os.Symlink("zero", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]Profile{
		"no kind":      {},
		"not there":    {Kind: Modules, Let: []string{dir + "/none"}},
		"relative":     {Kind: Modules, Let: []string{"dev/zero"}},
		"all":          {Kind: Containers, Show: []string{"/"}},
		"not clean":    {Kind: Modules, Let: []string{"/dev/../dev/zero"}},
		"shown":        {Kind: Modules, Show: []string{"/usr"}},
		"a link":       {Kind: Containers, Show: []string{dir + "/link"}},
		"two owners":   {Kind: Modules, Let: []string{lock, dir + "/other"}},
		"not there, 2": {Kind: Containers, Show: []string{dir + "/none"}},
	} {
		if err := Start(&exec.Cmd{Path: "/proc/self/exe"}, p); err == nil {
			t.Errorf("%s: started", what)
		}
	}
}

// A process that is not alone is refused its walls, whatever is missing.
func TestEveryNamespaceIsLookedAt(t *testing.T) {
	needRoot(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	run := func(change func(*exec.Cmd)) string {
		cmd := &exec.Cmd{Path: path, Args: []string{prisonerName, "nothing", "", order{Profile: Profile{Kind: Modules}}.String()}, Env: []string{"GOMAXPROCS=2"}}
		if cmd.SysProcAttr, err = attributes(Profile{Kind: Modules}); err != nil {
			t.Fatal(err)
		}
		change(cmd)
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		cmd.Stdout = &said
		if err := cmd.Run(); err != nil {
			return err.Error()
		}
		return strings.TrimSpace(said.String())
	}
	if is := run(func(*exec.Cmd) {}); is != "done" {
		t.Error(is)
	}
	for name, flag := range map[string]uintptr{
		"pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS,
		"mnt": unix.CLONE_NEWNS, "cgroup": unix.CLONE_NEWCGROUP, "user": unix.CLONE_NEWUSER,
	} {
		is := run(func(cmd *exec.Cmd) {
			cmd.SysProcAttr.Cloneflags &^= flag
			if name == "user" {
				cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = nil, nil
			}
		})
		if !strings.HasPrefix(is, "walls-missing: ") || !strings.Contains(is, namespaces) {
			t.Errorf("without a %s namespace of its own: %s", name, is)
		}
	}
	for what, change := range map[string]func(*exec.Cmd){
		"an environment":            func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "HOME=/root") },
		"GODEBUG":                   func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "GODEBUG=x509sha1=1") },
		"no argument":               func(cmd *exec.Cmd) { cmd.Args = cmd.Args[:3] },
		"an argument of its own":    func(cmd *exec.Cmd) { cmd.Args[3] = argument + "{}" },
		"a large user namespace":    func(cmd *exec.Cmd) { cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{Size: 65536}} },
		"a processor quota to read": func(cmd *exec.Cmd) { cmd.Env = []string{"GOGC=off"} },
	} {
		if is := run(change); !strings.HasPrefix(is, "walls-missing: ") {
			t.Errorf("with %s: %s", what, is)
		}
	}
	for what, cmd := range map[string]*exec.Cmd{
		"a file":         {Path: path, ExtraFiles: []*os.File{os.Stdin}},
		"an error file":  {Path: path, Stderr: os.Stderr},
		"an environment": {Path: path, Env: []string{"HOME=/root"}},
	} {
		if err := Start(cmd, Profile{Kind: Modules}); err == nil {
			t.Errorf("started with %s", what)
		}
	}
}

// Where the machine forbids namespaces the code is stable, and there are no
// walls of a lesser kind.
func TestNamespacesForbidden(t *testing.T) {
	needRoot(t)
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{forbiddenName}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
	}
	said, err := cmd.Output()
	if is := strings.TrimSpace(string(said)); err != nil || is != "walls-missing" {
		t.Errorf("%q, %v", is, err)
	}
	if err := missing(namespaces, unix.EPERM); err.Next == "" || task.CodeOf(err) != "walls-missing" {
		t.Errorf("%v does not say what to do", err)
	}
}

// Who is not root has the same walls for modules, and is told that he cannot
// have containers.
func TestNotRoot(t *testing.T) {
	needRoot(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "walls")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(dir+"/walls.test", b, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir+"/walls.test", "-test.run=^(TestEscape|TestWorkInside|TestContainersNeedRoot)$", "-test.v")
	cmd.Dir, cmd.Env = "/", []string{"HOME=/", "TMPDIR=/tmp", "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "--- PASS: TestEscape/modules") || !strings.Contains(string(said), "--- PASS: TestContainersNeedRoot") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestContainersNeedRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("is root: TestNotRoot runs this as another user")
	}
	if err := Start(&exec.Cmd{Path: "/proc/self/exe"}, Profile{Kind: Containers}); task.CodeOf(err) != "walls-missing" {
		t.Error(err)
	}
}

// A process of the same user on the host cannot look into an enclave. Root can:
// no wall of the system is against the machine's owner.
func TestNobodyLooksIn(t *testing.T) {
	needRoot(t)
	cmd, in, out := cell{Profile: Profile{Kind: Modules}}.start(t, "say and wait")
	defer func() { _ = cmd.Process.Kill(); in.Close(); _ = cmd.Wait() }()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"environ", "maps", "mem"} {
		look := exec.Command("/bin/cat", fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, file))
		look.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if said, err := look.CombinedOutput(); err == nil || !strings.Contains(string(said), "ermission denied") {
			t.Errorf("%s: %v, %q", file, err, said)
		}
	}
}

// The enclave dies with the process that started it, although its user has
// changed since.
func TestKillNine(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{Modules, Containers} {
		parent := &exec.Cmd{Path: path, Args: []string{parentName, string(kind)}}
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		child := "/proc/" + strings.TrimSpace(line)
		for { // until it is who it is to be, which forgets whom to die with
			if text, _ := os.ReadFile(child + "/status"); strings.Contains(string(text), "Seccomp:\t2") {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		_ = parent.Process.Kill()
		_ = parent.Wait()
		for gone := false; !gone; {
			_, err := os.Stat(child)
			gone = errors.Is(err, os.ErrNotExist)
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// An interpreter of tens of megabytes compiles inside, which takes half a minute
// of one processor.
func BenchmarkInterpreter(b *testing.B) {
	cache, err := os.UserCacheDir()
	if err != nil {
		b.Skip(err)
	}
	found, _ := filepath.Glob(filepath.Join(cache, "prytany", "images", "python-*.wasm"))
	if len(found) == 0 {
		b.Skip("no Python interpreter: tools/python-wasi.sh fetches it")
	}
	code, err := os.ReadFile(found[0])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if is := (cell{Profile: Profile{Kind: Modules}, input: code}).ends(b, "a large module"); is != "done" {
			b.Fatal(is)
		}
	}
}

// The start of a process with and without walls, one after the other.
func BenchmarkStart(b *testing.B) {
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	kinds := []Kind{"", Modules, Containers}
	took := map[Kind]time.Duration{}
	for range b.N {
		for _, k := range kinds {
			began := time.Now()
			if k != "" {
				if is := (cell{Profile: Profile{Kind: k}}).ends(b, "nothing"); is != "done" {
					b.Fatal(is)
				}
			} else {
				cmd := &exec.Cmd{Path: path, Args: []string{plainName, "nothing"}, Env: []string{"GOMAXPROCS=2"}}
				if said, err := cmd.Output(); err != nil || string(said) != "done\n" {
					b.Fatal(string(said), err)
				}
			}
			took[k] += time.Since(began)
		}
	}
	plain := took[""]
	b.ReportMetric(float64(plain.Microseconds())/1000/float64(b.N), "ms-plain")
	for _, k := range kinds[1:] {
		b.ReportMetric(float64((took[k]-plain).Microseconds())/1000/float64(b.N), "ms-more-"+string(k))
		b.ReportMetric(float64(took[k])/float64(plain), "times-"+string(k))
	}
}

// All walls stand here, and say so.
func TestTry(t *testing.T) {
	needRoot(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for kind, walls := range map[Kind]int{Modules: len(steps), Containers: len(steps) - 1} {
		s, err := Try(t.Context(), path, Profile{Kind: kind})
		t.Log(s)
		if err != nil || len(s.Walls) != walls {
			t.Errorf("%s: %d walls: %v", kind, len(s.Walls), err)
		}
	}
}
