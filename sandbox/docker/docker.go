// Package docker runs functions that are programs for Linux by the Docker
// Engine API, Docker's own or podman's. It keeps the contract of package
// sandbox with package container's means, as far as an engine lets it, and is
// for simulated evidence only: the engine's daemon is outside, and sees all
// that is in the container.
package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	api "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/container"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
)

// A Config says where the engine is. The zero value is good.
type Config struct {
	// Socket is where the engine listens; DOCKER_HOST or the usual places if it
	// is empty.
	Socket string
	// Init is a static program that calls container.InitMain when it is started
	// with container.InitArg; this one if it is empty.
	Init string
}

// Docker runs jobs by an engine.
//
// The engine is asked for as little as possible. It holds the public image,
// with one more public file in it: an init. All that is
// secret goes to the init through its standard input into memory, and comes
// back through its standard output; the engine keeps no log. It is weaker than
// container.Runtime in three ways: the daemon, outside, can see all of it; the root of
// the container is the engine's choice and may be the machine's; and /in can be
// written to by the function, which harms nobody else. What podman does
// otherwise is in spec §9.6.8.
type Docker struct {
	client  *client.Client
	version string
	podman  bool
	init    []byte
	own     string // a word in the names of this runtime's images: nobody else removes them

	mu     sync.Mutex
	images map[string]loaded // by digest
}

// loaded is an image that the engine has.
type loaded struct {
	tag     string
	process process
	why     string // it cannot be started
}

// initPath is where the init is in an image.
const initPath = ".prytany-init"

// initMemory is what the init and the streams take beside the job.
const (
	initMemory    = 64 << 20
	initProcesses = 32
	processors    = 1                      // that a job may keep busy
	dockerTick    = 100 * time.Millisecond // each reading costs the daemon a request
)

// dockerHosts are where engines listen, if DOCKER_HOST does not say.
var dockerHosts = []string{"unix:///var/run/docker.sock", "unix:///run/podman/podman.sock"}

// New finds an engine and checks that this program can be its init.
// Config.Socket and Config.Init say otherwise.
func New(ctx context.Context, c Config) (*Docker, error) {
	program := c.Init
	if program == "" {
		program = "/proc/self/exe"
	}
	init, err := static(program)
	if err != nil {
		return nil, err
	}
	hosts := dockerHosts
	switch h := os.Getenv("DOCKER_HOST"); {
	case c.Socket != "":
		hosts = []string{"unix://" + c.Socket}
	case h != "":
		hosts = []string{h}
	}
	var errs []error
	for _, h := range hosts {
		cl, err := client.New(client.WithHost(h))
		if err == nil {
			var v client.ServerVersionResult
			if v, err = cl.ServerVersion(ctx, client.ServerVersionOptions{}); err == nil {
				podman := slices.ContainsFunc(v.Components, func(v system.ComponentVersion) bool { return strings.HasPrefix(v.Name, "Podman") })
				return &Docker{client: cl, version: v.Version, podman: podman, init: init, own: strings.ToLower(rand.Text()), images: map[string]loaded{}}, nil
			}
			cl.Close()
		}
		errs = append(errs, fmt.Errorf("%s: %s", h, oneLine(err.Error())))
	}
	return nil, fmt.Errorf("no Docker engine answers: %w. Next: install the Debian package docker.io or podman and start it, or set DOCKER_HOST", errors.Join(errs...))
}

// static reads a program that runs in an image with nothing else in it.
func static(program string) ([]byte, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("the init for Docker containers: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s needs libraries, and cannot be the init of a container. Next: build it with CGO_ENABLED=0", program)
		}
	}
	return os.ReadFile(program)
}

// Name is docker.
func (d *Docker) Name() string { return "docker" }

// Close takes the images back from the engine and lets it go.
func (d *Docker) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var errs []error
	for _, l := range d.images {
		_, err := d.client.ImageRemove(ctx, l.tag, client.ImageRemoveOptions{PruneChildren: true})
		errs = append(errs, err)
	}
	return errors.Join(append(errs, d.client.Close())...)
}

const (
	imageRepository = "prytany"
	imageDir        = "prytany-image" // begins the names of directories for unpacking, and of profiles
	// abandoned is the age at which nobody can need an image any more: longer than
	// any run may take.
	abandoned = 25 * time.Hour
)

