package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/tipring/tipring/engine"
)

// Limits of TrailWriter.
const (
	trailQueue = 8192        // trails that wait to be written
	trailBatch = 1024        // of one write
	trailGap   = time.Second // from one write to the next: many trails share one
	maxTrail   = 4 << 20     // bytes of one, uncompressed
)

// ReadTrail reads the trail of a call that is over; ErrNotFound if none is kept.
func ReadTrail(ctx context.Context, s Store, project, callID string) (r engine.TrailRecord, err error) {
	it, err := s.Get(ctx, KindTrail, project, callID)
	if err != nil {
		return r, err
	}
	size, err := s2.DecodedLen(it.Value)
	if err == nil && size > maxTrail {
		err = errors.New("too long")
	}
	var body []byte
	if err == nil {
		body, err = s2.Decode(nil, it.Value)
	}
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		return r, fmt.Errorf("session: the trail of %s is damaged: %w", callID, err)
	}
	return r, nil
}

// TrailWriter keeps trails in a Store. It implements engine.Trails: what comes faster than the store takes it is dropped and
// counted. A trail is in the store about a second after it was given.
type TrailWriter struct {
	store   Store
	retain  time.Duration
	log     *slog.Logger
	queue   chan Item
	closing chan struct{}
	done    chan struct{} // run has ended
	dropped atomic.Uint64

	mu     sync.RWMutex // guards closed against senders to queue
	closed bool
}

var _ engine.Trails = (*TrailWriter)(nil)

// NewTrailWriter starts a writer of trails that are kept for retain. Close ends it.
func NewTrailWriter(store Store, retain time.Duration, log *slog.Logger) *TrailWriter {
	w := &TrailWriter{
		store: store, retain: retain, log: log, queue: make(chan Item, trailQueue),
		closing: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

// SaveTrail implements engine.Trails.
func (w *TrailWriter) SaveTrail(project, callID string, r engine.TrailRecord) {
	body, err := json.Marshal(r)
	if err != nil {
		w.log.Error("a trail cannot be written", "call", callID, "error", err)
		return
	}
	it := Item{
		Kind: KindTrail, Project: project, ID: callID, Value: s2.Encode(nil, body), Expires: time.Now().Add(w.retain),
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		w.dropped.Add(1)
		return
	}
	select {
	case w.queue <- it:
	default:
		w.dropped.Add(1)
	}
}

// Dropped is the number of trails that could not be kept.
func (w *TrailWriter) Dropped() uint64 { return w.dropped.Load() }

// Close writes what waits and ends the writer.
func (w *TrailWriter) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.closing)
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.done
	return nil
}

// run ends when the queue is closed and empty.
func (w *TrailWriter) run() {
	defer close(w.done)
	for it := range w.queue {
		select {
		case <-time.After(trailGap):
		case <-w.closing:
		}
		batch := []Item{it}
		for len(batch) < trailBatch && len(w.queue) > 0 {
			if next, ok := <-w.queue; ok {
				batch = append(batch, next)
			}
		}
		if err := w.store.Put(context.Background(), batch...); err != nil {
			w.dropped.Add(uint64(len(batch)))
			w.log.Error("trails of calls cannot be written", "calls", len(batch), "error", err)
		}
	}
}
