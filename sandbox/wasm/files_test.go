package wasm

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/prytany/prytany/sandbox"
)

// testFiles has room for limit bytes in /out and in /tmp.
func testFiles(limit uint64) *files {
	now := uint64(epoch)
	f := newFiles(limit, limit, func(int) {}, func() uint64 { now++; return now })
	f.start(func([]byte) {}, func([]byte) {})
	return f
}

// Whatever a guest does to its files, the books are right: no more bytes and
// files than there is room for, and none left when all is closed and wiped.
func TestFilesRandomly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1000
		f := testFiles(limit)
		f.charge = func(n int) {
			if n < 0 {
				t.Fatalf("charged for %d bytes", n)
			}
		}
		if err := f.load(f.in, []sandbox.File{{Name: "a/b", Data: []byte("input")}}); err != nil {
			t.Fatal(err)
		}
		path := rapid.SampledFrom([]string{
			".", "in", "out", "tmp", "in/a", "in/a/b", "in/x", "out/a", "out/b", "out/b/", "out/c", "out/a/b", "out/a/c", "out/a/b/c",
			"out/../in", "out//a/./b", "x", "tmp/a", "tmp/b", "tmp/a/b", "a", "b", "a/b", "..", "", "/out",
		})
		opened := rapid.Custom(func(t *rapid.T) opening {
			flag := rapid.Bool()
			return opening{
				create: flag.Draw(t, "create"), exclusive: flag.Draw(t, "exclusive"), truncate: flag.Draw(t, "truncate"), directory: flag.Draw(t, "directory"),
				read: flag.Draw(t, "read"), write: flag.Draw(t, "write"), flags: rapid.Uint16Range(0, flagsKnown).Draw(t, "flags"),
			}
		})
		offset := rapid.OneOf(rapid.Int64Range(-1, 1200), rapid.Int64())
		number := rapid.Uint64Range(0, 8)
		// dir is one that is open, or the root.
		dir := func() *node {
			if d, e := f.descriptor(number.Draw(t, "from")); e == success && d.node != nil && d.node.children != nil {
				return d.node
			}
			return f.root
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				_, _ = f.openAt(dir(), path.Draw(t, "path"), opened.Draw(t, "how"))
			case 2:
				_ = f.mkdir(dir(), path.Draw(t, "path"))
			case 3:
				_ = f.rename(dir(), path.Draw(t, "from"), dir(), path.Draw(t, "to"))
			case 4:
				_ = f.unlink(dir(), path.Draw(t, "path"), rapid.Bool().Draw(t, "directory"))
			default:
				fd := number.Draw(t, "open")
				d, e := f.descriptor(fd)
				if e != success {
					continue
				}
				buf := make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))
				what := rapid.IntRange(0, 8).Draw(t, "what")
				if d.node == nil && what != 2 && what != 8 || d.node != nil && d.node.children == nil && what == 6 || what == 1 && !d.write {
					continue // the calls look at this
				}
				switch what {
				case 0:
					_ = f.close(fd)
				case 1:
					if size := offset.Draw(t, "length"); size >= 0 {
						_ = d.truncate(size)
					}
				case 2:
					_, _ = d.seek(offset.Draw(t, "offset"), rapid.Uint32Range(0, 3).Draw(t, "whence"))
				case 3:
					_, _ = d.writeAt(buf, offset.Draw(t, "offset"))
				case 4:
					_, _ = d.readAt(buf, offset.Draw(t, "offset"))
				case 5:
					_, _ = d.next(buf)
				case 6:
					_ = d.readDir()
				case 7:
					_ = f.renumber(fd, number.Draw(t, "to"))
				default:
					_, _ = d.append(buf)
				}
			}
			check(t, f)
		}
		f.closeAll()
		check(t, f)
		if b := f.in.children["a"].children["b"]; b == nil || string(b.data) != "input" {
			t.Fatal("the input is not what it was")
		}
		f.wipe()
		if f.opened != 0 || f.listed != 0 || sandbox.StateDigest(f.written()) != sandbox.EmptyState {
			t.Fatalf("%d open, %d listed, and %v", f.opened, f.listed, f.written())
		}
	})
}

// check counts again what files keeps count of.
func check(t *rapid.T, f *files) {
	bytes, count, opened, listed := map[*space]uint64{}, map[*space]int{}, 0, 0
	seen := map[*node]bool{}
	add := func(n *node) {
		if !seen[n] && n.space != nil && n != f.out && n != f.tmp {
			seen[n] = true
			count[n.space]++
			bytes[n.space] += uint64(len(n.data))
		}
	}
	var walk func(n *node)
	walk = func(n *node) {
		for name, c := range n.children {
			if c.parent != n || c.name != name || n != f.root && c.space != n.space {
				t.Fatalf("%q is not where it should be", name)
			}
			if c.modified < epoch || c.changed < c.modified {
				t.Fatalf("%q was changed before it was", name)
			}
			add(c)
			walk(c)
		}
	}
	walk(f.root)
	for _, d := range f.open {
		if d != nil && d.node != nil {
			add(d.node)
			opened++
			listed += len(d.list)
		}
	}
	if f.opened != opened || f.listed != listed {
		t.Fatalf("%d open and %d listed; counted %d and %d", opened, listed, f.opened, f.listed)
	}
	for _, s := range f.spaces {
		if bytes[s] != s.size || count[s] != s.count {
			t.Fatalf("%d bytes in %d files; counted %d, %d", bytes[s], count[s], s.size, s.count)
		}
		if s.size > s.limit || s.count > s.most {
			t.Fatalf("%d bytes in %d files", s.size, s.count)
		}
	}
}

// What a file no longer holds takes no memory: the limit is on what there is.
func TestTruncatedFilesGiveTheirMemoryBack(t *testing.T) {
	const limit = 8 << 20
	f := testFiles(limit)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 64 {
		fd, e := f.openAt(f.root, fmt.Sprintf("out/%d", i), opening{create: true, write: true})
		if e != success {
			t.Fatal(e)
		}
		for _, size := range []int64{limit, 0} {
			if e := f.open[fd].truncate(size); e != success {
				t.Fatal(e)
			}
		}
		_ = f.close(uint64(fd))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 2*limit {
		t.Errorf("%d MiB are held for nothing", held>>20)
	}
	runtime.KeepAlive(f)
}

// A path of many names and a directory of many entries take time, and so gas: at a
// thousand for the call alone an honest machine would be out of time before the
// function is out of gas, and have worked for nothing (spec §3.5.2).
func TestLookingCostsGas(t *testing.T) {
	charged := 0
	f := newFiles(1<<20, 1<<20, func(n int) { charged += n }, func() uint64 { return 1 })
	for path, names := range map[string]int{"tmp": 1, "tmp/": 2, "tmp/../tmp": 3, strings.Repeat("./", 2000) + "tmp": 2001, "in/none/x": 3} {
		charged = 0
		_, _ = f.walk(f.root, path)
		if charged != names*stepBytes {
			t.Errorf("%.20s…: charged as %d bytes, want %d names of %d", path, charged, names, stepBytes)
		}
	}
	for i := range 1000 {
		if e := f.mkdir(f.tmp, fmt.Sprint(i)); e != success {
			t.Fatal(e)
		}
	}
	for range 2 { // also when it is read again from the start
		charged = 0
		d := &descriptor{files: f, node: f.tmp}
		if e := d.readDir(); e != success || charged != 1000*entryBytes {
			t.Errorf("a listing of 1000 entries: %v, charged as %d bytes", e, charged)
		}
	}
}
