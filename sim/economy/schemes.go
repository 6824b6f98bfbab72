package economy

import (
	"fmt"

	"github.com/prytany/prytany/task"
)

// Scheme is a plan of more than one account, in units of c.
type Scheme struct {
	Name  string  `json:"name"`
	What  string  `json:"what"`
	Value float64 `json:"value"` // what it earns, or what it costs; see What
	Band  float64 `json:"band"`  // half of a 95 % confidence interval
	Limit float64 `json:"limit"` // what Value is held against
	Pays  bool    `json:"pays"`
}

// econSchemes measures what several accounts of one owner can do together.
func econSchemes(o Options) (all []Scheme) {
	work := []func() []Scheme{
		func() []Scheme { return econWash(o, o.Workers/10) },
		func() []Scheme { return econWash(o, o.Workers/2) },
		func() []Scheme { return econWash(o, o.Workers) },
		func() []Scheme { return econSelf(o, econHonest) },
		func() []Scheme { return econSelf(o, econGuess) },
		func() []Scheme { return econBribe(o) },
	}
	for _, s := range econParallel(o.Parallel, len(work), func(i int) []Scheme { return work[i]() }) {
		all = append(all, s...)
	}
	return all
}

// econSample is what a scheme earned on one chain, by kind of task.
type econSample struct{ sum, n [2]float64 }

func (s *econSample) add(faulty bool, x float64) {
	i := 0
	if faulty {
		i = 1
	}
	s.sum[i] += x
	s.n[i]++
}

// econMean is the mean over tasks of which a share is faulty.
func econMean(fault float64) func([]econSample) float64 {
	return func(all []econSample) (mean float64) {
		for i, share := range []float64{1 - fault, fault} {
			var sum, n float64
			for _, s := range all {
				sum, n = sum+s.sum[i], n+s.n[i]
			}
			if n > 0 {
				mean += share * sum / n
			}
		}
		return mean
	}
}

// econWash posts tasks of one's own, of one's own function, and hopes that
// one's own workers get more than the fees back. They do not check each other: who
// executes tells the rest where the genuine piece is.
func econWash(o Options, mine int) []Scheme {
	var samples []econSample
	p := econParams(o.Rules)
	c := float64(p.CheckCost)
	for b := range 4 {
		w := newEconWorld(o.Seed, uint64(1000+b), p, econCrowd(o, econHonest, econHonest, o.Workers))
		for _, k := range w.workers[:mine] {
			k.insider = true
		}
		var s econSample
		for range 8 {
			posted := w.read().Account(task.PublicKey(w.poster)).Balance
			w.play(false)
			sum := (float64(w.read().Account(task.PublicKey(w.poster)).Balance) - float64(posted)) / c
			for _, k := range w.workers[:mine] {
				sum += w.earned(k)
			}
			s.add(false, sum)
		}
		samples = append(samples, s)
	}
	mean := econMean(0)
	v := mean(samples)
	return []Scheme{{
		Name: fmt.Sprintf("wash trading, %.0f %% of the stake", 100*float64(mine)/float64(o.Workers)), Value: v, Band: econBand(samples, mean), Pays: v > 0,
		What: "income for each task of one's own",
	}}
}

// econSelf lets executors show bad evidence and accuse themselves.
func econSelf(o Options, rest econMind) []Scheme {
	var samples []econSample
	for b := range 4 {
		w := newEconWorld(o.Seed, uint64(2000+b), econParams(o.Rules), econCrowd(o, rest, rest, o.Workers))
		w.selfish = true
		var s econSample
		for range 2 { // each verifier may miss twice before it is jailed
			c := w.play(true)
			for _, k := range w.workers {
				if len(c.Passed) > 0 && k.node.ID() == c.Passed[0].Executor {
					s.add(true, w.earned(k)+float64(k.checked-k.spent))
				}
			}
		}
		samples = append(samples, s)
	}
	mean := econMean(1)
	v := mean(samples)
	return []Scheme{{
		Name: "self-accusation among the " + rest.name, Value: v, Band: econBand(samples, mean), Pays: v > 0,
		What: "what the operator of the executor and of the accuser is left with",
	}}
}

// econBribe compares verifiers who name the genuine place of a bad enclave, and are
// accused by the owner who looks, with those who say FAULT: the difference is the
// least bribe. What a liar can win is at most the cap on the task's value.
func econBribe(o Options) []Scheme {
	each := func(m econMind) (samples []econSample) {
		for b := range 4 {
			w := newEconWorld(o.Seed, uint64(3000+b), econParams(o.Rules), econCrowd(o, m, m, o.Workers))
			var s econSample
			for range 2 {
				c := w.play(true)
				liar := c.Passed[0].Executor
				seats := float64(c.Roster().Total() - c.Member(liar).Seats)
				for _, k := range w.workers {
					if k.node.ID() != liar {
						s.sum[1] += w.earned(k)
					}
				}
				s.n[1] += seats
			}
			samples = append(samples, s)
		}
		return samples
	}
	honest, bribed := each(econHonest), each(econBribed)
	mean := econMean(1)
	both := make([][2]econSample, len(honest))
	for i := range both {
		both[i] = [2]econSample{honest[i], bribed[i]}
	}
	least := func(all [][2]econSample) float64 {
		var h, l []econSample
		for _, s := range all {
			h, l = append(h, s[0]), append(l, s[1])
		}
		return mean(h) - mean(l)
	}
	v := least(both)
	limit := float64(o.valueCap()) / float64(o.Rules.CheckCost) / task.DefaultSeats
	return []Scheme{{
		Name: "bribe", Value: v, Band: econBand(both, least), Limit: limit, Pays: v < limit,
		What: "the least bribe for each seat, against the most that there is to win for each seat",
	}}
}
