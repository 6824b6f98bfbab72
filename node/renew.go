package node

import (
	"context"

	"github.com/prytany/prytany/task"
)

// looks is how often, in the life of a quote, a worker looks at its registration.
const looks = 16

// renew shows the chain this worker's machine again when half of the time is over in
// which it must (spec §3.1), so that there is as much left for what may go wrong. It
// is called for each block, by one goroutine.
func (w *Worker) renew(ctx context.Context, height uint64) {
	if height < w.nextLook {
		return
	}
	w.nextLook = height + max(1, w.RenewBlocks/looks)
	w.wg.Go(func() {
		if err := w.showMachine(ctx, height); err != nil && ctx.Err() == nil {
			w.Log.Warn("the machine could not be shown again; tried anew soon", "node", w.id.Short(), "err", err)
		}
	})
}

func (w *Worker) showMachine(ctx context.Context, height uint64) error {
	rec, err := w.Chain.Node(ctx, w.id)
	if err != nil {
		return err
	}
	early := !rec.Lapsed && height+w.RenewBlocks/2 < rec.Renew
	if early || rec.Bond == 0 || rec.JailedUntil > height {
		return nil
	}
	late, err := w.Chain.Beacon(ctx)
	if err != nil {
		return err
	}
	h := task.RegistrationHash(w.ChainID, w.Node, late.Value)
	quote, err := w.Quote(h)
	if err != nil {
		return err
	}
	r := task.Register{Node: w.Node, Possession: task.Sign(w.Peer, h), Quote: quote, Beacon: late.Height}
	if err := w.Chain.Send(ctx, w.Operator, task.Body{Register: &r}); err != nil {
		return err
	}
	w.Log.Info("machine shown again", "node", w.id.Short(), "due", rec.Renew, "lapsed", rec.Lapsed)
	if w.Renewed != nil {
		w.Renewed(rec.Renew, rec.Lapsed)
	}
	return nil
}
