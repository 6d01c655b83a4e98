package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// sockets are the WebSockets to applications with a ws:// or wss:// URL. They are open before a call comes. A call's
// own URL gets its socket with its first event, and keeps it until nothing has happened for a while.
type sockets struct {
	s *Service

	mu      sync.Mutex
	all     map[endpoint]*socket
	resume  map[endpoint]socketRecord // of sockets that are not open yet
	closed  bool
	running sync.WaitGroup
	ctx     context.Context //nolint:containedctx // of the sockets; nil before run

	questions map[string]*question // of the last minutes, by event id
	recent    []recentQuestion     // the same, oldest first
}

type recentQuestion struct {
	eventID string
	at      time.Time
}

// question is what an event asks. The dispatcher and the socket both see the event, in either order; they get the same
// question, so it is answered once.
func (k *sockets) question(e *engine.Event) *question {
	k.mu.Lock()
	defer k.mu.Unlock()
	if q := k.questions[e.ID]; q != nil {
		return q
	}
	now := time.Now()
	for len(k.recent) > 0 && now.Sub(k.recent[0].at) > keepAnswer+2*k.s.o.AskTimeout {
		delete(k.questions, k.recent[0].eventID)
		k.recent = k.recent[1:]
	}
	q := &question{reply: e.Answer}
	k.questions[e.ID] = q
	k.recent = append(k.recent, recentQuestion{e.ID, now})
	return q
}

// socketRecord is where a socket resumes; the outbox keeps it.
type socketRecord struct {
	Endpoint endpoint       `json:"endpoint"`
	Cursor   session.Cursor `json:"cursor"`
	Acks     bool           `json:"acks,omitempty"` // the application acknowledges, and Cursor is what it said
}

const (
	socketPrefix = "socket:"
	socketIdle   = 10 * time.Minute // then a call's own socket is closed
	socketSweep  = time.Minute
)

func socketID(ep endpoint) string { return socketPrefix + ep.Application }

func newSockets(s *Service) *sockets {
	return &sockets{
		s: s, all: make(map[endpoint]*socket), resume: make(map[endpoint]socketRecord), questions: make(map[string]*question),
	}
}

func (k *sockets) restore(r socketRecord) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.resume[r.Endpoint] = r
}

// run opens and closes sockets as applications change, until ctx ends; then it closes all and waits for them.
func (k *sockets) run(ctx context.Context) {
	k.mu.Lock()
	k.ctx = ctx
	for _, sock := range k.all { // made before by the dispatcher
		k.launch(sock)
	}
	k.mu.Unlock()
	changed := k.s.o.Store.Watch(ctx, session.KindApplication)
	sweep := time.NewTicker(socketSweep)
	defer sweep.Stop()
	for ctx.Err() == nil {
		if err := k.refresh(ctx); err != nil && ctx.Err() == nil {
			k.s.o.Logger.Error("applications cannot be read; trying again", "error", err)
			_ = sleep(ctx, time.Second)
			continue
		}
		select {
		case <-changed:
		case <-sweep.C:
			k.closeIdle(time.Now())
		case <-ctx.Done():
		}
	}
	k.mu.Lock()
	k.closed = true
	for _, sock := range k.all {
		sock.stop()
	}
	k.mu.Unlock()
	k.running.Wait()
}

// refresh opens the sockets of applications that have none, and closes those whose URL is another now.
func (k *sockets) refresh(ctx context.Context) error {
	want := make(map[endpoint]destination)
	for page := (session.Page{Limit: 1000}); ; {
		items, next, err := k.s.o.Store.List(ctx, session.KindApplication, "", page)
		if err != nil {
			return fmt.Errorf("webhook: applications: %w", err)
		}
		for _, it := range items {
			var app engine.Application
			if err := json.Unmarshal(it.Value, &app); err != nil {
				k.s.o.Logger.Error("an application cannot be read", "application", it.ID, "error", err)
				continue
			}
			d := destinationOf(endpoint{Project: it.Project, Application: it.ID}, &app)
			if d.socket() {
				want[d.endpoint] = d
			}
		}
		if page.After = next; next == "" {
			break
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for ep, sock := range k.all {
		if ep.URL == "" && want[ep].url != sock.url {
			sock.stop()
			delete(k.all, ep)
			k.resume[ep] = sock.record()
		}
	}
	for ep, dest := range want {
		if sock := k.all[ep]; sock != nil {
			sock.terms.Store(&dest)
			continue
		}
		k.add(dest, *k.s.read.Load())
	}
	return nil
}

// add makes a socket; with the lock held. It resumes where it stood, else behind after.
func (k *sockets) add(dest destination, after session.Cursor) *socket {
	ep := dest.endpoint
	r, ok := k.resume[ep]
	if !ok {
		r = socketRecord{Endpoint: ep, Cursor: after}
	}
	delete(k.resume, ep)
	sock := newSocket(k.s, dest, r)
	k.all[ep] = sock
	if k.ctx != nil && !k.closed {
		k.launch(sock)
	}
	return sock
}

// launch starts a socket; with the lock held.
func (k *sockets) launch(sock *socket) {
	ctx, stop := context.WithCancel(k.ctx)
	sock.stop = stop
	k.running.Go(func() { sock.run(ctx) }) // ends with stop
}

// take notes that an event for a socket is in the log behind after; the socket reads it there. If it asks, the socket
// sees to the answer.
func (k *sockets) take(dest destination, after session.Cursor, it *item) {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		it.question.answer(nil, errStopping())
		return
	}
	sock := k.all[dest.endpoint]
	if sock == nil {
		sock = k.add(dest, after)
	}
	k.mu.Unlock()
	sock.expect(it, dest)
}

// records are the places of sockets that have moved.
func (k *sockets) records() []socketRecord {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []socketRecord
	for ep, sock := range k.all {
		if ep.URL == "" && sock.moved.Swap(false) {
			out = append(out, sock.record())
		}
	}
	return out
}

// unwritten takes back what records gave.
func (k *sockets) unwritten(rs []socketRecord) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range rs {
		if sock := k.all[r.Endpoint]; sock != nil {
			sock.moved.Store(true)
		}
	}
}

// open is how many are connected.
func (k *sockets) open() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, sock := range k.all {
		if sock.isLive() {
			n++
		}
	}
	return n
}

// closeIdle closes sockets of calls that are long over.
func (k *sockets) closeIdle(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for ep, sock := range k.all {
		if ep.URL != "" && sock.idleSince(now) > socketIdle {
			sock.stop()
			delete(k.all, ep)
		}
	}
}

var _ stream.Source = (*session.Follower)(nil)

// window holds the cursors that were sent and not acknowledged, oldest first, so that only what was sent can be
// acknowledged.
type window struct{ sent []session.Cursor }

const maxWindow = 16_384

func (w *window) add(c session.Cursor) {
	if len(w.sent) == maxWindow {
		w.sent = w.sent[1:]
	}
	w.sent = append(w.sent, c)
}

// ack reports whether c was sent, and forgets what lies before it.
func (w *window) ack(c session.Cursor) bool {
	i := slices.Index(w.sent, c)
	if i < 0 {
		return false
	}
	w.sent = w.sent[i+1:]
	return true
}
