package sim

// network is how the world's messages travel, and what goes wrong until it
// heals.
type network struct {
	heals         int64   // from here on nothing fails
	loss, twice   float64 // of a message
	delay, jitter int64   // one way
	island        map[int]bool
}

// weather decides what the seed does to this world.
func (w *world) weather() {
	n := &w.net
	n.delay, n.jitter = w.between(millisecond/2, 25*millisecond), w.between(millisecond, 30*millisecond)
	if w.o.Delay != 0 {
		n.delay = int64(w.o.Delay) * millisecond
	}
	if w.o.Calm {
		n.heals = 0
		return
	}
	n.heals = w.between(second, 6*second)
	if w.chance(0.4) { // impatience: many views
		w.patience.Silence = uint64(w.between(8, 50))
	}
	n.loss, n.twice = 0.15*w.rand.Float64(), 0.2*w.rand.Float64()
	if w.o.Loss != 0 {
		n.loss = w.o.Loss
	}
	for _, k := range w.workers {
		if w.chance(0.35) {
			w.after(w.between(0, n.heals), func() { k.crash("power") })
		}
		if w.chance(0.4) { // kill −9 in the middle of a write
			k.disk.killAt, k.disk.tornAfter = int(w.between(1, 8)), w.chance(0.5)
		}
		if w.chance(0.15) {
			w.after(w.between(0, n.heals), func() { k.disk.full = true; w.say("the disk of %s is full", k.name) })
			w.after(n.heals, func() { k.disk.full = false })
		}
	}
	if w.chance(0.5) {
		w.after(w.between(0, n.heals), w.partition)
	}
	w.after(n.heals, w.heal)
}

// partition cuts some workers off from the others and from the chain.
func (w *world) partition() {
	w.net.island = map[int]bool{}
	for i := range w.workers {
		if w.chance(0.35) {
			w.net.island[i], w.workers[i].faulted = true, true
		}
	}
	w.say("partition: %d workers are cut off", len(w.net.island))
	w.after(w.between(100*millisecond, 2*second), w.join)
}

// join ends a partition; who was cut off learns what the chain did meanwhile.
func (w *world) join() {
	if len(w.net.island) == 0 {
		return
	}
	w.say("the partition ends")
	w.net.island = nil
	for _, k := range w.workers {
		k.catchUp()
	}
}

// heal ends all faults: everyone is up, and every message arrives.
func (w *world) heal() {
	w.say("all faults end")
	w.join()
	w.net.loss, w.net.twice = 0, 0
	for _, k := range w.workers {
		k.disk.killAt, k.disk.full = 0, false
		if !k.up {
			k.restart()
		}
	}
}

// deliver brings a message from one worker to another: late, twice, or not at all.
func (w *world) deliver(from, to *worker, do func()) {
	if w.net.island[from.index] != w.net.island[to.index] || w.chance(w.net.loss) {
		return
	}
	copies := 1
	if w.chance(w.net.twice) {
		copies = 2
	}
	for range copies {
		w.after(w.net.delay+w.between(0, w.net.jitter), func() {
			if to.up {
				do()
			}
		})
	}
}

// reached says whether a worker has the chain.
func (w *world) reached(k *worker) bool { return k.up && !w.net.island[k.index] }
