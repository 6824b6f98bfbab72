// Package sortition draws the committee of a task by lot, weighted by stake
// (spec chapter 5).
//
// Nobody appoints a committee and nobody holds the urn. Every node with stake
// evaluates its VRF on the seed of the attempt, alone and in private; the output
// β says how many seats it has won. Most have won none and say nothing. A winner
// publishes the proof, and everybody who knows the seed, the node's key and the
// stakes of that epoch finds the same number of seats.
//
// # Seats
//
// A node with the share w/W of the eligible stake, in a task that wants τ seats,
// gets a Poisson number of them with mean λ = τ·w/W: the 16 first bytes of β,
// read as a fraction u of one, are put through the inverse of the distribution
// function ([Seats]). Poisson and not binomial, since the sum of Poisson numbers
// is Poisson: a stake cut into a thousand keys wins, in distribution, exactly what
// it wins in one (spec §3.4), and a base unit of stake need not be atomic. The
// committee has τ seats on average and not always; too small a one is drawn again
// (spec §6.3).
//
// Whether u is below e^−λ must come out the same on every machine for ever, so
// there is no floating point here and no library function. The distribution
// function is summed in integers of 192 bits by a procedure that spec §5.2 lays
// down step by step and that a test follows with big integers. Its results are
// within 2^−176 of the true Poisson distribution of λ, the draw has 128 bits: so
// the procedure hardly matters, and yet decides where it does.
//
// # Tickets
//
// Each seat holds a ticket, a hash of β and the seat's number. The tickets of all
// claims in ascending order are the order of the committee, and the owner of the
// lowest one executes first ([Order], [Owner]). As nobody can choose β, nobody can
// choose a place in it.
//
// # Claims
//
// What comes from the network is an [Unverified] claim. Only [Unverified.Verify]
// turns it into a [Claim], and only [Win] makes one of a node's own key, so code
// that takes a Claim cannot be reached by a claim that nobody checked.
package sortition

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

// ErrNoSeat says that a proof is in order and wins nothing.
var ErrNoSeat = errors.New("sortition: the draw wins no seat")

// Seed is the open seed of a draw: of the attempt-th attempt (from 0) at the task id on
// the named chain, with the beacon that came after the task (spec §4.2).
func Seed(chain string, id task.Hash, attempt uint32, beacon task.Hash) task.Hash {
	return task.H(task.TagSeed, []byte(chain), id[:], task.U64(uint64(attempt)), beacon[:])
}

// Alpha is a node's own VRF input: the seed, then the node. With the node in it,
// two nodes that share one VRF key draw apart: a key registered a hundred times
// does not win a hundred times together (spec §5.1).
func Alpha(seed, node task.Hash) []byte {
	return append(append(make([]byte, 0, len(seed)+len(node)), seed[:]...), node[:]...)
}

// Quorum is how many of n seats decide: n − f with f = ⌊(n−1)/3⌋ (spec §6.2),
// which is ⌊2n/3⌋ + 1. In that form an empty committee needs one seat and so
// never decides.
func Quorum(n uint32) uint32 { return uint32(2*uint64(n)/3) + 1 }

// Ticket is one seat's place in the order of the committee.
type Ticket struct {
	Hash task.Hash `cbor:"1,keyasint" json:"hash"`
	Node task.Hash `cbor:"2,keyasint" json:"node"`
	Seat uint32    `cbor:"3,keyasint" json:"seat"` // from 0, among the node's own
}

// Compare orders tickets by hash. Node and seat break a tie that only a collision
// of SHA-256 makes, so that the order is total.
func (t Ticket) Compare(o Ticket) int {
	return cmp.Or(bytes.Compare(t.Hash[:], o.Hash[:]), bytes.Compare(t.Node[:], o.Node[:]), cmp.Compare(t.Seat, o.Seat))
}

// TicketHash is the ticket of one seat, from 0, of whoever drew β (spec §5.3).
func TicketHash(beta vrf.Output, seat uint32) task.Hash {
	return task.H(task.TagTicket, beta[:], task.U64(uint64(seat)))
}

// Tickets are those of a node that drew β and won that many seats, by seat. Where
// there is a Claim, use its Tickets: this is for who kept β and seats of one.
func Tickets(node task.Hash, beta vrf.Output, seats uint32) []Ticket {
	all := make([]Ticket, seats)
	for i := range all {
		all[i] = Ticket{TicketHash(beta, uint32(i)), node, uint32(i)}
	}
	return all
}

