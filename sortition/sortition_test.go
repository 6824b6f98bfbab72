package sortition

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/prytany/prytany/task"
	"github.com/prytany/prytany/vrf"
)

var update = flag.Bool("update", false, "write the vector file anew")

const vectorFile = "../spec/vectors/sortition.json"

func key(n int) *vrf.PrivateKey {
	var seed [vrf.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(n))
	return vrf.NewKey(seed)
}

func node(n int) (h task.Hash) {
	binary.BigEndian.PutUint64(h[:], uint64(n))
	return h
}

// winners gives claims of n nodes of equal stake that won in one attempt.
func winners(t testing.TB, seed task.Hash, n int) (all []Claim) {
	for i := 0; len(all) < n; i++ {
		if c, ok := Win(key(i), node(i), seed, 13, 1, 20); ok {
			all = append(all, c)
		}
		if i > 100*n {
			t.Fatal("nobody wins")
		}
	}
	return all
}

func TestWinAndVerify(t *testing.T) {
	seed := Seed("test", node(1), 0, node(2))
	won, lost, seats := 0, 0, 0
	for i := range 300 {
		c, ok := Win(key(i), node(i), seed, 13, 1, 20)
		if !ok {
			lost++
			if c != (Claim{}) {
				t.Error("a loser has a claim")
			}
			// The loser's proof is good and wins nothing.
			p, _ := key(i).Prove(Alpha(seed, node(i)))
			if _, err := (Unverified{node(i), p}).Verify(seed, key(i).Public(), 13, 1, 20); !errors.Is(err, ErrNoSeat) {
				t.Errorf("node %d claims without a seat: %v", i, err)
			}
			continue
		}
		won++
		seats += int(c.Seats())
		v, err := c.Unverified().Verify(seed, key(i).Public(), 13, 1, 20)
		if err != nil || v != c {
			t.Fatalf("node %d: %+v, %v; it won %+v", i, v, err, c)
		}
		p, beta := key(i).Prove(Alpha(seed, node(i)))
		if c.Node() != node(i) || c.Seed() != seed || c.Output() != beta || c.Proof() != p || c.Seats() != Seats(beta, 13, 1, 20) || c.Seats() == 0 {
			t.Errorf("node %d: %+v", i, c)
		}
	}
	// λ = 0.65: 300 nodes win 195 seats, standard deviation 14.
	if won == 0 || lost == 0 || seats < 195-5*14 || seats > 195+5*14 {
		t.Errorf("%d won %d seats, %d lost", won, seats, lost)
	}
}

