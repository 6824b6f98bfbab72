package container

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"strings"

	"github.com/prytany/prytany/sandbox"
	"github.com/prytany/prytany/sandbox/image"
	"github.com/prytany/prytany/task"
	"golang.org/x/sys/unix"
)

// InitArg is the argument that a program is started with to be the first
// process of a Docker container. It should then call InitMain.
const InitArg = "container-init"

// mission is the first thing that an init reads. After it come the layer and
// the inputs, in this order, as bytes.
type mission struct {
	Args   []string
	Limits sandbox.Limits
	Image  image.Limits
	Layer  int64
	Inputs []sized
}

type sized struct {
	Name string
	Size int64
}

// A Report is what an init has to say when the function has ended; the outputs
// come after it as bytes, and then one more report with After alone.
type Report struct {
	Exit    uint32
	Outcome sandbox.Outcome // why there are no outputs, or 0
	Reason  string
	Log     []byte
	Killed  bool   // by SIGKILL
	OOM     bool   // something was killed for memory, at the container's own limit
	Message string // of a function that failed
	Outputs []sized
	Before  task.Hash
	After   task.Hash
	Failed  string // the init itself, if it did
}

// InitMain is the first process of a Docker container. It reads a job on stdin,
// puts it into memory, runs it, and writes what came of it to stdout; so no
// daemon ever has a file of it. It ends when its stdin does.
func InitMain(stdin io.Reader, stdout io.Writer) int {
	// The function is of the same user. It must not reach this process's streams
	// by /proc, and speak for it. A signal from it would end this process, and
	// the run would count as the host's failure; those that are caught, and not
	// ignored, mean nothing here, and to the function what they always did.
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	signal.Notify(make(chan os.Signal, 1))
	boxes, e := mounted()
	err = errors.Join(err, e)
	var rep Report
	if err == nil {
		rep, err = boxes.run(stdin, stdout)
	}
	if err == nil {
		for _, m := range boxes.all() {
			err = errors.Join(err, m.wipe())
		}
		var last Report
		if last.After, last.Failed = rep.After, ""; err == nil {
			last.After, err = digest(boxes.all()...)
		}
		if err == nil {
			err = send(stdout, last)
		}
	}
	if err != nil {
		_ = send(stdout, Report{Failed: err.Error()})
	}
	_, _ = io.Copy(io.Discard, stdin) // the host reads the meter before it lets go
	return 0
}

// inner is what an init works on: the memory that the engine has mounted.
type inner struct{ code, in, out, tmp, shm *ram }

func (b inner) all() []*ram { return []*ram{b.code, b.in, b.out, b.tmp, b.shm} }

func mounted() (b inner, err error) {
	for dir, to := range map[string]**ram{"/code": &b.code, "/in": &b.in, "/out": &b.out, "/tmp": &b.tmp, "/dev/shm": &b.shm} {
		fd, e := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if e != nil {
			return b, fmt.Errorf("%s: %w", dir, e)
		}
		var st unix.Statfs_t
		if e := unix.Fstatfs(fd, &st); e != nil || st.Type != unix.TMPFS_MAGIC {
			return b, fmt.Errorf("%s is not in memory: %w", dir, e)
		}
		root, e := os.OpenRoot(dir)
		if e != nil {
			return b, e
		}
		*to = &ram{fd, root}
	}
	return b, nil
}

