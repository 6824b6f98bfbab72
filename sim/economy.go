package sim

import (
	"math"
	"slices"
	"sync"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// EconomyOptions shape the experiment. The zero value of a field means its
// default; the same options give the same table, byte for byte.
type EconomyOptions struct {
	Seed     uint64           `json:"seed"`
	Workers  int              `json:"workers"`  // of equal stake; 20
	Deviants int              `json:"deviants"` // of them with the strategy under test; 2
	Tasks    int              `json:"tasks"`    // one after the other in a batch; 20
	Batches  int              `json:"batches"`  // chains of their own, for each row; 6
	Long     int              `json:"long"`     // tasks in a batch of the rows about time; 240, −1 leaves them out
	Faults   []float64        `json:"faults"`   // φ; the canaries' rate, 0.2, 0.5, 0.8, 0.9
	Rules    ledger.Economics `json:"rules"`    // those of the embedded chain
	Parallel int              `json:"-"`        // chains at a time; 2
}

func (o EconomyOptions) filled() EconomyOptions {
	defaults := func(field *int, n int) {
		if *field == 0 {
			*field = n
		}
	}
	defaults(&o.Workers, 20)
	defaults(&o.Deviants, 2)
	defaults(&o.Tasks, 20)
	defaults(&o.Batches, 6)
	defaults(&o.Long, 240)
	defaults(&o.Parallel, 2)
	if o.Rules == (ledger.Economics{}) {
		o.Rules = ledger.Embedded("economy").Economics
	}
	if o.Faults == nil {
		o.Faults = []float64{float64(o.Rules.CanaryPPM) / 1e6, 0.2, 0.5, 0.8, 0.9}
	}
	return o
}

// EconomyRow is what one strategy earns among others of one kind. Money is in
// units of the cost of one check, c; a band is half of a 95 % confidence interval.
type EconomyRow struct {
	Rest     string  `json:"rest"`     // what all others do
	Strategy string  `json:"strategy"` // what the deviants do
	Fault    float64 `json:"fault"`    // φ: the share of tasks whose first evidence is faulty
	Income   float64 `json:"income"`   // for each seat in each round that it judged
	Band     float64 `json:"band"`
	Gain     float64 `json:"gain"` // over doing as the rest do, in a world where all do so
	GainBand float64 `json:"gain_band"`
	Time     float64 `json:"time"` // for each task posted and operator: with the zeros out of the draw
	TimeBand float64 `json:"time_band"`
	Idle     float64 `json:"idle"`   // share of the tasks during which its nodes were jailed or not yet in the draw
	Rounds   uint64  `json:"rounds"` // seats times rounds behind the row
	Jailed   uint64  `json:"jailed"` // nodes
	Locked   float64 `json:"locked"` // bonds of an operator, at the end, that are on their way out of jail
}

// Economy measures, on the production ledger and its draw, what a verifier
// earns that deviates alone, and what it would have earned as the rest do.
//
// The income of a worker is the change of its balance, bond and unbonding
// money, less c for each check. A check is counted once for each seat, as if
// every seat were a node's only one: the worst case for those who look, and
// the one that the rules of spec §10.3 are about. Executing is not paid here.
//
// Faulty evidence comes as canaries, at the rate φ: the chain's canary rate is
// raised to it. To a verifier a canary and an enclave that is bad in earnest
// look alike until it has committed, and a false OK costs the same; but a bad
// enclave pays its finders more than the bonus, and no round in earnest
// follows. So this is the harder case for honesty against OK unread, and for
// FAULT unread the two differ by what is paid to both alike. Each batch holds φ
// of its tasks as faulty ones, by lot; how many seats a strategy happened to
// have in those is weighted out of Income, and is not weighted out of Time.
//
// Not modelled: latency, lost messages, fees of transactions, the price of
// locked money, several nodes that share what they saw, and the exit: no
// enclave here ends unclean.
func Economy(o EconomyOptions) (t EconomyTable, err error) {
	defer func() {
		if p := recover(); p != nil {
			h, ours := p.(econHalt)
			if !ours {
				panic(p)
			}
			err = h.error
		}
	}()
	o = o.filled()
	t = EconomyTable{Options: o}
	cells := econCells(o)
	runs := econParallel(o.Parallel, len(cells), func(i int) []econBatch { return cells[i].run(o) })
	for i, cell := range cells {
		base := slices.IndexFunc(cells, func(b econCell) bool { return b.isBaseOf(cell) })
		t.Rows = append(t.Rows, cell.row(o, runs[i], runs[base]))
		for _, b := range runs[i] {
			t.count(b.judges)
		}
	}
	t.Schemes = econSchemes(o)
	return t, nil
}

// econParallel does n pieces of work and keeps their order. A broken rule in
// one of them is raised in the caller.
func econParallel[T any](width, n int, work func(int) T) []T {
	done, broken := make([]T, n), make([]any, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(width, 1))
	for i := range n {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { broken[i] = recover(); <-slots; wg.Done() }()
			done[i] = work(i)
		}()
	}
	wg.Wait()
	for _, p := range broken {
		if p != nil {
			panic(p)
		}
	}
	return done
}

