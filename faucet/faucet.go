// Package faucet is where a devnet's people get money to try things with. A real
// network has none.
package faucet

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/p2p"
	"github.com/prytany/prytany/task"
)

// Proto is the faucet's protocol: an account's address, and then nothing or the reason
// why not.
const Proto = "/prytany/devnet-faucet/1"

// Gift is what the faucet gives to an account that has less.
const Gift = 1000 * task.PRY

// Chain is what both ends need of the chain.
type Chain interface {
	Account(ctx context.Context, a task.Address) (ledger.Account, error)
	Submit(ctx context.Context, key ed25519.PrivateKey, body task.Body) (nonce uint64, err error)
}

// Faucet gives from an account.
type Faucet struct {
	Chain Chain
	Key   ed25519.PrivateKey
}

// Pour answers the faucet's protocol.
func (f Faucet) Pour(ctx context.Context, _ task.Key, raw []byte) ([]byte, error) {
	if len(raw) != 32 {
		return []byte("want an address of 32 bytes"), nil
	}
	to := task.Address(raw)
	have, err := f.Chain.Account(ctx, to)
	switch {
	case err != nil:
	case have.Balance >= Gift:
		err = fmt.Errorf("the account holds %s already", have.Balance)
	default:
		err = f.Grant(ctx, to, Gift)
	}
	if err != nil {
		return []byte(err.Error()), nil
	}
	return nil, nil
}

// Grant gives an account so much, whatever it has.
func (f Faucet) Grant(ctx context.Context, to task.Address, a task.Amount) error {
	_, err := f.Chain.Submit(ctx, f.Key, task.Body{Transfer: &task.Transfer{To: to, Amount: a}})
	return err
}

// Ask asks the faucet at an address for an account that has nothing, and says what it
// gave. Where there is no faucet, and the address is empty, it gives nothing. Codes:
// network-down, faucet-dry.
func Ask(ctx context.Context, host *p2p.Host, addr string, chain Chain, account task.Address) (task.Amount, error) {
	have, err := chain.Account(ctx, account)
	if err != nil || have.Balance > 0 || addr == "" {
		return 0, err
	}
	reply, err := host.Request(ctx, addr, Proto, account[:])
	if err != nil {
		return 0, task.Refuse("network-down", "the devnet's faucet does not answer: %v", err).WithNext("prytany devnet   (in another terminal)")
	}
	if len(reply) > 0 {
		return 0, task.Refuse("faucet-dry", "the devnet's faucet gave nothing: %s", reply)
	}
	return Gift, nil
}
