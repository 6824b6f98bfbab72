// Package debian makes a root file system of Debian packages: the same bytes
// for the same lock file, on every machine and at any time.
//
// [Resolve] asks apt which packages a list of them needs, and makes a [Lock]:
// each one's version, size and SHA-256. [Fetch] has apt download just these from
// the machine's own mirrors, and checks each by its digest, so the mirror, apt's
// keys and the network are believed nothing. [Root] unpacks them. No script of a
// package runs, nothing is configured and no root is needed: what a script would
// have done, such as a link, the caller says.
//
// Apt works on a database of its own in a temporary directory. What the machine
// has installed does not count, and is not touched.
package debian

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/task"
)

// A Package is one .deb file.
type Package struct {
	Name, Version, Arch string
	Size                int64
	SHA256              string
}

func (p Package) String() string { return p.Name + " " + p.Version }

// A Lock is a set of packages, sorted by name.
type Lock []Package

const lockHead = "# Debian packages of an image: name, version, architecture, size, SHA-256.\n" +
	"# Made by `prytany func lock`. The same lines make the same image.\n"

// Encode is the lock's file.
func (l Lock) Encode() []byte {
	b := []byte(lockHead)
	for _, p := range l {
		b = fmt.Appendf(b, "%s %s %s %d %s\n", p.Name, p.Version, p.Arch, p.Size, p.SHA256)
	}
	return b
}

// Bounds of a lock.
const (
	maxPackages = 1000
	maxSize     = 1 << 30 // bytes of one package
)

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]{1,127}$`)
	versionForm = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]{0,127}$`)
	archForm    = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	digestForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// IsName says whether a package could have that name.
func IsName(s string) bool { return nameForm.MatchString(s) }

// ParseLock reads the file. It becomes arguments of apt, so each word of it has
// a form.
func ParseLock(raw []byte) (Lock, error) {
	var l Lock
	for i, line := range strings.Split(string(raw), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		bad := func(what string) (Lock, error) { return nil, fmt.Errorf("line %d: %s", i+1, what) }
		w := strings.Fields(line)
		if len(w) != 5 {
			return bad("want name, version, architecture, size and SHA-256")
		}
		size, err := strconv.ParseInt(w[3], 10, 64)
		p := Package{w[0], w[1], w[2], size, w[4]}
		switch {
		case !nameForm.MatchString(p.Name):
			return bad("no name of a package")
		case !versionForm.MatchString(p.Version):
			return bad("no version")
		case !archForm.MatchString(p.Arch):
			return bad("no architecture")
		case err != nil || size < 1 || size > maxSize:
			return bad("no size")
		case !digestForm.MatchString(p.SHA256):
			return bad("no SHA-256")
		case len(l) == maxPackages:
			return bad(fmt.Sprintf("more than %d packages", maxPackages))
		case len(l) > 0 && l[len(l)-1].Name >= p.Name:
			return bad("names are sorted, and none stands twice")
		}
		l = append(l, p)
	}
	if len(l) == 0 {
		return nil, errors.New("no packages")
	}
	return l, nil
}

// Apt is how this machine's apt is asked.
type Apt struct {
	Arch    string   // Debian's name of the processor
	Options []string // more options for it, such as -o NAME=VALUE
	work    string
}

// Arch is Debian's name of a processor that Go calls so, if they differ.
func Arch(goarch string) string {
	if name := map[string]string{"arm": "armhf", "386": "i386", "ppc64le": "ppc64el"}[goarch]; name != "" {
		return name
	}
	return goarch
}

// Missing says what this machine lacks to make images of packages.
func Missing() error {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return task.Refuse("apt-missing", "an image of Debian packages needs %s, and there is none on this machine", program).
				WithNext("build it on Debian or Ubuntu, and name the image as image.file")
		}
	}
	return nil
}

// open makes apt's database: that of a machine with nothing on it but without,
// which then nobody installs. The indexes of the mirrors are fetched.
func (a Apt) open(ctx context.Context, without []string) (_ Apt, done func(), err error) {
	if err := Missing(); err != nil {
		return a, nil, err
	}
	if a.work, err = os.MkdirTemp("", "prytany-apt-"); err != nil {
		return a, nil, err
	}
	done = func() { os.RemoveAll(a.work) }
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "got"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(a.work, dir), 0o755))
	}
	var status strings.Builder
	for _, name := range without {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: %s\nMulti-Arch: foreign\nMaintainer: nobody\nVersion: 9999:0\nDescription: left out\n\n", name, a.Arch)
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(a.work, "status"), []byte(status.String()), 0o644))
	if err == nil {
		_, err = a.run(ctx, "update")
	}
	if err != nil {
		done()
		return a, nil, err
	}
	return a, done, nil
}

