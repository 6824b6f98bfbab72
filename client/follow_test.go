package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prytany/prytany/task"
)

// Only silence ends the patience: a refusal is an answer.
func TestWhileUp(t *testing.T) {
	const most = 200 * time.Millisecond
	for name, c := range map[string]struct {
		says error
		ends bool
	}{
		"answers": {nil, false}, "refuses": {task.Refuse("query-malformed", "no"), false}, "is silent": {errors.New("no route"), true},
	} {
		ctx, stop := whileUp(context.Background(), func(context.Context) error { return c.says }, most)
		select {
		case <-ctx.Done():
		case <-time.After(5 * most):
		}
		if ended := errors.Is(context.Cause(ctx), ErrSilent); ended != c.ends {
			t.Errorf("a network that %s: given up %t", name, ended)
		}
		stop()
	}
}
