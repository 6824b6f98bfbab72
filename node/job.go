package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/committee"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// job is an executor's work on one view: one enclave from birth to exit.
type job struct {
	r       *runner
	ctx     context.Context
	cancel  context.CancelCauseFunc
	ballot  task.Ballot // of the turn
	view    uint32
	of      *ledger.Case
	context attest.Context

	ready   chan struct{} // closed when the enclave and the blobs are there, or failed
	enclave Enclave
	code    []byte
	input   []byte
	image   []byte // if the function has one
	seal    []byte // what owners seal to
}

// heartbeats in one Silence timeout.
const heartbeats = 4

// startJob begins this node's turn as executor. All of it is harmless: no key
// has been released.
func (r *runner) startJob(c *ledger.Case, a committee.StartEnclave) {
	r.stopJob()
	ctx, cancel := context.WithCancelCause(r.ctx)
	j := &job{
		r: r, ctx: ctx, cancel: cancel, ballot: a.Ballot, view: a.Ballot.View, of: c, ready: make(chan struct{}),
		context: c.Expected(task.PreRun, a.Ballot.View, r.w.Node).Context,
	}
	r.job = j
	r.w.wg.Go(func() { j.begin(a) })
	r.w.wg.Go(j.beat)
}

func (r *runner) stopJob() {
	if r.job != nil {
		r.job.cancel(nil)
		r.job = nil
	}
}

// begin fetches the files, starts the enclave meanwhile, and shows its evidence only
// when it has all of them: from then on whatever is missing is this node's own
// fault (spec §6.4). If something is not there in time, the turn is the next one's.
func (j *job) begin(a committee.StartEnclave) {
	defer close(j.ready)
	w := j.r.w
	ctx, cancel := w.until(j.ctx, a.GiveUp)
	defer cancel()
	if !j.slot(a.GiveUp) {
		j.unable(task.Busy, errors.New("all enclaves are at work"))
		return
	}
	defer w.wg.Go(func() { // the enclave lives as long as the job
		<-j.ctx.Done()
		<-j.ready
		if j.enclave != nil {
			j.enclave.Close()
		}
		<-w.slots
		w.jobs.Add(-1)
	})
	var wg sync.WaitGroup
	var failed [4]error
	t, f := j.of.Task, j.of.Function
	wg.Go(func() { j.input, failed[0] = j.fetch(ctx, t.Input, t.Endpoint.Addr) })
	wg.Go(func() { j.code, failed[1] = j.fetch(ctx, f.Code, f.Broker.Addr) })
	if image := f.Manifest.Image; image != nil {
		wg.Go(func() { j.image, failed[2] = j.fetch(ctx, image.Blob, f.Broker.Addr) })
	}
	wg.Go(func() { j.enclave, failed[3] = w.Enclaves(j.ctx, f) })
	wg.Wait()
	for i, why := range []task.DeclineReason{task.NoInput, task.NoCode, task.NoCode, task.CannotRun} {
		if failed[i] != nil {
			j.unable(why, failed[i])
			return
		}
	}
	genuine, decoy, seal, err := j.enclave.Begin(t, f, j.context, j.of.Wanted(task.PreRun).Nonce, Fault(w.VRF, a.Ballot))
	if err != nil {
		j.fail(err)
		return
	}
	j.seal = seal
	j.r.post(func(s *Session) { s.Quoted(a.Ballot, genuine, decoy) })
}

// slot waits for a place for the enclave, a third of the time that there is: the
// files need time too.
func (j *job) slot(giveUp uint64) bool {
	w := j.r.w
	w.jobs.Add(1)
	now := w.height.Load()
	ctx, cancel := w.until(j.ctx, now+(max(giveUp, now)-now)/3)
	defer cancel()
	select {
	case w.slots <- struct{}{}:
		return true
	case <-ctx.Done():
	}
	w.jobs.Add(-1)
	return false
}

