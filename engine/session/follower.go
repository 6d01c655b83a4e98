package session

import (
	"context"
	"time"

	"github.com/tipring/tipring/engine"
)

// FollowOptions say what a Follower gets.
type FollowOptions struct {
	Project string                   // "" is all
	After   Cursor                   // the first event is the one behind it; "" is the log's start
	FromNow bool                     // only what is shown from now on; After is ignored
	Buffer  int                      // how many events of the log it may be behind before it has lagged; 0: 4,096
	CatchUp bool                     // when it has lagged it goes on from the store instead of ending with ErrLagged
	Match   func(*engine.Event) bool // narrows further; nil matches all. It must not block, nor change the event
}

// A Follower reads the log in order, without gap or duplicate. It holds no events of its own: it reads those that the
// log keeps in memory, and from the store what is older. An event that it gives still has its Answer if this process
// published it and still keeps it in memory; one from the store alone has none.
type Follower struct {
	log    *Log
	o      FollowOptions
	events chan Logged
	err    error // set before events is closed

	cursor Cursor // of the last event passed over, while it reads the store
	live   bool   // it reads memory, at pos
	pos    uint64
}

const (
	followBuffer = 4096
	followBatch  = 64          // events copied at once
	followPage   = 500         // events read from the store at once
	followPoll   = time.Second // to look for what others wrote to the store
)

// Follow shows events in the order of the log until ctx ends. A follower that reads slower than events come has lagged
// once it is more than o.Buffer behind (or more than the log keeps in memory).
func (l *Log) Follow(ctx context.Context, o FollowOptions) *Follower {
	if o.Buffer <= 0 {
		o.Buffer = followBuffer
	}
	f := &Follower{log: l, o: o, events: make(chan Logged), cursor: o.After}
	if o.FromNow {
		l.mu.Lock()
		f.live, f.pos, f.cursor = true, l.recent.next, l.recent.newest()
		l.mu.Unlock()
	}
	l.followers.Add(1)
	go f.run(ctx)
	return f
}

// Events gives the events; it is closed when the follower is over: see Err.
func (f *Follower) Events() <-chan Logged { return f.events }

// Err says why Events was closed: ErrLagged, ErrClosed (of the log), the context's error, or ErrCursor when After is no
// cursor of the store. Call it after Events is closed only.
func (f *Follower) Err() error { return f.err }

// run ends with ctx, with the log, or when the follower has lagged.
func (f *Follower) run(ctx context.Context) {
	defer f.log.followers.Add(-1)
	defer close(f.events)
	buf := make([]Logged, followBatch)
	for {
		var done bool
		if f.live {
			done, f.err = f.readMemory(ctx, buf)
		} else {
			done, f.err = f.readStore(ctx)
		}
		if done {
			return
		}
	}
}

// readMemory gives the next events that the log keeps in memory, or waits for them.
func (f *Follower) readMemory(ctx context.Context, buf []Logged) (done bool, err error) {
	l := f.log
	l.mu.Lock()
	events, kept := l.recent.from(f.pos, buf)
	behind, changed, over := l.recent.next-f.pos, l.changed, l.over
	l.mu.Unlock()
	switch {
	case behind > uint64(f.o.Buffer) && !f.o.CatchUp:
		return true, ErrLagged
	case !kept && f.cursor == "":
		return true, ErrLagged // it began before the first event and has passed none: no place to go on from
	case !kept:
		f.live = false
		return false, nil
	case len(events) > 0:
		for i := range events {
			if err := f.give(ctx, &events[i]); err != nil {
				return true, err
			}
			f.pos++
		}
		return false, nil
	case over:
		return true, ErrClosed
	}
	select {
	case <-changed:
		return false, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

// readStore gives the next page from the store, and goes over to memory as soon as its place is kept there.
func (f *Follower) readStore(ctx context.Context) (done bool, err error) {
	l := f.log
	l.mu.Lock()
	pos, kept := l.recent.behind[f.cursor]
	behind, changed, over := l.recent.next-pos, l.changed, l.over
	l.mu.Unlock()
	if kept && behind <= uint64(f.o.Buffer) {
		f.live, f.pos = true, pos
		return false, nil
	}
	after := f.cursor // give moves it
	events, next, err := l.store.Events(ctx, f.o.Project, after, followPage)
	if err != nil {
		return true, err
	}
	for i := range events {
		l.mu.Lock()
		events[i].Answer = l.answers[events[i].ID]
		l.mu.Unlock()
		if err := f.give(ctx, &events[i]); err != nil {
			return true, err
		}
	}
	if next != after {
		f.cursor = next
		return false, nil
	}
	if over {
		return true, ErrClosed
	}
	poll := time.NewTimer(followPoll)
	defer poll.Stop()
	select {
	case <-changed:
	case <-poll.C:
	case <-ctx.Done():
		return true, ctx.Err()
	}
	return false, nil
}

// give hands an event to the reader if it is for it.
func (f *Follower) give(ctx context.Context, e *Logged) error {
	if (f.o.Project == "" || e.ProjectID == f.o.Project) && (f.o.Match == nil || f.o.Match(&e.Event)) {
		select {
		case f.events <- *e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.cursor = e.Cursor
	return nil
}
