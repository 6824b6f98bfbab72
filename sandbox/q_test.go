package sandbox

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"
)

func TestQuick(t *testing.T) {
	ctx := context.Background()
	w, err := NewWasm(ctx)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := os.ReadFile("/tmp/guests/cpu.wasm")
	for range 3 {
		t0 := time.Now()
		res, err := w.Run(ctx, Job{Code: code, Args: []string{"sieve", "1"}, Limits: Limits{Gas: 1 << 40, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 1000, Wall: 10 * time.Second}})
		fmt.Println(time.Since(t0), err)
		fmt.Printf("%+v %s\n", res, res.Log)
	}
	code, _ = os.ReadFile("/tmp/guests/hello.wasm")
	for range 3 {
		t0 := time.Now()
		res, err := w.Run(ctx, Job{Code: code, Args: []string{"sieve", "1"}, Limits: Limits{Gas: 1 << 40, MemoryBytes: 256 << 20, OutputBytes: 1 << 20, LogBytes: 1000, Wall: 10 * time.Second}})
		fmt.Println(time.Since(t0), err)
		fmt.Printf("%+v %s\n", res, res.Log)
	}
}
