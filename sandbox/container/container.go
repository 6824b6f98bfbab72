// Package container runs functions that are programs for Linux: an OCI image,
// public, with Bob's private layer on top of it. It keeps the contract of
// package sandbox (spec §9.2) with a container for each job.
//
// # Where a job is
//
// All of a job's files, its image, code, input, output and even the runtime's
// own notes, are in file systems in RAM that are never swapped and have no
// name: they are made detached, and this process holds them by a descriptor. A
// small process, the keeper, gives them a name in a mount namespace of its
// own, in which there is nothing else but the runtime (runsc, crun or runc), in
// memory too and read-only, and then becomes the runtime, which makes the
// container. So no byte of a job can reach a disk, whatever the runtime does.
//
// # What runs a job
//
// The runtime and its libraries are copied into memory of this process and
// named by their digest before they run ([Program]). What was summed is what
// runs.
//
// The keeper is the first process of its own PID namespace and dies with the
// thread that started it. So if this process is killed, the kernel kills the
// runtime and the container, drops the mounts, and frees the memory. Only an
// empty cgroup stays, and the next runtime removes it.
//
// # What a job can reach
//
// Its network, IPC and host names are its own and empty, twice: the keeper's,
// and within it the container's. Its root is another user's, without any
// capability, and cannot get one. Its system calls are an allow-list (runsc:
// its own kernel). Everything is read-only except /out, /tmp and
// /dev/shm, and the terminals of its own in /dev/pts.
//
// # What a job can use
//
// One cgroup, made here and not by the runtime, holds the keeper, the runtime
// and the container: memory without swap, processes, processor. Gas is what the
// cgroup has used (see Meter). OutputBytes and MaxFiles bound /out; Config
// bounds /tmp and /dev/shm.
//
// # What is left
//
// When the keeper has ended, nothing of the container lives. Then the outputs
// are read, all files are overwritten with zeros and removed, and the digest of
// what is left is taken: it is sandbox.EmptyState if nothing is.
package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// A Config says how this machine runs containers. The zero value is good.
type Config struct {
	// Program is the OCI runtime to take, opened before and known to work. The
	// caller closes it.
	Program *Program
	// Runtimes are, without a Program, names or paths of OCI runtimes; the first
	// that works is taken. runsc, crun, runc if there is none.
	Runtimes []string
	// IDs is the first of the 65,536 user and group ids of the host that stand
	// for those in the container. Nobody else must use them. Default 1,879,048,192,
	// above what systemd and useradd hand out.
	IDs uint32
	// Processes is how many a job may have, threads included. Default 128.
	Processes uint64
	// CPUs is how many processors a job may keep busy. Default 1.
	CPUs uint64
	// TmpBytes bounds /tmp, and /dev/shm likewise. Default 64 MiB. Both are also
	// within the memory limit.
	TmpBytes uint64
	// Image bounds what may be unpacked. Default image.DefaultLimits.
	Image image.Limits
	// Observe, if set, is told what each run has used.
	Observe func(Usage)
}

// Known are the names of the OCI runtimes that this package knows, the best
// first.
var Known = []string{"runsc", "crun", "runc"}

const (
	defaultIDs   = 0x7000_0000
	runtimeFiles = 4096 // those of the runtime and of the bundle, beside the image's
	runtimeBytes = 32 << 20

	// DefaultProcesses is how many processes and threads a job may have, in every
	// container.
	DefaultProcesses = 128
)

func (c Config) withDefaults() Config {
	if len(c.Runtimes) == 0 {
		c.Runtimes = Known
	}
	if c.IDs == 0 {
		c.IDs = defaultIDs
	}
	if c.Processes == 0 {
		c.Processes = DefaultProcesses
	}
	if c.CPUs == 0 {
		c.CPUs = 1
	}
	if c.TmpBytes == 0 {
		c.TmpBytes = sandbox.TmpBytes
	}
	if c.Image == (image.Limits{}) {
		c.Image = image.DefaultLimits
	}
	return c
}

// Usage is what a run has used of the machine, the runtime's own share
// included.
type Usage struct {
	CPU        time.Duration
	MemoryGas  uint64 // the part of the gas that is memory's
	DiskWrites uint64 // bytes written to block devices; a run that has any is an error
	OOMKills   uint64 // processes that the kernel killed for memory
}

// Runtime runs jobs. Its methods may be called by several goroutines at once.
type Runtime struct {
	config  Config
	engine  engine
	program *Program
	wipe    func(*ram) error // wipe, but in the test of an executor that leaves it out
}

// New takes the first runtime of the configuration that works here. If none
// does, the error says for each why, and what to do about it.
func New(ctx context.Context, c Config) (*Runtime, error) {
	c = c.withDefaults()
	p, err := c.Program, error(nil)
	if p != nil {
		_, err = p.Load()
	} else {
		p, err = Pick(ctx, c.Runtimes...)
	}
	if err != nil {
		return nil, err
	}
	return &Runtime{config: c, engine: p.engine, program: p, wipe: (*ram).wipe}, nil
}

