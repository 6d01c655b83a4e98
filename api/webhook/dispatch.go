package webhook

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

const (
	checkpointEvery = 500 * time.Millisecond
	spillFrom       = 30 * time.Second // a lane that waits this long leaves the memory
	maxLoose        = 1024             // events in a lane that the store cannot give again
)

// dispatcher owns the lanes. It does nothing that takes time: workers post, the keeper writes.
type dispatcher struct {
	s     *Service
	lanes map[laneKey]*lane
	due   timers
	notes *pool[task] // notifications
	asks  *pool[task] // questions
	read  session.Cursor

	results  chan result
	stopping bool

	dirty       map[*lane]bool
	removed     map[laneKey]bool // lanes that are no more, but have a record
	checkpoints chan checkpoint  // to the keeper
	kept        chan struct{}    // the keeper is ready for another
	busy        bool             // it is not
	written     session.Cursor
}

func newDispatcher(s *Service) *dispatcher {
	return &dispatcher{
		s: s, lanes: make(map[laneKey]*lane),
		notes: newPool[task](s.o.Workers, s.o.PerHost), asks: newPool[task](s.o.Asks, s.o.AsksPerHost),
		results: make(chan result), dirty: make(map[*lane]bool), removed: make(map[laneKey]bool),
		checkpoints: make(chan checkpoint, 1), kept: make(chan struct{}, 1),
	}
}

// run dispatches until ctx ends, then winds down. work is the context of requests.
func (d *dispatcher) run(ctx, work context.Context) error {
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	defer unfollow()
	working, cancel := context.WithCancel(work)
	defer cancel()
	follower := d.follow(following)
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	wake := time.NewTimer(time.Hour)
	defer wake.Stop()
	for {
		d.start(working)
		wake.Reset(d.untilDue())
		select {
		case <-ctx.Done():
			return d.windDown(following, follower, cancel)
		case e, ok := <-follower.Events():
			if !ok {
				follower = d.refollow(ctx, following, follower.Err())
				continue
			}
			d.accept(&e)
		case r := <-d.results:
			d.finish(&r)
		case <-wake.C:
			d.fire(time.Now())
		case <-tick.C:
			d.checkpoint(false)
		case <-d.kept:
			d.busy = false
		case a := <-d.s.again:
			d.redeliver(a)
		}
	}
}

func (d *dispatcher) follow(ctx context.Context) *session.Follower {
	return d.s.o.Log.Follow(ctx, session.FollowOptions{After: d.read, CatchUp: true, Buffer: 8192})
}

// refollow goes on after the log has failed to be read.
func (d *dispatcher) refollow(ctx, following context.Context, err error) *session.Follower {
	if errors.Is(err, session.ErrCursor) {
		d.s.o.Logger.Error("the log does not know the outbox's cursor: was the store replaced? Starting at its beginning")
		d.read = ""
	} else if !errors.Is(err, session.ErrClosed) {
		d.s.o.Logger.Error("the log cannot be read; trying again", "error", err)
	}
	_ = sleep(ctx, time.Second) // ctx's end is seen by the caller
	return d.follow(following)
}

// accept takes the next event of the log.
func (d *dispatcher) accept(e *session.Logged) {
	d.enter(e)
	d.read = e.Cursor
	d.s.read.Store(&e.Cursor)
}

func (d *dispatcher) enter(e *session.Logged) {
	it := &item{event: e.Event}
	it.event.Answer, it.event.Call = nil, nil
	dest := d.s.find(endpointOf(&e.Event))
	if e.Answer != nil {
		d.s.asked.Add(1)
		if dest.socket() {
			it.question = d.s.sockets.question(&e.Event)
		} else {
			it.question = &question{reply: e.Answer}
		}
		if d.stopping {
			it.question.answer(nil, errStopping())
		}
	}
	if !dest.wants(&e.Event) {
		d.nobody(dest, it)
		return
	}
	if dest.socket() {
		d.s.sockets.take(dest, d.read, it)
		return
	}
	l := d.lane(laneKey{endpoint: dest.endpoint, call: e.CallID, conference: e.ConferenceID}, e.Sequence)
	if l == nil {
		d.s.dropped.Add(1)
		it.question.answer(nil, engine.Errorf(engine.CodeCapacity, "too many calls wait for webhooks"))
		return
	}
	d.queue(l, it, dest)
}

// nobody deals with an event that has no webhook to go to: if it asks, the fallback may answer.
func (d *dispatcher) nobody(dest destination, it *item) {
	if !it.question.open() {
		return
	}
	if dest.fallback == "" {
		it.question.answer(nil, errNobody())
		return
	}
	d.asks.add(hostOf(dest.fallback), task{dest: dest, item: it, side: true})
}

