package sim

import (
	"testing"
)

func TestSeeds(t *testing.T) {
	for seed := range uint64(50) {
		if r := Run(seed, Options{}); r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
	}
}