// fetch asks for a blob until it is there: its owner may be away for a moment.
func (j *job) fetch(ctx context.Context, b task.Blob, from string) ([]byte, error) {
	for tries := 0; ; tries++ {
		data, err := j.r.w.Blobs.Get(ctx, b, from)
		switch task.CodeOf(err) {
		case "", "blob-missing", "peer-unreachable":
		default:
			return nil, err // nothing that waiting helps
		}
		if err == nil || ctx.Err() != nil {
			return data, err
		}
		if tries == 0 {
			j.r.w.Log.Warn("waits for a blob", "task", j.r.id.Short(), "blob", b.CID, "err", err)
		}
		select {
		case <-time.After(fetchAgain):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// fetchAgain is the pause before a blob that was not there is asked for again.
const fetchAgain = 50 * time.Millisecond

// fail ends the job: this node declines if it still can, or is passed over.
func (j *job) fail(err error) { j.unable(task.CannotRun, err) }

func (j *job) unable(why task.DeclineReason, err error) {
	if j.ctx.Err() == nil {
		level := slog.LevelInfo
		if why == task.CannotRun {
			level = slog.LevelError
		}
		j.r.w.Log.Log(j.ctx, level, "cannot execute", "task", j.r.id.Short(), "why", why.String(), "err", err)
		j.r.post(func(s *Session) { s.Unable(j.ballot, why) })
	}
	j.cancel(err)
}

// beat tells the members that this executor is at work, while it is.
func (j *job) beat() {
	period := time.Duration(j.r.w.Patience.Silence*j.of.Params.IntervalMillis) * time.Millisecond / heartbeats
	tick := time.NewTicker(period)
	defer tick.Stop()
	raw := task.Encode(Alive(j.of, j.view))
	for {
		select {
		case <-tick.C:
			c, _ := j.r.latest()
			for i := range c.Members {
				j.alive(c.Members[i].Claim.Node, raw, period)
			}
		case <-j.ctx.Done():
			return
		}
	}
}

// alive sends one sign of life, which is stale when the next is due.
func (j *job) alive(to task.NodeID, raw []byte, within time.Duration) {
	if to == j.r.w.id {
		return
	}
	j.r.w.wg.Go(func() {
		ctx, cancel := context.WithTimeout(j.ctx, within)
		defer cancel()
		j.r.deliver(ctx, to, raw)
	})
}

// keys asks both owners for their keys, runs, and brings the result.
func (j *job) keys(a committee.RequestKeys) {
	if j == nil || a.Opening.Pair.Ballot.View != j.view {
		return
	}
	j.r.w.wg.Go(func() {
		<-j.ready
		if j.ctx.Err() != nil {
			return
		}
		if err := j.execute(a); err != nil {
			j.fail(err)
		}
	})
}

func (j *job) execute(a committee.RequestKeys) error {
	var wg sync.WaitGroup
	var errs [2]error
	for i, o := range []struct {
		role task.Role
		end  task.Endpoint
	}{{task.Alice, j.of.Task.Endpoint}, {task.Bob, j.of.Function.Broker}} {
		wg.Go(func() {
			r, err := j.release(a, o.role, o.end)
			if err == nil {
				err = j.enclave.Release(r)
			}
			if err != nil {
				errs[i] = fmt.Errorf("%s's key: %w", o.role, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	result, output, err := j.enclave.Run(j.code, j.input, j.image)
	if err != nil {
		return err
	}
	for { // the chain holds an owner to what it told the chain, not to this
		role, used, blamed := result.Result.Blames()
		if !blamed {
			break
		}
		r, err := j.releaseOnChain(role)
		if err != nil {
			return err
		}
		if r.Hash() == used {
			break
		}
		if err := j.enclave.Release(r); err != nil {
			return err
		}
		if result, output, err = j.enclave.Run(j.code, j.input, j.image); err != nil {
			return err
		}
	}
	return j.bring(result, output)
}

// bring brings a result to Alice and the chain. It has no output if she named
// nobody whom it could be encrypted to: a result that blames her all the same.
// One that is out of time is none for her: the next executor runs the task again.
func (j *job) bring(result task.SignedResult, output []byte) error {
	late := result.Result.Outcome == task.OutOfTime
	if len(output) > 0 && !late {
		blob, err := j.r.w.Blobs.Put(j.ctx, output)
		if err != nil {
			return err
		}
		result.CID = blob.CID
	}
	result = result.PlacedBy(j.r.w.Peer)
	if late {
		j.r.w.Log.Warn("the run was out of time: the next executor's turn", "task", j.r.id.Short(), "wall_ms", j.of.Function.Manifest.Limits.WallMillis)
	} else {
		j.r.w.wg.Go(func() { // Alice hears it at once; the chain gets it anyway
			_ = j.r.w.Net.Send(j.ctx, j.of.Task.Endpoint.Addr, task.ProtoResult, task.Encode(result))
		})
	}
	j.r.post(func(s *Session) { s.Ran(result) })
	return nil
}

// release asks an owner directly. One that does not answer is called before the
// chain, where its silence is seen, while there is still time for that.
func (j *job) release(a committee.RequestKeys, role task.Role, end task.Endpoint) (task.Release, error) {
	w := j.r.w
	ctx, cancel := w.until(j.ctx, w.height.Load()+j.of.Params.ReleaseBlocks/4)
	defer cancel()
	raw, err := w.Net.Request(ctx, end.Addr, task.ProtoRelease, task.Encode(KeyRequest(a, role, j.seal)))
	if err == nil {
		var r task.Release
		if r, err = ReadKeyReply(raw); err == nil {
			return r, nil
		}
	}
	w.Log.Warn("no key from an owner directly: it is called before the chain", "task", j.r.id.Short(), "owner", role.String(), "err", err)
	return j.releaseOnChain(role)
}

// releaseOnChain calls for an owner's release, and waits for it.
func (j *job) releaseOnChain(role task.Role) (task.Release, error) {
	j.r.post(func(s *Session) { s.Unanswered(j.ballot, j.seal) })
	for {
		c, newer := j.r.latest()
		if c.View.Number == j.view && c.Attempt == j.of.Attempt {
			for _, r := range c.View.Releases {
				if r.Role == role {
					return r, nil
				}
			}
		}
		select {
		case <-newer:
		case <-j.ctx.Done():
			return task.Release{}, j.ctx.Err()
		}
	}
}

// exit makes the last evidence.
func (j *job) exit(a committee.QuoteExit) {
	if j == nil || a.Ballot.View != j.view {
		return
	}
	j.r.w.wg.Go(func() {
		<-j.ready
		if j.ctx.Err() != nil {
			return
		}
		c := j.context
		c.Round = task.PostRun
		evidence, err := j.enclave.Exit(c, a.Nonce)
		if err != nil {
			j.fail(err)
			return
		}
		j.r.post(func(s *Session) { s.Left(a.Ballot, evidence) })
	})
}
