package webhook

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// The outbox is what the store keeps for a node: one cursorRecord, and a laneRecord for each lane that had something
// pending when the cursor was written. Events behind the cursor are read from the log again.

type cursorRecord struct {
	Cursor session.Cursor `json:"cursor"`
}

type laneRecord struct {
	Endpoint   endpoint       `json:"endpoint"`
	Call       string         `json:"call_id,omitempty"`
	Conference string         `json:"conference_id,omitempty"`
	After      uint64         `json:"after"`
	Last       uint64         `json:"last"`
	Done       []uint64       `json:"done,omitempty"`
	Failures   int            `json:"failures,omitempty"`
	Due        time.Time      `json:"due,omitzero"`
	DeliveryID string         `json:"delivery_id,omitempty"`
	Events     []engine.Event `json:"events,omitempty"` // of a lane that the log cannot give by call
}

// checkpoint is what the keeper writes together.
type checkpoint struct {
	items   []session.Item
	deletes map[string][]string // ids by project
}

func (s *Service) cursorID() string { return "cursor:" + s.o.Node }

func (s *Service) lanePrefix() string { return "lane:" + s.o.Node + ":" }

func (s *Service) laneID(k laneKey) string {
	parts := []string{k.endpoint.Project, k.endpoint.Application, k.endpoint.URL, k.call, k.conference}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return s.lanePrefix() + hex.EncodeToString(sum[:16])
}

func (l *lane) record() laneRecord {
	r := laneRecord{
		Endpoint: l.key.endpoint, Call: l.key.call, Conference: l.key.conference, After: l.after, Last: l.last,
		Failures: l.failures, Due: l.due, DeliveryID: l.deliveryID,
	}
	for seq := range l.done {
		r.Done = append(r.Done, seq)
	}
	if !l.loadable() {
		for _, it := range l.queue {
			r.Events = append(r.Events, it.event)
		}
	}
	return r
}

func outboxItem(project, id string, record any) (session.Item, error) {
	value, err := json.Marshal(record)
	if err != nil {
		return session.Item{}, fmt.Errorf("webhook: %s: %w", id, err)
	}
	return session.Item{Kind: session.KindOutbox, Project: project, ID: id, Value: value}, nil
}

// checkpoint hands what has changed to the keeper, if it is ready; last waits until it is.
func (d *dispatcher) checkpoint(last bool) {
	if d.busy && last {
		<-d.kept
		d.busy = false
	}
	sockets := d.s.sockets.records()
	if d.busy || len(d.dirty) == 0 && len(d.removed) == 0 && len(sockets) == 0 && d.read == d.written && d.s.ledger.empty() {
		d.s.sockets.unwritten(sockets)
		return
	}
	cp := checkpoint{deletes: make(map[string][]string)}
	add := func(project, id string, record any) {
		it, err := outboxItem(project, id, record)
		if err != nil {
			d.s.o.Logger.Error("the outbox cannot be written", "error", err)
			return
		}
		cp.items = append(cp.items, it)
	}
	for l := range d.dirty {
		l.stored = true
		add(l.key.endpoint.Project, d.s.laneID(l.key), l.record())
	}
	for k := range d.removed {
		cp.deletes[k.endpoint.Project] = append(cp.deletes[k.endpoint.Project], d.s.laneID(k))
	}
	for _, r := range sockets {
		add(r.Endpoint.Project, socketID(r.Endpoint), r)
	}
	// The cursor comes last: what lies before it is safe by then.
	add("", d.s.cursorID(), cursorRecord{Cursor: d.read})
	clear(d.dirty)
	clear(d.removed)
	d.written = d.read
	d.busy = true
	d.checkpoints <- cp // there is room: the keeper was ready
}

// keep writes checkpoints, and the deliveries of the ledger with them, until checkpoints is closed.
func (s *Service) keep(ctx context.Context, checkpoints <-chan checkpoint, ready chan<- struct{}) {
	const most = 500
	for cp := range checkpoints {
		items := append(s.ledger.take(), cp.items...)
		for len(items) > 0 {
			n := min(most, len(items))
			part := items[:n]
			items = items[n:]
			s.write(ctx, func() error { return s.o.Store.Put(ctx, part...) })
		}
		for project, ids := range cp.deletes {
			s.write(ctx, func() error { return s.o.Store.Delete(ctx, session.KindOutbox, project, ids...) })
		}
		ready <- struct{}{}
	}
}

// write tries until it succeeds or ctx ends. What is not written then is sent again after the next start.
func (s *Service) write(ctx context.Context, f func() error) {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := f()
		if err == nil {
			return
		}
		s.o.Logger.Error("the outbox cannot be written; trying again", "error", err)
		if errors.Is(err, session.ErrInvalid) || sleep(ctx, wait) != nil {
			return
		}
	}
}

// restore makes a dispatcher that goes on where the last one stopped.
func (s *Service) restore(ctx context.Context) (*dispatcher, error) {
	d := newDispatcher(s)
	for page := (session.Page{Limit: 1000}); ; {
		items, next, err := s.o.Store.List(ctx, session.KindOutbox, "", page)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			if err := d.restoreItem(it); err != nil {
				s.o.Logger.Error("a part of the outbox cannot be read and is left out", "id", it.ID, "error", err)
			}
		}
		if next == "" {
			break
		}
		page.After = next
	}
	s.read.Store(&d.read)
	for _, l := range d.lanes {
		if !l.due.IsZero() {
			heap.Push(&d.due, timer{at: l.due, lane: l})
			continue
		}
		d.advance(l)
	}
	return d, nil
}

func (d *dispatcher) restoreItem(it session.Item) error {
	switch {
	case it.ID == d.s.cursorID():
		var r cursorRecord
		if err := json.Unmarshal(it.Value, &r); err != nil {
			return err
		}
		d.read, d.written = r.Cursor, r.Cursor
	case strings.HasPrefix(it.ID, d.s.lanePrefix()):
		var r laneRecord
		if err := json.Unmarshal(it.Value, &r); err != nil {
			return err
		}
		d.restoreLane(r)
	case strings.HasPrefix(it.ID, socketPrefix):
		var r socketRecord
		if err := json.Unmarshal(it.Value, &r); err != nil {
			return err
		}
		d.s.sockets.restore(r)
	}
	return nil
}

func (d *dispatcher) restoreLane(r laneRecord) {
	l := &lane{
		key:   laneKey{endpoint: r.Endpoint, call: r.Call, conference: r.Conference},
		after: r.After, last: r.Last, failures: r.Failures, due: r.Due, deliveryID: r.DeliveryID, stored: true,
	}
	for _, seq := range r.Done {
		if l.done == nil {
			l.done = make(map[uint64]bool)
		}
		l.done[seq] = true
	}
	for i := range r.Events {
		l.queue = append(l.queue, &item{event: r.Events[i]})
	}
	l.spilled = l.loadable() && l.after < l.last
	d.lanes[l.key] = l
	d.s.lanes.Store(int64(len(d.lanes)))
}
