package transaction

import (
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// An origin is where a message came from, and so where its answer goes.
type origin struct {
	addr netip.AddrPort
	conn *conn // nil: UDP
}

func (o origin) transport() string {
	if o.conn != nil {
		return transportTCP
	}
	return transportUDP
}

// work is one thing that a lane does: a message or a call.
type work struct {
	raw    string
	callID string
	from   origin
	call   func()
}

// averageBytes is what a message in a queue may have on average: the bound of a lane's memory is this times its limit.
const averageBytes = 2048

// A lane runs everything of the Call-IDs that hash to it, one thing after the other.
//
// mu guards the transactions of the lane and their timers, and is never held while a handler runs. Sending happens
// under it: a datagram is written at once, a message for a stream is queued. qmu guards the queue alone and may be
// taken with mu held.
type lane struct {
	layer *Layer
	wake  chan struct{} // one signal: something to do

	qmu    sync.Mutex
	queue  []work
	queued int // bytes of the messages in it

	mu       sync.Mutex
	timers   timerHeap
	servers  map[serverKey]*serverRecord
	finished finishedQueue
	clients  map[clientKey]*Client
}

func newLane(l *Layer) *lane {
	return &lane{
		layer:   l,
		wake:    make(chan struct{}, 1),
		servers: make(map[serverKey]*serverRecord),
		clients: make(map[clientKey]*Client),
	}
}

// put appends w if fewer than limit wait, and for a message if those are not too long together; a limit below 0 is
// none. What a lane has taken in hand does not count.
func (n *lane) put(w work, limit int) bool {
	n.qmu.Lock()
	if limit >= 0 && (len(n.queue) >= limit || n.queued > 0 && n.queued+len(w.raw) > limit*averageBytes) {
		n.qmu.Unlock()
		return false
	}
	n.queue = append(n.queue, w)
	n.queued += len(w.raw)
	first := len(n.queue) == 1
	n.qmu.Unlock()
	if first {
		n.signal()
	}
	return true
}

// post queues what a transaction must be told, whatever the length of the queue: at most one for each transaction.
func (n *lane) post(call func()) { n.put(work{call: call}, -1) }

func (n *lane) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take swaps the queue for an empty one.
func (n *lane) take(empty []work) []work {
	n.qmu.Lock()
	defer n.qmu.Unlock()
	batch := n.queue
	n.queue, n.queued = empty, 0
	return batch
}

// run is the lane's goroutine; it ends with done.
func (n *lane) run(done <-chan struct{}) {
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	var batch []work
	for {
		batch = n.take(batch[:0])
		for i := range batch {
			n.do(&batch[i])
			batch[i] = work{}
		}
		wait := n.expire()
		select {
		case <-done:
			return
		default:
		}
		if len(batch) > 0 {
			continue
		}
		clock.Reset(wait)
		select {
		case <-n.wake:
		case <-clock.C:
		case <-done:
			return
		}
	}
}

func (n *lane) do(w *work) {
	if w.call != nil {
		n.protect(w.call, nil)
		return
	}
	n.receive(w)
}

// protect calls f. A panic in it ends f, no more: it is logged and counted, and tx, if there is one, gets 500.
func (n *lane) protect(f func(), tx *Server) {
	defer func() {
		reason := recover()
		if reason == nil {
			return
		}
		n.layer.count.panics.Add(1)
		n.layer.log.Error("panic in a SIP handler", "reason", reason, "stack", string(debug.Stack()))
		if tx != nil {
			res := n.layer.response(tx.req, sip.StatusInternalServerError, "Server Internal Error")
			if err := tx.Respond(res); err != nil {
				n.layer.log.Debug("no 500 after a panic", "error", err)
			}
		}
	}()
	f()
}

// expire runs the timers that are due and tells how long there is to wait for the next.
func (n *lane) expire() time.Duration {
	for {
		call, wait := n.expireOne()
		if wait > 0 {
			return wait
		}
		if call != nil {
			n.protect(call, nil)
		}
	}
}

// expireOne fires the next timer if it is due (wait is 0) and returns what it wants called.
func (n *lane) expireOne() (call func(), wait time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.layer.now()
	wait = n.forget(now)
	if len(n.timers) == 0 {
		return nil, wait
	}
	t := n.timers[0]
	if t.at > now {
		return nil, min(wait, t.at-now)
	}
	n.disarm(t)
	return t.owner.expire(t), 0
}
