// Package p2p is how nodes talk: by direct streams, for everything that only some
// must hear; what all must know is on the chain (spec §6.7).
//
// Streams are kept open between members of a committee, each
// message framed by its length; [Host.Send] is one-way, [Host.Request] waits for
// an answer. The remote's Ed25519 key is proven by libp2p's handshake, and it is
// the key that stands in the node's registration.
//
// The package knows no message of the protocol: it carries bytes, bounded by
// [MaxMessage].
package p2p

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/prytany/prytany/task"
)

// MaxMessage bounds one message, in bytes.
const MaxMessage = task.MaxMessage

// ioTimeout bounds the writing of one message and the wait for an answer where
// the caller sets no shorter one.
const ioTimeout = 10 * time.Second

// Config is a host's. Only Key is needed.
type Config struct {
	Key    ed25519.PrivateKey // the identity; also signs what the node says
	Listen string             // multiaddr; default: a free TCP port on loopback
	// Trace, if set, is shown every message that this host sends, before it is
	// encrypted for its peer.
	Trace func(proto string, msg []byte)
	Log   *slog.Logger
}

// Host is one node's presence in the network. Safe for concurrent use.
type Host struct {
	host    host.Host
	log     *slog.Logger
	trace   func(string, []byte)
	mu      sync.Mutex
	streams map[streamKey]*stream
}

type streamKey struct {
	peer  peer.ID
	proto protocol.ID
}

// stream is a kept-open one-way stream; mu serialises its frames.
type stream struct {
	mu sync.Mutex
	s  network.Stream
}

// New starts a host. Close it when done.
func New(c Config) (*Host, error) {
	if c.Listen == "" {
		c.Listen = "/ip4/127.0.0.1/tcp/0"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("p2p: key: %w", err)
	}
	limits, err := resources()
	if err != nil {
		return nil, err
	}
	cm, err := connmgr.NewConnManager(192, 256)
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(
		libp2p.Identity(key), libp2p.ListenAddrStrings(c.Listen), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ResourceManager(limits), libp2p.ConnectionManager(cm), libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.UserAgent("prytany"),
	)
	if err != nil {
		return nil, fmt.Errorf("p2p: %w", err)
	}
	if c.Trace == nil {
		c.Trace = func(string, []byte) {}
	}
	return &Host{host: h, log: c.Log, trace: c.Trace, streams: map[streamKey]*stream{}}, nil
}

// resources lifts the default of eight peers for one IP, which a network on
// one machine would run into without a word.
func resources() (network.ResourceManager, error) {
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: 512}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: 512}}),
		rcmgr.WithNetworkPrefixLimit(
			[]rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix("127.0.0.0/8"), ConnCount: 4096}},
			[]rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix("::1/128"), ConnCount: 4096}}),
		rcmgr.WithMetricsDisabled())
}

// Addr is where others reach this host: a multiaddr with its peer ID.
func (p *Host) Addr() string {
	for _, a := range p.host.Addrs() {
		return fmt.Sprintf("%s/p2p/%s", a, p.host.ID())
	}
	return ""
}

// Libp2p is the host itself, for the blob exchange that shares it.
func (p *Host) Libp2p() host.Host { return p.host }

// Free says whether a host can listen at a multiaddr of TCP.
func Free(addr string) bool {
	a, err := multiaddr.NewMultiaddr(addr)
	if err != nil {
		return false
	}
	l, err := manet.Listen(a)
	return err == nil && l.Close() == nil
}

// Connect dials a peer by its address and stays connected.
func (p *Host) Connect(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return fmt.Errorf("p2p: address %q: %w", addr, err)
	}
	if info.ID == p.host.ID() {
		return nil
	}
	if err := p.host.Connect(ctx, *info); err != nil {
		return fmt.Errorf("p2p: cannot reach %s: %w", addr, err)
	}
	return nil
}

// Handle answers requests on a protocol. from is the remote's proven key. An
// error closes the stream without an answer.
func (p *Host) Handle(proto string, answer func(ctx context.Context, from task.Key, request []byte) ([]byte, error)) {
	p.host.SetStreamHandler(protocol.ID(proto), func(s network.Stream) {
		defer s.Close()
		p.serve(s, func(ctx context.Context, from task.Key, msg []byte) error {
			reply, err := answer(ctx, from, msg)
			if err != nil {
				return err
			}
			p.trace(proto, reply)
			_ = s.SetWriteDeadline(time.Now().Add(ioTimeout))
			return writeFrame(s, reply)
		})
	})
}