// econCell is a row's experiment.
type econCell struct {
	rest, strategy econMind
	fault          float64
	off            bool // no canaries on this chain
	long           bool
}

func (c econCell) isBaseOf(o econCell) bool {
	return c.rest.name == o.rest.name && c.strategy.name == o.rest.name && c.fault == o.fault && c.off == o.off && c.long == o.long
}

// econCells are all rows: each deviation from honesty at each rate, honesty
// among the lazy with and without canaries, and what jail does in time.
func econCells(o EconomyOptions) (all []econCell) {
	for _, fault := range o.Faults {
		all = append(all, econCell{rest: econHonest, strategy: econHonest, fault: fault})
		for _, m := range econMinds {
			all = append(all, econCell{rest: econHonest, strategy: m, fault: fault})
		}
	}
	canaries := float64(o.Rules.CanaryPPM) / 1e6
	for _, off := range []bool{true, false} {
		fault := canaries
		if off {
			fault = 0
		}
		for _, m := range []econMind{econLazy, econHonest} {
			all = append(all, econCell{rest: econLazy, strategy: m, fault: fault, off: off})
		}
	}
	if o.Long > 0 {
		for _, m := range []econMind{econHonest, econLazy, econMindOf("peek"), econWhitewash} {
			all = append(all, econCell{rest: econHonest, strategy: m, fault: canaries, long: true})
		}
	}
	return all
}

// econPart is what a group of workers did in the tasks of one kind.
type econPart struct {
	income        float64
	seats, rounds uint64
}

// econBatch is what one chain shows.
type econBatch struct {
	parts  [2]econPart // good and faulty tasks
	tasks  uint64      // times workers
	idle   uint64
	jailed uint64
	locked float64
	judges []uint32
}

func (c econCell) run(o EconomyOptions) (all []econBatch) {
	batches := o.Batches
	if c.long {
		batches = min(batches, 4)
	}
	for b := range batches {
		all = append(all, c.batch(o, b))
	}
	return all
}

// batch plays a chain of its own. Deviants come first among the workers, who
// are all alike to the draw; where all do the same, all are counted.
func (c econCell) batch(o EconomyOptions, number int) (b econBatch) {
	rules, ppm := o.Rules, uint64(math.Round(c.fault*1e6))
	if c.off {
		rules.CanaryPPM = 0
	}
	minds := make([]econMind, o.Workers)
	for i := range minds {
		minds[i] = c.rest
		if i < o.Deviants {
			minds[i] = c.strategy
		}
	}
	w := newEconWorld(o.Seed, uint64(number), econParams(rules, ppm), minds)
	watched := w.workers[:o.Deviants]
	if c.rest.name == c.strategy.name {
		watched = w.workers
	}
	tasks := o.Tasks
	if c.long {
		tasks = o.Long
	}
	for _, faulty := range w.lots(tasks, number, c.fault) {
		kase := w.play(faulty)
		for _, k := range watched {
			b.add(w, k, kase, faulty)
			if rec, _ := w.read().Node(k.node.ID()); rec.StakeAt(kase.Epoch) == 0 {
				b.idle++
			}
			if k.mind.rebonds && w.rebond(k) {
				b.jailed++
			}
		}
	}
	for _, k := range watched {
		for _, id := range append(k.past, k.node.ID()) {
			rec, _ := w.read().Node(id)
			if rec.JailedUntil > 0 && id == k.node.ID() {
				b.jailed++
			}
			for _, u := range rec.Unbonding {
				b.locked += float64(u.Amount) / float64(w.params.MinBond) / float64(len(watched))
			}
		}
	}
	b.judges = w.judges
	return b
}