// Pick opens the first OCI runtime of these names or paths that works here;
// runsc, crun, runc if there is none. If none does, the error says for each why,
// and what to do about it.
func Pick(ctx context.Context, names ...string) (*Program, error) {
	var why []string
	for _, name := range (Config{Runtimes: names}).withDefaults().Runtimes {
		s, p := probe(ctx, name)
		if p != nil {
			return p, nil
		}
		why = append(why, fmt.Sprintf("%s: %s. Next: %s", s.Name, s.Why, s.Hint))
	}
	return nil, fmt.Errorf("no container runtime works here: %s", strings.Join(why, "; "))
}

// Name is the name of the OCI runtime, such as runsc.
func (r *Runtime) Name() string { return r.engine.name }

// Digest names the OCI runtime and all that it loads: the very bytes that run.
func (r *Runtime) Digest() task.Hash { return r.program.digest }

// Close frees what the runtime holds. No run may be under way.
func (r *Runtime) Close() error {
	if r.config.Program == nil {
		r.program.Close()
	}
	return nil
}

// Run runs a job to its end. It returns an error only if the job could not be
// run, for reasons that lie with the host or the caller, image.ErrDigest among
// them; a run that fails gives a Result. It returns the context's error if that
// ended before the wall limit did.
func (r *Runtime) Run(ctx context.Context, job sandbox.Job) (sandbox.Result, error) {
	if err := job.Check(); err != nil {
		return sandbox.Result{}, fmt.Errorf("job: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return sandbox.Result{}, err
	}
	b, err := newBox(r.config, &job)
	if err != nil {
		return sandbox.Result{}, err
	}
	defer b.close()
	result := sandbox.Result{}
	if result.Before, err = b.writable(); err != nil {
		return sandbox.Result{}, err
	}
	if err := r.fillAndExecute(ctx, b, &job, &result); err != nil {
		return sandbox.Result{}, first(err, b.wipe((*ram).wipe))
	}
	if err := b.wipe(r.wipe); err != nil {
		return sandbox.Result{}, fmt.Errorf("wiping the files of the job: %w", err)
	}
	result.After, err = b.state()
	return result, err
}

// fillAndExecute is all that the wall limit is for. Unpacking is a part of it:
// how long that takes is up to Bob.
func (r *Runtime) fillAndExecute(parent context.Context, b *box, job *sandbox.Job, result *sandbox.Result) error {
	ctx, cancel := job.Limits.Clock(parent)
	defer cancel()
	err := r.fill(ctx, b, job, result)
	if parent.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		result.Outcome, result.Reason = sandbox.WallExceeded, "the time of the function was over before it was unpacked"
		return nil
	}
	if err != nil || result.Outcome != 0 {
		return err
	}
	return r.execute(parent, ctx, b, job, result)
}

// fill unpacks the job into the box. If that cannot be done because of what the
// function's author made, the result says so.
func (r *Runtime) fill(ctx context.Context, b *box, job *sandbox.Job, result *sandbox.Result) error {
	fail := func(format string, args ...any) error {
		result.Outcome, result.Reason = sandbox.FunctionError, fmt.Sprintf(format, args...)
		return nil
	}
	rootfs, err := b.base.root.OpenRoot("rootfs")
	if err != nil {
		return err
	}
	defer rootfs.Close()
	c, err := image.Unpack(ctx, rootfs, job.Image, job.Digest, job.Code, image.Options{Limits: r.config.Image, IDs: r.config.IDs})
	if inv := (*image.Invalid)(nil); errors.As(err, &inv) {
		return fail("%v", err)
	}
	if err != nil {
		return err
	}
	if err := Mountpoints(rootfs); err != nil {
		return err
	}
	if err := b.inputs(job.Inputs, r.config.IDs); err != nil {
		return err
	}
	p, why := newProcess(rootfs, c, job.Args)
	if why != "" {
		return fail("%s", why)
	}
	for _, m := range b.open() {
		if err := unix.Fchownat(m.fd, "", int(r.config.IDs+p.uid), int(r.config.IDs+p.gid), unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	spec, err := r.engine.spec(r.config, p, job.Limits)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(spec, "", "\t")
	if err != nil {
		return err
	}
	return b.base.root.WriteFile("bundle/config.json", data, 0o600)
}

// Mountpoints makes the directories that mounts go onto. What the image has
// there goes: nobody will see it, so no program or working directory that is
// looked for may be found there.
func Mountpoints(rootfs *os.Root) error {
	if err := rootfs.RemoveAll("sys"); err != nil { // there is none, or the runtime's own
		return err
	}
	for _, dir := range []string{"dev", "in", "out", "proc", "tmp"} {
		if err := errors.Join(rootfs.RemoveAll(dir), rootfs.Mkdir(dir, 0o755)); err != nil {
			return err
		}
	}
	return rootfs.Mkdir("dev/shm", 0o755) // runsc looks for it before it has a /dev
}

// process is what the container starts.
type process struct {
	args     []string
	env      []string
	dir      string
	uid, gid uint32
	groups   []uint32
}

// searchPath is where a program without a slash in its name is looked for, if
// the image does not say.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// NothingToStart is said of a job without arguments. The image's Entrypoint and Cmd
// are not looked at: a manifest fixes them, by value, when it is published, or who
// adds arguments to it would replace them.
const NothingToStart = "nothing to start: the manifest has no arguments"

// newProcess checks what the image and the job say about the program to start,
// so that the runtime has nothing left to complain about. why is for Bob.
func newProcess(rootfs *os.Root, c image.Config, args []string) (p process, why string) {
	p.args = args
	if len(p.args) == 0 || p.args[0] == "" {
		return p, NothingToStart
	}
	paths := searchPath
	p.env = c.Env
	hasPath := false
	for _, e := range c.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			paths, hasPath = v, true
		}
	}
	if !hasPath {
		p.env = append([]string{"PATH=" + searchPath}, c.Env...)
	}
	if p.dir, why = Dir(rootfs, c.WorkingDir); why != "" {
		return p, why
	}
	if p.uid, p.gid, p.groups, why = User(rootfs, c.User); why != "" {
		return p, why
	}
	program, why := lookup(rootfs, p.args[0], p.dir, paths)
	if why != "" {
		return p, why
	}
	p.args = append([]string{program}, p.args[1:]...)
	return p, ""
}

