package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// frame is what an application reads.
type frame struct {
	Type    string         `json:"type"`
	Cursor  session.Cursor `json:"cursor"`
	Request bool           `json:"request"`
	Event   engine.Event   `json:"event"`
	Status  string         `json:"status"`
	EventID string         `json:"event_id"`
}

// wsApp is an application with a WebSocket. serve speaks on each connection until it returns.
type wsApp struct {
	url     string
	headers chan http.Header
	down    atomic.Bool
}

func newWSApp(t *testing.T, serve func(n int, read func() (frame, bool), write func(string))) *wsApp {
	t.Helper()
	a := &wsApp{headers: make(chan http.Header, 100)}
	up := websocket.Upgrader{}
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.Close() }()
		a.headers <- r.Header
		serve(int(n.Add(1)), func() (f frame, ok bool) {
			return f, ws.ReadJSON(&f) == nil
		}, func(s string) { _ = ws.WriteMessage(websocket.TextMessage, []byte(s)) })
	}))
	t.Cleanup(srv.Close)
	a.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return a
}

// TestSocketResume breaks the connection again and again; the application acknowledges now and then. Nothing is lost,
// and what comes twice was not acknowledged.
func TestSocketResume(t *testing.T) {
	h := newHouse(t, nil)
	const events = 300
	var mu sync.Mutex
	seen, acked := map[uint64]int{}, uint64(0)
	var connections atomic.Int32
	app := newWSApp(t, func(n int, read func() (frame, bool), write func(string)) {
		connections.Add(1)
		got := 0
		last := uint64(0)
		for {
			f, ok := read()
			if !ok {
				return
			}
			if f.Type != "event" {
				continue
			}
			mu.Lock()
			seq := f.Event.Sequence
			if seq <= acked {
				t.Errorf("%d was acknowledged and comes again", seq)
			}
			if last != 0 && seq != last+1 {
				t.Errorf("%d behind %d", seq, last)
			}
			last = seq
			seen[seq]++
			got++
			mu.Unlock()
			if got%10 == 0 {
				write(fmt.Sprintf(`{"type":"ack","cursor":%q}`, f.Cursor))
			}
			if got == 45 && n < 6 {
				write(`{"type":"ping"}`) // the pong tells that the acknowledgement was read
				for f.Type != "pong" {
					if f, ok = read(); !ok {
						return
					}
				}
				mu.Lock()
				acked = last - 5
				mu.Unlock()
				return // without a word
			}
		}
	})
	h.application(engine.Application{WebhookURL: app.url})
	header := <-app.headers
	if !verified(t, request{header: header}, secret) {
		t.Errorf("the upgrade request is not signed: %v", header)
	}
	for i := range events {
		h.publish("call_1", "call.test")
		if i == events/2 {
			h.reopen() // the node restarts, too
		}
	}
	defer func() {
		if t.Failed() {
			mu.Lock()
			defer mu.Unlock()
			var missing []uint64
			for i := uint64(1); i <= events; i++ {
				if seen[i] == 0 {
					missing = append(missing, i)
				}
			}
			t.Logf("missing %v", missing)
		}
	}()
	h.eventually("all events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == events
	})
	if connections.Load() < 4 {
		t.Errorf("only %d connections", connections.Load())
	}
}

func TestSocketRequests(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) { o.AskTimeout = 2 * time.Second })
	app := newWSApp(t, func(_ int, read func() (frame, bool), write func(string)) {
		for {
			f, ok := read()
			if !ok {
				return
			}
			if f.Type != "event" {
				continue
			}
			if asks := f.Event.Type == "call.incoming"; asks != f.Request {
				t.Errorf("%s with request %v", f.Event.Type, f.Request)
			}
			switch f.Event.CallID {
			case "call_answered":
				write(fmt.Sprintf(`{"type":"instructions","event_id":%q,"instructions":[{"action":"answer"}]}`, f.Event.ID))
				write(fmt.Sprintf(`{"type":"instructions","event_id":%q,"call_id":%q,"instructions":[{"action":"answer"}]}`, f.Event.ID, f.Event.CallID))
			case "call_steered":
				write(fmt.Sprintf(`{"type":"command","command_id":"c","call_id":%q,"action":"answer"}`, f.Event.CallID))
			case "call_nothing":
				write(fmt.Sprintf(`{"type":"instructions","event_id":%q,"instructions":[]}`, f.Event.ID))
			}
		}
	})
	h.application(engine.Application{WebhookURL: app.url})
	h.eventually("the socket", func() bool { return h.service.Stats().Sockets == 1 })
	h.publish("call_quiet", "call.initiated")
	asked := map[string]*asker{}
	for _, call := range []string{"call_answered", "call_steered", "call_nothing", "call_quiet"} {
		asked[call] = h.ask(call)
	}
	for call, a := range asked {
		r := a.wait(t)
		if r.err != nil || (r.ins != nil) != (call == "call_answered") {
			t.Errorf("%s: %+v, %v", call, r.ins, r.err)
		}
	}
	h.eventually("the commands", func() bool { return h.do.count() == 2 }) // the answer, and the second instructions
	h.close()
	for _, a := range asked {
		a.once(t)
	}
}

