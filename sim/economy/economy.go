// Package economy asks what honesty earns, and what each deviation from it does: one worker
// alone, and people together with a part of the stake. The ledger and the committees are
// the production code; what a worker, an owner or a proposer does is played.
package economy

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// Options shape the experiment. The zero value of a field means its
// default; the same options give the same table, byte for byte.
type Options struct {
	Seed     uint64           `json:"seed,string"`
	Workers  int              `json:"workers,string"`  // of equal stake; 20
	Deviants int              `json:"deviants,string"` // of them with the strategy under test; 2
	Tasks    int              `json:"tasks,string"`    // one after the other on a chain; 12
	Batches  int              `json:"batches,string"`  // chains for each strategy; 10
	Long     int              `json:"long,string"`     // tasks on each of the chains that show what jail does in time; 160, −1 for none
	Faults   []float64        `json:"faults"`          // φ, the share of bad executors; 0, 0.2, 0.5, 0.8
	Rules    ledger.Economics `json:"rules"`           // those of the embedded chain
	Only     []string         `json:"only"`            // strategies beside honest; nil for all, and the schemes
	Parallel int              `json:"-"`               // chains at a time; 2
}

// valueCap is the most that a task of usual size may put at stake.
func (o Options) valueCap() task.Amount {
	p := ledger.Embedded("")
	p.Economics = o.Rules
	return p.Cap(task.DefaultSeats)
}

func (o Options) filled() Options {
	for field, n := range map[*int]int{&o.Workers: 20, &o.Deviants: 2, &o.Tasks: 12, &o.Batches: 10, &o.Long: 160, &o.Parallel: 2} {
		if *field == 0 {
			*field = n
		}
	}
	if o.Rules == (ledger.Economics{}) {
		o.Rules = ledger.Embedded("economy").Economics
	}
	if o.Faults == nil {
		o.Faults = []float64{0, 0.2, 0.5, 0.8}
	}
	return o
}

func (o Options) check() error {
	if o.Workers < 8 || o.Deviants < 1 || o.Deviants > o.Workers/4 || o.Tasks < 2 || o.Batches < 2 || o.Rules.CheckCost == 0 {
		return fmt.Errorf("economy: want at least 8 workers, 1 deviant to a quarter of them, 2 tasks, 2 batches and a cost of checks")
	}
	if err := econParams(o.Rules).Check(); err != nil {
		return err
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(econMinds, func(m econMind) bool { return m.name == name }) {
			return fmt.Errorf("economy: no strategy %q", name)
		}
	}
	return nil
}

// Row is what one strategy earns among others of one kind. Money is in
// units of the cost of one check, c; a band is half of a 95 % confidence interval.
type Row struct {
	Rest     string  `json:"rest"` // what all others do
	Strategy string  `json:"strategy"`
	Fault    float64 `json:"fault"`  // φ: the share of tasks whose first executor's enclave is bad
	Income   float64 `json:"income"` // for each seat in each round that it judged
	Band     float64 `json:"band"`
	Gain     float64 `json:"gain"` // over doing as the rest do, where all do so; below zero, deviating does not pay
	GainBand float64 `json:"gain_band"`
	Good     float64 `json:"good"`      // for each seat in a task whose first evidence is good
	Faulty   float64 `json:"faulty"`    // and in one whose first evidence is faulty
	MoreGood float64 `json:"more_good"` // the gain for each seat in a task, by the same
	MoreBad  float64 `json:"more_bad"`
	Rounds   uint64  `json:"rounds,string"` // seats times rounds behind the row
}

// Time is what a strategy earns in time: zeros while it is not in the
// draw are part of it.
type Time struct {
	Strategy string  `json:"strategy"`
	Fault    float64 `json:"fault"`
	Income   float64 `json:"income"` // for each task that is posted and each operator
	Band     float64 `json:"band"`
	Idle     float64 `json:"idle"`          // share of the tasks during which its node was not in the draw
	Jailed   uint64  `json:"jailed,string"` // nodes, on all chains
	Locked   float64 `json:"locked"`        // bonds of one operator that are on their way out of jail, at the end
}