// Dir is an image's WorkingDir in its shortest form, which is what the runtime
// gets. It refuses one that is not a plain one of the image: one below /proc
// could be a descriptor that the runtime forgot to close (CVE-2024-21626).
func Dir(rootfs *os.Root, workingDir string) (dir, why string) {
	if workingDir == "" {
		return "/", ""
	}
	if !path.IsAbs(workingDir) {
		return "", fmt.Sprintf("the working directory %q is not an absolute path", workingDir)
	}
	dir = path.Clean(workingDir)
	for _, no := range []string{"/proc", "/dev", "/sys"} {
		if dir == no || strings.HasPrefix(dir, no+"/") {
			return "", fmt.Sprintf("the working directory %q is not one of the image", dir)
		}
	}
	if mode, err := statIn(rootfs, dir); err != nil || mode&unix.S_IFMT != unix.S_IFDIR {
		return "", fmt.Sprintf("the working directory %q is no directory of the image", dir)
	}
	return dir, ""
}

// lookup finds a program as execvp would in the container.
func lookup(rootfs *os.Root, name, dir, paths string) (program, why string) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
		switch mode, err := statIn(rootfs, name); {
		case err != nil:
			return "", fmt.Sprintf("the image has no file %q to start", name)
		case mode&unix.S_IFMT != unix.S_IFREG || mode&0o111 == 0:
			return "", fmt.Sprintf("the file %q is not executable", name)
		}
		return name, ""
	}
	for d := range strings.SplitSeq(paths, ":") {
		p := path.Join("/", d, name)
		if mode, err := statIn(rootfs, p); err == nil && mode&unix.S_IFMT == unix.S_IFREG && mode&0o111 != 0 {
			return p, ""
		}
	}
	return "", fmt.Sprintf("the image has no program %q in %s", name, paths)
}

// openIn opens a path as a process whose root it is would, links included.
func openIn(rootfs *os.Root, name string, flags int) (*os.File, error) {
	at, err := rootfs.Open(".")
	if err != nil {
		return nil, err
	}
	defer at.Close()
	fd, err := unix.Openat2(int(at.Fd()), name, &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func statIn(rootfs *os.Root, name string) (mode uint32, err error) {
	f, err := openIn(rootfs, name, unix.O_PATH)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	return st.Mode, err
}

// Find returns the path of the first program of these names, or paths, that is
// in PATH, in a usual place, or where tools/runsc.sh puts it. An enclave is told
// a path: it has no environment to look in, and what it finds there is known by
// its digest alone.
func Find(names ...string) (string, bool) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	dirs = append(dirs, strings.Split(searchPath, ":")...)
	dirs = append(dirs, cacheDir())
	for _, n := range names {
		for _, dir := range dirs {
			p := n
			if !strings.Contains(n, "/") {
				if !filepath.IsAbs(dir) {
					continue
				}
				p = filepath.Join(dir, n)
			}
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				if real, err := filepath.EvalSymlinks(p); err == nil {
					return real, true
				}
			}
		}
	}
	return "", false
}

func init() {
	// Here and not in a function of main's, so that every program that runs
	// containers, tests included, is its own keeper.
	if len(os.Args) == 2 && os.Args[0] == keeperName {
		runtime.LockOSThread()
		keep(os.Args[1])
	}
}