// sweep removes what runtimes that were killed have left behind. All of it is
// public, so there is no hurry.
func (d *Docker) sweep(ctx context.Context, now time.Time) {
	old := func(t time.Time) bool { return now.Sub(t) > abandoned }
	list, _ := d.client.ImageList(ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", imageRepository)})
	for _, i := range list.Items {
		for _, tag := range i.RepoTags {
			var unix int64
			_, of, _ := strings.Cut(tag, ":")
			if n, _ := fmt.Sscanf(of, "%d-", &unix); n == 1 && old(time.Unix(unix, 0)) {
				_, _ = d.client.ImageRemove(ctx, tag, client.ImageRemoveOptions{PruneChildren: true})
			}
		}
	}
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), imageDir+"*"))
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && old(st.ModTime()) {
			_ = os.RemoveAll(dir)
		}
	}
}

// Run is container.Runtime.Run, with the private layer below code/ only.
func (d *Docker) Run(parent context.Context, job sandbox.Job) (sandbox.Result, error) {
	if err := job.Check(); err != nil {
		return sandbox.Result{}, fmt.Errorf("job: %w", err)
	}
	nothing := sandbox.Result{Outcome: sandbox.FunctionError, Before: sandbox.EmptyState, After: sandbox.EmptyState}
	ctx, cancel := job.Limits.Clock(parent)
	defer cancel()
	l, err := d.load(ctx, &job)
	if parent.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		nothing.Outcome, nothing.Reason = sandbox.WallExceeded, "the time of the function was over before it was unpacked"
		return nothing, nil
	}
	if inv := (*image.Invalid)(nil); errors.As(err, &inv) {
		nothing.Reason = err.Error()
		return nothing, nil
	}
	if err != nil {
		return sandbox.Result{}, err
	}
	p := l.process
	p.args = job.Args
	if l.why != "" || len(p.args) == 0 {
		if nothing.Reason = l.why; l.why == "" {
			nothing.Reason = container.NothingToStart
		}
		return nothing, nil
	}
	return d.start(parent, ctx, l.tag, p, &job)
}

// load gives the engine the image, unless it has it: unpacked and packed again
// by this program, so that it gets nothing hostile, with the init in it.
func (d *Docker) load(ctx context.Context, job *sandbox.Job) (loaded, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l, ok := d.images[job.Digest]; ok {
		if _, err := d.client.ImageInspect(ctx, l.tag); err == nil {
			return l, nil
		}
	}
	now := time.Now()
	d.sweep(ctx, now)
	name := fmt.Sprintf("%s:%d-%s-%d", imageRepository, now.Unix(), d.own, len(d.images))
	dir, err := os.MkdirTemp("", imageDir) // public, so it may be on a disk
	if err != nil {
		return loaded{}, err
	}
	defer os.RemoveAll(dir)
	rootfs, err := os.OpenRoot(dir)
	if err != nil {
		return loaded{}, err
	}
	defer rootfs.Close()
	c, err := image.Unpack(ctx, rootfs, job.Image, job.Digest, nil, image.Options{Limits: image.DefaultLimits})
	if err != nil {
		return loaded{}, err
	}
	if err := container.Mountpoints(rootfs); err != nil {
		return loaded{}, err
	}
	if err := errors.Join(rootfs.RemoveAll("code"), rootfs.Mkdir("code", 0o755), rootfs.RemoveAll(initPath), rootfs.WriteFile(initPath, d.init, 0o755)); err != nil {
		return loaded{}, err
	}
	l := loaded{tag: name}
	l.process.env = c.Env
	if l.process.dir, l.why = container.Dir(rootfs, c.WorkingDir); l.why == "" {
		l.process.uid, l.process.gid, l.process.groups, l.why = container.User(rootfs, c.User)
	}
	archive, err := image.DockerArchive(dir, c, name)
	if err != nil {
		return loaded{}, err
	}
	answer, err := d.client.ImageLoad(ctx, bytes.NewReader(archive))
	if err != nil {
		return loaded{}, fmt.Errorf("giving the image to the engine: %w", err)
	}
	said, err := io.ReadAll(io.LimitReader(answer, 1<<20))
	answer.Close()
	if err != nil {
		return loaded{}, err
	}
	if _, err := d.client.ImageInspect(ctx, name); err != nil {
		return loaded{}, fmt.Errorf("the engine did not take the image: %s: %w", oneLine(string(said)), err)
	}
	d.images[job.Digest] = l
	return l, nil
}

