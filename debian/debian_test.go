package debian

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/task"
)

const digest = "1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619"

func TestParseLock(t *testing.T) {
	good := "# a comment\n\nlibc6 2.36-9+deb12u14 amd64 2759320 " + digest + "\nzlib1g 1:1.2.13.dfsg-1 amd64 86684 " + digest + "\n"
	l, err := ParseLock([]byte(good))
	if err != nil || len(l) != 2 || l[1].Version != "1:1.2.13.dfsg-1" || l[0].Size != 2759320 {
		t.Fatalf("%v, %v", l, err)
	}
	if again, err := ParseLock(l.Encode()); err != nil || !slices.Equal(again, l) {
		t.Errorf("%v, %v", again, err)
	}
	for name, row := range map[string]struct{ line, says string }{
		"an option for apt":        {"-oX=1 1 amd64 1 " + digest, "line 1: no name"},
		"a version with a path":    {"x1 1/../2 amd64 1 " + digest, "no version"},
		"another package":          {"x1 1,y=2 amd64 1 " + digest, "no version"},
		"an architecture with one": {"x1 1 amd64=2 1 " + digest, "no architecture"},
		"no size":                  {"x1 1 all x " + digest, "no size"},
		"of no size":               {"x1 1 all 0 " + digest, "no size"},
		"too large":                {"x1 1 all 1073741825 " + digest, "no size"},
		"a digest that is a path":  {"x1 1 all 1 ../../x", "no SHA-256"},
		"a digest in capitals":     {"x1 1 all 1 " + strings.ToUpper(digest), "no SHA-256"},
		"a word more":              {"x1 1 all 1 " + digest + " x", "want name"},
		"not sorted":               {"x2 1 all 1 " + digest + "\nx1 1 all 1 " + digest, "line 2: names are sorted"},
		"twice":                    {"x1 1 all 1 " + digest + "\nx1 2 all 1 " + digest, "line 2: names are sorted"},
		"nothing":                  {"# nothing", "no packages"},
	} {
		if l, err := ParseLock([]byte(row.line)); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

func FuzzParseLock(f *testing.F) {
	f.Add([]byte("libc6 2.36-9+deb12u14 amd64 2759320 " + digest + "\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ParseLock(raw)
		if err != nil {
			return
		}
		if again, err := ParseLock(l.Encode()); err != nil || !slices.Equal(again, l) {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

// A mirror is a directory of packages that apt is pointed at.
type mirror struct {
	dir   string
	index bytes.Buffer
}

// newMirror skips a test on machines without apt and dpkg.
func newMirror(t *testing.T) *mirror {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program, "is not here")
		}
	}
	return &mirror{dir: t.TempDir()}
}

// put builds a package of files, by path; a text that begins with -> is a link.
func (m *mirror) put(t *testing.T, name, version, fields string, files map[string]string) {
	t.Helper()
	root := t.TempDir()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody\nDescription: a test\n%s", name, version, Arch(runtime.GOARCH), fields)
	files = mapWith(files, "DEBIAN/control", control)
	for path, text := range files {
		at := filepath.Join(root, path)
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		if to, link := strings.CutPrefix(text, "->"); link && err == nil {
			err = os.Symlink(to, at)
		} else if err == nil {
			err = os.WriteFile(at, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(m.dir, fmt.Sprintf("%s_%s.deb", name, version))
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", root, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	raw, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&m.index, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, filepath.Base(deb), len(raw), sha256.Sum256(raw))
}

func mapWith(m map[string]string, k, v string) map[string]string {
	all := map[string]string{k: v}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// apt is the machine's, which sees this mirror and no other.
func (m *mirror) apt(t *testing.T) Apt {
	t.Helper()
	list := filepath.Join(m.dir, "sources.list")
	for path, text := range map[string]string{
		filepath.Join(m.dir, "Packages"): m.index.String(),
		list:                             "deb [trusted=yes] copy:" + m.dir + " ./\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Apt{Arch: Arch(runtime.GOARCH), Options: []string{"-o", "Dir::Etc::SourceList=" + list, "-o", "Dir::Etc::SourceParts=-"}}
}

func listed(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeDir {
			all[h.Name] = string(data)
		}
		if h.Typeflag == tar.TypeSymlink {
			all[h.Name] = "->" + h.Linkname
		}
	}
}

// From a list of packages to a root file system, twice, and from another directory.
func TestPackagesToRoot(t *testing.T) {
	m := newMirror(t)
	m.put(t, "app", "1:1.0", "Depends: lib, tool\n", map[string]string{
		"usr/bin/app": "program", "bin/old": "in the old place", "usr/share/doc/app/copyright": "licence", "usr/share/doc/app/changelog": "long",
		"usr/share/man/man1/app.1": "manual", "DEBIAN/postinst": "#!/bin/sh\ntouch /tmp/a-script-ran\nexit 1\n",
	})
	m.put(t, "lib", "2", "Depends: libmore\n", map[string]string{"lib/libx.so.1": "->libx.so.1.2", "lib/libx.so.1.2": "library"})
	m.put(t, "libmore", "2", "", map[string]string{"usr/lib/more/libmore.so": "more"})
	m.put(t, "tool", "3", "Depends: compiler\n", map[string]string{"usr/bin/tool": "tool"})
	m.put(t, "compiler", "4", "", map[string]string{"usr/bin/cc": "huge"})
	apt := m.apt(t)
	l, err := apt.Resolve(t.Context(), []string{"app"}, []string{"tool"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range l {
		names = append(names, p.Name+"="+p.Version)
	}
	if got := strings.Join(names, " "); got != "app=1:1.0 lib=2 libmore=2" {
		t.Fatalf("locked %s", got)
	}
	if full, err := apt.Resolve(t.Context(), []string{"app"}, nil); err != nil || len(full) != 5 {
		t.Errorf("with all that it needs: %v, %v", full, err)
	}
	links := map[string]string{"/lib/libmore.so.1": "more/libmore.so", "/etc/x": "/usr/bin/app"}
	var roots [][]byte
	for range 2 {
		dir := t.TempDir()
		if err := apt.Fetch(t.Context(), l, dir); err != nil {
			t.Fatal(err)
		}
		raw, err := Root(t.Context(), l, dir, links)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, raw)
		// What is there is not fetched again.
		if err := (Apt{Arch: apt.Arch, Options: []string{"-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=-"}}).Fetch(t.Context(), l, dir); err != nil {
			t.Error(err)
		}
	}
	if !bytes.Equal(roots[0], roots[1]) {
		t.Error("two roots of one lock differ")
	}
	have := listed(t, roots[0])
	for name, want := range map[string]string{
		"usr/bin/app": "program", "usr/bin/old": "in the old place", "usr/lib/libx.so.1": "->libx.so.1.2", "usr/lib/libx.so.1.2": "library",
		"usr/lib/libmore.so.1": "->more/libmore.so", "usr/lib/more/libmore.so": "more", "bin": "->usr/bin", "lib": "->usr/lib", "etc/x": "->/usr/bin/app",
		"usr/share/doc/app/copyright": "licence", LockFile: string(l.Encode()),
	} {
		if have[name] != want {
			t.Errorf("%s: %q, want %q", name, have[name], want)
		}
		delete(have, name)
	}
	delete(have, "etc/passwd")
	delete(have, "etc/group")
	if len(have) != 0 {
		t.Errorf("there is more: %v", have)
	}
	if Key(l, links) == Key(l, nil) || Key(l, links) == Key(l[1:], links) {
		t.Error("a key names two roots")
	}
}

func TestAMirrorIsBelievedNothing(t *testing.T) {
	m := newMirror(t)
	m.put(t, "app", "1", "", map[string]string{"usr/bin/app": "program"})
	l, err := m.apt(t).Resolve(t.Context(), []string{"app"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := newMirror(t)
	other.put(t, "app", "1", "", map[string]string{"usr/bin/app": "another program"})
	dir := t.TempDir()
	if err := other.apt(t).Fetch(t.Context(), l, dir); task.CodeOf(err) != "package-differs" {
		t.Errorf("another package of the same version: %v", err)
	}
	newer := newMirror(t)
	newer.put(t, "app", "2", "", map[string]string{"usr/bin/app": "program"})
	if err := newer.apt(t).Fetch(t.Context(), l, dir); task.CodeOf(err) != "packages-gone" {
		t.Errorf("a version that is gone: %v", err)
	}
	if _, err := newer.apt(t).Resolve(t.Context(), []string{"nothing-of-that-name"}, nil); task.CodeOf(err) != "apt-failed" {
		t.Errorf("no such package: %v", err)
	}
	// A file that was changed after it was fetched is no package of the lock.
	if err := m.apt(t).Fetch(t.Context(), l, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, l[0].file()), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Root(t.Context(), l, dir, nil); task.CodeOf(err) != "package-differs" {
		t.Errorf("a changed file: %v", err)
	}
}

func TestNothingComesTwice(t *testing.T) {
	m := newMirror(t)
	m.put(t, "a1", "1", "", map[string]string{"bin/x": "one"})
	m.put(t, "a2", "1", "", map[string]string{"usr/bin/x": "another"})
	l, err := m.apt(t).Resolve(t.Context(), []string{"a1", "a2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := m.apt(t).Fetch(t.Context(), l, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Root(t.Context(), l, dir, nil); err == nil || !strings.Contains(err.Error(), "usr/bin/x comes twice") {
		t.Error(err)
	}
	if _, err := Root(t.Context(), l[:1], dir, map[string]string{"/bin/x": "y"}); task.CodeOf(err) != "image-invalid" {
		t.Error(err)
	}
	if _, err := Root(t.Context(), l[:1], dir, map[string]string{"/../x": "y"}); task.CodeOf(err) != "image-invalid" {
		t.Error(err)
	}
}

func TestNoApt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := (Apt{Arch: "amd64"}).Resolve(t.Context(), []string{"x"}, nil); task.CodeOf(err) != "apt-missing" {
		t.Error(err)
	}
}