// lots says which tasks of a batch are faulty: their share of all batches so
// far is right to the one, and their order is the seed's.
func (w *econWorld) lots(tasks, batch int, fault float64) []bool {
	upTo := func(n int) int { return int(math.Round(float64(n*tasks) * fault)) }
	lots := make([]bool, tasks)
	for i := range min(upTo(batch+1)-upTo(batch), tasks) {
		lots[i] = true
	}
	w.rng.Shuffle(tasks, func(i, j int) { lots[i], lots[j] = lots[j], lots[i] })
	return lots
}

// add counts a closed case for a worker.
func (b *econBatch) add(w *econWorld, k *econWorker, c *ledger.Case, faulty bool) {
	p := &b.parts[0]
	if faulty {
		p = &b.parts[1]
	}
	b.tasks++
	p.income += w.earned(k)
	judged := k.rounds
	k.rounds = 0
	if c.View.Executor == k.node.ID() {
		return
	}
	if k.mind.withholds {
		judged = 2 * uint64(k.drawn)
		if c.View.Canary != nil {
			judged += uint64(k.drawn)
		}
	}
	p.seats += uint64(k.drawn)
	p.rounds += judged
}

// econIncome is the income for each seat and round, with faulty tasks at their
// true share.
func econIncome(fault float64, batches []econBatch) float64 {
	var parts [2]econPart
	for _, b := range batches {
		for i, p := range b.parts {
			parts[i].income += p.income
			parts[i].seats += p.seats
			parts[i].rounds += p.rounds
		}
	}
	var income, rounds float64
	for i, share := range []float64{1 - fault, fault} {
		if seats := float64(parts[i].seats); seats > 0 {
			income += share * parts[i].income / seats
			rounds += share * float64(parts[i].rounds) / seats
		}
	}
	if rounds == 0 {
		return 0
	}
	return income / rounds
}

func econTime(batches []econBatch) float64 {
	var income, tasks float64
	for _, b := range batches {
		income += b.parts[0].income + b.parts[1].income
		tasks += float64(b.tasks)
	}
	return income / tasks
}

// econBand is half of a 95 % confidence interval of a statistic of batches, by
// leaving out each in turn (the jackknife), with Student's t.
func econBand(batches []econBatch, of func([]econBatch) float64) float64 {
	n := float64(len(batches))
	if n < 2 {
		return 0
	}
	var all []float64
	var mean, sum float64
	for i := range batches {
		x := of(slices.Delete(slices.Clone(batches), i, i+1))
		all = append(all, x)
		mean += x / n
	}
	for _, x := range all {
		sum += (x - mean) * (x - mean)
	}
	t := 1.96 + 2.4/(n-1) + 3.2/((n-1)*(n-1)) // Student's quantile, to a percent from 4 batches on
	return t * math.Sqrt(sum*(n-1)/n)
}

func (c econCell) row(o EconomyOptions, batches, base []econBatch) EconomyRow {
	income := func(b []econBatch) float64 { return econIncome(c.fault, b) }
	r := EconomyRow{
		Rest: c.rest.name, Strategy: c.strategy.name, Fault: c.fault,
		Income: income(batches), Band: econBand(batches, income), Time: econTime(batches), TimeBand: econBand(batches, econTime),
	}
	if c.off {
		r.Rest += ", no canaries"
	}
	if c.long {
		r.Rest += ", long"
	}
	if c.strategy.name != c.rest.name {
		r.Gain = r.Income - income(base)
		r.GainBand = math.Hypot(r.Band, econBand(base, income))
	}
	var tasks float64
	for _, b := range batches {
		r.Rounds += b.parts[0].rounds + b.parts[1].rounds
		r.Jailed += b.jailed
		r.Locked += b.locked / float64(len(batches))
		r.Idle += float64(b.idle)
		tasks += float64(b.tasks)
	}
	r.Idle /= tasks
	return r
}

// count notes how large the committees were that judged.
func (t *EconomyTable) count(judges []uint32) {
	for _, seats := range judges {
		t.Committees++
		if task.Amount(seats)*t.Options.Rules.Miss < t.Options.Rules.Cap(task.DefaultSeats) {
			t.OverCap++
		}
	}
}
