package blob_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
)

func open(t *testing.T, seed byte, dir string) (*blob.Store, *p2p.Host) {
	return openIn(t, seed, dir, blob.Space{})
}

func openIn(t *testing.T, seed byte, dir string, space blob.Space) (*blob.Store, *p2p.Host) {
	t.Helper()
	h, err := p2p.New(p2p.Config{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))})
	if err != nil {
		t.Fatal(err)
	}
	s, err := blob.Open(t.Context(), h.Libp2p(), dir, space)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(); _ = h.Close() })
	return s, h
}

func TestFetchFromAnotherNode(t *testing.T) {
	alice, home := open(t, 1, t.TempDir())
	worker, _ := open(t, 2, "")
	r := rand.NewChaCha8([32]byte{7})
	for _, size := range []int{1, 1000, 1 << 20, 3<<20 + 17} {
		data := make([]byte, size)
		_, _ = r.Read(data)
		b, err := alice.Put(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := worker.Get(t.Context(), b, home.Addr())
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
		for _, lie := range []uint64{b.Size - 1, b.Size + 1} {
			if _, err := worker.Get(t.Context(), task.Blob{CID: b.CID, Size: lie}, home.Addr()); task.CodeOf(err) != "blob-size" {
				t.Errorf("%d bytes stated as %d: %v", size, lie, err)
			}
		}
	}
}

// The name must be kubo's: `ipfs add --cid-version=1 --raw-leaves`.
func TestNameEqualsKubos(t *testing.T) {
	s, _ := open(t, 3, "")
	b, err := s.Put(t.Context(), []byte("hello world\n"))
	if err != nil || b.CID != "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4" {
		t.Errorf("%s, %v", b.CID, err)
	}
}

func TestMalformedNames(t *testing.T) {
	s, h := open(t, 4, "")
	for name, b := range map[string]task.Blob{
		"empty":     {CID: "", Size: 1},
		"junk":      {CID: "not a cid", Size: 1},
		"v0":        {CID: "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o", Size: 1},
		"identity":  {CID: "bafkqaaa", Size: 1},
		"no size":   {CID: "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4"},
		"too large": {CID: "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4", Size: 1 << 40},
	} {
		if _, err := s.Get(t.Context(), b, h.Addr()); task.CodeOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMissingBlobDoesNotHang(t *testing.T) {
	s, _ := open(t, 5, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, task.Blob{CID: "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4", Size: 12}, ""); err == nil {
		t.Error("found what nobody has")
	}
}

// The core names a file as the block store does.
func TestNamesAreTheCoresOwn(t *testing.T) {
	s, _ := open(t, 6, "")
	data := make([]byte, 5<<20+3)
	rand.NewChaCha8([32]byte{1}).Read(data)
	for _, n := range []int{1, 100, 1<<20 - 1, 1 << 20, 1<<20 + 1, 2 << 20, 3<<20 - 1, len(data)} {
		put, err := s.Put(t.Context(), data[:n])
		if err != nil {
			t.Fatal(err)
		}
		if own := task.BlobOf(data[:n]); own != put {
			t.Errorf("%d bytes: %v, the store says %v", n, own, put)
		}
	}
	if task.BlobOf(nil) != (task.Blob{}) {
		t.Error("nothing has a name")
	}
}

// file is ciphertext of so many bytes.
func file(seed byte, size int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// A worker's disk does not fill: the oldest files make room, and what is gone is
// fetched again from whoever has it.
func TestTheOldestMakeRoom(t *testing.T) {
	const size, space = 1<<20 + 5, 6 << 20
	dir := t.TempDir()
	alice, home := open(t, 1, t.TempDir())
	worker, _ := openIn(t, 2, dir, blob.Space{Bytes: space, Evict: true})
	var all []task.Blob
	for i := range byte(12) {
		b, err := alice.Put(t.Context(), file(i, size))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
		if _, err := worker.Get(t.Context(), b, home.Addr()); err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		if used := onDisk(t, dir); used > space {
			t.Errorf("after %d files %d bytes are used", i+1, used)
		}
		time.Sleep(5 * time.Millisecond) // files have different times
	}
	for i, b := range all {
		got, err := worker.Get(t.Context(), b, home.Addr())
		if err != nil || !bytes.Equal(got, file(byte(i), size)) {
			t.Errorf("file %d, again: %d bytes, %v", i, len(got), err)
		}
	}
	// The youngest are here without anybody's help.
	if _, err := worker.Get(t.Context(), all[len(all)-1], ""); err != nil {
		t.Errorf("the last file: %v", err)
	}
	if _, err := worker.Put(t.Context(), file(99, space+1)); task.CodeOf(err) != "blob-space" {
		t.Errorf("a file larger than the space: %v", err)
	}
}

// A broker's disk does not fill either, and nothing of what it has makes room.
func TestNothingMakesRoom(t *testing.T) {
	const size, space = 1 << 20, 4 << 20
	broker, _ := openIn(t, 1, t.TempDir(), blob.Space{Bytes: space})
	bob, home := open(t, 2, "")
	var kept []task.Blob
	refused := 0
	for i := range byte(8) {
		b, err := bob.Put(t.Context(), file(i, size))
		if err != nil {
			t.Fatal(err)
		}
		switch _, err := broker.Get(t.Context(), b, home.Addr()); {
		case err == nil:
			kept = append(kept, b)
		case task.CodeOf(err) == "blob-space":
			refused++
		default:
			t.Fatal(err)
		}
	}
	if len(kept) == 0 || refused < 4 {
		t.Errorf("%d kept, %d refused", len(kept), refused)
	}
	for _, b := range kept { // also in a full store
		if _, err := broker.Get(t.Context(), b, ""); err != nil {
			t.Error(err)
		}
	}
}

func onDisk(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var st fs.FileInfo
			if st, err = e.Info(); err == nil {
				n += st.Size()
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
