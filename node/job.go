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
	parties []task.Party
	files   [][]byte // by party
	image   []byte   // if the function has one
	seal    []byte   // what parties seal to
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
		context: c.Expected(task.PreRun, a.Ballot.View, r.w.Node).Context, parties: c.Parties(),
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
		j.unable(task.Lack{Reason: task.Busy}, errors.New("all enclaves are at work"))
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
	t, f := j.of.Task, j.of.Function
	j.files = make([][]byte, len(j.parties))
	missing := make([]error, len(j.parties)) // by party
	var noImage, noEnclave error
	for i, p := range j.parties {
		if p.Releases {
			wg.Go(func() { j.files[i], missing[i] = j.fetch(ctx, p.File, p.At.Addr) })
		}
	}
	if image := f.Manifest.Image; image != nil {
		wg.Go(func() { j.image, noImage = j.fetch(ctx, image.Blob, f.Broker.Addr) })
	}
	wg.Go(func() { j.enclave, noEnclave = w.Enclaves(j.ctx, f) })
	wg.Wait()
	if owner := len(j.parties) - 1; missing[owner] == nil { // the code's, last
		missing[owner] = noImage
	}
	for i, err := range missing {
		if err != nil {
			j.unable(task.Lack{Reason: task.NoFile, Party: uint8(i)}, err)
			return
		}
	}
	if noEnclave != nil {
		j.fail(noEnclave)
		return
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
func (j *job) fail(err error) { j.unable(task.Lack{Reason: task.CannotRun}, err) }

func (j *job) unable(why task.Lack, err error) {
	if j.ctx.Err() == nil {
		level := slog.LevelInfo
		if why.Reason == task.CannotRun {
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

// keys asks all parties for their keys, runs, and brings the result.
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
	errs := make([]error, len(j.parties))
	for i, p := range j.parties {
		if !p.Releases {
			continue
		}
		wg.Go(func() {
			r, err := j.release(a, uint8(i))
			if err == nil {
				err = j.enclave.Release(r)
			}
			if err != nil {
				errs[i] = fmt.Errorf("the %s's key: %w", p.Role, err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	result, output, err := j.enclave.Run(j.files, j.image)
	if err != nil {
		return err
	}
	for { // the chain holds a party to what it told the chain, not to this
		party, used, blamed := result.Result.Blames()
		if !blamed {
			break
		}
		r, err := j.releaseOnChain(party)
		if err != nil {
			return err
		}
		if r.Hash() == used {
			break
		}
		if err := j.enclave.Release(r); err != nil {
			return err
		}
		if result, output, err = j.enclave.Run(j.files, j.image); err != nil {
			return err
		}
	}
	return j.bring(result, output)
}

// bring brings a result to the requester and the chain. It has no output if that one
// named nobody whom it could be encrypted to, and the result says so. One that is out
// of time is none for the requester: the next executor runs the task again.
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
		j.r.w.wg.Go(func() { // who gets it hears it at once; the chain gets it anyway
			_ = j.r.w.Net.Send(j.ctx, j.of.Task.Endpoint.Addr, task.ProtoResult, task.Encode(result))
		})
	}
	j.r.post(func(s *Session) { s.Ran(result) })
	return nil
}

// release asks a party directly. One that does not answer is called before the
// chain, where its silence is seen, while there is still time for that.
func (j *job) release(a committee.RequestKeys, party uint8) (task.Release, error) {
	w, p := j.r.w, j.parties[party]
	ctx, cancel := w.until(j.ctx, w.height.Load()+j.of.Params.ReleaseBlocks/4)
	defer cancel()
	raw, err := w.Net.Request(ctx, p.At.Addr, task.ProtoRelease, task.Encode(KeyRequest(a, party, j.seal)))
	if err == nil {
		var r task.Release
		if r, err = ReadKeyReply(raw); err == nil {
			return r, nil
		}
	}
	w.Log.Warn("no key from a party directly: it is called before the chain", "task", j.r.id.Short(), "role", p.Role.String(), "err", err)
	return j.releaseOnChain(party)
}

// releaseOnChain calls for a party's release, and waits for it.
func (j *job) releaseOnChain(party uint8) (task.Release, error) {
	j.r.post(func(s *Session) { s.Unanswered(j.ballot, j.seal) })
	for {
		c, newer := j.r.latest()
		if c.View.Number == j.view && c.Attempt == j.of.Attempt {
			for _, r := range c.View.Releases {
				if r.Party == party {
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
