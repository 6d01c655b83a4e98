package webhook

import (
	"slices"
	"time"

	"github.com/tipring/tipring/engine"
)

// item is an event in a lane.
type item struct {
	event    engine.Event
	question *question // nil if it asks nothing
}

// laneKey names a lane: an endpoint and a call, or a conference, or the events of neither.
type laneKey struct {
	endpoint   endpoint
	call       string
	conference string
}

// lane holds what an endpoint still has to get of one call, oldest first, one under way. It belongs to the dispatcher.
type lane struct {
	key     laneKey
	queue   []*item
	after   uint64          // sequence up to which all is dealt with
	last    uint64          // the newest event's sequence
	done    map[uint64]bool // dealt with out of turn
	spilled bool            // events behind the queue are to be read from the store

	failures   int       // in a row
	due        time.Time // waits for its next try; zero: it does not
	flying     bool      // its head waits for a place in the pool, or is under way
	sides      int       // events under way out of turn
	deliveryID string    // of the head
	delivery   *Delivery // of the head, if it is in memory

	stored bool // the outbox has a record of it
}

// loadable reports whether the store can give the lane's events again.
func (l *lane) loadable() bool { return l.key.call != "" }

func (l *lane) empty() bool { return len(l.queue) == 0 && !l.spilled }

// pop removes the head, which is dealt with.
func (l *lane) pop() {
	l.after = max(l.after, l.queue[0].event.Sequence)
	l.queue = l.queue[1:]
	l.deliveryID, l.delivery = "", nil
	l.forget()
}

// forget drops from done what lies behind.
func (l *lane) forget() {
	for seq := range l.done {
		if seq <= l.after {
			delete(l.done, seq)
		}
	}
}

// take removes an item from the queue; false if it is not there.
func (l *lane) take(it *item) bool {
	i := slices.Index(l.queue, it)
	if i < 0 {
		return false
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	return true
}

// putBack gives an item its place in the order again.
func (l *lane) putBack(it *item) {
	i := slices.IndexFunc(l.queue, func(o *item) bool { return o.event.Sequence > it.event.Sequence })
	if i < 0 {
		i = len(l.queue)
	}
	l.queue = slices.Insert(l.queue, i, it)
}

// spill forgets the queue, if the store has it too and nobody waits for an answer.
func (l *lane) spill() {
	if !l.loadable() || slices.ContainsFunc(l.queue, func(it *item) bool { return it.question.open() }) {
		return
	}
	l.queue, l.delivery, l.spilled = nil, nil, true
}

// task is something to do for a lane, with all that the worker needs of it.
type task struct {
	lane *lane // nil: of no lane. Only the dispatcher looks into it
	dest destination
	item *item // nil: to be loaded

	call        string
	after, last uint64
	failures    int
	deliveryID  string
	delivery    *Delivery
	gap         bool
	side        bool // out of turn
	again       bool // because the customer wants it once more: there is no next try
}

// result is what came of a task.
type result struct {
	task
	host string
	ask  bool // which pool it had a place in

	loaded  []*item // read from the store, the item among them
	through uint64  // up to which sequence
	err     error   // of loading

	state State
	next  time.Time // of the next try
	tries int
}

// timer is an entry of the dispatcher's heap: a lane's next try, or the end of an item's patience.
type timer struct {
	at   time.Time
	lane *lane
	item *item // nil: the lane's next try
}

// timers is a container/heap, earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return x
}
