package chain

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/proto/tendermint/crypto"

	"github.com/prytany/prytany/attest"
	"github.com/prytany/prytany/beacon"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// A list answers with so many records, and with no more after so many bytes.
// Data holds the position of the first, 8 bytes, big-endian.
const (
	pageSize  = 4096
	pageBytes = 4 << 20
)

// maxList bounds what a client takes of a list, in records.
const maxList = 1 << 22

// maxAnswer bounds what a client decodes, in bytes.
const maxAnswer = 64 << 20

// Query answers from the last committed state, in canonical CBOR:
//
//	/params /group /meta /beacon /values  the one record
//	/alike                             the stake by what machines are, whole
//	/change/<number>                   a change of reference values, from the public log
//	/reference/<hash>                  the reference values that cases name so
//	/account/<hex>                     ledger.Account, zero for a stranger
//	/node/<id> /function/<id>          the record, or an error
//	/case/<id>                         the case, or an error; with prove, also the
//	                                   proof of its hash in the same state
//	/name/<hex>                        ledger.Name by the hash of the name
//	/nodes /functions /owned/<hex>     a list from the position in data; with prove,
//	                                   the first two as Proven records
//	/news                              BlockNews from the height in data on, of late
//	/log/<id>                          the changes of a node's or function's record, likewise
//	/store                             the raw value of the key in data, with prove
//	                                   also its proof, at the height asked for
func (a *app) Query(_ context.Context, req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	r, err := a.query(req)
	if err != nil {
		return &abci.ResponseQuery{Code: codeRefused, Codespace: codespace, Log: errorLog(err)}, nil
	}
	return r, nil
}

func (a *app) query(req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	if req.Path == "/store" {
		return a.queryStore(req)
	}
	r := &abci.ResponseQuery{}
	err := a.store.View(func(height uint64, s ledger.Store) error {
		if height == 0 {
			return errStarting
		}
		kind, name, _ := strings.Cut(strings.TrimPrefix(req.Path, "/"), "/")
		r.Height = int64(height)
		if kind == "news" {
			return a.queryNews(r, req.Data)
		}
		if kind == "case" {
			return a.queryCase(r, s.(view), name, req.Prove)
		}
		answer, err := lookUp(ledger.Read(s), kind, name, req.Data)
		if err != nil {
			return err
		}
		if req.Prove {
			switch list := answer.(type) {
			case []ledger.NodeRecord:
				answer, err = proveAll(s.(view), list, nodeKey)
			case []ledger.FunctionRecord:
				answer, err = proveAll(s.(view), list, functionKey)
			}
			if err != nil {
				return err
			}
		}
		r.Value = task.Encode(answer)
		return nil
	})
	return r, err
}

// queryCase gives a case as it is kept, whose form is that of an answer.
func (a *app) queryCase(r *abci.ResponseQuery, s view, name string, proven bool) error {
	var id task.TaskID
	if err := id.UnmarshalText([]byte(name)); err != nil {
		return task.Refuse("query-malformed", "/case/%s: %v", name, err)
	}
	if r.Value = ledger.Read(s).RawCase(id); r.Value == nil {
		return task.Refuse("no-task", "task %s is not on this chain", id.Short())
	}
	if proven {
		return prove(r, s, ledger.CaseKey(id))
	}
	return nil
}

func (a *app) queryStore(req *abci.RequestQuery) (r *abci.ResponseQuery, err error) {
	defer readError(&err)
	r = &abci.ResponseQuery{}
	v, err := a.store.at(uint64(max(req.Height, 0)))
	if err != nil {
		return nil, err
	}
	if r.Height = int64(v.height); !ledger.Authenticated(req.Data) {
		return nil, task.Refuse("no-key", "key %q is not authenticated", req.Data)
	}
	if r.Value = v.Get(req.Data); r.Value == nil {
		return nil, task.Refuse("no-key", "key %q is not in the state of height %d", req.Data, v.height)
	}
	if req.Prove {
		return r, prove(r, v, req.Data)
	}
	return r, nil
}

func prove(r *abci.ResponseQuery, v view, key []byte) error {
	_, p, err := v.prove(key)
	if err != nil {
		return err
	}
	r.Key = key
	r.ProofOps = &crypto.ProofOps{Ops: []crypto.ProofOp{{Type: "ics23:iavl", Key: key, Data: p}}}
	return nil
}

func nodeKey(n ledger.NodeRecord) []byte         { return ledger.NodeKey(n.Node.ID()) }
func functionKey(f ledger.FunctionRecord) []byte { return ledger.FunctionKey(f.Function.ID()) }

