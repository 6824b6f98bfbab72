package sim

import (
	"os"
	"strconv"
	"testing"
)

func TestDbg(t *testing.T) {
	s, _ := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	r := Run(s, Options{Log: os.Stdout})
	t.Log(r.Violation, len(r.Outcomes))
}
