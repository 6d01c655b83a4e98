package webhook

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/session"
)

const (
	firstPause  = 100 * time.Millisecond // before it connects again
	mostPause   = 30 * time.Second
	steadyAfter = 10 * time.Second // a connection that lasted this long was a good one
	keepAnswer  = time.Minute      // that a question has been answered
)

// socket is the connection to one application, made again whenever it breaks.
type socket struct {
	s        *Service
	endpoint endpoint
	url      string
	stop     context.CancelFunc
	moved    atomic.Bool                 // its place has changed since it was recorded
	terms    atomic.Pointer[destination] // as of late

	mu        sync.Mutex
	place     socketRecord
	window    window
	live      bool
	closed    bool
	active    time.Time
	questions map[string]*asked // by event id
}

// asked is a question that went, or is to go, over a socket.
type asked struct {
	item  *item
	timer *time.Timer
	sent  bool // over the connection that is live now
	over  time.Time
}

func newSocket(s *Service, dest destination, r socketRecord) *socket {
	k := &socket{
		s: s, endpoint: r.Endpoint, url: dest.url, place: r, stop: func() {},
		active: time.Now(), questions: make(map[string]*asked),
	}
	k.terms.Store(&dest)
	k.moved.Store(true) // before the outbox's cursor moves on
	return k
}

// run connects and speaks until ctx ends, or the endpoint is gone.
func (k *socket) run(ctx context.Context) {
	defer k.end()
	log := k.s.o.Logger.With("application", k.endpoint.Application, "url", maskURL(k.url))
	pauseFor := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := k.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if e, ok := errors.AsType[*egress.Error](err); ok && e.Status == http.StatusGone {
			if err := k.s.disable(ctx, k.endpoint, ""); err != nil {
				log.Error("an application that is gone cannot be disabled", "error", err)
			}
			pauseFor = mostPause // refresh ends the socket before
		}
		if time.Since(began) > steadyAfter {
			pauseFor = firstPause
		}
		log.Warn("the application's socket is not connected", "error", err, "next_try_ms", pauseFor.Milliseconds())
		_ = sleep(ctx, jittered(pauseFor))
		pauseFor = min(2*pauseFor, mostPause)
	}
}

// connect makes one connection and speaks until it is over. The upgrade request is signed like a webhook without a
// body, by an id of its own.
func (k *socket) connect(ctx context.Context) error {
	header := http.Header{}
	sign(header, k.terms.Load().secrets, k.s.o.NewID("conn"), time.Now(), nil)
	ws, err := k.s.o.Egress.DialWebSocket(ctx, k.url, header, stream.ReadLimit)
	if err != nil {
		return err
	}
	return k.converse(ctx, ws)
}

func (k *socket) converse(ctx context.Context, ws *websocket.Conn) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	after := k.connected()
	defer k.disconnected()
	follower := k.s.o.Log.Follow(ctx, session.FollowOptions{
		Project: k.endpoint.Project, After: after, CatchUp: true,
		Match: func(e *engine.Event) bool { return k.terms.Load().wants(e) },
	})
	return stream.Converse(ctx, ws, stream.Terms{
		Project: k.endpoint.Project, Application: k.endpoint.Application, Commander: k.s.o.Commander,
		Logger: k.s.o.Logger, Pace: k.s.o.Pace, NewID: k.s.o.NewID, Events: follower, After: after,
		Asks: k.asks, Sending: k.sending, Received: k.received, Acked: k.acked, Answered: k.answered, Steered: k.steered,
	})
}

func (k *socket) connected() session.Cursor {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.live, k.window = true, window{}
	return k.place.Cursor
}

func (k *socket) disconnected() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.live = false
	for _, a := range k.questions {
		a.sent = false
	}
}

func (k *socket) isLive() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.live
}

func (k *socket) record() socketRecord {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.place
}

func (k *socket) idleSince(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return now.Sub(k.active)
}

// expect notes that the log has an event for the socket, and what it asks.
func (k *socket) expect(it *item, dest destination) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.active = time.Now()
	if it.question.open() {
		k.ask(it, dest)
	}
}

// ask begins to wait for an answer, once for each event; with the lock held.
func (k *socket) ask(it *item, dest destination) {
	if k.closed {
		it.question.answer(nil, errStopping())
		return
	}
	if _, known := k.questions[it.event.ID]; known {
		return
	}
	now := time.Now()
	for id, a := range k.questions {
		if !a.over.IsZero() && now.Sub(a.over) > keepAnswer {
			delete(k.questions, id)
		}
	}
	a := &asked{item: it}
	k.questions[it.event.ID] = a
	a.timer = time.AfterFunc(k.s.o.AskTimeout, func() { k.expire(a, dest) })
}