func (a Apt) run(ctx context.Context, args ...string) ([]byte, error) {
	options := []string{
		"-q", "-y", "-o", "Dir::State=" + filepath.Join(a.work, "state"), "-o", "Dir::State::status=" + filepath.Join(a.work, "status"),
		"-o", "Dir::Cache=" + filepath.Join(a.work, "cache"), "-o", "APT::Architecture=" + a.Arch, "-o", "APT::Architectures::=" + a.Arch,
		"-o", "APT::Install-Recommends=0", "-o", "APT::Sandbox::User=root", "-o", "Acquire::ForceHash=SHA256", "-o", "Acquire::Languages=none",
		"-o", "APT::Update::Error-Mode=any", "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}
	cmd := exec.CommandContext(ctx, "apt-get", slices.Concat(options, a.Options, args)...)
	cmd.Dir = filepath.Join(a.work, "got")
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, task.Refuse("apt-failed", "apt-get %s: %v\n%s", args[0], err, tail(said.Bytes())).
			WithNext("apt-get update   must work on this machine: its mirrors are those of /etc/apt")
	}
	return out, nil
}

// tail is the end of what a program said, in which its errors are.
func tail(said []byte) []byte {
	const most = 2000
	said = bytes.ToValidUTF8(bytes.TrimSpace(said), []byte("?"))
	return said[max(0, len(said)-most):]
}

// Resolve is the lock of packages and all that they need, but for what is to be
// left out and what only that needs.
func (a Apt) Resolve(ctx context.Context, packages, without []string) (Lock, error) {
	a, done, err := a.open(ctx, without)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := a.run(ctx, append([]string{"--print-uris", "install"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var l Lock
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "'") {
			continue
		}
		p, err := printed(line)
		if err != nil {
			return nil, task.Refuse("apt-failed", "apt-get --print-uris: %v: %q", err, line)
		}
		l = append(l, p)
	}
	slices.SortFunc(l, func(a, b Package) int { return cmp.Compare(a.Name, b.Name) })
	return ParseLock(l.Encode())
}

// printed reads a line of --print-uris: 'address' name_version_arch.deb size SHA256:digest.
func printed(line string) (p Package, err error) {
	w := strings.Fields(line)
	if len(w) != 4 {
		return p, errors.New("want four words, the last of them a SHA-256")
	}
	file := strings.Split(strings.TrimSuffix(w[1], ".deb"), "_")
	digest, ok := strings.CutPrefix(w[3], "SHA256:")
	if len(file) != 3 || !ok {
		return p, errors.New("no name of a package, or no SHA-256")
	}
	size, err := strconv.ParseInt(w[2], 10, 64)
	return Package{file[0], strings.ReplaceAll(file[1], "%3a", ":"), file[2], size, digest}, err
}

// Fetch has the packages of a lock in a directory, each in a file that its
// SHA-256 names. What is there already is not fetched.
func (a Apt) Fetch(ctx context.Context, l Lock, dir string) error {
	var missing Lock
	for _, p := range l {
		if _, err := p.read(filepath.Join(dir, p.file())); err != nil {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	a, done, err := a.open(ctx, nil)
	if err != nil {
		return err
	}
	defer done()
	args := []string{"download"}
	for _, p := range missing {
		name := p.Name
		if p.Arch != "all" {
			name += ":" + p.Arch
		}
		args = append(args, name+"="+p.Version)
	}
	if _, err := a.run(ctx, args...); err != nil {
		var e *task.Error
		if errors.As(err, &e) {
			e = task.Refuse("packages-gone", "the mirrors of this machine do not have all packages of the lock file: %s", e.What)
			return e.WithNext("prytany func lock DIR   for today's versions; or have apt ask snapshot.debian.org")
		}
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range missing {
		got := filepath.Join(a.work, "got", fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Arch))
		raw, err := p.read(got)
		if err != nil {
			return err
		}
		if err := disk.WriteWhole(filepath.Join(dir, p.file()), raw); err != nil {
			return err
		}
	}
	return nil
}

func (p Package) file() string { return p.SHA256 + ".deb" }

// read reads a file, which must be what the lock says.
func (p Package) read(path string) ([]byte, error) {
	raw, err := disk.ReadFile(path, maxSize)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(raw); int64(len(raw)) != p.Size || hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, task.Refuse("package-differs", "%s is not what the lock file names: %d bytes, SHA-256 %x", p, len(raw), sum).
			WithNext("do not use what that mirror gives; prytany func lock DIR writes the lock file anew, if it is known why")
	}
	return raw, nil
}
