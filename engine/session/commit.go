package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"
)

// Limits of one shared transaction.
const (
	commitQueue  = 4096 // writes that wait; more wait for a place
	commitWeight = 8192 // rows per transaction, about
)

// write is one atomic change of the store. check reads and may refuse; only if it does not, apply writes. So a write
// that is refused leaves no trace in the transaction that it shares with others.
type write struct {
	check  func(*tx) error
	apply  func(*tx) error
	kinds  []Kind // that it changes, for watchers
	weight int    // rows

	taken atomic.Bool // by the committer, or by who gave it up
	done  chan error  // one result
}

// committer is the only writer of the file: group commit. While one transaction reaches the disk, the writes that
// arrive gather for the next, so the more come the more share an fsync.
type committer struct {
	db     *bolt.DB
	notify func(map[Kind]bool)

	mu     sync.RWMutex // guards closed against senders to queue
	closed bool
	queue  chan *write
	idle   chan struct{} // closed when run has ended
}

func newCommitter(db *bolt.DB, notify func(map[Kind]bool)) *committer {
	c := &committer{db: db, notify: notify, queue: make(chan *write, commitQueue), idle: make(chan struct{})}
	go c.run()
	return c
}

// do hands w to the committer and waits until it has reached the disk. An error means that nothing was written.
func (c *committer) do(ctx context.Context, w *write) error {
	w.done = make(chan error, 1)
	if err := c.enqueue(ctx, w); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		if w.taken.CompareAndSwap(false, true) {
			return ctx.Err() // the committer will pass over it
		}
		return <-w.done // it is being written: its end is near and must be known
	}
}

func (c *committer) enqueue(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	select {
	case c.queue <- w:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets the writes that wait reach the disk and ends run.
func (c *committer) close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.queue)
	}
	c.mu.Unlock()
	<-c.idle
}

// run ends when the queue is closed and empty.
func (c *committer) run() {
	defer close(c.idle)
	var batch []*write
	for w := range c.queue {
		batch = c.gather(append(batch[:0], w))
		c.commit(batch)
		clear(batch)
	}
}

// gather adds what waits already, up to the weight of a transaction.
func (c *committer) gather(batch []*write) []*write {
	weight := batch[0].weight
	for weight < commitWeight {
		select {
		case w, ok := <-c.queue:
			if !ok {
				return batch
			}
			batch = append(batch, w)
			weight += w.weight
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch in one transaction and tells each of its writes how it went.
func (c *committer) commit(batch []*write) {
	refused := make([]error, len(batch))
	kinds := map[Kind]bool{}
	err := c.db.Update(func(t *bolt.Tx) error {
		tx := newTx(t)
		for i, w := range batch {
			if !w.taken.CompareAndSwap(false, true) {
				refused[i] = context.Canceled // nobody waits for it
				continue
			}
			if w.check != nil {
				if refused[i] = w.check(tx); refused[i] != nil {
					continue
				}
			}
			if err := w.apply(tx); err != nil {
				return err
			}
			for _, k := range w.kinds {
				kinds[k] = true
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("session: write: %w", err)
	} else if len(kinds) > 0 {
		c.notify(kinds)
	}
	for i, w := range batch {
		w.done <- errors.Join(refused[i], err)
	}
}
