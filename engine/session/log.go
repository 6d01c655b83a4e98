package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine"
)

// Errors of a Log, its followers, and a store.
var (
	ErrLagged  = errors.New("session: the follower fell behind")
	ErrDropped = errors.New("session: the event was dropped: the log's queue is full or the log is closed")
	ErrClosed  = errors.New("session: closed")
)

// LogOptions tune a Log.
type LogOptions struct {
	Queue  int // events waiting to be written; 0: 65,536
	Batch  int // events per write at most; 0: 1,024
	Recent int // written events kept in memory for followers; 0: 16,384
	// Gap is the least time from one write to the next: a busy log writes more events at once, a quiet one without
	// delay. 0: 4 ms; negative: none.
	Gap    time.Duration
	Logger *slog.Logger
}

// LogStats are a Log's figures so far.
type LogStats struct {
	Queued    int    // waiting to be written
	Capacity  int    // of the queue
	Published uint64 // taken by Publish
	Written   uint64
	Dropped   uint64 // refused because the queue was full, or the log closed
	Retries   uint64 // failed writes that were tried again
	Followers int
	Waiters   int // calls of WaitCall under way
}

// Log is the event log of one node: it writes what the engine publishes to the Store and only then shows it to
// followers, in the order of publishing. One goroutine writes, many events at once.
type Log struct {
	store  Store
	batch  int
	gap    time.Duration
	logger *slog.Logger

	published, written, dropped, retries atomic.Uint64
	followers                            atomic.Int64
	reported                             uint64 // of dropped, by the writer
	reportedAt                           time.Time

	wake    chan struct{} // to the writer: there is something, or the log closes
	stop    context.CancelFunc
	stopped chan struct{} // closed when the writer has ended

	mu      sync.Mutex
	queue   ring[engine.Event]                           // published, not written
	recent  recent                                       // written
	answers map[string]func(*engine.Instructions, error) // by event id: published, and not forgotten by recent
	changed chan struct{}                                // closed and made anew when recent grows
	waiting map[string][]chan struct{}                   // of WaitCall, by call or conference
	closed  bool                                         // no more events are taken
	over    bool                                         // no more events are written
}

var _ engine.Sink = (*Log)(nil)

