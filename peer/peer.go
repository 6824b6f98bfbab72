// Package peer opens what everybody has who takes part in a network: a host that
// others reach by streams, and encrypted files that it brings and fetches.
package peer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/blob"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
)

// Space is what encrypted files may take of a directory, in bytes, if nothing else is
// said. With a broker they are Bob's code, which nothing may push out.
const Space = 10 << 30

// Peer is a host with encrypted files.
type Peer struct {
	Host  *p2p.Host
	Blobs *blob.Store
}

// Open opens a host, and the files in a directory; without a directory they are in
// memory. Then it connects to peers at the addresses near. Code: network-down.
func Open(ctx context.Context, c p2p.Config, dir string, space blob.Space, near []string) (*Peer, error) {
	host, err := p2p.New(c)
	if err != nil {
		return nil, err
	}
	blobs, err := blob.Open(ctx, host.Libp2p(), dir, space)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	p := &Peer{host, blobs}
	for _, addr := range near {
		if err := host.Connect(ctx, addr); err != nil {
			_ = p.Close()
			return nil, task.Refuse("network-down", "a worker of the network does not answer: %v", err).WithNext("prytany devnet   (in another terminal)")
		}
	}
	return p, nil
}

// Close ends both.
func (p *Peer) Close() error { return errors.Join(p.Blobs.Close(), p.Host.Close()) }

// LastAddress is where the host of this home listened the last time, or nothing: what
// is published about it stays true.
func LastAddress(home string) string {
	raw, _ := disk.ReadFile(filepath.Join(home, addressFile), disk.MaxSetting)
	addr, _, _ := strings.Cut(string(raw), "/p2p/")
	return addr
}

// KeepAddress keeps it for the next time.
func KeepAddress(home string, h *p2p.Host) error {
	return os.WriteFile(filepath.Join(home, addressFile), []byte(h.Addr()), 0o600)
}

const addressFile = "listen"
