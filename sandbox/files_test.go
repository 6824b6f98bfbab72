package sandbox

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/tetratelabs/wazero/experimental/sys"
	"pgregory.net/rapid"
)

// Whatever a guest does to its files, the books are right: no more bytes and
// files than allowed, and none left when all is closed and wiped.
func TestFilesRandomly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1000
		f := newFiles(limit, func(n int) {
			if n < 0 {
				t.Fatalf("charged for %d bytes", n)
			}
		})
		if err := f.load(f.in, []File{{Name: "a/b", Data: []byte("input")}}); err != nil {
			t.Fatal(err)
		}
		path := rapid.SampledFrom([]string{
			".", "in", "out", "in/a", "in/a/b", "in/x", "out/a", "out/b", "out/b/", "out/c", "out/a/b", "out/a/c", "out/a/b/c", "out/../in", "out//a/./b", "x",
		})
		flags := rapid.Custom(func(t *rapid.T) sys.Oflag {
			flag := rapid.SampledFrom([]sys.Oflag{sys.O_RDONLY, sys.O_RDWR, sys.O_WRONLY}).Draw(t, "access")
			for _, more := range []sys.Oflag{sys.O_CREAT, sys.O_EXCL, sys.O_TRUNC, sys.O_APPEND, sys.O_DIRECTORY} {
				if rapid.Bool().Draw(t, "flag") {
					flag |= more
				}
			}
			return flag
		})
		offset := rapid.OneOf(rapid.Int64Range(-1, 1200), rapid.Int64())
		var open []sys.File
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1:
				if o, errno := f.OpenFile(path.Draw(t, "path"), flags.Draw(t, "flags"), 0); errno == 0 {
					open = append(open, o)
				}
			case 2:
				_ = f.Mkdir(path.Draw(t, "path"), 0)
			case 3:
				_ = f.Rename(path.Draw(t, "from"), path.Draw(t, "to"))
			case 4:
				if f.Unlink(path.Draw(t, "path")) != 0 {
					_ = f.Rmdir(path.Draw(t, "path"))
				}
			default:
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "open")
				o, buf := open[i], make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))
				switch rapid.IntRange(0, 7).Draw(t, "what") {
				case 0:
					o.Close()
					open = append(open[:i], open[i+1:]...)
				case 1:
					_ = o.Truncate(offset.Draw(t, "length"))
				case 2:
					_, _ = o.Seek(offset.Draw(t, "offset"), rapid.IntRange(0, 3).Draw(t, "whence"))
				case 3:
					_, _ = o.Pwrite(buf, offset.Draw(t, "offset"))
				case 4:
					_, _ = o.Pread(buf, offset.Draw(t, "offset"))
				case 5:
					_, _ = o.Read(buf)
				case 6:
					_, _ = o.Readdir(rapid.IntRange(-1, 3).Draw(t, "entries"))
				default:
					_, _ = o.Write(buf)
				}
			}
			check(t, f, open, limit)
		}
		for _, o := range open {
			o.Close()
		}
		check(t, f, nil, limit)
		if b := f.in.children["a"].children["b"]; b == nil || string(b.data) != "input" {
			t.Fatal("the input is not what it was")
		}
		f.wipe()
		if f.open != 0 || StateDigest(f.out.below("")) != EmptyState {
			t.Fatalf("%d open, and %v", f.open, f.out.below(""))
		}
	})
}

// check counts again what files keeps count of.
func check(t *rapid.T, f *files, open []sys.File, limit uint64) {
	var bytes uint64
	count := 0
	seen := map[*node]bool{}
	add := func(n *node) {
		if !seen[n] && n.writable && n != f.out {
			seen[n] = true
			count++
			bytes += uint64(len(n.data))
		}
	}
	var walk func(n *node)
	walk = func(n *node) {
		for name, c := range n.children {
			if c.parent != n || c.name != name {
				t.Fatalf("%q is not where it should be", name)
			}
			add(c)
			walk(c)
		}
	}
	walk(f.root)
	for _, o := range open {
		add(o.(*file).node)
	}
	if bytes != f.size || count != f.count || f.open != len(open) {
		t.Fatalf("%d bytes in %d files, %d open; counted %d, %d, %d", bytes, count, len(open), f.size, f.count, f.open)
	}
	if f.size > limit || f.count > MaxFiles {
		t.Fatalf("%d bytes in %d files", f.size, f.count)
	}
}

// What a file no longer holds takes no memory: the limit is on what there is.
func TestTruncatedFilesGiveTheirMemoryBack(t *testing.T) {
	const limit = 8 << 20
	f := newFiles(limit, func(int) {})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 64 {
		o, errno := f.OpenFile(fmt.Sprintf("out/%d", i), sys.O_CREAT|sys.O_RDWR, 0)
		if errno != 0 {
			t.Fatal(errno)
		}
		for _, size := range []int64{limit, 0} {
			if errno := o.Truncate(size); errno != 0 {
				t.Fatal(errno)
			}
		}
		o.Close()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 2*limit {
		t.Errorf("%d MiB are held for nothing", held>>20)
	}
	runtime.KeepAlive(f)
}
