package webhook

import (
	"context"
	"time"

	"github.com/tipring/tipring/engine/session"
)

// windDown answers for what still asks, reads on to where the log ended, and waits for requests under way; those that
// last longer than the grace are canceled.
func (d *dispatcher) windDown(ctx context.Context, follower *session.Follower, cancel context.CancelFunc) error {
	d.stopping = true
	for _, l := range d.lanes {
		for i, it := range l.queue {
			if i > 0 || !l.flying {
				it.question.answer(nil, errStopping())
			}
		}
	}
	d.answerWaiting()
	grace := time.NewTimer(d.s.o.Grace)
	defer grace.Stop()
	within, stop := context.WithTimeout(ctx, d.s.o.Grace)
	defer stop()
	tail, err := d.s.o.Store.Tail(within)
	caughtUp := err != nil || tail == d.read
	for d.s.inFlight.Load() > 0 || !caughtUp {
		events := follower.Events()
		if caughtUp {
			events = nil
		}
		select {
		case e, ok := <-events:
			if ok {
				d.accept(&e)
			}
			caughtUp = !ok || e.Cursor == tail
		case r := <-d.results:
			d.finish(&r)
		case <-d.kept:
			d.busy = false
		case <-grace.C:
			cancel()
			caughtUp = true
		}
	}
	d.answerWaiting()
	return nil
}

// answerWaiting answers for questions that wait for a place in their pool.
func (d *dispatcher) answerWaiting() {
	for _, h := range d.asks.hosts {
		for _, t := range h.waiting {
			t.item.question.answer(nil, errStopping())
		}
	}
}