// NewLog starts a log over store. Close ends it.
func NewLog(store Store, o LogOptions) *Log {
	if o.Queue <= 0 {
		o.Queue = 65_536
	}
	if o.Batch <= 0 {
		o.Batch = 1024
	}
	if o.Recent <= 0 {
		o.Recent = 16_384
	}
	if o.Gap == 0 {
		o.Gap = 4 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{
		store: store, batch: o.Batch, gap: o.Gap, logger: o.Logger,
		wake: make(chan struct{}, 1), stop: stop, stopped: make(chan struct{}),
		queue:   ring[engine.Event]{limit: o.Queue},
		recent:  newRecent(o.Recent),
		answers: map[string]func(*engine.Instructions, error){},
		changed: make(chan struct{}),
		waiting: map[string][]chan struct{}{},
	}
	go l.run(ctx)
	return l
}

// Publish implements engine.Sink: it queues e and never blocks. If the queue is full the event is dropped and counted,
// and its Answer gets ErrDropped. What e points to must not change any more.
func (l *Log) Publish(e engine.Event) {
	l.mu.Lock()
	ok := !l.closed && l.queue.push(e)
	if ok && e.Answer != nil {
		l.answers[e.ID] = e.Answer
	}
	l.mu.Unlock()
	if !ok {
		l.dropped.Add(1)
		if e.Answer != nil {
			e.Answer(nil, ErrDropped)
		}
		return
	}
	l.published.Add(1)
	poke(l.wake)
}

// run is the writer. It ends when the log is closed and everything is written, or when ctx ends.
func (l *Log) run(ctx context.Context) {
	defer close(l.stopped)
	defer l.end()
	for {
		l.report()
		l.mu.Lock()
		events, closed := l.queue.peek(l.batch), l.closed
		l.mu.Unlock()
		switch {
		case len(events) > 0:
			began := time.Now()
			if !l.write(ctx, events) {
				return
			}
			if len(events) < l.batch && !closed {
				l.pause(ctx, l.gap-time.Since(began))
			}
			continue
		case closed:
			return
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
	}
}

// pause lets events gather for d.
func (l *Log) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// report says, once per second at most, that events were dropped. The writer calls it.
func (l *Log) report() {
	if d := l.dropped.Load(); d > l.reported && time.Since(l.reportedAt) > time.Second {
		l.logger.Error("events were dropped", "dropped", d-l.reported, "dropped_total", d)
		l.reported, l.reportedAt = d, time.Now()
	}
}

// write appends events to the store, trying until it succeeds, and shows them. They stay queued meanwhile. It returns
// false if ctx ended first.
func (l *Log) write(ctx context.Context, events []engine.Event) bool {
	const first, most = 10 * time.Millisecond, time.Second
	var logged time.Time
	for wait := first; ; wait = min(2*wait, most) {
		cursors, err := l.store.Append(ctx, events)
		switch {
		case err == nil:
			l.show(events, cursors)
			return true
		case ctx.Err() != nil:
			return false
		case errors.Is(err, ErrInvalid):
			return l.writeValid(ctx, events, err)
		}
		l.report()
		l.retries.Add(1)
		if time.Since(logged) > time.Second {
			logged = time.Now()
			l.logger.Error("events cannot be written; trying again", "error", err, "waiting", l.Stats().Queued)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// writeValid writes events one by one and drops those that can never be written, so that they do not stop the log.
func (l *Log) writeValid(ctx context.Context, events []engine.Event, err error) bool {
	if len(events) > 1 {
		for i := range events {
			if !l.write(ctx, events[i:i+1]) {
				return false
			}
		}
		return true
	}
	e := &events[0]
	l.logger.Error("an event was dropped: it cannot be written", "event", e.ID, "type", e.Type, "subject", subject(e), "error", err)
	l.dropped.Add(1)
	l.mu.Lock()
	l.queue.drop(1)
	delete(l.answers, e.ID)
	l.mu.Unlock()
	if e.Answer != nil {
		e.Answer(nil, ErrDropped)
	}
	return true
}

// show moves written events from the queue to recent and wakes who waits for them.
func (l *Log) show(events []engine.Event, cursors []Cursor) {
	l.written.Add(uint64(len(events)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue.drop(len(events))
	for i := range events {
		e := events[i]
		e.Call, e.Conference, e.Recording = nil, nil, nil // they are in the store
		if gone, ok := l.recent.add(Logged{Event: e, Cursor: cursors[i]}); ok && gone.Answer != nil {
			delete(l.answers, gone.ID)
		}
		for _, c := range l.waiting[subject(&e)] {
			poke(c)
		}
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// end lets followers and waiters see that nothing comes any more, and answers for what was not written.
func (l *Log) end() {
	l.mu.Lock()
	l.closed, l.over = true, true
	left := l.queue.peek(l.queue.len())
	l.queue.drop(len(left))
	close(l.changed)
	for _, cs := range l.waiting {
		for _, c := range cs {
			poke(c)
		}
	}
	l.mu.Unlock()
	l.dropped.Add(uint64(len(left)))
	for _, e := range left {
		if e.Answer != nil {
			e.Answer(nil, ErrDropped)
		}
	}
	if len(left) > 0 {
		l.logger.Error("events were dropped: the log was closed before they could be written", "dropped", len(left))
	}
}

// WaitCall reads the events of a call, or of a conference, behind a sequence; if there are none it waits for one. When
// ctx ends first it returns nothing and no error. limit is 1…1000. project "" matches any.
func (l *Log) WaitCall(ctx context.Context, project, callID string, after uint64, limit int) ([]Logged, error) {
	woken := make(chan struct{}, 1)
	l.await(callID, woken)
	defer l.leave(callID, woken)
	for {
		// The store is asked even when ctx has ended: a wait of no time is a read.
		events, err := l.store.CallEvents(context.WithoutCancel(ctx), project, callID, after, limit)
		if err != nil || len(events) > 0 {
			return events, err
		}
		l.mu.Lock()
		over := l.over
		l.mu.Unlock()
		if over {
			return nil, ErrClosed
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (l *Log) await(callID string, c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[callID] = append(l.waiting[callID], c)
}

func (l *Log) leave(callID string, c chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.waiting[callID]
	for i := range rest {
		if rest[i] == c {
			rest = append(rest[:i], rest[i+1:]...)
			break
		}
	}
	if l.waiting[callID] = rest; len(rest) == 0 {
		delete(l.waiting, callID)
	}
}

// Stats are the figures so far.
func (l *Log) Stats() LogStats {
	l.mu.Lock()
	queued, capacity, waiters := l.queue.len(), l.queue.limit, 0
	for _, w := range l.waiting {
		waiters += len(w)
	}
	l.mu.Unlock()
	return LogStats{
		Queued: queued, Capacity: capacity,
		Published: l.published.Load(), Written: l.written.Load(), Dropped: l.dropped.Load(), Retries: l.retries.Load(),
		Followers: int(l.followers.Load()), Waiters: waiters,
	}
}

// Healthy is false from a half-full queue on, and when the log is closed: a node that says so gets no new calls, so
// the queue is relieved before anything is lost.
func (l *Log) Healthy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && 2*l.queue.len() < l.queue.limit
}

// Close takes no more events, writes what is queued and ends the followers when they have seen it. If ctx ends first,
// the rest is dropped and counted, and ctx's error returned.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	poke(l.wake)
	defer l.stop()
	select {
	case <-l.stopped:
		return nil
	case <-ctx.Done():
		l.stop()
		<-l.stopped
		return ctx.Err()
	}
}

// poke leaves a wake-up in c if there is none.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
