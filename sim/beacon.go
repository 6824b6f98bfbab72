package sim

import (
	"sync"

	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/task"
)

// The chains of all simulations have one group of four validators and one secret,
// which none of them knows: so a beacon is signed once, whatever the seed. Draws
// differ all the same, by keys and tasks.
var (
	groupSeed   = [32]byte{4}
	groupSecret = beacon.NewSecret(groupSeed)
	signed      sync.Map // input → beacon
)

var group = sync.OnceValue(func() beacon.Group {
	var keys []task.Key
	for i := range 4 {
		keys = append(keys, task.PublicKey(signingKey(validatorName(i))))
	}
	g, _ := beacon.DealtGroup(groupSeed, keys...)
	return g
})

// beaconOn is the group's beacon on an input.
func beaconOn(input task.Hash) *beacon.Beacon {
	known, ok := signed.Load(input)
	if !ok {
		known, _ = signed.LoadOrStore(input, groupSecret.Beacon(input))
	}
	b := known.(beacon.Beacon)
	return &b
}

// isBeacon is the group's Verify: there is one signature on an input, and it is known.
func isBeacon(input task.Hash, s beacon.Signature) error {
	if beaconOn(input).Signature() != s {
		return task.Refuse("beacon-forged", "that is not the group's signature")
	}
	return nil
}
