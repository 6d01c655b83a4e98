package webhook

import (
	"container/heap"
	"time"
)

// finish takes what a worker brings.
func (d *dispatcher) finish(r *result) {
	d.s.inFlight.Add(-1)
	if r.ask {
		d.asks.done(r.host)
	} else {
		d.notes.done(r.host)
	}
	switch r.state {
	case StateDelivered:
		d.s.delivered.Add(1)
	case StateFailed:
		d.s.givenUp.Add(1)
	case StateDropped:
		d.s.dropped.Add(1)
	case StatePending:
		if !r.ask && r.tries > 0 {
			d.s.failed.Add(1)
		}
	}
	l := r.lane
	switch {
	case l == nil:
		return
	case r.side:
		d.finishSide(l, r)
	default:
		d.finishHead(l, r)
	}
	if d.lanes[l.key] == l {
		d.dirty[l] = true
	}
	d.advance(l)
}

// finishSide notes what became of an event that went out of turn. If it was not taken it waits in its place, as one that
// asks nothing any more.
func (d *dispatcher) finishSide(l *lane, r *result) {
	l.sides--
	if r.state == StatePending {
		if !l.spilled {
			l.putBack(r.item)
		}
		return
	}
	if seq := r.item.event.Sequence; seq > l.after {
		if l.done == nil {
			l.done = make(map[uint64]bool)
		}
		l.done[seq] = true
	}
}

// finishHead moves a lane on, or lets it wait.
func (d *dispatcher) finishHead(l *lane, r *result) {
	l.flying = false
	switch {
	case r.err != nil:
		d.s.o.Logger.Error("events cannot be read; trying again", "call", l.key.call, "error", r.err)
		d.wait(l, time.Now().Add(time.Second))
		return
	case r.loaded != nil || r.item == nil:
		d.loaded(l, r)
		if r.item == nil {
			return
		}
	}
	if len(l.queue) == 0 || l.queue[0] != r.item {
		return // it was loaded, but dealt with out of turn meanwhile
	}
	l.delivery, l.deliveryID = r.delivery, ""
	if r.delivery != nil {
		l.deliveryID = r.delivery.ID
	}
	if r.state == StatePending {
		l.failures += r.tries
		d.wait(l, r.next)
		return
	}
	if r.state == StateDelivered {
		l.failures = 0
	}
	l.pop()
}

// loaded puts what was read from the store in a lane's queue.
func (d *dispatcher) loaded(l *lane, r *result) {
	for _, it := range r.loaded {
		if !l.done[it.event.Sequence] || it == r.item {
			l.queue = append(l.queue, it)
		}
	}
	if len(l.queue) == 0 {
		l.after = max(l.after, r.through)
		l.forget()
	}
	l.spilled = r.through < l.last
}

// wait lets a lane wait for its next try; who asks in it does not wait with it.
func (d *dispatcher) wait(l *lane, until time.Time) {
	l.due = until
	heap.Push(&d.due, timer{at: until, lane: l})
	for _, it := range append([]*item(nil), l.queue...) {
		if it.question.open() && l.take(it) {
			d.overtake(l, it, d.s.find(l.key.endpoint))
		}
	}
	if time.Until(until) >= spillFrom {
		l.spill()
	}
}
