package container

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
)

// A program that cannot be started is Bob's doing. Were it an error, the
// executor would be silent about it, and pay.
func TestProgramsThatDoNotStart(t *testing.T) {
	skipInShort(t)
	program := string(unpacked(t)["guest"])
	pack := func(parts ...string) []byte { // pairs of name and content, or of name/ and nothing
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := 0; i < len(parts); i += 2 {
			h := &tar.Header{Name: parts[i], Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(parts[i+1]))}
			to, link := strings.CutPrefix(parts[i+1], "-> ")
			switch {
			case link:
				h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
			case strings.HasSuffix(h.Name, "/"):
				h.Typeflag = tar.TypeDir
			}
			if strings.Contains(h.Name, "private") {
				h.Mode = 0o700
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if !link {
				_, _ = w.Write([]byte(parts[i+1]))
			}
		}
		w.Close()
		return b.Bytes()
	}
	each(t, func(t *testing.T, r *Runtime) {
		for _, c := range []struct {
			what   string
			files  []byte
			config image.Config
			arg    string
		}{
			{"below /tmp, which is another", pack("tmp/guest", program), image.Config{}, "/tmp/guest"},
			{"below /in, which is another", pack("in/guest", program), image.Config{}, "/in/guest"},
			{"below /out, which is another", pack("out/guest", program), image.Config{}, "/out/guest"},
			{"below /proc, which is another", pack("proc/guest", program), image.Config{}, "/proc/guest"},
			{"below /sys, which is none", pack("sys/guest", program), image.Config{}, "/sys/guest"},
			{"linked to /tmp", pack("tmp/guest", program, "g", "-> tmp/guest"), image.Config{}, "/g"},
			{"not a program", pack("g", "echo hello"), image.Config{}, "/g"},
			{"half a program", pack("g", program[:100]), image.Config{}, "/g"},
			{"without its interpreter", pack("g", "#!/none\n"), image.Config{}, "/g"},
			{"another user's", pack("private", program), image.Config{User: "1000"}, "/private"},
			{"in another user's directory", pack("private/", "", "private/guest", program), image.Config{User: "1000"}, "/private/guest"},
			{"in a directory linked to /proc", pack("guest", program, "proc/self/fd/7/", "", "w", "-> /proc/self/fd/7"), image.Config{WorkingDir: "/w"}, "/guest"},
		} {
			img, digest, err := image.Build(bytes.NewReader(c.files), c.config)
			if err != nil {
				t.Fatal(err)
			}
			res, err := r.Run(t.Context(), sandbox.Job{Image: img, Digest: digest, Args: []string{c.arg, "nothing"}, Limits: limits})
			if err != nil || res.Outcome != sandbox.FunctionError || res.After != sandbox.EmptyState {
				t.Errorf("%s: %v: %s, %v", c.what, res.Outcome, res.Reason, err)
			}
		}
		for what, change := range map[string]func(l *sandbox.Limits){
			"memory": func(l *sandbox.Limits) { l.MemoryBytes = 1 },
			"gas":    func(l *sandbox.Limits) { l.Gas = 1 },
			"wall":   func(l *sandbox.Limits) { l.Wall = time.Millisecond },
			"output": func(l *sandbox.Limits) { l.OutputBytes = 1 },
		} {
			j := job(t, "nothing")
			change(&j.Limits)
			for range 3 {
				res := mustRun(t, r, j)
				t.Logf("little %s: %v: %s", what, res.Outcome, res.Reason)
			}
		}
	})
}

// Unpacking is within the wall limit: how long it takes is up to Bob.
func TestWallLimitHoldsForUnpacking(t *testing.T) {
	skipInShort(t)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Mode: 0o644, Size: 200 << 20}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, 200<<20))
	w.Close()
	each(t, func(t *testing.T, r *Runtime) {
		j := job(t, "nothing")
		j.Code, j.Limits.Wall = b.Bytes(), 20*time.Millisecond
		res := mustRun(t, r, j)
		if res.Outcome != sandbox.WallExceeded || !strings.Contains(res.Reason, "before it was unpacked") {
			t.Errorf("%v: %s", res.Outcome, res.Reason)
		}
	})
}