func proveAll[T any](v view, list []T, key func(T) []byte) (all []Proven[T], err error) {
	for _, record := range list {
		_, state, err := v.prove(key(record))
		if err != nil {
			return nil, err
		}
		all = append(all, Proven[T]{record, state})
	}
	return all, nil
}

func lookUp(r ledger.Reader, kind, name string, data []byte) (any, error) {
	part, err := window(data)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "params":
		return r.Params(), nil
	case "group":
		return r.Group(), nil
	case "meta":
		return r.Meta(), nil
	case "beacon":
		return r.Beacon(), nil
	case "alike":
		return r.Alike(), nil
	case "values":
		return r.Values(), nil
	case "change":
		number, err := strconv.ParseUint(name, 10, 64)
		a, ok := r.Amendment(number)
		if err != nil || !ok {
			return nil, task.Refuse("no-change", "no change %.20q of reference values is in the log", name)
		}
		return a, nil
	case "nodes":
		return r.Nodes(part), nil
	case "functions":
		return r.Functions(part), nil
	}
	var id task.Hash
	if err := id.UnmarshalText([]byte(name)); err != nil {
		return nil, task.Refuse("query-malformed", "/%s/%s: %v", kind, name, err)
	}
	switch kind {
	case "account":
		return r.Account(task.Address(id)), nil
	case "owned":
		return r.Owned(task.Address(id), part), nil
	case "log":
		return r.Log(id, part), nil
	case "node":
		return found(r.Node(task.NodeID(id)))("node", id)
	case "reference":
		return found(r.Set(id))("reference", id)
	case "function":
		return found(r.Function(task.FunctionID(id)))("function", id)
	case "name":
		return r.Name(id), nil
	}
	return nil, task.Refuse("query-malformed", "there is no /%s", kind)
}

func found[T any](v T, ok bool) func(what string, id task.Hash) (any, error) {
	return func(what string, id task.Hash) (any, error) {
		if !ok {
			return nil, task.Refuse("no-"+what, "%s %s is not on this chain", what, id.Short())
		}
		return v, nil
	}
}

func window(data []byte) (ledger.Window, error) {
	w := ledger.Window{Most: pageSize, Bytes: pageBytes}
	switch len(data) {
	case 0:
	case 8:
		w.From = binary.BigEndian.Uint64(data)
	default:
		return w, task.Refuse("query-malformed", "a position has 8 bytes")
	}
	return w, nil
}

// Params are the chain's parameters.
func (c *Client) Params(ctx context.Context) (ledger.Params, error) {
	return record[ledger.Params](ctx, c, "/params", ledger.ParamsKey())
}

// Meta is the ledger's record of itself: supply, burned, open cases.
func (c *Client) Meta(ctx context.Context) (ledger.Meta, error) {
	return ask[ledger.Meta](ctx, c, "/meta", nil)
}

// Beacon is the latest, which registrations are over.
func (c *Client) Beacon(ctx context.Context) (ledger.Beacon, error) {
	return ask[ledger.Beacon](ctx, c, "/beacon", nil)
}

// Alike is the stake of all nodes by what their machines are.
func (c *Client) Alike(ctx context.Context) ([]ledger.Alike, error) {
	return ask[[]ledger.Alike](ctx, c, "/alike", nil)
}

// Account is zero for an address that was never paid.
func (c *Client) Account(ctx context.Context, a task.Address) (ledger.Account, error) {
	return ask[ledger.Account](ctx, c, "/account/"+a.String(), nil)
}

// Node finds a registered worker; the error's code is no-node if there is none. That
// there is none is the node's word, as for functions: only what is there is proven.
func (c *Client) Node(ctx context.Context, id task.NodeID) (ledger.NodeRecord, error) {
	rec, err := record[ledger.NodeRecord](ctx, c, "/node/"+id.String(), ledger.NodeKey(id))
	return rec, missing(err, "node", task.Hash(id))
}

// Function finds a published function; the error's code is no-function if
// there is none.
func (c *Client) Function(ctx context.Context, id task.FunctionID) (ledger.FunctionRecord, error) {
	rec, err := record[ledger.FunctionRecord](ctx, c, "/function/"+id.String(), ledger.FunctionKey(id))
	return rec, missing(err, "function", task.Hash(id))
}

// Case finds a task's case; the error's code is no-task if there is none. It is
// the node's word: VerifiedCase is the validators'. Whoever asks gets the same one:
// it is not to be changed.
func (c *Client) Case(ctx context.Context, id task.TaskID) (*ledger.Case, error) {
	return c.caseAt(ctx, id)
}