// seccomp is the profile as the engine takes it, until done: Docker the text
// itself, podman the path of a file.
func (d *Docker) seccomp() (profile string, done func(), err error) {
	done = func() {}
	calls, err := container.Seccomp(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}})
	if err != nil {
		return "", done, err
	}
	text, err := json.Marshal(dockerProfile(calls))
	if err != nil || !d.podman {
		return string(text), done, err
	}
	f, err := os.CreateTemp("", imageDir)
	if err != nil {
		return "", done, err
	}
	_, err = f.Write(text)
	return f.Name(), func() { os.Remove(f.Name()) }, errors.Join(err, f.Close())
}

func (d *Docker) options(tag, seccomp string, p process, job *sandbox.Job) (o client.ContainerCreateOptions) {
	l := job.Limits
	owner := fmt.Sprintf("uid=%d,gid=%d", p.uid, p.gid)
	tmpfs := func(bytes uint64, files int, flags string) string {
		if d.podman { // it knows no owner and no number of files
			return fmt.Sprintf("rw,nosuid,nodev,notmpcopyup,%s,mode=1777,size=%d", flags, bytes)
		}
		return fmt.Sprintf("rw,nosuid,nodev,%s,mode=0755,%s,size=%d,nr_inodes=%d", flags, owner, bytes, files+1)
	}
	page := uint64(os.Getpagesize())
	input := page * (sandbox.MaxFiles + 1)
	for _, f := range job.Inputs {
		input += uint64(len(f.Data))
	}
	processes := int64(container.DefaultProcesses + initProcesses)
	const most = 1 << 50
	memory := int64(min(l.MemoryBytes, most) + initMemory)
	no := false
	var groups []string
	for _, g := range p.groups {
		groups = append(groups, strconv.FormatUint(uint64(g), 10))
	}
	o.Config = &api.Config{
		Image: tag, Entrypoint: []string{"/" + initPath, container.InitArg}, Env: p.env, WorkingDir: p.dir,
		User: fmt.Sprintf("%d:%d", p.uid, p.gid), Hostname: "prytany",
		AttachStdin: true, AttachStdout: true, OpenStdin: true, StdinOnce: true, NetworkDisabled: true,
	}
	o.HostConfig = &api.HostConfig{
		NetworkMode: "none", IpcMode: "private", CgroupnsMode: "private", ShmSize: sandbox.TmpBytes,
		GroupAdd: groups, ReadonlyRootfs: true, CapDrop: []string{"ALL"},
		SecurityOpt: []string{"no-new-privileges", "seccomp=" + seccomp},
		LogConfig:   api.LogConfig{Type: "none"},
		OomScoreAdj: 1000, Init: &no,
		MaskedPaths:   append([]string{"/sys/firmware", "/sys/kernel", "/sys/module", "/sys/devices/virtual/powercap"}, container.Masked[1:]...),
		ReadonlyPaths: []string{"/proc/sys"},
		Tmpfs: map[string]string{
			"/code": tmpfs(uint64(len(job.Code))*4+(16<<20), image.DefaultLimits.Files, "exec"),
			"/in":   tmpfs(input, sandbox.MaxFiles*2, "noexec"),
			"/out":  tmpfs((min(l.OutputBytes, 1<<40)/page+sandbox.MaxFiles+2)*page, sandbox.MaxFiles+1, "noexec"),
			"/tmp":  tmpfs(sandbox.TmpBytes, sandbox.TmpFiles, "noexec"),
		},
		Resources: api.Resources{
			Memory: memory, MemorySwap: memory, NanoCPUs: processors * 1e9, PidsLimit: &processes,
			Ulimits: []*api.Ulimit{
				{Name: "core"}, {Name: "msgqueue"},
				{Name: "nofile", Soft: 1024, Hard: 1024}, {Name: "memlock", Soft: 64 << 10, Hard: 64 << 10},
				{Name: "fsize", Soft: int64(max(l.OutputBytes, sandbox.TmpBytes, uint64(len(job.Code))*4, input) + 1), Hard: int64(max(l.OutputBytes, sandbox.TmpBytes, uint64(len(job.Code))*4, input) + 1)},
			},
		},
	}
	if d.podman {
		// It takes what is hidden by a word of its own, and would raise a limit, which
		// not every root may; PidsLimit is the one that counts.
		o.HostConfig.SecurityOpt = append(o.HostConfig.SecurityOpt, "mask="+strings.Join(o.HostConfig.MaskedPaths, ":"))
		o.HostConfig.Ulimits = append(o.HostConfig.Ulimits, &api.Ulimit{Name: "nproc", Soft: 32768, Hard: 32768})
	}
	return o
}

