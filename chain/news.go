package chain

import (
	"context"
	"encoding/binary"
	"sync"

	abci "github.com/cometbft/cometbft/abci/types"

	"github.com/prytany/prytany/ledger"
	"github.com/prytany/prytany/task"
)

// BlockNews are the news of one block.
type BlockNews struct {
	Height uint64        `cbor:"1,keyasint"`
	News   []ledger.News `cbor:"2,keyasint"`
}

// keepNews is for how many blocks a node keeps the news.
const keepNews = 1024

// recent are the news of the last blocks that this process has executed. A worker
// needs little of what a block's results say, and most blocks say nothing to it.
type recent struct {
	mu   sync.Mutex
	news map[uint64][]ledger.News
}

func newRecent() *recent { return &recent{news: map[uint64][]ledger.News{}} }

func (r *recent) put(height uint64, news []ledger.News) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.news[height] = news
	delete(r.news, height-keepNews)
}

// from lists blocks from one height to another, as far as they are kept and fit into
// an answer.
func (r *recent) from(first, last uint64) (list []BlockNews) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 0; first <= last && n < pageSize; first++ {
		news, ok := r.news[first]
		if !ok {
			break
		}
		list = append(list, BlockNews{first, news})
		n += 1 + len(news)
	}
	return list
}

// queryNews answers with the news from the height in data on.
func (a *app) queryNews(r *abci.ResponseQuery, data []byte) error {
	if len(data) != 8 {
		return task.Refuse("query-malformed", "a height has 8 bytes")
	}
	r.Value = task.Encode(a.recent.from(binary.BigEndian.Uint64(data), uint64(r.Height)))
	return nil
}

// News calls each for the news of every committed block from a height on, or with 0
// from now on, in order and without a gap, until the context ends. They are the
// node's word, as what Watch delivers is.
func (c *Client) News(ctx context.Context, height uint64, each func(height uint64, news []ledger.News)) error {
	if height == 0 {
		height = c.Height() + 1
	}
	for {
		if _, err := c.gate.wait(ctx, height); err != nil {
			return err
		}
		list, err := c.newsFrom(ctx, height)
		if err != nil {
			return err
		}
		for _, b := range list {
			each(b.Height, b.News)
		}
		height += uint64(len(list))
	}
}

// newsFrom reads the news of one block at least. Those that a remote node keeps no
// more are in the block's results.
func (c *Client) newsFrom(ctx context.Context, height uint64) ([]BlockNews, error) {
	if c.trust != nil {
		list, err := c.news.get(ctx, height, func(ctx context.Context) ([]BlockNews, error) {
			return ask[[]BlockNews](ctx, c, "/news", task.U64(height))
		})
		if err == nil && inOrder(list, height) {
			return list, nil
		}
	}
	_, events, err := c.results(ctx, height)
	return []BlockNews{{height, ledger.NewsOf(events)}}, err
}

// inOrder says whether a list has every block from a height on, and one at least.
func inOrder(list []BlockNews, height uint64) bool {
	for i, b := range list {
		if b.Height != height+uint64(i) {
			return false
		}
	}
	return len(list) > 0
}