// TestSocketFallback has an application that cannot be reached.
func TestSocketFallback(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) { o.AskTimeout = 500 * time.Millisecond })
	app := newWSApp(t, func(_ int, read func() (frame, bool), _ func(string)) {
		for ok := true; ok; {
			_, ok = read()
		}
	})
	app.down.Store(true)
	h.application(engine.Application{WebhookURL: app.url})
	a := h.ask("call_1")
	if r := a.wait(t); engine.ErrorCode(r.err) != "webhook_failed" {
		t.Errorf("without a fallback: %v", r.err)
	}
	k := newHook(t, text(`{"instructions":[{"action":"answer"}]}`))
	h.application(engine.Application{WebhookURL: app.url, FallbackURL: k.URL})
	b := h.ask("call_2")
	if r := b.wait(t); r.err != nil || r.ins == nil {
		t.Errorf("with a fallback: %v", r.err)
	}
	app.down.Store(false) // it comes back and gets what it has missed, as events that ask nothing any more
	h.eventually("the socket", func() bool { return h.service.Stats().Sockets == 1 })
	h.eventually("the events", func() bool { return h.service.Stats().Delivered >= 2 })
	h.close()
	a.once(t)
	b.once(t)
}

// TestSocketReconnectsWithinTheWait has a connection that breaks before the question is answered; on the next one it is
// still a request.
func TestSocketReconnectsWithinTheWait(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) { o.AskTimeout = 20 * time.Second })
	app := newWSApp(t, func(n int, read func() (frame, bool), write func(string)) {
		for {
			f, ok := read()
			if !ok || f.Type == "event" && n == 1 {
				return
			}
			if f.Type == "welcome" && n == 1 {
				write(`{"type":"ack","cursor":"never sent"}`)
			}
			if f.Request {
				write(fmt.Sprintf(`{"type":"instructions","event_id":%q,"instructions":[{"action":"answer"}]}`, f.Event.ID))
			}
		}
	})
	h.application(engine.Application{WebhookURL: app.url})
	h.eventually("the socket", func() bool { return h.service.Stats().Sockets == 1 })
	e := h.emit("call_1", "call.test", nil)
	h.eventually("the second socket", func() bool { return len(app.headers) == 2 })
	_ = e
	a := h.ask("call_1")
	if r := a.wait(t); r.err != nil || r.ins == nil {
		t.Errorf("got %+v, %v", r.ins, r.err)
	}
	h.close()
	a.once(t)
}

// TestSocketShutdown stops the node with a question open.
func TestSocketShutdown(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) { o.AskTimeout = time.Minute })
	got := make(chan frame, 10)
	app := newWSApp(t, func(_ int, read func() (frame, bool), _ func(string)) {
		for {
			f, ok := read()
			if !ok {
				return
			}
			got <- f
		}
	})
	h.application(engine.Application{WebhookURL: app.url})
	a := h.ask("call_1")
	for f := range got {
		if f.Request {
			break
		}
	}
	h.close()
	if r := a.wait(t); engine.ErrorCode(r.err) != engine.CodeDraining {
		t.Errorf("answer %v", r.err)
	}
	a.once(t)
}

// TestSocketFollowsTheApplication closes the socket of an application that moves to HTTP, and opens one again.
func TestSocketFollowsTheApplication(t *testing.T) {
	h := newHouse(t, nil)
	app := newWSApp(t, func(_ int, read func() (frame, bool), _ func(string)) {
		for ok := true; ok; {
			_, ok = read()
		}
	})
	k := newHook(t, nil)
	h.application(engine.Application{WebhookURL: app.url})
	h.eventually("the socket", func() bool { return h.service.Stats().Sockets == 1 })
	h.application(engine.Application{WebhookURL: k.URL})
	h.eventually("no socket", func() bool { return h.service.Stats().Sockets == 0 })
	h.publish("call_1", "call.test")
	h.eventually("the webhook", func() bool { return k.count() == 1 })
	h.application(engine.Application{WebhookURL: app.url})
	h.eventually("the socket again", func() bool { return h.service.Stats().Sockets == 1 })
}

// TestSocketOfACall dials the WebSocket that a call names for itself.
func TestSocketOfACall(t *testing.T) {
	h := newHouse(t, nil)
	got := make(chan frame, 10)
	app := newWSApp(t, func(_ int, read func() (frame, bool), _ func(string)) {
		for {
			f, ok := read()
			if !ok {
				return
			}
			if f.Type == "event" {
				got <- f
			}
		}
	})
	for i := range 3 {
		h.log.Publish(engine.Event{
			ID: fmt.Sprintf("evt_%d", i), Type: "call.test", Timestamp: time.Now(), Sequence: uint64(i + 1),
			ProjectID: project, CallID: "call_1", Data: json.RawMessage(`{}`), WebhookURL: app.url,
		})
	}
	for i := range 3 {
		if f := <-got; f.Event.Sequence != uint64(i+1) {
			t.Errorf("sequence %d, want %d", f.Event.Sequence, i+1)
		}
	}
}

var _ stream.Commander = (*commander)(nil)