// Receive hears one-way messages on a protocol.
func (p *Host) Receive(proto string, hear func(from task.Key, msg []byte)) {
	p.host.SetStreamHandler(protocol.ID(proto), func(s network.Stream) {
		defer s.Close()
		p.serve(s, func(_ context.Context, from task.Key, msg []byte) error {
			hear(from, msg)
			return nil
		})
	})
}

// serve reads frames until the stream ends or one of them is refused.
func (p *Host) serve(s network.Stream, each func(context.Context, task.Key, []byte) error) {
	from, err := keyOf(s.Conn().RemotePeer())
	if err != nil {
		_ = s.Reset()
		return
	}
	for {
		msg, err := readFrame(s)
		if err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
		err = each(ctx, from, msg)
		cancel()
		if err != nil {
			p.log.Debug("stream refused", "proto", s.Protocol(), "from", from.Short(), "err", err)
			_ = s.Reset()
			return
		}
	}
}

// keyOf is the Ed25519 key inside a peer ID.
func keyOf(id peer.ID) (task.Key, error) {
	pub, err := id.ExtractPublicKey()
	if err != nil {
		return task.Key{}, err
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(task.Key{}) {
		return task.Key{}, errors.New("p2p: not an Ed25519 peer")
	}
	return task.Key(raw), nil
}

// Send sends a one-way message to a peer on a stream that stays open.
func (p *Host) Send(ctx context.Context, addr, proto string, msg []byte) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return fmt.Errorf("p2p: address %q: %w", addr, err)
	}
	p.trace(proto, msg)
	key := streamKey{info.ID, protocol.ID(proto)}
	p.mu.Lock()
	st := p.streams[key]
	if st == nil {
		st = &stream{}
		p.streams[key] = st
	}
	p.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	// A stream that broke since the last message is opened anew, once.
	for try := 0; ; try++ {
		if st.s == nil {
			if st.s, err = p.open(ctx, info, key.proto); err != nil {
				return err
			}
			try = 1
		}
		_ = st.s.SetWriteDeadline(time.Now().Add(ioTimeout))
		if err = writeFrame(st.s, msg); err == nil {
			return nil
		}
		_ = st.s.Reset()
		st.s = nil
		if try > 0 {
			return fmt.Errorf("p2p: send to %s: %w", info.ID, err)
		}
	}
}

func (p *Host) open(ctx context.Context, info *peer.AddrInfo, proto protocol.ID) (network.Stream, error) {
	if err := p.host.Connect(ctx, *info); err != nil {
		return nil, fmt.Errorf("p2p: cannot reach %s: %w", info.ID, err)
	}
	s, err := p.host.NewStream(ctx, info.ID, proto)
	if err != nil {
		return nil, fmt.Errorf("p2p: %s does not speak %s: %w", info.ID, proto, err)
	}
	return s, nil
}

// Request sends a message and waits for its answer, on a stream of its own.
func (p *Host) Request(ctx context.Context, addr, proto string, msg []byte) ([]byte, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return nil, fmt.Errorf("p2p: address %q: %w", addr, err)
	}
	s, err := p.open(ctx, info, protocol.ID(proto))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	p.trace(proto, msg)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(ioTimeout)
	}
	_ = s.SetDeadline(deadline)
	if err := writeFrame(s, msg); err != nil {
		return nil, err
	}
	return readFrame(s)
}

// Close ends the host and all its streams.
func (p *Host) Close() error { return p.host.Close() }

func writeFrame(w io.Writer, msg []byte) error {
	if len(msg) > MaxMessage {
		return fmt.Errorf("message of %d bytes: %w", len(msg), task.ErrTooLarge)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(msg)), uint32(len(msg))), msg...))
	return err
}

// readFrame checks the size before it allocates.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxMessage {
		return nil, fmt.Errorf("message of %d bytes: %w", n, task.ErrTooLarge)
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(r, msg)
	return msg, err
}