// Sort puts tickets into the order of the committee, in place.
func Sort(tickets []Ticket) { slices.SortFunc(tickets, Ticket.Compare) }

// Order gives the tickets of all claims, ascending: the order of the committee.
// Neither the order of the claims nor a claim that stands there twice changes it.
// The claims are all of one seed.
func Order(claims []Claim) []Ticket {
	var all []Ticket
	for _, c := range claims {
		all = append(all, c.Tickets()...)
	}
	Sort(all)
	return slices.Compact(all)
}

// Owner names the node whose turn it is in a view, from 0: owners of sorted
// tickets in order, each once, for one who was passed over is not asked again
// (spec §6.4). It is false when there are no more.
func Owner(tickets []Ticket, view uint32) (node task.Hash, ok bool) {
	var passed []task.Hash
	for _, t := range tickets {
		switch {
		case slices.Contains(passed, t.Node):
		case uint32(len(passed)) == view:
			return t.Node, true
		default:
			passed = append(passed, t.Node)
		}
	}
	return task.Hash{}, false
}

// Unverified is a claim as it came: node says that proof wins it seats.
type Unverified struct {
	Node  task.Hash
	Proof vrf.Proof
}

// Verify is the validity of a claim (spec §5.4), as far as it can be computed.
// That the node was eligible is for the caller to look up, who also takes from
// the snapshot, and never from the claim, the node's VRF key, its stake w and the
// eligible stake total. seed is that of the attempt, tau the seats it wants. The
// error is one of package vrf's or ErrNoSeat.
func (u Unverified) Verify(seed task.Hash, key vrf.PublicKey, tau uint32, w, total uint64) (Claim, error) {
	beta, err := vrf.Verify(key, Alpha(seed, u.Node), u.Proof)
	if err != nil {
		return Claim{}, fmt.Errorf("claim of node %s: %w", u.Node.Short(), err)
	}
	c := Claim{u, seed, beta, Seats(beta, tau, w, total)}
	if c.seats == 0 {
		return Claim{}, fmt.Errorf("claim of node %s: %w", u.Node.Short(), ErrNoSeat)
	}
	return c, nil
}

// Win draws for oneself. It is false if nothing was won; only a winner pays for a
// proof. The arguments are those of Verify, with the node's own key.
func Win(key *vrf.PrivateKey, node, seed task.Hash, tau uint32, w, total uint64) (Claim, bool) {
	seats := Seats(key.Output(Alpha(seed, node)), tau, w, total)
	if seats == 0 {
		return Claim{}, false
	}
	proof, beta := key.Prove(Alpha(seed, node))
	return Claim{Unverified{node, proof}, seed, beta, seats}, true
}

// Claim is a verified claim: its node holds its seats. It comes from Verify or
// Win only; the zero Claim has no seat and no ticket. A node has one claim for
// each seed, whatever the bytes of its proof: proofs are not unique, β is (spec
// §2.2.5).
type Claim struct {
	claim Unverified
	seed  task.Hash
	beta  vrf.Output
	seats uint32
}

// Node is whose claim it is.
func (c Claim) Node() task.Hash { return c.claim.Node }

// Seed is the attempt's seed, for which the claim holds.
func (c Claim) Seed() task.Hash { return c.seed }

// Seats is how many seats it wins, at least 1.
func (c Claim) Seats() uint32 { return c.seats }

// Output is the node's β.
func (c Claim) Output() vrf.Output { return c.beta }

// Proof is what convinces others.
func (c Claim) Proof() vrf.Proof { return c.claim.Proof }

// Unverified is the claim as it is sent.
func (c Claim) Unverified() Unverified { return c.claim }

// Tickets are the claim's, by seat.
func (c Claim) Tickets() []Ticket { return Tickets(c.claim.Node, c.beta, c.seats) }

// Lowest is the first of them in the order of the committee; the zero Ticket of
// the zero Claim.
func (c Claim) Lowest() Ticket {
	if c.seats == 0 {
		return Ticket{}
	}
	return slices.MinFunc(c.Tickets(), Ticket.Compare)
}
