package task

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// several is a task of so many data owners, of whom the second is the requester, and a
// function whose owner is the requester too.
func several(n int) (Task, Function) {
	t := Task{Requester: Key{1}, Endpoint: Endpoint{Addr: "/memory/1", Account: Key{11}}}
	for i := range n {
		d := Data{Owner: Key{byte(2 + i)}, Blob: Blob{CID: fmt.Sprint("data ", i), Size: 1}, Broker: &Endpoint{Addr: fmt.Sprint("/memory/", 2+i), Account: Key{20 + byte(i)}}}
		if i == 1 {
			d.Owner, d.Broker = t.Requester, nil
		}
		t.Data = append(t.Data, d)
	}
	return t, Function{Owner: t.Requester, Code: Blob{CID: "code", Size: 2}, Broker: Endpoint{Addr: "/memory/broker", Account: Key{12}}}
}

// The list follows from task and function alone: the requester, the data owners as
// they stand, the code owner; an account that is several of them stands there as often.
func TestPartiesAreOneList(t *testing.T) {
	for n := range MaxData + 1 {
		tk, f := several(n)
		all := Parties(tk, f)
		if len(all) != n+2 || all[0].Role != Requester || all[0].Releases != (n < 2) || all[0].Names != (n < 2) || all[n+1].Role != CodeOwner || all[n+1].File != f.Code || all[n+1].At != f.Broker {
			t.Fatalf("%d data owners: %+v", n, all)
		}
		for i, d := range tk.Data {
			p := all[1+i]
			at := tk.Endpoint
			if d.Broker != nil {
				at = *d.Broker
			}
			if p.Role != DataOwner || p.Account != d.Owner || p.File != d.Blob || p.At != at || !p.Releases || p.Names != (i == 1) {
				t.Errorf("data owner %d: %+v", i, p)
			}
			for _, who := range []Address{{1}, {2}, {11}, {12}, {20}, {21}, d.Owner, at.Account} {
				if p.SpeaksFor(who) != (who == d.Owner || who == at.Account) {
					t.Errorf("%s speaks for data owner %d: %t", who.Short(), i, p.SpeaksFor(who))
				}
			}
		}
	}
}

// A list of data is bounded, has no file twice, and one form.
func TestDataIsBounded(t *testing.T) {
	good := func(n int) Task {
		tk, _ := several(n)
		tk.Recipient, tk.GasLimit, tk.Seats, tk.MinSeats, tk.Policy.MinTier = NameRecipient("age1"), 1, 4, 2, TierSimulated
		return tk
	}
	for name, row := range map[string]struct {
		n      int
		change func(*Task)
		says   string // empty: it is taken
	}{
		"one":                       {1, func(*Task) {}, ""},
		"the most":                  {MaxData, func(*Task) {}, ""},
		"none":                      {0, func(*Task) {}, "0 inputs"},
		"too many":                  {MaxData + 1, func(*Task) {}, "17 inputs"},
		"a file twice":              {3, func(t *Task) { t.Data[2].Blob.CID = t.Data[0].Blob.CID }, "stands twice"},
		"a stranger with no broker": {1, func(t *Task) { t.Data[0].Broker = nil }, "a broker goes with"},
		"the requester with one":    {2, func(t *Task) { t.Data[1].Broker = &Endpoint{} }, "a broker goes with"},
		"a broker to show":          {1, func(t *Task) { t.Data[0].Broker.Addr = "\x1b[2J" }, "not printable"},
		"no size":                   {1, func(t *Task) { t.Data[0].Blob.Size = 0 }, "0 bytes"},
		"more than one enclave has": {3, func(t *Task) { t.Data[0].Blob.Size, t.Data[2].Blob.Size = MaxBlob/2, MaxBlob/2 }, "together"},
		"sizes that wrap":           {2, func(t *Task) { t.Data[0].Blob.Size = 1<<64 - 1 }, "bytes"},
	} {
		tk := good(row.n)
		row.change(&tk)
		if err := tk.Check(); (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", name, err)
		}
		if back, err := Decode[Task](Encode(tk), MaxTx); err != nil || !bytes.Equal(Encode(back), Encode(tk)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who reads JSON gets the roles' names.
func TestRolesAreWords(t *testing.T) {
	for role, want := range map[Role]string{Requester: `"requester"`, DataOwner: `"data-owner"`, CodeOwner: `"code-owner"`} {
		raw, err := json.Marshal(role)
		var back Role
		if err != nil || string(raw) != want || json.Unmarshal(raw, &back) != nil || back != role {
			t.Errorf("%s, %v, %s", raw, err, back)
		}
	}
	if json.Unmarshal([]byte(`"alice"`), new(Role)) == nil {
		t.Error("alice is a role")
	}
}

// A decline names a party for a file that does not come, and for nothing else.
func TestALackIsOfAParty(t *testing.T) {
	for l, ok := range map[Lack]bool{
		{Reason: Busy}: true, {Reason: NoFile, Party: 1}: true, {Reason: NoFile, Party: 17}: true, {Reason: CannotRun}: true,
		{}: false, {Reason: NoFile}: false, {Reason: Busy, Party: 1}: false, {Reason: Gone}: true, {Reason: CannotRun, Party: 2}: false, {Reason: 5}: false,
	} {
		if (l.Check() == nil) != ok {
			t.Errorf("%+v: %v", l, l.Check())
		}
	}
}