// dockerProfile is a profile in the form that engines read: theirs names the
// parts as the specification does, and is refused if it has empty ones.
func dockerProfile(p *specs.LinuxSeccomp) any {
	type call struct {
		Names    []string                 `json:"names"`
		Action   specs.LinuxSeccompAction `json:"action"`
		ErrnoRet *uint                    `json:"errnoRet,omitempty"`
		Args     []specs.LinuxSeccompArg  `json:"args,omitempty"`
	}
	var calls []call
	for _, c := range p.Syscalls {
		calls = append(calls, call{c.Names, c.Action, c.ErrnoRet, c.Args})
	}
	return map[string]any{
		"defaultAction": p.DefaultAction, "defaultErrnoRet": 1, "architectures": p.Architectures, "syscalls": calls,
	}
}

// process is what the container starts.
type process struct {
	args     []string
	env      []string
	dir      string
	uid, gid uint32
	groups   []uint32
}

func (d *Docker) start(parent, ctx context.Context, tag string, p process, job *sandbox.Job) (result sandbox.Result, err error) {
	seccomp, done, err := d.seccomp()
	defer done()
	if err != nil {
		return result, err
	}
	made, err := d.client.ContainerCreate(parent, d.options(tag, seccomp, p, job))
	if err != nil {
		return result, fmt.Errorf("making a container: %w", err)
	}
	id := made.ID
	// Whatever the context says, the container goes.
	remove := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), 30*time.Second)
		defer cancel()
		for { // podman refuses it while the container is about to end
			_, err := d.client.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			if err == nil || errdefs.IsNotFound(err) {
				return nil
			}
			select {
			case <-ctx.Done():
				return err
			case <-time.After(dockerTick):
			}
		}
	}
	removed := false
	once := remove
	remove = func() error {
		if removed {
			return nil
		}
		err := once()
		removed = err == nil
		return err
	}
	defer func() {
		if e := remove(); err == nil {
			err = e
		}
	}()
	at, err := d.client.ContainerAttach(parent, id, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err != nil {
		return result, fmt.Errorf("attaching to a container: %w", err)
	}
	defer at.Close()
	if _, err := d.client.ContainerStart(parent, id, client.ContainerStartOptions{}); err != nil {
		return result, fmt.Errorf("starting a container: %w", err)
	}

	talk := make(chan error, 1)
	var rep container.Report
	var outputs []sandbox.File
	go func() {
		var err error
		rep, outputs, err = container.Converse(at.Conn, &stdout{r: at.Reader}, p.args, job, image.DefaultLimits)
		talk <- err
	}()
	m := container.NewMeter(processors)
	begun := time.Now()
	read := func() error {
		s, err := d.stats(context.WithoutCancel(ctx), id)
		if err != nil {
			return err
		}
		m.Read(time.Since(begun), s.cpu, s.memory)
		return nil
	}
	var said error
	stop := func(outcome sandbox.Outcome, reason string) {
		result = sandbox.Result{Outcome: outcome, Reason: reason}
		_ = remove()
		at.Close()
		said = <-talk
	}
	t := time.NewTicker(dockerTick)
	defer t.Stop()
	for talking := true; talking; {
		select {
		case said = <-talk:
			talking = false
			if err := read(); err != nil && said == nil {
				return sandbox.Result{}, fmt.Errorf("reading the meter: %w", err)
			}
		case <-ctx.Done():
			stop(sandbox.WallExceeded, "the function was stopped when its time was over")
			if parent.Err() != nil {
				return sandbox.Result{}, parent.Err()
			}
			talking = false
		case <-t.C:
			if err := read(); err != nil {
				continue // it has just ended, and then the talk does
			}
			if m.Gas() > job.Limits.Gas {
				stop(sandbox.GasExhausted, "")
				talking = false
			}
		}
	}
	gas := m.Gas()
	oom := rep.OOM || d.outOfMemory(context.WithoutCancel(ctx), id)
	if result.Outcome == 0 {
		if result, err = finish(rep, outputs, said, oom); err != nil {
			return sandbox.Result{}, err
		}
	}
	if result.Outcome != sandbox.OutputExceeded && gas > job.Limits.Gas {
		result.Outcome, result.Outputs = sandbox.GasExhausted, nil
	}
	result.Gas = min(gas, job.Limits.Gas)
	if result.Outcome == sandbox.GasExhausted {
		result.Gas = job.Limits.Gas
		result.Reason = fmt.Sprintf("the function was stopped when it had used all %d gas", job.Limits.Gas)
	}
	if result.Before == (task.Hash{}) {
		// It was killed before it could wipe: then what was in its memory went
		// with the container, and the engine must know of none.
		if result.After, err = d.gone(parent, id, remove); err != nil {
			return sandbox.Result{}, err
		}
		result.Before = sandbox.EmptyState
	}
	return result, nil
}

