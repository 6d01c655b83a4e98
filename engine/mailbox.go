package engine

import (
	"context"
	"math"
	"sync"
)

// maxQueue bounds the closures that wait for a loop.
const maxQueue = 256

// A mailbox is the queue of a loop: of a call, or of a conference. Closures run in the loop, in the order in which they
// came.
type mailbox struct {
	done chan struct{} // closed when the loop has ended
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	queue   []func()
	closed  bool
	limit   int
	refused func() // told of a closure that found no room
}

func newMailbox(limit int, refused func()) mailbox {
	return mailbox{done: make(chan struct{}), wake: make(chan struct{}, 1), limit: limit, refused: refused}
}

// post hands f to the loop; it never blocks. It reports false if the loop is over or its queue is full.
func (m *mailbox) post(f func()) bool { return m.put(f, m.limit) }

// insist is post for what must not be lost and comes once for each thing that there is: it knows no limit.
func (m *mailbox) insist(f func()) { m.put(f, math.MaxInt) }

func (m *mailbox) put(f func(), limit int) bool {
	m.mu.Lock()
	if m.closed || len(m.queue) >= limit {
		full := !m.closed
		m.mu.Unlock()
		if full {
			m.refused()
		}
		return false
	}
	m.queue = append(m.queue, f)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return true
}

// take empties the queue, for the loop.
func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.queue = nil
	return q
}

// shut takes nothing more and gives what was not run.
func (m *mailbox) shut() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	m.closed, m.queue = true, nil
	return q
}

// visit runs f in the loop and returns its error; over gives the error for a loop that has ended. It is not for loops: a
// loop never waits for another loop.
func (m *mailbox) visit(ctx context.Context, f func() error, over func() error) error {
	res := make(chan error, 1)
	if !m.post(func() { res <- f() }) {
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed {
			return over()
		}
		return Errorf(CodeCapacity, "%d commands are waiting there: slow down", m.limit)
	}
	select {
	case err := <-res:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-m.done:
		select {
		case err := <-res:
			return err
		default:
			return over()
		}
	}
}
