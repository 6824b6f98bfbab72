// Package blob keeps encrypted files on IPFS: each is named by its CIDv1 and
// fetched by that name from whoever has it, so that a name can be put on the
// chain and a file can lie anywhere (spec §1.3).
//
// A [Store] is an embedded blockstore, on disk or in memory, and a bitswap
// exchange over the node's own libp2p host. Names equal those that
// `ipfs add --cid-version=1 --raw-leaves --chunker=size-1048576
// --max-file-links=1024` gives, so a kubo daemon can serve the same files.
//
// Every block is checked against its CID as it arrives; a file of another size
// than was stated is refused while it streams; every fetch has a deadline,
// since a missing CID hangs. The store sees ciphertext only.
package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	chunker "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	unixfsio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	flatfs "github.com/ipfs/go-ds-flatfs"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multihash"

	"github.com/prytany/prytany/task"
)

// Shape of the DAG: it is part of a file's name.
const (
	chunkBytes = 1 << 20
	maxLinks   = 1024
)

// fetchTimeout bounds one fetch where the caller sets no shorter time.
const fetchTimeout = 60 * time.Second

// Store keeps and exchanges blobs. Safe for concurrent use.
type Store struct {
	host   host.Host
	blocks blockstore.Blockstore
	data   datastore.Batching
	swap   *bitswap.Bitswap
	dag    ipld.DAGService
	room   *room // nil in memory
}

// Open opens the store in dir, or in memory if dir is empty, and serves it to
// the host's peers. The space is that of the directory.
func Open(ctx context.Context, h host.Host, dir string, space Space) (*Store, error) {
	var data datastore.Batching = dssync.MutexWrap(datastore.NewMapDatastore())
	var r *room
	if dir != "" {
		files, err := flatfs.CreateOrOpen(dir, flatfs.NextToLast(2), true)
		if err != nil {
			return nil, fmt.Errorf("blob: %w", err)
		}
		data, r = files, &room{Space: space, dir: dir, data: files}
	}
	blocks := blockstore.NewBlockstore(data, blockstore.NoPrefix())
	swap := bitswap.New(ctx, bsnet.NewFromIpfsHost(h), nil, blocks)
	return &Store{
		host: h, blocks: blocks, data: data, swap: swap, room: r,
		dag: merkledag.NewDAGService(blockservice.New(blocks, swap)),
	}, nil
}

// Put stores a file and returns its name.
func (s *Store) Put(ctx context.Context, data []byte) (task.Blob, error) {
	if len(data) == 0 || len(data) > task.MaxBlob {
		return task.Blob{}, task.Refuse("blob-size", "a blob has 1 to %d bytes, this one %d", task.MaxBlob, len(data))
	}
	done, err := s.room.reserve(ctx, uint64(len(data)))
	if err != nil {
		return task.Blob{}, err
	}
	defer done()
	params := helpers.DagBuilderParams{
		Maxlinks: maxLinks, RawLeaves: true, Dagserv: s.dag,
		CidBuilder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256},
	}
	builder, err := params.New(chunker.NewSizeSplitter(bytes.NewReader(data), chunkBytes))
	if err != nil {
		return task.Blob{}, err
	}
	root, err := balanced.Layout(builder)
	if err != nil {
		return task.Blob{}, fmt.Errorf("blob: %w", err)
	}
	return task.Blob{CID: root.Cid().String(), Size: uint64(len(data))}, nil
}

// Get fetches a file by its name, from this store or from the network; from is
// the address of a peer that should have it.
func (s *Store) Get(ctx context.Context, b task.Blob, from string) ([]byte, error) {
	name, err := parse(b)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	has, _ := s.blocks.Has(ctx, name)
	if err := s.meet(ctx, from); err != nil && !has {
		return nil, err
	}
	if !has {
		done, err := s.room.reserve(ctx, b.Size)
		if err != nil {
			return nil, err
		}
		defer done()
	}
	session := merkledag.NewSession(ctx, s.dag)
	root, err := session.Get(ctx, name)
	if err != nil {
		return nil, missing(b, from, err)
	}
	r, err := unixfsio.NewDagReader(ctx, root, session)
	if err != nil {
		return nil, task.Refuse("blob-malformed", "%s is not a file: %v", b.CID, err)
	}
	defer r.Close()
	if r.Size() != b.Size {
		return nil, task.Refuse("blob-size", "%s has %d bytes, %d were stated", b.CID, r.Size(), b.Size)
	}
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(r, int64(b.Size)+1))
	if err != nil {
		return nil, missing(b, from, err)
	}
	if uint64(n) != b.Size {
		return nil, task.Refuse("blob-size", "%s has another size than its root says", b.CID)
	}
	return data.Bytes(), nil
}

func missing(b task.Blob, from string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return task.Refuse("blob-missing", "nobody here has %s; it should be at %s", b.CID, from)
	}
	return fmt.Errorf("blob %s: %w", b.CID, err)
}

// parse accepts CIDv1 with SHA-256 only: a raw leaf or a UnixFS file.
func parse(b task.Blob) (cid.Cid, error) {
	c, err := cid.Decode(b.CID)
	if err != nil {
		return cid.Undef, task.Refuse("cid-malformed", "%q is not a CID: %v", b.CID, err)
	}
	p := c.Prefix()
	if p.Version != 1 || p.MhType != multihash.SHA2_256 || p.MhLength != 32 || p.Codec != cid.Raw && p.Codec != cid.DagProtobuf {
		return cid.Undef, task.Refuse("cid-malformed", "%s is not a CIDv1 of a file with SHA-256", b.CID)
	}
	if b.Size == 0 || b.Size > task.MaxBlob {
		return cid.Undef, task.Refuse("blob-size", "a blob has 1 to %d bytes, %d are stated", task.MaxBlob, b.Size)
	}
	return c, nil
}

// meet connects to the peer that should have the file.
func (s *Store) meet(ctx context.Context, addr string) error {
	if addr == "" {
		return nil
	}
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return task.Refuse("addr-malformed", "%q is not a peer's address: %v", addr, err)
	}
	if info.ID == s.host.ID() {
		return nil
	}
	if err := s.host.Connect(ctx, *info); err != nil {
		return task.Refuse("peer-unreachable", "%s does not answer: %v", addr, err)
	}
	return nil
}

// Close stops serving and closes the files.
func (s *Store) Close() error {
	return errors.Join(s.swap.Close(), s.data.Close())
}
