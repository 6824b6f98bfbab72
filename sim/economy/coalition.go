package economy

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// CoalitionOptions shape a search. The zero value of a field means its default; the
// same options and as many rounds give the same table, byte for byte.
type CoalitionOptions struct {
	Seed     uint64    `json:"seed,string"`
	Rounds   int       `json:"rounds,string"` // 4; with Go, as many as it allows
	Fresh    int       `json:"fresh,string"`  // plans that a round begins with; 54
	Stakes   []float64 `json:"stakes"`        // of the coalition; 0.05, 0.15, 0.25 and 0.33
	Tasks    int       `json:"tasks,string"`  // one after the other on a chain; 2
	Chains   int       `json:"chains,string"` // fresh ones for each find, at the end; 48
	Finds    int       `json:"finds,string"`  // 10
	Only     []string  `json:"only"`          // these deviations; nil for all
	Parallel int       `json:"-"`             // chains at a time; 2
	// Go says whether to begin another round, when so many chains were played and so
	// many are to be played for the finds: whoever has a clock can keep to a time.
	Go func(played, rest int) bool `json:"-"`
	// Played hears of each chain, from many goroutines.
	Played func() `json:"-"`
}

func (o CoalitionOptions) filled() CoalitionOptions {
	for field, n := range map[*int]int{&o.Rounds: 4, &o.Fresh: 54, &o.Tasks: 2, &o.Chains: 48, &o.Finds: 10, &o.Parallel: 2} {
		if *field == 0 {
			*field = n
		}
	}
	if o.Stakes == nil {
		o.Stakes = []float64{0.05, 0.15, 0.25, 0.33}
	}
	if o.Played == nil {
		o.Played = func() {}
	}
	return o
}

func (o CoalitionOptions) check() error {
	if o.Rounds < 1 || o.Fresh < 9 || o.Tasks < 1 || o.Tasks > 20 || o.Chains < 4 || o.Finds < 1 || len(o.Stakes) == 0 {
		return fmt.Errorf("coalitions: want a round, 9 plans in it, 1 to 20 tasks on a chain, 4 chains and a find to show, and a stake")
	}
	for _, s := range o.Stakes {
		if !(s > 0 && s <= 1.0/3) {
			return fmt.Errorf("coalitions: a stake of %v: no rule holds against more than a third", s)
		}
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(coalDeviations[:], func(d coalDeviation) bool { return d.name == name }) {
			return fmt.Errorf("coalitions: no deviation %q", name)
		}
	}
	return coalParams().Check()
}

// CoalitionFind is what a plan was worth on fresh chains, a task, in units of c. All
// is against the same people on the same chains who keep to the rules.
type CoalitionFind struct {
	Deviations []string `json:"deviations"`
	Coalition  []string `json:"coalition"` // its roles
	Stake      float64  `json:"stake"`
	Market     string   `json:"market"` // in which it is worth most
	Gain       float64  `json:"gain"`   // of the coalition
	Band       float64  `json:"band"`   // half of a 95 % confidence interval
	// Beyond is the gain less that of those of its deviations that are known to pay.
	Known      []string           `json:"known"`
	Beyond     float64            `json:"beyond"`
	BeyondBand float64            `json:"beyond_band"`
	Pays       bool               `json:"pays"`      // beyond what is known to be, and more than noise
	Others     map[string]float64 `json:"others"`    // what the others have more, or less, by party
	Loss       float64            `json:"loss"`      // of the others together
	LossBand   float64            `json:"loss_band"` // half of a 95 % confidence interval
	Burned     float64            `json:"burned"`    // more than by honesty
	Factor     float64            `json:"factor"`    // their loss for each c that the coalition loses; 0 if it loses nothing
	Blocks     float64            `json:"blocks"`    // that a task is open longer
	Jailed     float64            `json:"jailed"`    // other workers
}