// expire ends the wait. An application that has the event steers by commands; one that could not be reached has a
// fallback, perhaps.
func (k *socket) expire(a *asked, dest destination) {
	k.mu.Lock()
	waiting, sent := a.over.IsZero(), a.sent && k.live
	k.mu.Unlock()
	switch {
	case !waiting:
	case sent:
		k.resolve(a, nil)
	case dest.fallback == "":
		if k.close(a) {
			a.item.question.answer(nil, engine.Errorf(problem.CodeWebhookFailed, "the application's WebSocket is not connected"))
		}
	default:
		if k.close(a) {
			k.askFallback(a.item, dest)
		}
	}
}

// askFallback asks by HTTP; it is called from the question's own timer goroutine, which ends with the try's time-out.
func (k *socket) askFallback(it *item, dest destination) {
	ctx, cancel := context.WithTimeout(context.Background(), k.s.o.AskTimeout)
	defer cancel()
	dest.url = ""
	t := task{dest: dest, item: it, side: true}
	d := k.s.delivery(ctx, &t)
	o, _ := k.s.ask(ctx, &t, d)
	state := StateDelivered
	if o.problem != "" {
		state = StateFailed // by HTTP; the event is still to go over the socket
	}
	d.settle(state, time.Time{}, time.Now().UTC())
	k.s.ledger.put(d)
}

// close marks a question as dealt with; false if it is already.
func (k *socket) close(a *asked) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !a.over.IsZero() {
		return false
	}
	a.over = time.Now()
	a.timer.Stop()
	return true
}

// resolve answers a question with what the application said, or with nothing.
func (k *socket) resolve(a *asked, ins *engine.Instructions) bool {
	if !k.close(a) {
		return false
	}
	if a.item.question.answer(ins, nil) {
		k.s.answered.Add(1)
	}
	return true
}

// asks implements stream.Terms: whether an event goes as a request. The dispatcher may not have come to it yet.
func (k *socket) asks(e *session.Logged) bool {
	if e.Answer != nil && time.Since(e.Timestamp) < k.s.o.AskTimeout {
		it := &item{event: e.Event, question: k.s.sockets.question(&e.Event)}
		it.event.Answer = nil
		k.expect(it, *k.terms.Load())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.questions[e.ID]
	if a == nil || !a.over.IsZero() {
		return false
	}
	a.sent = true
	return true
}

// sending implements stream.Terms.
func (k *socket) sending(c session.Cursor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.active = time.Now()
	k.s.delivered.Add(1)
	k.window.add(c)
}

// received implements stream.Terms. It says where the socket resumes with an application that acknowledges nothing.
func (k *socket) received(c session.Cursor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.place.Acks && slices.Contains(k.window.sent, c) {
		k.place.Cursor = c
		k.moved.Store(true)
	}
}

// acked implements stream.Terms. With the first acknowledgement it is they that say where the socket resumes.
func (k *socket) acked(c session.Cursor) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.window.ack(c) {
		k.place.Cursor, k.place.Acks = c, true
		k.moved.Store(true)
	}
}

// answered implements stream.Terms.
func (k *socket) answered(eventID string, ins *engine.Instructions) bool {
	k.mu.Lock()
	a := k.questions[eventID]
	k.mu.Unlock()
	if len(ins.Instructions) == 0 {
		ins = nil
	}
	return a != nil && k.resolve(a, ins)
}

// steered implements stream.Terms: an application that sends commands to a call needs to be asked no more.
func (k *socket) steered(callID string) {
	k.mu.Lock()
	var open []*asked
	for _, a := range k.questions {
		if a.item.event.CallID == callID && a.over.IsZero() {
			open = append(open, a)
		}
	}
	k.active = time.Now()
	k.mu.Unlock()
	for _, a := range open {
		k.resolve(a, nil)
	}
}

// end answers for all that is still open.
func (k *socket) end() {
	k.mu.Lock()
	k.closed = true
	var open []*asked
	for _, a := range k.questions {
		open = append(open, a)
	}
	k.mu.Unlock()
	for _, a := range open {
		if k.close(a) {
			a.item.question.answer(nil, errStopping())
		}
	}
}
