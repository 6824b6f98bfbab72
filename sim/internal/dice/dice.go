// Package dice is the beacon of simulated chains: real signatures of one group, made once.
package dice

import (
	"crypto/ed25519"
	"fmt"
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

// Group is the validators' own, with all that it takes to check a beacon.
var Group = sync.OnceValue(func() beacon.Group {
	var keys []task.Key
	for i := range 4 {
		keys = append(keys, task.PublicKey(Key(Validator(i))))
	}
	g, _ := beacon.DealtGroup(groupSeed, keys...)
	return g
})

// Beacon is the group's beacon on an input.
func Beacon(input task.Hash) *beacon.Beacon {
	known, ok := signed.Load(input)
	if !ok {
		known, _ = signed.LoadOrStore(input, groupSecret.Beacon(input))
	}
	b := known.(beacon.Beacon)
	return &b
}

// Check is the group's Verify: there is one signature on an input, and it is known.
func Check(input task.Hash, s beacon.Signature) error {
	if Beacon(input).Signature() != s {
		return task.Refuse("beacon-forged", "that is not the group's signature")
	}
	return nil
}

// Validator is the name of one of them.
func Validator(i int) string { return fmt.Sprint("val", i) }

// Key is a validator's, made without the world's dice.
func Key(name string) ed25519.PrivateKey {
	h := task.H(task.TagSalt, []byte(name))
	return ed25519.NewKeyFromSeed(h[:])
}
