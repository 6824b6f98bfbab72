package container

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/prytany/prytany/sandbox"
	"golang.org/x/sys/unix"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// The configuration as the runtimes get it, but for the list of system calls,
// which depends on the kernel and has a test of its own.
func TestSpecGolden(t *testing.T) {
	for name, e := range engines {
		s, err := e.spec(Config{}.withDefaults(), process{args: []string{"/main", "x"}, env: []string{"A=1"}, dir: "/", uid: 5, gid: 6, groups: []uint32{7, 8}}, sandbox.Limits{OutputBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if (s.Linux.Seccomp == nil) != e.kernel {
			t.Errorf("%s: seccomp %v", name, s.Linux.Seccomp)
		}
		s.Linux.Seccomp = nil
		got, err := json.MarshalIndent(s, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "config.json")
		if *rewrite {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(want)) != string(got) {
			t.Errorf("%s: %v: go test -run Golden -rewrite, and look at the difference\n%s", name, err, got)
		}
	}
}

func TestSeccomp(t *testing.T) {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	p, err := Seccomp(s)
	if err != nil {
		t.Fatal(err)
	}
	if p.DefaultAction != specs.ActErrno || len(p.Architectures) != 1 {
		t.Errorf("default %s, for %v", p.DefaultAction, p.Architectures)
	}
	for _, call := range p.Syscalls {
		if call.Action != specs.ActAllow {
			continue
		}
		for _, n := range call.Names {
			if slices.Contains(refused, n) && n != "socket" && n != "ioctl" {
				t.Errorf("%s is allowed", n)
			}
			if n == "socket" && (len(call.Args) != 1 || call.Args[0].Value != unix.AF_UNIX || call.Args[0].Op != specs.OpEqualTo) {
				t.Errorf("socket is allowed with %v", call.Args)
			}
			if n == "clone" && len(call.Args) == 0 || n == "clone3" {
				t.Errorf("%s is allowed whatever namespaces it makes", n)
			}
			if n == "ioctl" && (len(call.Args) != 1 || call.Args[0].Index != 1 || call.Args[0].Op != specs.OpMaskedEqual) {
				t.Errorf("ioctl is allowed with %v", call.Args)
			}
		}
	}
	for _, n := range []string{"read", "write", "openat", "mmap", "execve", "futex", "exit_group"} {
		if !slices.ContainsFunc(p.Syscalls, func(c specs.LinuxSyscall) bool {
			return c.Action == specs.ActAllow && len(c.Args) == 0 && slices.Contains(c.Names, n)
		}) {
			t.Errorf("%s is not allowed", n)
		}
	}
}

// Conditions on 32 bits let everything pass but what is in the list, whatever a
// program puts into the 32 that the kernel does not look at.
func TestOthers(t *testing.T) {
	allowed := func(list []uint32, n uint64) (yes int) {
		for _, a := range others(list) {
			if n&a.Value == a.ValueTwo {
				yes++
			}
		}
		return yes
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, list := range [][]uint32{nil, {0}, {math.MaxUint32}, refusedControls, {0, 1, 2, 3}, {0x8000_0000, 0x7fff_ffff}} {
		try := []uint32{0, 1, 2, math.MaxUint32}
		for _, n := range list {
			try = append(try, n, n+1, n-1, n^0x8000_0000, n<<1)
		}
		for range 1000 {
			try = append(try, rnd.Uint32())
		}
		for _, n := range try {
			want := 1
			if slices.Contains(list, n) {
				want = 0
			}
			for _, high := range []uint64{0, 1 << 32, 0xffff_ffff << 32} {
				if got := allowed(list, high|uint64(n)); got != want {
					t.Fatalf("%#x of all but %#x: allowed by %d conditions", high|uint64(n), list, got)
				}
			}
		}
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	for range 100 {
		m.held(1<<20, 10*time.Millisecond) // a MiB for a second
	}
	if got := m.Gas(); got != 1000*GasPerMiBMillisecond {
		t.Errorf("%d gas for a MiB·s", got)
	}
	m.cpu = 3 * time.Millisecond
	if got := m.Gas(); got != 1000*GasPerMiBMillisecond+3000*GasPerMicrosecond {
		t.Errorf("%d gas", got)
	}
	// However it is cut, nothing is lost but less than a KiB·µs at a time.
	var a, b Meter
	a.held(7<<10, 999*time.Microsecond)
	for range 999 {
		b.held(7<<10, time.Microsecond)
	}
	if a != b {
		t.Errorf("%+v, in pieces %+v", a, b)
	}
	m.held(math.MaxUint64, math.MaxInt64)
	m.held(1<<20, time.Second)
	if m.Gas() != math.MaxUint64 {
		t.Error("gas wrapped")
	}
	m = Meter{cpus: math.MaxUint64}
	m.Read(-1, -1, 1<<20)
	m.Read(math.MaxInt64, math.MaxInt64, 0)
	m.Read(5, 3, 1<<20)
	if m.cpu != math.MaxInt64 || m.memory != 0 {
		t.Errorf("clocks that go back: %+v", m)
	}
}

// What a host that preempts can make of a job's gas: nothing, as far as the kernel
// or this process sees that it does. Each trace is of readings: ms since the start,
// ms of processor time that the kernel counted, MiB held.
func TestPreemptionCostsNoGas(t *testing.T) {
	type readings [][3]int64
	// every gives a reading each so many ms, with a share of the processor.
	every := func(ms, until, share, mib int64) (list readings) {
		for at := ms; at <= until; at += ms {
			list = append(list, [3]int64{at, at * share / 100, mib})
		}
		return list
	}
	const mib = GasPerMiBMillisecond
	const ms = 1000 * GasPerMicrosecond
	for _, c := range []struct {
		name  string
		cpus  uint64
		trace readings
		gas   uint64
	}{
		{"alone", 1, every(10, 200, 100, 8), 200*ms + 200*8*mib},
		{"with a tenth of a processor, for the same work", 1, every(10, 2000, 10, 8), 200*ms + 200*8*mib},
		{"asleep, and holding memory", 1, every(10, 2000, 0, 8), 0},
		{"two processors, of which it may have one", 1, every(10, 200, 200, 8), 200*ms + 200*8*mib},
		{"two processors", 2, every(10, 200, 200, 8), 400*ms + 200*8*mib},
		// A virtual processor that stood still: the guest's kernel counts that as the
		// job's, for it had it then.
		{"frozen for ten seconds", 1, readings{{10, 10, 8}, {10_010, 10_010, 8}, {10_020, 10_020, 8}}, 120*ms + 120*8*mib},
		{"frozen, and the kernel knows", 1, readings{{10, 10, 8}, {10_010, 10, 8}, {10_020, 20, 8}}, 20*ms + 20*8*mib},
		{"this process stopped, and the job not", 1, readings{{10, 10, 8}, {5000, 5000, 8}}, 110*ms + 110*8*mib},
		{"a clock of the kernel's that hurries", 1, readings{{10, 1_000_000, 8}, {20, 2_000_000, 8}}, 20*ms + 20*8*mib},
		{"read a moment late, and made up for", 1, readings{{10, 12, 8}, {20, 20, 8}}, 20*ms + 20*8*mib},
		{"one that goes back", 1, readings{{10, 10, 8}, {20, 5, 8}, {30, 15, 8}}, 15*ms + 15*8*mib},
	} {
		m := Meter{cpus: c.cpus, gap: longestGap}
		for _, r := range c.trace {
			m.Read(time.Duration(r[0])*time.Millisecond, time.Duration(r[1])*time.Millisecond, uint64(r[2])<<20)
		}
		if m.Gas() != c.gas {
			t.Errorf("%s: %d gas, want %d", c.name, m.Gas(), c.gas)
		}
	}
	// Whatever the kernel says, gas is no more than what the time allows.
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		m := Meter{cpus: 1 + rnd.Uint64N(4), gap: time.Duration(rnd.Int64N(2)) * longestGap}
		var at time.Duration
		for range 50 {
			at += time.Duration(rnd.Int64N(int64(time.Second)))
			m.Read(at, time.Duration(rnd.Int64N(int64(time.Minute))), 1<<20)
		}
		if most := uint64(at.Microseconds()) * (m.cpus*GasPerMicrosecond + GasPerMiBMillisecond/1000 + 1); m.Gas() > most {
			t.Fatalf("%d gas in %s with %d processors", m.Gas(), at, m.cpus)
		}
	}
}

// Both versions of cgroups, from files as the kernel writes them.
func TestCgroupFiles(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string]string{
		"cpu.stat":                        "usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n",
		"memory.current":                  "4096\n",
		"memory.events":                   "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n",
		"io.stat":                         "8:0 rbytes=90 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=8 rios=1 wios=1 dbytes=0 dios=0\n",
		"cpuacct.usage":                   "1234000\n",
		"memory.usage_in_bytes":           "4096\n",
		"memory.oom_control":              "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		"memory.max_usage_in_bytes":       "1048575\n",
		"memory.limit_in_bytes":           "1048576\n",
		"blkio.throttle.io_service_bytes": "8:0 Read 90\n8:0 Write 512\n8:0 Total 602\n8:16 Write 8\nTotal 611\n",
		"cgroup.subtree_control":          "cpu io memory pids\n",
		"memory.max":                      "", "memory.swap.max": "", "memory.oom.group": "", "cpu.max": "", "pids.max": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range []group{
		{v2: true, dirs: map[string]string{"": dir}},
		{dirs: map[string]string{"cpu": dir, "cpuacct": dir, "memory": dir, "pids": dir, "blkio": dir}},
	} {
		cpu, err1 := g.cpu()
		memory, err2 := g.memory()
		oom, own, err3 := g.oom()
		written, err4 := g.written()
		if cpu != 1234*time.Microsecond || memory != 4096 || oom != 2 || !own || written != 520 {
			t.Errorf("v2 %v: %v %d %d %v %d, %v %v %v %v", g.v2, cpu, memory, oom, own, written, err1, err2, err3, err4)
		}
	}
	if d, err := delegated(filepath.Join(dir)); d != dir || err != nil {
		t.Error(d, err)
	}
	g := group{v2: true, dirs: map[string]string{"": dir}}
	if err := g.limit(1<<20, 5, 2); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"memory.max": "1048576", "memory.swap.max": "0", "cpu.max": "200000 100000", "pids.max": "5"} {
		if got, _ := os.ReadFile(filepath.Join(dir, file)); string(got) != want {
			t.Errorf("%s is %q", file, got)
		}
	}
}

func TestCgroupParents(t *testing.T) {
	const v1 = `23 1 0:21 / / rw - ext4 /dev/root rw
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 /outer /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	g, err := parents(v1, "9:cpu,cpuacct:/a\n8:pids:/outer/b\n4:memory:/c/d\n0::/e\n")
	if err != nil || g.v2 || g.dirs["cpu"] != "/sys/fs/cgroup/cpu/a" || g.dirs["cpuacct"] != g.dirs["cpu"] ||
		g.dirs["pids"] != "/sys/fs/cgroup/pids/b" || g.dirs["memory"] != "/sys/fs/cgroup/memory/c/d" {
		t.Errorf("%+v %v", g, err)
	}
	const v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	g, err = parents(v2, "0::/system.slice/prytany.service\n")
	if err != nil || !g.v2 || g.dirs[""] != "/sys/fs/cgroup/system.slice/prytany.service" {
		t.Errorf("%+v %v", g, err)
	}
	if _, err := parents(strings.Replace(v1, "memory memory", "x", 1)+"", ""); err != nil {
		t.Log(err)
	}
	if _, err := parents("", ""); err == nil || !strings.Contains(err.Error(), "not mounted") {
		t.Error(err)
	}
}

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	var many strings.Builder
	for i := range maxGroups + 1 {
		fmt.Fprintf(&many, "g%d:x:%d:popular\n", i, 10_000+i)
	}
	for name, data := range map[string]string{
		"passwd": "root:x:0:0\nbob:x:7:8:\nevil:x:99999999:0\n12:x:13:14:\npopular:x:20:20:\n",
		"group": "root:x:0:\nstaff:x:50:\nreaders:x:60:ann,bob\nagain:x:60:bob\nlong:x:61:" + strings.Repeat("nobody,", 20_000) + "bob\n" +
			"root's:x:62:root\nnot:x:63:bobby,bo\nhuge:x:99999999:bob\nbob:x\n" + many.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for s, want := range map[string]string{
		"":       "0:0 []", // whoever the image leaves it to
		"root":   "0:0 [62]",
		"root:":  "0:0 [62]",
		":staff": "0:50 []",
		":":      "0:0 [62]",
		"bob":    "7:8 [60 61]",
		"bob:":   "7:8 [60 61]",
		"7":      "7:8 [60 61]",
		"7:":     "7:8 [60 61]",
		// Who names a group has that and no other.
		"bob:staff": "7:50 []", "bob:8": "7:8 []", "7:staff": "7:50 []", "1:2": "1:2 []",
		// A number is an id, in the image's files or not.
		"9": "9:0 []", "12": "12:0 []", "13": "13:14 []",
		"none": "no", "bob:none": "no", "evil": "no", "70000": "no", "bob:70000": "no", "-1": "no", "popular": "no",
	} {
		uid, gid, groups, why := User(root, s)
		got := fmt.Sprintf("%d:%d %d", uid, gid, groups)
		if why != "" {
			got = "no"
			t.Logf("%q: %s", s, why)
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%s)", s, got, want, why)
		}
	}
}

// An image's WorkingDir is made short before it is looked at, and the short form
// is what the runtime gets.
func TestWorkingDirectories(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, err := range []error{
		root.MkdirAll("app/data", 0o755), root.WriteFile("file", nil, 0o644), root.Symlink("/app", "link"), root.Symlink("/proc/self/fd/7", "trap"),
		Mountpoints(root),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"": "/", "/": "/", "//": "/", "/app": "/app", "/app/": "/app", "/app//": "/app", "//app": "/app", "/app/.": "/app", "/./app/data/": "/app/data",
		"/app/../app": "/app", "/../app": "/app", "/app/data/..": "/app", "/link/": "/link", "/out/": "/out", "/tmp": "/tmp",
		"app": "no", ".": "no", "./app": "no", "/none": "no", "/file": "no", "/file/": "no", "/trap": "no",
		"/proc": "no", "/proc/": "no", "/proc/self/fd/7": "no", "//proc/self/fd/7": "no", "/./proc/self/fd/7/": "no", "/proc/self/fd/7/../../..": "no",
		"/../../proc/self": "no", "/app/../proc/self/cwd": "no", "/dev/": "no", "/dev/fd/7": "no", "/sys/": "no",
	} {
		got, why := Dir(root, in)
		if why != "" {
			got = "no"
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%s)", in, got, want, why)
		}
	}
}

// What is in a job's memory shows in the state, whatever it is, and wiping
// takes all of it away.
func TestStateAndWipe(t *testing.T) {
	m, err := newRAM(16<<20, 2000, false)
	if err != nil {
		t.Skip(err)
	}
	defer m.close()
	state := func() string {
		t.Helper()
		h, err := digest(m)
		if err != nil {
			t.Fatal(err)
		}
		return h.String()
	}
	empty := sandbox.EmptyState.String()
	if state() != empty {
		t.Fatal("new, and not empty")
	}
	seen := map[string]string{empty: "nothing"}
	step := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		s := state()
		if seen[s] != "" {
			t.Errorf("after %s the state is as after %s", what, seen[s])
		}
		seen[s] = what
	}
	step("a file", m.root.WriteFile("a", []byte("x"), 0o600))
	step("its content", m.root.WriteFile("a", []byte("y"), 0o600))
	step("its mode", m.root.Chmod("a", 0o640))
	if os.Geteuid() == 0 {
		step("its owner", m.root.Chown("a", 1, 0))
		step("its group", m.root.Chown("a", 1, 1))
		step("a device", unix.Mknodat(m.fd, "null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	}
	step("a link", m.root.Symlink("a", "l"))
	step("a fifo", unix.Mknodat(m.fd, "fifo", unix.S_IFIFO|0o600, 0))
	step("a directory", m.root.MkdirAll("d/e/f", 0o755))
	step("its mode", m.root.Chmod("d/e", 0o700))
	step("a file below", m.root.WriteFile("d/e/f/g", make([]byte, 3<<20), 0o600))
	step("another link to it", m.root.Link("d/e/f/g", "h"))
	deep := strings.Repeat("x/", 1000)
	step("a deep tree", m.root.MkdirAll(deep, 0o755))
	kept, err := m.root.Open("d/e/f/g")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := m.wipe(); err != nil {
		t.Fatal(err)
	}
	if state() != empty {
		t.Error("not empty after wiping")
	}
	if st, err := kept.Stat(); err != nil || st.Size() != 0 {
		t.Errorf("a file that was open still has %d bytes, %v", st.Size(), err)
	}
}
