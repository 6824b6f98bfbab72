package client

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/prytany/prytany/chain"
	"github.com/prytany/prytany/chain/proof"
	"github.com/prytany/prytany/disk"
	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/receipt"
	"github.com/prytany/prytany/task"
)

// Receipt bundles a closed case with the proof that it stands on the chain.
func Receipt(ctx context.Context, c chain.Pinned, id task.TaskID) ([]byte, error) {
	for tries := 1; ; tries++ {
		proven, p, err := c.Client.VerifiedCase(ctx, c.Trust, id)
		pause := 5 * time.Millisecond // the proof lags a block
		switch {
		case err == nil && proven.Phase == ledger.Closed:
			return receipt.New(proven, task.Encode(p)).Encode(), nil
		case err != nil && tries >= 5:
			return nil, err
		case err != nil:
			pause = time.Second
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Pin is a root of trust and where it came from.
type Pin struct {
	proof.Trust
	Source string `json:"source"`
}

// Pins is a directory of roots of trust, one for each chain.
type Pins string

// Path is where the root of a chain is.
func (d Pins) Path(chain string) string {
	return filepath.Join(string(d), filepath.Base(chain)+".json")
}

// Save keeps a chain's root of trust.
func (d Pins) Save(t proof.Trust, source string) error {
	path := d.Path(t.Chain)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(Pin{t, source}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}

// Load reads the root of a chain. Code: could-not.
func (d Pins) Load(chain string) (Pin, error) { return LoadPin(d.Path(chain), chain) }

// LoadPin reads the root of a chain from a file. Code: could-not.
func LoadPin(path, chain string) (p Pin, err error) {
	raw, err := disk.ReadFile(path, disk.MaxSetting)
	if errors.Is(err, fs.ErrNotExist) {
		return p, task.Refuse("could-not", "no trusted validators are pinned here for chain %q (looked at %s)", chain, path).
			WithNext("prytany verify RECEIPT --trust FILE, with the trust file of somebody you believe")
	}
	if err != nil {
		return p, task.Refuse("could-not", "%v", err)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, task.Refuse("could-not", "trust file %s: %v", path, err)
	}
	return p, nil
}

// Verify checks a receipt against a root of trust, offline.
func Verify(r receipt.Receipt, p Pin) receipt.Report {
	return receipt.Verify(r, receipt.Trust{
		Beacon: p.Beacon.Verify,
		State: func(raw, key, value []byte) error {
			parsed, err := proof.Parse(raw)
			if err != nil {
				return err
			}
			return proof.Check(parsed, p.Trust, key, value)
		},
	})
}
