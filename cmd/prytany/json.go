package main

import (
	"github.com/prytany/prytany/explain"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// What commands print with --json, where it is no type of another package or of the
// command's own. Each is a struct and no map, so that a test can look at its form
// (spec §1.9).
type (
	keyFile struct {
		Address task.Address `json:"address"`
		File    string       `json:"file"`
		Words   string       `json:"words,omitempty"` // of a new key: the 24 words, which are the key
	}
	keyShown struct {
		Address task.Address `json:"address"`
		Balance *task.Amount `json:"balance,omitempty"` // none without a network
	}
	devnetUp struct {
		Network string `json:"network"`
		RPC     string `json:"rpc"`
	}
	nodeUp struct {
		Node task.NodeID `json:"node"`
	}
	// nodeRow is a line of `node show`, nodeShown what it says of one node.
	nodeRow struct {
		Node        task.NodeID               `json:"node"`
		Bond        task.Amount               `json:"bond"`
		Counts      task.Counts[ledger.Cause] `json:"counts"`
		Lost        task.Amount               `json:"lost"`
		JailedUntil uint64                    `json:"jailed_until,string"`
		Renew       uint64                    `json:"renew,string"`
		Lapsed      bool                      `json:"lapsed"`
		ShutOut     *shutOut                  `json:"shut_out"`
	}
	nodeShown struct {
		Node    ledger.NodeRecord `json:"node"`
		Log     []ledger.Change   `json:"log"`
		ShutOut *shutOut          `json:"shut_out"`
	}
	funcMade struct {
		Dir      string `json:"dir"`
		Template string `json:"template"`
	}
	funcBuilt struct {
		File     string        `json:"file"`
		Bytes    int           `json:"bytes,string"`
		Manifest task.Manifest `json:"manifest"`
	}
	imageBuilt struct {
		File   string `json:"file"`
		Digest string `json:"digest"`
		Bytes  int    `json:"bytes,string"`
	}
	funcPublished struct {
		Function task.FunctionID `json:"function"`
		Code     task.Blob       `json:"code"`
		Bond     task.Amount     `json:"bond"`
		Added    bool            `json:"added"` // it was published before: only to its bond
	}
	locked struct {
		Lock     string `json:"lock"`
		Packages uint64 `json:"packages,string"`
	}
	funcBond struct {
		Function task.FunctionID `json:"function"`
		Bond     task.Amount     `json:"bond"`
	}
	funcRow struct {
		ID       task.FunctionID `json:"id"`
		Owner    task.Address    `json:"owner"`
		Manifest task.Manifest   `json:"manifest"`
		Bond     task.Amount     `json:"bond"`
	}
	funcShown struct {
		Function   ledger.FunctionRecord `json:"function"`
		Log        []ledger.Change       `json:"log"`
		SuccessPPM uint64                `json:"success_ppm,string"`
		Runs       uint64                `json:"runs,string"`
		Channels   []channel             `json:"channels"`
		Bits       float64               `json:"bits"`
	}
	taskRow struct {
		ID      task.TaskID    `json:"id"`
		Phase   ledger.Phase   `json:"phase"`
		Outcome ledger.Outcome `json:"outcome,omitzero"`
	}
	taskWhy struct {
		Task       task.TaskID        `json:"task"`
		Phase      ledger.Phase       `json:"phase"`
		Parties    []task.Party       `json:"parties"`
		Settlement *ledger.Settlement `json:"settlement"`
		Faults     []explain.Finding  `json:"faults"`
		Words      string             `json:"words"`
	}
	receiptMade struct {
		Task    task.TaskID `json:"task"`
		Receipt string      `json:"receipt"`
	}
	changeMade struct {
		Change drafted `json:"change"`
		Height uint64  `json:"height,string"`
	}
	chainValues struct {
		Chain   string             `json:"chain"`
		Height  uint64             `json:"height,string"`
		Number  uint64             `json:"number,string"` // of the last change
		Values  []ledger.Standing  `json:"values"`
		Changes []ledger.Amendment `json:"changes"`
	}
	versionShown struct {
		Version string `json:"version"`
		Go      string `json:"go"`
	}
)