// Run measures, on the production ledger and its draw, what a verifier
// earns that deviates alone, and what it would have earned as the rest do.
//
// Income is the change of a worker's balance, bond and unbonding money, less c
// for each check. A check is counted once for each seat, as if every seat were
// a node's only one: the worst case for those who look, and the one that the
// rules of spec §10.3 are about. Executing is not paid here.
//
// A bad executor registers a fresh machine after it was found, so that there are
// always as many workers; what that costs it is not counted.
//
// What a verdict earns depends on φ only by whether the evidence is faulty. So
// half of the tasks of each chain are, by lot, and the rows for each φ weigh
// the two halves: every row rests on as many faults as good evidence. A small
// committee pays more for each seat; that is the luck of the draw, alike for
// all strategies, and so a gain is taken of incomes less the fee of a seat
// that is always right. Jail depends on the order of things, and is measured in
// [Time] on longer chains with faults at their true rate.
//
// Not modelled: latency, lost messages, fees of transactions (one relay pays
// them), the price of locked money, and verifiers who share
// what they saw.
func Run(o Options) (t Table, err error) {
	defer halted(&err)
	o = o.filled()
	t.Options = o
	if err := o.check(); err != nil {
		return t, err
	}
	cells := econCells(o)
	done := econParallel(o.Parallel, len(cells), func(i int) []econBatch { return cells[i].run(o) })
	for i, c := range cells {
		if c.time {
			t.Time = append(t.Time, c.inTime(o, done[i]))
			continue
		}
		base := done[slices.IndexFunc(cells, c.follows)]
		for _, fault := range c.faults(o) {
			t.Rows = append(t.Rows, c.row(fault, done[i], base))
		}
		for _, b := range done[i] {
			t.count(b.judges)
		}
	}
	slices.SortStableFunc(t.Rows, func(a, b Row) int { return t.rank(a) - t.rank(b) })
	if o.Only == nil {
		t.Schemes = econSchemes(o)
	}
	return t, nil
}

// rank puts the rows among the honest first, rate by rate.
func (t Table) rank(r Row) int {
	n := slices.Index(t.Options.Faults, r.Fault)
	if r.Rest != econHonest.name {
		n = len(t.Options.Faults) + 1
	}
	return n
}

// econParallel does n pieces of work and keeps their order. A rule that broke in
// one of them is raised in the caller.
func econParallel[T any](width, n int, work func(int) T) []T {
	done, broken := make([]T, n), make([]any, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(width, 1))
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { broken[i] = recover(); <-slots }()
			done[i] = work(i)
		})
	}
	wg.Wait()
	for _, p := range broken {
		if p != nil {
			panic(p)
		}
	}
	return done
}

// econCell is one strategy among others of one kind.
type econCell struct {
	rest, strategy econMind
	time           bool // a long chain
}

// follows says whether o is where all do as the rest of c.
func (c econCell) follows(o econCell) bool {
	return c.rest.name == o.rest.name && o.strategy.name == o.rest.name && c.time == o.time
}

// econCells are each deviation from honesty, honesty among those who guess, and
// what jail does in time.
func econCells(o Options) (all []econCell) {
	all = append(all, econCell{rest: econHonest, strategy: econHonest})
	for _, m := range econMinds {
		if o.Only == nil || slices.Contains(o.Only, m.name) {
			all = append(all, econCell{rest: econHonest, strategy: m})
		}
	}
	all = append(all, econCell{rest: econGuess, strategy: econGuess}, econCell{rest: econGuess, strategy: econHonest})
	if o.Long > 0 {
		for _, m := range []econMind{econHonest, econGuess, econWhitewash} {
			all = append(all, econCell{rest: econHonest, strategy: m, time: true})
		}
	}
	return all
}

// faults are the rates for which a cell gives a row.
func (c econCell) faults(o Options) []float64 {
	if c.rest.name != econHonest.name {
		return []float64{0}
	}
	return o.Faults
}

// econPart is what a group of workers did in the tasks of one kind.
type econPart struct {
	income, fees  float64 // fees: what a seat earns there that is always right
	seats, rounds uint64
}

// econBatch is what one chain shows: of good tasks, and of faulty ones.
type econBatch struct {
	parts               [2]econPart
	tasks, idle, jailed uint64 // tasks count once for each worker
	locked              float64
	judges              []uint32
}

func (c econCell) run(o Options) (all []econBatch) {
	batches, tasks, fault := o.Batches, o.Tasks, 0.5
	switch {
	case c.time && c.strategy.name == c.rest.name:
		batches, tasks, fault = 3, o.Long/3, 0
	case c.time:
		batches, tasks, fault = 4, o.Long, 0
	case c.rest.name != econHonest.name:
		batches, tasks, fault = 2*batches, 2, 0 // or all would be in jail
	}
	for b := range batches {
		all = append(all, c.batch(o, uint64(b), tasks, fault))
	}
	return all
}