// CoalitionTable is what a search has found.
type CoalitionTable struct {
	Options CoalitionOptions `json:"options"`
	Plans   int              `json:"plans,string"` // that were tried
	Chains  int              `json:"chains,string"`
	Tasks   int              `json:"tasks,string"`
	Floor   float64          `json:"floor"`
	Best    []CoalitionFind  `json:"best"`
	Known   []CoalitionFind  `json:"known"`
	Grief   []CoalitionFind  `json:"grief"`
}

// Holes are the finds that pay.
func (t CoalitionTable) Holes() (all []CoalitionFind) {
	for _, f := range slices.Concat(t.Best, t.Known) {
		if f.Pays {
			all = append(all, f)
		}
	}
	return all
}

// coalFloor is the least gain a task that is called one, in units of c: a few
// transactions that somebody else has to pay for are less.
const coalFloor = 0.25

// coalSure widens a 95 % band so far that one of some ten finds is outside of it by
// chance in one search of twenty.
const coalSure = 1.5

// The rungs of a round: after so many chains the best third goes on. What is left at
// the last is remembered.
var coalRungs = []int{3, 9, 27}

// coalFirstFinal is the first stream of the chains on which finds are measured. No
// plan was chosen by them.
const coalFirstFinal = 3 << 20

// coalMostDeviations is how many deviations a plan has at the most.
const coalMostDeviations = 3

type coalCandidate struct {
	plan  coalPlan
	stake int
}

type coalChainKey struct {
	coalCandidate
	stream uint64
}

// coalSearch is a search under way.
type coalSearch struct {
	o      CoalitionOptions
	rng    *rand.Rand
	devs   []int // that it may use
	runs   map[coalChainKey]coalRun
	seen   map[coalCandidate]bool
	queue  []coalPlan      // to be tried, in this order
	scored []coalCandidate // reached the second rung
	best   []coalCandidate // reached the last rung
}

// Coalitions searches for plans of coalitions that pay. Every chain is the production
// ledger with a production session for every worker; see [coalWorld].
//
// A round begins with fresh plans: first each deviation alone, then pairs, and
// variations of the best so far. All are played on the same few chains, the best third
// on some more, and so on (successive halving). A plan's worth is its gain over its
// known part on the same chain. In the end the best lose what of them gives nothing,
// and are measured on chains that nobody has seen before.
//
// Not modelled: latency, lost messages, the price of time and of locked money, what a
// node earns no more when it is jailed (so gains are too high rather than too low),
// and consensus itself: a proposer below a third of the validators can delay, but
// can neither choose a beacon nor stop one (spec §4.2).
func Coalitions(o CoalitionOptions) (t CoalitionTable, err error) {
	defer halted(&err)
	o = o.filled()
	if err := o.check(); err != nil {
		return t, err
	}
	s := &coalSearch{o: o, rng: rand.New(rand.NewPCG(o.Seed, 7)), runs: map[coalChainKey]coalRun{}, seen: map[coalCandidate]bool{}}
	s.prepare()
	rounds := 0
	for ; rounds < o.Rounds || o.Go != nil; rounds++ {
		if o.Go != nil && rounds > 0 && !o.Go(len(s.runs), s.rest()) {
			break
		}
		s.round()
	}
	s.o.Rounds = rounds
	t.Floor = coalFloor
	for _, c := range s.finalists() {
		t.Best = append(t.Best, s.find(c, s.hand(c, s.streams(coalRungs[2]))))
	}
	slices.SortStableFunc(t.Best, func(a, b CoalitionFind) int { return coalOrder(a.Beyond, b.Beyond) })
	for _, i := range s.devs {
		if k := coalDeviations[i].known; k != nil {
			c := coalCandidate{1 << i, len(o.Stakes) - 1}
			h := s.against(c, 0, k.most, s.streams(coalRungs[2]))
			f := s.find(c, h)
			f.Pays = f.Gain-coalSure*f.Band > k.most(coalMarkets[h.market])+coalFloor
			t.Known = append(t.Known, f)
		}
	}
	for _, c := range s.griefers() {
		t.Grief = append(t.Grief, s.find(c, coalHand{roles: c.plan.roles()}))
	}
	t.Options, t.Plans, t.Chains, t.Tasks = s.o, len(s.seen), len(s.runs), len(s.runs)*o.Tasks
	return t, nil
}

