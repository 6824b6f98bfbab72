package sim

import (
	"github.com/prytany/prytany/ledger"
)

// checkRelease: a key goes only to the untouched enclave of whoever executes,
// of which good evidence is on the chain or in the owner's hands (§8.1).
func (w *world) checkRelease(p *person, c *ledger.Case, box []byte) {
	e := w.facts.enclaves[string(box[:32])]
	switch {
	case e == nil:
		w.violate("keys go to attested enclaves", "%s sealed a key to no enclave that there is", p.name)
	case !e.genuine:
		w.violate("keys go to attested enclaves", "%s sealed a key to the tampered enclave of %s", p.name, e.s.name)
	case e.canary:
		w.violate("no key on a canary", "%s sealed a key to the enclave of %s", p.name, e.s.name)
	case e.s.worker.id != c.View.Executor || e.context.View != c.View.Number || e.context.Attempt != c.Attempt:
		w.violate("keys go to the executor", "%s sealed a key to %s; %s executes", p.name, e.s.name, w.name(c.View.Executor))
	}
}