// batch plays a chain of its own. Deviants come first among the workers, who
// are all alike to the draw; where all do the same, all are watched.
func (c econCell) batch(o Options, stream uint64, tasks int, fault float64) (b econBatch) {
	w := newEconWorld(o.Seed, stream, econParams(o.Rules), econCrowd(o, c.rest, c.strategy, o.Deviants))
	watched := w.workers[:o.Deviants]
	if c.rest.name == c.strategy.name {
		watched = w.workers
	}
	for _, faulty := range w.lots(tasks, fault) {
		kase := w.play(faulty)
		for _, p := range kase.Passed { // a bad executor, which comes back under another name
			w.rebond(w.worker(p.Executor))
		}
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
	w.next()
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

// econCrowd is n workers of one mind before all others.
func econCrowd(o Options, rest, first econMind, n int) []econMind {
	return append(slices.Repeat([]econMind{first}, n), slices.Repeat([]econMind{rest}, o.Workers-n)...)
}

// lots says which tasks of a chain are faulty: as many as their share, in an
// order that is the seed's.
func (w *econWorld) lots(tasks int, fault float64) []bool {
	lots := make([]bool, tasks)
	for i := range int(math.Round(float64(tasks) * fault)) {
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
	judged, seats := k.rounds, c.Roster().Judging()
	k.rounds = 0
	if w.wasBad(c, k) { // a bad executor's loss is no verifier's
		return
	}
	p.income += w.earned(k)
	if c.View.Executor == k.node.ID() {
		return
	}
	if k.mind.withholds {
		seats += k.drawn // had it claimed them
		judged = uint64(k.drawn)
		if faulty {
			judged *= 2
		}
	}
	p.seats += uint64(k.drawn)
	p.rounds += judged
	if seats > 0 {
		p.fees += float64(k.drawn) * float64(c.Task.Fee) / float64(w.params.CheckCost) / float64(seats)
	}
}

// econSum adds up what chains show.
func econSum(batches []econBatch) (parts [2]econPart) {
	for _, b := range batches {
		for i, p := range b.parts {
			parts[i].income += p.income
			parts[i].fees += p.fees
			parts[i].seats += p.seats
			parts[i].rounds += p.rounds
		}
	}
	return parts
}

// each is the income, the fees and the rounds of one seat in a task.
func (p econPart) each() (income, fees, rounds float64) {
	if p.seats == 0 {
		return 0, 0, 0
	}
	n := float64(p.seats)
	return p.income / n, p.fees / n, float64(p.rounds) / n
}

// less is the income of one seat less the fees of who is always right.
func (p econPart) less() float64 {
	income, fees, _ := p.each()
	return income - fees
}

// econIncome is the income for each seat and round where a share of the tasks
// is faulty: in all, and less the fees of who is always right.
func econIncome(fault float64, batches []econBatch) (all, less float64) {
	parts := econSum(batches)
	var income, fees, rounds float64
	for i, share := range []float64{1 - fault, fault} {
		x, f, r := parts[i].each()
		income, fees, rounds = income+share*x, fees+share*f, rounds+share*r
	}
	if rounds == 0 {
		return 0, 0
	}
	return income / rounds, (income - fees) / rounds
}

// econTime is the income for each task and worker: that of a seat, times the
// seats that it had.
func econTime(fault float64, batches []econBatch) float64 {
	parts := econSum(batches)
	good, _, _ := parts[0].each()
	bad, _, _ := parts[1].each()
	var tasks uint64
	for _, b := range batches {
		tasks += b.tasks
	}
	return ((1-fault)*good + fault*bad) * float64(parts[0].seats+parts[1].seats) / float64(tasks)
}

// econBand is half of a 95 % confidence interval of a statistic of batches, by
// leaving out each in turn (the jackknife), with Student's t.
func econBand[B any](batches []B, of func([]B) float64) float64 {
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
	t := 1.96 + 2.4/(n-1) + 3.2/((n-1)*(n-1)) // Student's quantile, to 2 % from 4 batches on
	return t * math.Sqrt(sum*(n-1)/n)
}

func (c econCell) row(fault float64, batches, base []econBatch) Row {
	income := func(b []econBatch) float64 { x, _ := econIncome(fault, b); return x }
	less := func(b []econBatch) float64 { _, x := econIncome(fault, b); return x }
	r := Row{
		Rest: c.rest.name, Strategy: c.strategy.name, Fault: fault,
		Income: income(batches), Band: econBand(batches, income),
	}
	if c.strategy.name != c.rest.name {
		r.Gain = less(batches) - less(base)
		r.GainBand = math.Hypot(econBand(batches, less), econBand(base, less))
	}
	parts, other := econSum(batches), econSum(base)
	r.Good, _, _ = parts[0].each()
	r.Faulty, _, _ = parts[1].each()
	r.MoreGood, r.MoreBad = parts[0].less()-other[0].less(), parts[1].less()-other[1].less()
	r.Rounds = parts[0].rounds + parts[1].rounds
	return r
}

func (c econCell) inTime(o Options, batches []econBatch) Time {
	income := func(b []econBatch) float64 { return econTime(0, b) }
	r := Time{Strategy: c.strategy.name, Income: income(batches), Band: econBand(batches, income)}
	var tasks float64
	for _, b := range batches {
		r.Jailed += b.jailed
		r.Locked += b.locked / float64(len(batches))
		r.Idle += float64(b.idle)
		tasks += float64(b.tasks)
	}
	r.Idle /= tasks
	return r
}

// count notes how large the committees were that judged.
func (t *Table) count(judges []uint32) {
	for _, seats := range judges {
		t.Committees++
		if task.Amount(seats)*t.Options.Rules.Miss < t.Options.valueCap() {
			t.OverCap++
		}
	}
}