func TestVerifyRefuses(t *testing.T) {
	seed := Seed("test", node(1), 0, node(2))
	c := winners(t, seed, 1)[0]
	var i int
	for i = range 1000 {
		if node(i) == c.Node() {
			break
		}
	}
	pk, u := key(i).Public(), c.Unverified()
	otherVersion, broken := u, u
	otherVersion.Proof[0]++
	broken.Proof[60] ^= 1
	type args struct {
		u        Unverified
		seed     task.Hash
		key      vrf.PublicKey
		tau      uint32
		w, total uint64
	}
	for name, x := range map[string]struct {
		args
		err error
	}{
		"as it was won":        {args{u, seed, pk, 13, 1, 20}, nil},
		"another attempt":      {args{u, Seed("test", node(1), 1, node(2)), pk, 13, 1, 20}, vrf.ErrProof},
		"another task":         {args{u, Seed("test", node(3), 0, node(2)), pk, 13, 1, 20}, vrf.ErrProof},
		"another chain":        {args{u, Seed("tesu", node(1), 0, node(2)), pk, 13, 1, 20}, vrf.ErrProof},
		"another beacon":       {args{u, Seed("test", node(1), 0, node(3)), pk, 13, 1, 20}, vrf.ErrProof},
		"another node's key":   {args{u, seed, key(i + 1).Public(), 13, 1, 20}, vrf.ErrProof},
		"a key of small order": {args{u, seed, vrf.PublicKey{1}, 13, 1, 20}, vrf.ErrKey},
		"a broken proof":       {args{broken, seed, pk, 13, 1, 20}, vrf.ErrProof},
		"another version":      {args{otherVersion, seed, pk, 13, 1, 20}, vrf.ErrVersion},
		"no stake":             {args{u, seed, pk, 13, 0, 20}, ErrNoSeat},
		"little stake":         {args{u, seed, pk, 13, 1, 1 << 60}, ErrNoSeat},
		"more than all stake":  {args{u, seed, pk, 13, 21, 20}, ErrNoSeat},
		"no committee wanted":  {args{u, seed, pk, 0, 1, 20}, ErrNoSeat},
	} {
		got, err := x.u.Verify(x.seed, x.key, x.tau, x.w, x.total)
		if !errors.Is(err, x.err) || (err == nil) != (got == c) || err != nil && got != (Claim{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestOrder(t *testing.T) {
	seed := Seed("test", node(1), 0, node(2))
	claims := winners(t, seed, 40)
	order := Order(claims)
	seats := 0
	for _, c := range claims {
		seats += int(c.Seats())
		lowest := c.Tickets()[0]
		for i, x := range c.Tickets() {
			if x.Seat != uint32(i) || x.Node != c.Node() || x.Hash != TicketHash(c.Output(), x.Seat) {
				t.Errorf("ticket %d is %+v", i, x)
			}
			if x.Compare(lowest) < 0 {
				lowest = x
			}
			if n, found := slices.BinarySearchFunc(order, x, Ticket.Compare); !found || order[n] != x {
				t.Errorf("%+v is not in the order", x)
			}
		}
		if c.Lowest() != lowest {
			t.Errorf("lowest of %v is %v", c.Tickets(), c.Lowest())
		}
	}
	if len(order) != seats || seats == len(claims) {
		t.Errorf("%d tickets of %d seats of %d claims", len(order), seats, len(claims))
	}
	for i := 1; i < len(order); i++ {
		if slices.Compare(order[i-1].Hash[:], order[i].Hash[:]) >= 0 {
			t.Errorf("tickets %d and %d are not ascending", i-1, i)
		}
	}
	// A set has neither order nor number of times.
	shuffled := append(slices.Clone(claims), claims[3], claims[3], claims[17], Claim{})
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if !slices.Equal(Order(shuffled), order) {
		t.Error("the order depends on the order of the claims, or on repetition")
	}
	if (Claim{}).Lowest() != (Ticket{}) || len(Order(nil)) != 0 {
		t.Error("nothing has tickets")
	}
}

func TestOwner(t *testing.T) {
	a, b, c := node(1), node(2), node(3)
	tickets := []Ticket{{node(10), b, 0}, {node(11), b, 1}, {node(12), a, 0}, {node(13), b, 2}, {node(14), c, 0}, {node(15), a, 1}}
	for view, want := range []task.Hash{b, a, c} {
		if got, ok := Owner(tickets, uint32(view)); !ok || got != want {
			t.Errorf("view %d: %s, %v", view, got.Short(), ok)
		}
	}
	for _, view := range []uint32{3, 4, 1 << 31} {
		if got, ok := Owner(tickets, view); ok || got != (task.Hash{}) {
			t.Errorf("view %d: %s, %v", view, got.Short(), ok)
		}
	}
	if _, ok := Owner(nil, 0); ok {
		t.Error("an empty committee has an owner")
	}
}

func TestTicketCompareIsTotal(t *testing.T) {
	sorted := []Ticket{{node(1), node(1), 0}, {node(1), node(1), 1}, {node(1), node(2), 0}, {node(2), node(0), 0}}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := a.Compare(b), max(-1, min(1, i-j)); got != want {
				t.Errorf("%v against %v: %d", a, b, got)
			}
		}
	}
}

func TestQuorum(t *testing.T) {
	for n, want := range map[uint32]uint32{0: 1, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 13: 9, 100: 67, 4294967295: 2863311531} {
		if got := Quorum(n); got != want {
			t.Errorf("of %d seats %d decide, want %d", n, got, want)
		}
	}
	for n := uint32(1); n < 10_000; n++ {
		q, f := Quorum(n), (n-1)/3
		if q != n-f || 2*q < n+f+1 || q > n {
			t.Errorf("of %d seats %d decide: two quorums must share an honest seat", n, q)
		}
	}
}

// ---- vectors ----

type seatVector struct {
	Draw   string `json:"draw"` // the first 16 bytes of β
	Tau    uint32 `json:"tau"`
	W      uint64 `json:"w,string"`
	Total  uint64 `json:"total,string"`
	Lambda string `json:"lambda"` // in units of 2^−112
	Seats  uint32 `json:"seats"`
}

type seedVector struct {
	Chain   string    `json:"chain"`
	ID      task.Hash `json:"task"`
	Attempt uint32    `json:"attempt"`
	Beacon  task.Hash `json:"beacon"`
	Seed    task.Hash `json:"seed"`
}

type claimVector struct {
	Key    vrf.PublicKey `json:"key"`
	Node   task.Hash     `json:"node"`
	Seed   task.Hash     `json:"seed"`
	Tau    uint32        `json:"tau"`
	W      uint64        `json:"w,string"`
	Total  uint64        `json:"total,string"`
	Proof  vrf.Proof     `json:"proof"`
	Output vrf.Output    `json:"output"`
	Seats  uint32        `json:"seats"`
}

type vectorSet struct {
	What   string        `json:"what"`
	Seats  []seatVector  `json:"seats"`
	Seeds  []seedVector  `json:"seeds"`
	Claims []claimVector `json:"claims"`
	Order  []Ticket      `json:"order"`
}

// The draws of the vectors are chosen by the reference, at the steps of the true
// distribution, so that a wrong step by 2^−128 shows; the seats in the file are
// the reference's and never the code's.
func makeVectors(t testing.TB) vectorSet {
	v := vectorSet{What: "Sortition, spec chapter 5. seats: for each mean the draws on both sides of the steps of the Poisson distribution function, by a reference of 700 bits. w and total are decimal strings. seeds, claims: spec 4.2, 5.4. order: the tickets of all claims, ascending (spec 5.3)."}
	last := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	for _, m := range means {
		mean := lambda(m.tau, m.w, m.total)
		poisson := refCDF(fixedLambda(mean))
		var draws []*big.Int
		n := len(poisson.steps)
		for _, k := range []int{0, 1, 2, n / 3, n / 2, n - 3, n - 2} {
			if k < 0 || k >= n || poisson.steps[k].Sign() == 0 {
				continue
			}
			draws = append(draws, poisson.steps[k], new(big.Int).Add(poisson.steps[k], big.NewInt(1)))
		}
		draws = append(draws, big.NewInt(0), big.NewInt(1), new(big.Int).Rsh(last, 1), last)
		slices.SortFunc(draws, (*big.Int).Cmp)
		draws = slices.CompactFunc(draws, func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
		for _, u := range draws {
			if u.Cmp(last) <= 0 {
				d, l := u.FillBytes(make([]byte, 16)), mean.big().FillBytes(make([]byte, 16))
				v.Seats = append(v.Seats, seatVector{hex.EncodeToString(d), m.tau, m.w, m.total, hex.EncodeToString(l), poisson.seats(u)})
			}
		}
	}
	for _, s := range []seedVector{
		{Chain: "", Attempt: 0},
		{Chain: "prytany-test", ID: node(1), Attempt: 0, Beacon: node(2)},
		{Chain: "prytany-test", ID: node(1), Attempt: 1, Beacon: node(3)},
	} {
		s.Seed = Seed(s.Chain, s.ID, s.Attempt, s.Beacon)
		v.Seeds = append(v.Seeds, s)
	}
	seed := v.Seeds[1].Seed
	claims := winners(t, seed, 8)
	for _, c := range claims {
		i := int(binary.BigEndian.Uint64(c.claim.Node[:]))
		v.Claims = append(v.Claims, claimVector{key(i).Public(), c.Node(), seed, 13, 1, 20, c.Proof(), c.Output(), c.Seats()})
	}
	v.Order = Order(claims)
	return v
}

// encode writes JSON with one vector a line.
func (v vectorSet) encode(t testing.TB) []byte {
	var out bytes.Buffer
	list := func(name string, n int, at func(int) any) {
		fmt.Fprintf(&out, ",\n\n  %q: [\n", name)
		for i := range n {
			b, err := json.Marshal(at(i))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "    %s%s\n", b, map[bool]string{true: ","}[i < n-1])
		}
		out.WriteString("  ]")
	}
	fmt.Fprintf(&out, "{\n  \"what\": %q", v.What)
	list("seats", len(v.Seats), func(i int) any { return v.Seats[i] })
	list("seeds", len(v.Seeds), func(i int) any { return v.Seeds[i] })
	list("claims", len(v.Claims), func(i int) any { return v.Claims[i] })
	list("order", len(v.Order), func(i int) any { return v.Order[i] })
	out.WriteString("\n}\n")
	return out.Bytes()
}

func TestVectors(t *testing.T) {
	if *update {
		if err := os.WriteFile(vectorFile, makeVectors(t).encode(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectorSet
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, x := range v.Seats {
		draw, err := hex.DecodeString(x.Draw)
		if err != nil {
			t.Fatal(err)
		}
		var beta vrf.Output
		copy(beta[:], draw)
		if got := Seats(beta, x.Tau, x.W, x.Total); got != x.Seats {
			t.Errorf("draw %s at λ = %d·%d/%d: %d seats, want %d", x.Draw, x.Tau, x.W, x.Total, got, x.Seats)
		}
		l := lambda(x.Tau, x.W, x.Total).big().FillBytes(make([]byte, 16))
		if got := hex.EncodeToString(l); got != x.Lambda {
			t.Errorf("λ = %d·%d/%d is %s, want %s", x.Tau, x.W, x.Total, got, x.Lambda)
		}
	}
	for _, x := range v.Seeds {
		if got := Seed(x.Chain, x.ID, x.Attempt, x.Beacon); got != x.Seed {
			t.Errorf("%+v: seed %s", x, got)
		}
	}
	var claims []Claim
	for _, x := range v.Claims {
		c, err := Unverified{x.Node, x.Proof}.Verify(x.Seed, x.Key, x.Tau, x.W, x.Total)
		if err != nil || c.Output() != x.Output || c.Seats() != x.Seats {
			t.Errorf("node %s: %+v, %v", x.Node.Short(), c, err)
		}
		claims = append(claims, c)
	}
	if got := Order(claims); !slices.Equal(got, v.Order) {
		t.Errorf("order %v", got)
	}
	if fresh := makeVectors(t); !reflect.DeepEqual(fresh, v) {
		t.Errorf("%s is not what the tests would write; look, then run with -update", vectorFile)
	}
}

// Sybil split over one VRF key: nodes that share a key must not draw together.
func TestSharedKeyDrawsApart(t *testing.T) {
	seed := task.H(task.TagSeed)
	k := vrf.NewKey(seed)
	seen := map[vrf.Output]bool{}
	for i := range 100 {
		seen[k.Output(Alpha(seed, task.H(task.TagNode, []byte{byte(i)})))] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 nodes with one key drew %d different outputs", len(seen))
	}
}