// coalOrder sorts the larger first.
func coalOrder(a, b float64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// prepare lists what is to be tried whatever comes: each deviation alone, then all
// pairs in an order that is the seed's.
func (s *coalSearch) prepare() {
	for i, d := range coalDeviations {
		if s.o.Only == nil || slices.Contains(s.o.Only, d.name) {
			s.devs = append(s.devs, i)
		}
	}
	var pairs []coalPlan
	for n, i := range s.devs {
		s.queue = append(s.queue, 1<<i)
		for _, j := range s.devs[:n] {
			pairs = append(pairs, 1<<i|1<<j)
		}
	}
	s.rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	s.queue = append(s.queue, pairs...)
}

// round tries fresh plans, and keeps the best.
func (s *coalSearch) round() {
	field := s.fresh()
	for rung, chains := range coalRungs {
		s.play(field, s.streams(chains))
		scores := map[coalCandidate]float64{}
		for _, c := range field {
			scores[c] = s.score(c, s.streams(chains))
		}
		slices.SortStableFunc(field, func(a, b coalCandidate) int { return coalOrder(scores[a], scores[b]) })
		if rung == 1 {
			s.scored = append(s.scored, field...)
		}
		if rung < len(coalRungs)-1 {
			field = field[:max(1, len(field)/3)]
		}
	}
	s.best = append(s.best, field...)
	last := s.streams(coalRungs[len(coalRungs)-1])
	slices.SortStableFunc(s.best, func(a, b coalCandidate) int { return coalOrder(s.score(a, last), s.score(b, last)) })
	s.best = s.best[:min(len(s.best), 8*s.o.Finds)]
}

// fresh are plans that were not tried: half of them in turn, half near the best.
func (s *coalSearch) fresh() (field []coalCandidate) {
	largest := len(s.o.Stakes) - 1
	add := func(c coalCandidate) {
		if c.plan != 0 && !s.seen[c] {
			s.seen[c] = true
			field = append(field, c)
		}
	}
	for len(s.queue) > 0 && (len(field) < s.o.Fresh/2 || s.queue[0].size() == 1 && len(field) < s.o.Fresh) {
		add(coalCandidate{s.queue[0], largest})
		s.queue = s.queue[1:]
	}
	for range 20 * s.o.Fresh {
		if len(field) >= s.o.Fresh {
			break
		}
		add(s.near(largest))
	}
	return field
}

// near is a variation of one of the best, or any plan of three.
func (s *coalSearch) near(largest int) coalCandidate {
	any := func() coalPlan { return 1 << s.devs[s.rng.IntN(len(s.devs))] }
	if len(s.best) == 0 || s.rng.IntN(4) == 0 {
		plan := any()
		plan |= any()
		plan |= any()
		return coalCandidate{plan, largest}
	}
	c := s.best[s.rng.IntN(min(len(s.best), 2*s.o.Finds))]
	list := []coalPlan{}
	for i := range devCount {
		if c.plan.does(i) {
			list = append(list, 1<<i)
		}
	}
	one := list[s.rng.IntN(len(list))]
	switch s.rng.IntN(5) {
	case 0:
		c.stake = s.rng.IntN(len(s.o.Stakes))
	case 1:
		c.plan &^= one
	case 2:
		c.plan = c.plan&^one | any()
	default:
		if c.plan |= any(); c.plan.size() > coalMostDeviations {
			c.plan &^= one
		}
	}
	return c
}

// rest is about how many chains there are to be played for the finds.
func (s *coalSearch) rest() int {
	plans := 2*s.o.Finds + len(coalMarkets) // and honesty in each market
	for _, i := range s.devs {
		if coalDeviations[i].known != nil {
			plans++
		}
	}
	return plans * s.o.Chains
}

// streams are those on which plans are chosen; final, those on which finds are measured.
func (s *coalSearch) streams(n int) (all []uint64) {
	for i := range n {
		all = append(all, uint64(i))
	}
	return all
}

func (s *coalSearch) final(market int) (all []uint64) {
	for i := range s.o.Chains {
		all = append(all, coalFirstFinal+uint64(len(coalMarkets)*i+market))
	}
	return all
}

// coalHand is who is in a coalition, and in which market it deviates.
type coalHand struct {
	roles  coalRole
	market int
}

// in are the streams of a market.
func (h coalHand) in(streams []uint64) (all []uint64) {
	for _, s := range streams {
		if s%uint64(len(coalMarkets)) == uint64(h.market) {
			all = append(all, s)
		}
	}
	return all
}

// play plays what was not played yet of some plans, and of what they are held against.
func (s *coalSearch) play(field []coalCandidate, streams []uint64) {
	var due []coalChainKey
	for _, c := range field {
		for _, p := range []coalPlan{c.plan, c.plan.known(), 0} {
			for _, stream := range streams {
				k := coalChainKey{coalCandidate{p, c.stake}, stream}
				if _, ok := s.runs[k]; !ok {
					s.runs[k] = coalRun{}
					due = append(due, k)
				}
			}
		}
	}
	done := econParallel(s.o.Parallel, len(due), func(i int) coalRun {
		k := due[i]
		defer s.o.Played()
		return coalChain(s.o.Seed, k.stream, s.o.Stakes[k.stake], k.plan, s.o.Tasks)
	})
	for i, k := range due {
		s.runs[k] = done[i]
	}
}

// of is what a coalition has of a run.
func (h coalHand) of(r coalRun) (sum float64) {
	roles := h.roles
	for party, role := range []coalRole{partyAlice: coalAlice, partyBob: coalBob, partyMates: coalWorkers} {
		if roles&role != 0 {
			sum += r.worth[party]
		}
	}
	if roles&coalAlice != 0 && roles&coalWorkers != 0 {
		sum += r.given
	}
	return sum
}

// differ is a figure of a plan's runs less the same of another's, a task, by stream.
func (s *coalSearch) differ(c coalCandidate, less coalPlan, streams []uint64, of func(coalRun) float64) (all []float64) {
	for _, stream := range streams {
		a, b := s.runs[coalChainKey{c, stream}], s.runs[coalChainKey{coalCandidate{less, c.stake}, stream}]
		all = append(all, (of(a)-of(b))/float64(s.o.Tasks))
	}
	return all
}

func coalMean(all []float64) (mean float64) {
	for _, x := range all {
		mean += x / float64(len(all))
	}
	return mean
}

// hand is that in which a plan is worth most, over what is known of it.
func (s *coalSearch) hand(c coalCandidate, streams []uint64) coalHand {
	return s.against(c, c.plan.known(), func(coalMarket) float64 { return 0 }, streams)
}

// against is the hand in which a plan is worth most over another, and over what a
// market makes it worth anyway.
func (s *coalSearch) against(c coalCandidate, less coalPlan, most func(coalMarket) float64, streams []uint64) (best coalHand) {
	s.play([]coalCandidate{c}, streams)
	top := 0.0
	for market := range coalMarkets {
		for more := coalRole(0); more <= coalAlice|coalBob|coalWorkers; more++ {
			h := coalHand{c.plan.roles() | more, market}
			worth := coalMean(s.differ(c, less, h.in(streams), h.of)) - most(coalMarkets[market])
			if best.roles == 0 || worth > top+1e-9 {
				best, top = h, worth
			}
		}
	}
	return best
}

// score is what a plan is worth beyond what is known, in the best hand, and a little
// for what is not known of it.
func (s *coalSearch) score(c coalCandidate, streams []uint64) float64 {
	h := s.hand(c, streams)
	all := s.differ(c, c.plan.known(), h.in(streams), h.of)
	return coalMean(all) + econBand(all, coalMean)/8
}

// finalists are the best, each without what gives it nothing.
func (s *coalSearch) finalists() (all []coalCandidate) {
	last := s.streams(coalRungs[len(coalRungs)-1])
	for _, c := range s.best {
		if len(all) >= s.o.Finds {
			break
		}
		if c = s.pruned(c, last); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// pruned leaves out deviations as long as the plan is worth no less by it.
func (s *coalSearch) pruned(c coalCandidate, streams []uint64) coalCandidate {
	worth := s.score(c, streams)
	for i := range devCount {
		less := coalCandidate{c.plan &^ (1 << i), c.stake}
		if less == c || less.plan == 0 {
			continue
		}
		s.play([]coalCandidate{less}, streams)
		if w := s.score(less, streams); w >= worth-coalFloor {
			c, worth = less, w
		}
	}
	return c
}

// griefers are the plans that cost others most for each unit of their own.
func (s *coalSearch) griefers() (all []coalCandidate) {
	streams := s.streams(coalRungs[1])
	factor := map[coalCandidate]float64{}
	field := slices.Clone(s.scored)
	for i := range s.devs {
		c := coalCandidate{1 << s.devs[i], len(s.o.Stakes) - 1}
		if !slices.Contains(field, c) {
			field = append(field, c)
		}
	}
	s.play(field, streams)
	for _, c := range field {
		h := coalHand{roles: c.plan.roles()}
		own, theirs := -coalMean(s.differ(c, 0, h.in(streams), h.of)), -coalMean(s.differ(c, 0, h.in(streams), h.others))
		if theirs >= 1 {
			factor[c] = theirs / max(own, 1)
		}
	}
	slices.SortStableFunc(field, func(a, b coalCandidate) int { return coalOrder(factor[a], factor[b]) })
	for _, c := range field {
		within := slices.ContainsFunc(all, func(o coalCandidate) bool { return o.plan&c.plan == o.plan })
		if factor[c] > 0 && !within && len(all) < s.o.Finds {
			all = append(all, c)
		}
	}
	return all
}

// others is what those have of a run who are not in the coalition.
func (h coalHand) others(r coalRun) (sum float64) {
	for party, role := range []coalRole{partyAlice: coalAlice, partyBob: coalBob, partyMates: coalWorkers, partyStrangers: 0} {
		if h.roles&role == 0 {
			sum += r.worth[party]
		}
	}
	return sum
}

// find measures a plan on chains that were not used to choose it.
func (s *coalSearch) find(c coalCandidate, h coalHand) CoalitionFind {
	streams := s.final(h.market)
	s.play([]coalCandidate{c}, streams)
	all, beyond, theirs := s.differ(c, 0, streams, h.of), s.differ(c, c.plan.known(), streams, h.of), s.differ(c, 0, streams, h.others)
	mean := func(of func(coalRun) float64) float64 { return coalMean(s.differ(c, 0, streams, of)) }
	f := CoalitionFind{
		Deviations: c.plan.names(), Coalition: h.roles.names(), Stake: s.o.Stakes[c.stake], Market: coalMarkets[h.market].name,
		Gain: coalMean(all), Band: econBand(all, coalMean), Known: c.plan.known().names(),
		Beyond: coalMean(beyond), BeyondBand: econBand(beyond, coalMean), Others: map[string]float64{},
		Loss: -coalMean(theirs), LossBand: econBand(theirs, coalMean),
		Burned: mean(func(r coalRun) float64 { return r.burned }),
		Blocks: mean(func(r coalRun) float64 { return r.blocks }), Jailed: mean(func(r coalRun) float64 { return r.jailed }),
	}
	f.Pays = min(f.Gain-coalSure*f.Band, f.Beyond-coalSure*f.BeyondBand) > coalFloor
	for party, name := range coalPartyNames {
		if in := []coalRole{coalAlice, coalBob, coalWorkers, 0}[party]; in == 0 || h.roles&in == 0 {
			f.Others[name] = mean(func(r coalRun) float64 { return r.worth[party] })
		}
	}
	if own := -f.Gain; own > 0 {
		f.Factor = max(f.Loss, 0) / own
	}
	return f
}
