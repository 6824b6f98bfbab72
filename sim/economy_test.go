package sim

import (
	"bytes"
	"testing"
	"time"
)

func TestEconomyX(t *testing.T) {
	start := time.Now()
	table, err := Economy(EconomyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	table.WriteText(&b)
	t.Log(b.String(), time.Since(start))
}