// judge brings a case the reference values that it names. It believes no node:
// the name is their hash. Few sets ever exist, so they are remembered.
func (c *Client) judge(ctx context.Context, k *ledger.Case) error {
	c.mu.Lock()
	ref, known := c.sets[k.Values]
	c.mu.Unlock()
	if !known {
		var err error
		if ref, err = ask[attest.Reference](ctx, c, "/reference/"+k.Values.String(), nil); err != nil {
			return err
		}
	}
	if err := k.Under(ref); err != nil {
		return fmt.Errorf("chain: the node's answer: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sets) >= maxSets {
		clear(c.sets)
	}
	c.sets[k.Values] = ref
	return nil
}

// maxSets bounds how many sets of reference values a client remembers.
const maxSets = 64

// Values is the register of reference values, and a height that it is of or later.
func (c *Client) Values(ctx context.Context) (ledger.Values, uint64, error) {
	height := c.Height()
	v, err := record[ledger.Values](ctx, c, "/values", ledger.ValuesKey())
	return v, height, err
}

// Reference are the values that are in force in the next block.
func (c *Client) Reference(ctx context.Context) (attest.Reference, error) {
	v, height, err := c.Values(ctx)
	return attest.ReferenceOf(v.At(height + 1)), err
}

// Amendment is a change of reference values in the public log, by its number.
func (c *Client) Amendment(ctx context.Context, number uint64) (ledger.Amendment, error) {
	return record[ledger.Amendment](ctx, c, fmt.Sprint("/change/", number), ledger.AmendmentKey(number))
}

// Nodes lists all registered workers by name. A list of several pages is read
// from several blocks if some are made meanwhile.
func (c *Client) Nodes(ctx context.Context) ([]ledger.NodeRecord, error) {
	return records(ctx, c, "/nodes", nodeKey)
}

// Functions lists all published functions by name, with Nodes' reservation.
func (c *Client) Functions(ctx context.Context) ([]ledger.FunctionRecord, error) {
	return records(ctx, c, "/functions", functionKey)
}

// Name is what is published under a name; zero if nothing is.
func (c *Client) Name(ctx context.Context, name string) (ledger.Name, error) {
	key := ledger.NameKey(name)
	n, err := record[ledger.Name](ctx, c, "/name/"+hex.EncodeToString(key[len(key)-len(task.Hash{}):]), key)
	if task.CodeOf(err) == "no-key" {
		return n, nil
	}
	return n, err
}

// missing says what there is none of, where the state has no such key.
func missing(err error, what string, id task.Hash) error {
	if task.CodeOf(err) == "no-key" {
		return task.Refuse("no-"+what, "%s %s is not on this chain", what, id.Short())
	}
	return err
}

// Owned lists an account's tasks, oldest first.
func (c *Client) Owned(ctx context.Context, a task.Address) ([]task.TaskID, error) {
	return askAll[task.TaskID](ctx, c, "/owned/"+a.String())
}

// Group is the beacon's key, and who holds its shares.
func (c *Client) Group(ctx context.Context) (beacon.Group, error) {
	return ask[beacon.Group](ctx, c, "/group", nil)
}

// Log lists the changes of a node's or a function's record, oldest first.
func (c *Client) Log(ctx context.Context, of task.Hash) ([]ledger.Change, error) {
	return askAll[ledger.Change](ctx, c, "/log/"+of.String())
}

// Value is the raw value of an authenticated key in the last committed state.
func (c *Client) Value(ctx context.Context, key []byte) ([]byte, error) {
	r, err := c.query(ctx, abci.RequestQuery{Path: "/store", Data: key})
	if err != nil {
		return nil, err
	}
	return r.Value, nil
}

func ask[T any](ctx context.Context, c *Client, path string, data []byte) (T, error) {
	v, _, err := askAt[T](ctx, c, path, data)
	return v, err
}

// askAt also gives the height of the state that the answer is from.
func askAt[T any](ctx context.Context, c *Client, path string, data []byte) (T, uint64, error) {
	var zero T
	r, err := c.query(ctx, abci.RequestQuery{Path: path, Data: data})
	if err != nil {
		return zero, 0, err
	}
	v, err := task.Decode[T](r.Value, maxAnswer)
	if err != nil {
		return zero, 0, fmt.Errorf("chain: the node's answer to %s: %w", path, err)
	}
	return v, uint64(r.Height), nil
}

func askAll[T any](ctx context.Context, c *Client, path string) (all []T, err error) {
	for {
		part, err := ask[[]T](ctx, c, path, task.U64(uint64(len(all))))
		if err != nil {
			return nil, err
		}
		if all = append(all, part...); len(part) == 0 {
			return all, nil
		}
		if len(all) > maxList {
			return nil, fmt.Errorf("chain: the node's list %s has no end", path)
		}
	}
}