func (b inner) run(stdin io.Reader, stdout io.Writer) (rep Report, err error) {
	var m mission
	if err := receive(stdin, &m, maxMission); err != nil {
		return rep, fmt.Errorf("reading the job: %w", err)
	}
	if rep.Before, err = digest(b.out, b.tmp, b.shm); err != nil {
		return rep, err
	}
	layer := make([]byte, m.Layer)
	if _, err := io.ReadFull(stdin, layer); err != nil {
		return rep, fmt.Errorf("reading the code: %w", err)
	}
	var inv *image.Invalid
	_, err = image.Unpack(context.Background(), b.code.root, nil, "", layer, image.Options{Limits: m.Image, Below: "code"})
	clear(layer)
	if errors.As(err, &inv) {
		rep.Outcome, rep.Reason = sandbox.FunctionError, err.Error()
		return rep, send(stdout, rep)
	}
	if err != nil {
		return rep, err
	}
	for _, f := range m.Inputs {
		if err := b.in.root.MkdirAll(path.Dir(f.Name), 0o755); err != nil {
			return rep, err
		}
		w, err := b.in.root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
		if err != nil {
			return rep, err
		}
		_, err = io.CopyN(w, stdin, f.Size)
		if err := errors.Join(err, w.Close()); err != nil {
			return rep, err
		}
	}
	log := &log{limit: m.Limits.LogBytes}
	cmd := exec.Command(m.Args[0], m.Args[1:]...)
	cmd.Stderr = log
	err = cmd.Start()
	if err != nil {
		rep.Outcome, rep.Reason = sandbox.FunctionError, "the function cannot be started: "+err.Error()
		return rep, send(stdout, rep)
	}
	ended := cmd.Wait()
	_ = unix.Kill(-1, unix.SIGKILL) // all but this process
	for {                           // until none is left
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && err != unix.EINTR {
			break
		}
	}
	var signalled bool
	rep.Exit, signalled, rep.Reason = exit(ended)
	rep.Killed = signalled && rep.Exit == sigkill
	rep.Log, rep.Message = log.bytes, sandbox.FileMessage(b.out.root.FS())
	for _, g := range []group{{v2: true, dirs: map[string]string{"": "/sys/fs/cgroup"}}, {dirs: map[string]string{"memory": "/sys/fs/cgroup/memory"}}} {
		kills, own, err := g.oom()
		rep.OOM = rep.OOM || err == nil && kills > 0 && own
	}
	outputs, err := (&box{out: b.out}).take(m.Limits.OutputBytes)
	var taken *errTaken
	if errors.As(err, &taken) {
		rep.Outcome, rep.Reason = taken.outcome, taken.reason
		return rep, send(stdout, rep)
	}
	if err != nil {
		return rep, err
	}
	for _, o := range outputs {
		rep.Outputs = append(rep.Outputs, sized{o.Name, int64(len(o.Data))})
	}
	if err := send(stdout, rep); err != nil {
		return rep, err
	}
	for _, o := range outputs {
		if _, err := stdout.Write(o.Data); err != nil {
			return rep, err
		}
		clear(o.Data)
	}
	return rep, nil
}

const maxMission = 8 << 20 // bytes of a mission or report as JSON

func send(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

func receive(r io.Reader, v any, most uint32) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > most {
		return fmt.Errorf("a message of %d bytes, more than %d", n, most)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// Converse gives an init its job, with the program to start and its arguments,
// and hears what came of it. What it hears is
// not believed: the function may have got at the stream.
func Converse(w io.Writer, r io.Reader, args []string, job *sandbox.Job, limits image.Limits) (rep Report, outputs []sandbox.File, err error) {
	m := mission{Args: args, Limits: job.Limits, Image: limits, Layer: int64(len(job.Code))}
	for _, f := range job.Inputs {
		m.Inputs = append(m.Inputs, sized{f.Name, int64(len(f.Data))})
	}
	if err := send(w, m); err != nil {
		return rep, nil, err
	}
	for _, part := range append([][]byte{job.Code}, data(job.Inputs)...) {
		if _, err := w.Write(part); err != nil {
			return rep, nil, err
		}
	}
	if err := receive(r, &rep, maxMission); err != nil {
		return rep, nil, err
	}
	if rep.Failed != "" {
		return rep, nil, errors.New(oneLine(rep.Failed))
	}
	if len(rep.Log) > int(min(job.Limits.LogBytes, maxMission)) || len(rep.Outputs) > sandbox.MaxFiles {
		return rep, nil, errors.New("more log or files than were asked for")
	}
	left := job.Limits.OutputBytes
	for _, o := range rep.Outputs {
		if o.Size < 0 || uint64(o.Size) > left || !fs.ValidPath(o.Name) || o.Name == "." || len(o.Name) > 4096 {
			return rep, nil, fmt.Errorf("output %.100q of %d bytes", o.Name, o.Size)
		}
		left -= uint64(o.Size)
		b := make([]byte, o.Size)
		if _, err := io.ReadFull(r, b); err != nil {
			return rep, nil, err
		}
		outputs = append(outputs, sandbox.File{Name: o.Name, Data: b})
	}
	var end Report
	if err := receive(r, &end, maxMission); err != nil {
		return rep, nil, err
	}
	if end.Failed != "" {
		return rep, nil, errors.New(oneLine(end.Failed))
	}
	rep.After = end.After
	return rep, outputs, nil
}

func data(files []sandbox.File) (list [][]byte) {
	for _, f := range files {
		list = append(list, f.Data)
	}
	return list
}

// oneLine makes words from elsewhere fit for an error.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
