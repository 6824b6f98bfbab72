package chain

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// BenchmarkFirstBlock is the time from Start to the first block of a new
// one-validator chain in memory.
func BenchmarkFirstBlock(b *testing.B) {
	for b.Loop() {
		n, err := Start(patient(b), single(b))
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := n.Stop(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSubmitAtRest is the time from Submit to the block, on a chain that
// rests before each.
func BenchmarkSubmitAtRest(b *testing.B) {
	for _, place := range []string{"memory", "disk"} {
		b.Run(place, func(b *testing.B) {
			config := single(b)
			if place == "disk" {
				config.Home = b.TempDir()
			}
			n, c := start(b, config)
			for b.Loop() {
				b.StopTimer()
				atRest(b, n, c)
				time.Sleep(n.config.Interval)
				b.StartTimer()
				submit(b, c, "alice", transfer("bob", 1))
			}
		})
	}
}

// BenchmarkTaskBlocks prints the interval between blocks while a task is open,
// the processor time that one takes, and the time from posting the task to its
// seed: of a sole validator, and of four in one process.
func BenchmarkTaskBlocks(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		n, c := start(b, single(b))
		taskBlocks(b, n, c)
	})
	b.Run("four", func(b *testing.B) {
		n := network(b, 4)[0]
		c, err := Local(n)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		taskBlocks(b, n, c)
	})
}

func taskBlocks(b *testing.B, n *Node, c *Client) {
	submit(b, c, "bob", publish())
	var gaps, seeds []time.Duration
	var busy time.Duration
	for b.Loop() {
		atRest(b, n, c)
		time.Sleep(n.config.Interval) // after a block a resting chain still keeps the interval
		blocks := c.Watch(patient(b), 0)
		posted, before := time.Now(), cpu(b)
		if err := c.Send(patient(b), account("alice"), post()); err != nil {
			b.Fatal(err)
		}
		var last time.Time
		for open := true; open; {
			block := <-blocks
			now := time.Now()
			if !last.IsZero() {
				gaps = append(gaps, now.Sub(last))
			}
			last = now
			for _, e := range block.Events {
				if e.Phase == ledger.Electing && posted != (time.Time{}) {
					seeds, posted = append(seeds, now.Sub(posted)), time.Time{}
				}
				open = open && e.Phase != ledger.Closed
			}
		}
		busy += cpu(b) - before
	}
	b.ReportMetric(busy.Seconds()*1e3/float64(max(1, len(gaps))), "cpu-ms/block")
	b.ReportMetric(median(gaps).Seconds()*1e3, "ms/block")
	b.ReportMetric(median(seeds).Seconds()*1e3, "ms/post→seed")
}

// BenchmarkTransfers is the throughput of the whole way: signing, pool, block,
// commit.
func BenchmarkTransfers(b *testing.B) {
	const senders, ahead = 32, 64
	config := single(b)
	var keys []ed25519.PrivateKey
	for i := range senders {
		name := fmt.Sprint("sender ", i)
		keys = append(keys, account(name))
		config.Genesis.Accounts = append(config.Genesis.Accounts, ledger.Grant{Account: addr(name), Balance: 1000 * task.PRY})
	}
	n, c := start(b, config)
	first := n.Height()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() {
			slots := make(chan struct{}, ahead)
			for range (b.N + senders - 1 - i) / senders {
				slots <- struct{}{}
				wg.Go(func() {
					if _, err := c.Submit(patient(b), key, transfer("bob", 1)); err != nil {
						b.Error(err)
					}
					<-slots
				})
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
	b.ReportMetric(float64(b.N)/float64(n.Height()-first), "tx/block")
	conserved(b, n)
}

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}
