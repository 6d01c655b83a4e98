package session

import (
	"context"
	"sync"
)

// watchers wakes who waits for changes. The zero value is ready.
type watchers struct {
	mu sync.Mutex
	by map[Kind]map[chan struct{}]struct{}
}

// add makes a channel that holds at most one wake-up and is closed when ctx ends.
func (w *watchers) add(ctx context.Context, kind Kind) <-chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.by == nil {
		w.by = map[Kind]map[chan struct{}]struct{}{}
	}
	if w.by[kind] == nil {
		w.by[kind] = map[chan struct{}]struct{}{}
	}
	w.by[kind][c] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.by[kind], c)
		close(c)
	})
	return c
}

// notify wakes the watchers of kinds; one that was not read since the last time need not be woken again.
func (w *watchers) notify(kinds map[Kind]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range kinds {
		for c := range w.by[k] {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
