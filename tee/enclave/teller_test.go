package enclave

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/tee"
)

// A secret is what a teller reads of Alice's, and says by all that it can.
type secret20 struct {
	Loops uint32 // 0: without end
	Size  uint32 // bytes of a file, at most 2 MiB less 4,096
	Exit  uint32
	Files uint32 // at most 32; the last one has the bytes
	Log   uint32 // bytes, likewise
}

func (s secret20) bytes() []byte {
	b, err := binary.Append(nil, binary.LittleEndian, s)
	if err != nil {
		panic(err)
	}
	return b
}

// teller is a WASI module that loops, logs, writes files and exits as its input says.
var teller = func() []byte {
	const input, iov, fd, count, name, data = 1024, 104, 100, 120, 60, 4096
	cat := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	leb := func(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
	number := func(op byte, n int) []byte { // not below zero
		b := []byte{op}
		for ; n >= 0x40; n >>= 7 {
			b = append(b, byte(n)|0x80)
		}
		return append(b, byte(n))
	}
	i32 := func(n int) []byte { return number(0x41, n) }
	i64 := func(n int) []byte { return number(0x42, n) }
	call := func(f byte) []byte { return []byte{0x10, f} }
	load := func(at int) []byte { return cat(i32(at), []byte{0x28, 2, 0}) }
	store := func(at int, value []byte) []byte { return cat(i32(at), value, []byte{0x36, 2, 0}) }
	op := func(b ...byte) []byte { return b }
	open := func(at, length, create, rights int) []byte {
		return cat(i32(3), i32(0), i32(at), i32(length), i32(create), i64(rights), i64(0), i32(0), i32(fd), call(0), op(0x1a))
	}
	vector := func(at int, length []byte) []byte { return cat(store(iov, i32(at)), store(iov+4, length)) }
	move := func(f byte, of []byte) []byte { return cat(of, i32(iov), i32(1), i32(count), call(f), op(0x1a)) }
	body := cat(
		op(2, 1, 0x7e, 1, 0x7f), // an i64, an i32
		open(0, 8, 0, 2), vector(input, i32(20)), move(1, load(fd)),
		i32(input), op(0x35, 2, 0, 0x21, 0), // loops
		op(0x03, 0x40, 0x20, 0, 0x42, 0x7f, 0x7c, 0x22, 0, 0x42, 0, 0x52, 0x0d, 0, 0x0b),
		load(input+16), op(0x04, 0x40), vector(data, load(input+16)), move(2, i32(2)), op(0x0b),
		load(input+12), op(0x21, 1, 0x02, 0x40, 0x03, 0x40, 0x20, 1, 0x45, 0x0d, 1), // while files
		i32(name+4), i32('@'), op(0x20, 1, 0x6a, 0x3a, 0, 0), open(name, 5, 1, 64),
		op(0x20, 1), i32(1), op(0x46, 0x04, 0x40), vector(data, load(input+4)), move(2, load(fd)), op(0x0b),
		op(0x20, 1), i32(1), op(0x6b, 0x21, 1, 0x0c, 0, 0x0b, 0x0b),
		load(input+8), op(0x04, 0x40), load(input+8), call(3), op(0x0b),
		op(0x0b),
	)
	section := func(id byte, content []byte) []byte { return cat(op(id), leb(len(content)), content) }
	text := func(s string) []byte { return cat(leb(len(s)), []byte(s)) }
	imported := func(name string, typ byte) []byte { return cat(text("wasi_snapshot_preview1"), text(name), op(0, typ)) }
	return cat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, cat(op(4), op(0x60, 0, 0), op(0x60, 9, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7e, 0x7e, 0x7f, 0x7f, 1, 0x7f), op(0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f), op(0x60, 1, 0x7f, 0))),
		section(2, cat(op(4), imported("path_open", 1), imported("fd_read", 2), imported("fd_write", 2), imported("proc_exit", 3))),
		section(3, op(1, 0)),
		section(5, op(1, 0, 32)),
		section(7, cat(op(2), text("memory"), op(2, 0), text("_start"), op(0, 4))),
		section(10, cat(op(1), leb(len(body)), body)),
		section(11, cat(op(2), op(0), i32(0), op(0x0b), text("in/input"), op(0), i32(name), op(0x0b), text("out/"))),
	)
}()

// seen is what everyone can see of a run, and told what Alice alone is told.
type seen struct {
	outcome   task.Outcome
	gas, size uint64
	handed    time.Duration // the result, after the run began
}

// tell has a teller say a secret, through a whole enclave, and looks at it from outside.
func tell(t *testing.T, m task.Manifest, s secret20) (seen, tee.Output) {
	t.Helper()
	var began time.Time
	var out seen
	at := stageOf(t, m, teller, s.bytes(), clock{
		now: func() time.Time {
			now := time.Now()
			if began.IsZero() {
				began = now
			}
			return now
		},
		until: func(until time.Time) { out.handed = until.Sub(began) },
	})
	at.releaseBoth()
	a := at.run()
	if a.Result == nil {
		t.Fatalf("%+v: %s", s, a.Error)
	}
	r := a.Result.Result
	out.outcome, out.gas, out.size = r.Outcome, r.Gas, r.Size
	if uint64(len(a.Output)) != r.Size {
		t.Errorf("%d bytes, said to be %d", len(a.Output), r.Size)
	}
	if len(a.Output) == 0 {
		return out, tee.Output{}
	}
	archive, err := at.results.Decrypt(a.Output, task.MaxBlob)
	if err != nil {
		t.Fatal(err)
	}
	told, err := tee.Unpack(archive)
	if err != nil {
		t.Fatal(err)
	}
	return out, told
}

var tellerManifest = task.Manifest{Runtime: task.RuntimeWasm, Log: true, Limits: task.Limits{Gas: 1 << 27, MemoryBytes: 4 << 20, OutputBytes: 1 << 20, WallMillis: 60_000}}

func TestTeller(t *testing.T) {
	got, told := tell(t, tellerManifest, secret20{Loops: 1000, Size: 77, Files: 3, Log: 5})
	if got.outcome != task.RunOK || len(told.Files) != 3 || len(told.Files["A"]) != 77 || len(told.Log) != 5 || told.Run.Outcome != "ok" || told.Run.Gas < 1000 {
		t.Fatalf("%+v, %+v", got, told)
	}
	more, again := tell(t, tellerManifest, secret20{Loops: 2000, Size: 77, Files: 3, Log: 5, Exit: 9})
	if more.outcome != task.RunFailed || again.Run.ExitCode != 9 || again.Run.Gas-told.Run.Gas < 1000 {
		t.Errorf("%+v, %+v", more, again)
	}
}