// lane finds or makes a lane; nil if there are too many.
func (d *dispatcher) lane(key laneKey, seq uint64) *lane {
	if l, ok := d.lanes[key]; ok {
		return l
	}
	if len(d.lanes) >= d.s.o.MaxLanes {
		return nil
	}
	l := &lane{key: key, stored: d.removed[key]}
	if seq > 0 {
		l.after = seq - 1
	}
	delete(d.removed, key)
	d.lanes[key] = l
	d.s.lanes.Store(int64(len(d.lanes)))
	return l
}

// queue puts an event at the end of its lane.
func (d *dispatcher) queue(l *lane, it *item, dest destination) {
	if l.loadable() && it.event.Sequence <= l.last && !it.question.open() {
		return // the outbox was ahead of its cursor: the lane has it, or has dealt with it
	}
	d.dirty[l] = true
	l.last = max(l.last, it.event.Sequence)
	if l.loadable() && (l.spilled || len(l.queue) >= d.s.o.MaxQueued) {
		l.spilled = true
		if it.question.open() { // behind more than fits into memory, it would wait too long
			d.overtake(l, it, dest)
		}
		return
	}
	if !l.loadable() && len(l.queue) >= maxLoose {
		l.queue = append(l.queue[:1], l.queue[2:]...) // the head may be under way
		d.s.dropped.Add(1)
	}
	l.queue = append(l.queue, it)
	d.advance(l)
	if !it.question.open() || l.queue[0] == it {
		return
	}
	if !l.due.IsZero() {
		l.take(it)
		d.overtake(l, it, dest)
		return
	}
	heap.Push(&d.due, timer{at: time.Now().Add(d.s.o.Patience), lane: l, item: it})
}

// overtake sends an event that asks before those of its call that are stuck.
func (d *dispatcher) overtake(l *lane, it *item, dest destination) {
	l.sides++
	d.asks.add(dest.host(), task{lane: l, dest: dest, item: it, call: l.key.call, gap: true, side: true})
}

// advance gets the head of a lane going, if it is not, and ends a lane that is empty.
func (d *dispatcher) advance(l *lane) {
	if l.flying || !l.due.IsZero() {
		return
	}
	if l.empty() {
		d.remove(l)
		return
	}
	dest := d.s.find(l.key.endpoint)
	if dest.url == "" || dest.socket() {
		d.abandon(l, dest)
		return
	}
	t := task{
		lane: l, dest: dest, call: l.key.call, after: l.after, last: l.last,
		failures: l.failures, deliveryID: l.deliveryID, delivery: l.delivery,
	}
	pool := d.notes
	if len(l.queue) > 0 {
		t.item = l.queue[0]
		if t.item.question.open() {
			pool = d.asks
		}
	}
	l.flying = true
	pool.add(dest.host(), t)
}

// remove ends an empty lane.
func (d *dispatcher) remove(l *lane) {
	if l.sides > 0 || d.lanes[l.key] != l {
		return
	}
	delete(d.lanes, l.key)
	delete(d.dirty, l)
	if l.stored {
		d.removed[l.key] = true
	}
	d.s.lanes.Store(int64(len(d.lanes)))
}

// abandon drops what a lane has: its endpoint is not there any more.
func (d *dispatcher) abandon(l *lane, dest destination) {
	dropped := uint64(len(l.queue))
	if l.spilled {
		dropped = max(dropped, l.last-l.after) // at most: some of them may not have been wanted
	}
	d.s.dropped.Add(dropped)
	for _, it := range l.queue {
		d.nobody(dest, it)
	}
	if len(l.queue) > 0 && l.delivery != nil {
		l.delivery.settle(StateDropped, time.Time{}, time.Now().UTC())
		d.s.ledger.put(l.delivery)
	}
	l.queue, l.spilled, l.after = nil, false, l.last
	l.delivery, l.deliveryID = nil, ""
	d.remove(l)
}

// start lets workers begin what there is room for.
func (d *dispatcher) start(ctx context.Context) {
	if d.stopping {
		return
	}
	for {
		t, host, ok := d.asks.next()
		ask := ok
		if !ok {
			t, host, ok = d.notes.next()
		}
		if !ok {
			return
		}
		d.s.inFlight.Add(1)
		go func() { // ends with the tries' time-outs, or ctx
			r := d.s.work(ctx, t)
			r.host, r.ask = host, ask
			d.results <- r
		}()
	}
}

func (d *dispatcher) untilDue() time.Duration {
	if len(d.due) == 0 {
		return time.Hour
	}
	return max(time.Until(d.due[0].at), 0)
}

// fire deals with the timers that are due.
func (d *dispatcher) fire(now time.Time) {
	for len(d.due) > 0 && !d.due[0].at.After(now) {
		t := heap.Pop(&d.due).(timer)
		l := t.lane
		switch {
		case d.lanes[l.key] != l:
		case t.item == nil:
			if l.due.Equal(t.at) {
				l.due = time.Time{}
				d.advance(l)
			}
		case t.item.question.open() && len(l.queue) > 0 && l.queue[0] != t.item && l.take(t.item):
			d.overtake(l, t.item, d.s.find(l.key.endpoint))
		}
	}
}