// finish says what became of a function that nobody stopped.
func finish(rep container.Report, outputs []sandbox.File, said error, oom bool) (sandbox.Result, error) {
	r := sandbox.Result{ExitCode: rep.Exit, Log: rep.Log, Before: rep.Before, After: rep.After, Message: sandbox.ReadMessage(strings.NewReader(rep.Message))}
	switch {
	case said != nil && oom:
		return sandbox.Result{Outcome: sandbox.MemoryExceeded, Reason: "the function was ended after it was denied more memory"}, nil
	case said != nil:
		return r, fmt.Errorf("the container: %w", said)
	case rep.Outcome == sandbox.OutputExceeded || rep.Outcome == sandbox.FunctionError:
		r.Outcome, r.Reason = rep.Outcome, rep.Reason
		if rep.Exit != 0 && oom {
			r.Outcome = sandbox.MemoryExceeded
		}
	case rep.Outcome != 0:
		return r, fmt.Errorf("the container says it ended by %v, which is not for it to say", rep.Outcome)
	case rep.Exit == 0:
		r.Outcome, r.Outputs, r.Message = sandbox.OK, outputs, ""
	case oom:
		r.Outcome, r.Reason = sandbox.MemoryExceeded, rep.Reason+", after it was denied more memory"
	case rep.Killed:
		r.Outcome, r.Reason = sandbox.Killed, rep.Reason+", and nobody can say whose it was"
	default:
		r.Outcome, r.Reason = sandbox.FunctionError, rep.Reason
	}
	return r, nil
}

// stdout takes the container's standard output out of an attached stream, in
// which each piece has 8 bytes before it: its kind, and its length in the last
// four.
type stdout struct {
	r    io.Reader
	left uint32
}

func (s *stdout) Read(p []byte) (int, error) {
	for s.left == 0 {
		var head [8]byte
		if _, err := io.ReadFull(s.r, head[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(head[4:])
		if head[0] == 1 {
			s.left = n
		} else if _, err := io.CopyN(io.Discard, s.r, int64(n)); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(p[:min(len(p), int(s.left))])
	s.left -= uint32(n)
	return n, err
}

type reading struct {
	cpu    time.Duration
	memory uint64
}

func (d *Docker) stats(ctx context.Context, id string) (reading, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := d.client.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return reading{}, err
	}
	defer r.Body.Close()
	var s api.StatsResponse
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&s); err != nil {
		return reading{}, err
	}
	if s.CPUStats.CPUUsage.TotalUsage == 0 {
		return reading{}, errors.New("the engine counts no processor time")
	}
	return reading{time.Duration(s.CPUStats.CPUUsage.TotalUsage), s.MemoryStats.Usage}, nil
}

func (d *Docker) outOfMemory(ctx context.Context, id string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := d.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return err == nil && r.Container.State != nil && r.Container.State.OOMKilled
}

// gone removes the container and asks whether the engine still knows it.
func (d *Docker) gone(ctx context.Context, id string, remove func() error) (task.Hash, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := remove()
	if _, e := d.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{}); e == nil {
		return task.Hash{}, fmt.Errorf("the engine still has the container: %w", err)
	}
	return sandbox.EmptyState, nil
}

// oneLine makes words from elsewhere fit for an error.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Probe says whether an engine works on this machine.
func Probe(ctx context.Context, c Config) container.Status {
	s := container.Status{Name: "docker"}
	d, err := New(ctx, c)
	if err != nil {
		s.Why, s.Hint, _ = strings.Cut(oneLine(err.Error()), ". Next: ")
		return s
	}
	s.Version, s.Available = d.version, true
	_ = d.Close()
	return s
}
