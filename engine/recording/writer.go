package recording

import (
	"sync"
	"time"
)

// workEvery is how often a writer looks after its recordings; their rings hold twenty times as much.
const workEvery = 100 * time.Millisecond

// A writer is the goroutine that renders and writes a share of the recordings.
type writer struct {
	disk  *Disk
	wake  chan struct{} // capacity 1: a recording is new, or is to end, or all are
	ended chan struct{} // closed when run has ended

	mu      sync.Mutex
	arrived []*take
	closing bool
}

func (w *writer) add(t *take) {
	w.mu.Lock()
	w.arrived = append(w.arrived, t)
	w.mu.Unlock()
	poke(w.wake)
}

func (w *writer) close() {
	w.mu.Lock()
	w.closing = true
	w.mu.Unlock()
	poke(w.wake)
}

// run ends when the writer is closed and all its recordings have ended.
func (w *writer) run() {
	defer close(w.ended)
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	var takes []*take
	var looked time.Time // at how much is free
	var full bool
	for {
		w.mu.Lock()
		takes = append(takes, w.arrived...)
		w.arrived = nil
		closing := w.closing
		w.mu.Unlock()
		if len(takes) == 0 {
			if closing {
				return
			}
			<-w.wake
			continue
		}
		now := time.Now()
		if now.Sub(looked) >= flushEvery {
			looked, full = now, w.disk.full()
		}
		left := takes[:0]
		for _, t := range takes {
			if closing {
				t.rec.Stop(ReasonShutdown)
			}
			if t.work(now, full) {
				w.disk.complete(t)
				continue
			}
			left = append(left, t)
		}
		clear(takes[len(left):])
		takes = left
		if len(takes) == 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-w.wake:
		}
	}
}

// poke leaves a wake-up in c if there is none.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
