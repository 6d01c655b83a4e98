package stream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func TestSubscribeFilters(t *testing.T) {
	s := newSite(t, allScopes, nil)
	c := s.dial()
	c.send(`{"type":"subscribe","types":["call.dtmf.*","call.ended"],"call_id":"call_1","application_id":"app_1"}`)
	c.expect("subscribed")
	s.publish("call_1", "call.answered")
	s.publish("call_2", "call.ended")
	s.log.Publish(engine.Event{ID: "evt_x", Type: "call.ended", Sequence: 1, ProjectID: "prj_other", CallID: "call_1x"})
	s.publish("call_1", "call.dtmf.received")
	s.publish("call_1", "call.ended")
	for _, want := range []string{"call.dtmf.received", "call.ended"} {
		m := c.expect("event")
		if m.Event.Type != want || m.Event.CallID != "call_1" || m.Request {
			t.Errorf("got %+v, want %s", m, want)
		}
	}
	c.send(`{"type":"subscribe","conference_id":"conf_1"}`) // replaces
	c.expect("subscribed")
	s.publish("call_1", "call.answered")
	s.log.Publish(engine.Event{
		ID: "evt_c", Type: "conference.locked", Sequence: 1, ProjectID: project, ConferenceID: "conf_1",
	})
	if m := c.expect("event"); m.Event.ConferenceID != "conf_1" || m.Event.Type != "conference.locked" {
		t.Errorf("got %+v, want that of the conference", m)
	}
	c.send(`{"type":"subscribe"}`)
	c.expect("subscribed")
	s.publish("call_2", "call.initiated")
	if m := c.expect("event"); m.Event.CallID != "call_2" {
		t.Errorf("got %+v", m)
	}
}

// TestResume reads some events, breaks the connection, and goes on behind the last cursor: nothing is lost, nothing
// comes twice, although events go on meanwhile.
func TestResume(t *testing.T) {
	s := newSite(t, allScopes, nil)
	const n = 400
	c := s.dial()
	c.send(`{"type":"subscribe"}`)
	cursor := c.expect("subscribed").After
	next := uint64(1)
	for next <= n {
		for range 20 {
			s.publish("call_1", "call.test")
		}
		for range 7 {
			m := c.expect("event")
			if m.Event.Sequence != next {
				t.Fatalf("sequence %d, want %d", m.Event.Sequence, next)
			}
			next, cursor = next+1, m.Cursor
		}
		_ = c.ws.Close()
		c = s.dial()
		c.send(fmt.Sprintf(`{"type":"subscribe","after":%q}`, cursor))
		c.expect("subscribed")
	}
}

func TestReplayFromTheStart(t *testing.T) {
	s := newSite(t, allScopes, nil)
	for range 3 {
		s.publish("call_1", "call.test")
	}
	c := s.dial()
	c.send(`{"type":"subscribe","after":""}`)
	c.expect("subscribed")
	for i := range 3 {
		if m := c.expect("event"); m.Event.Sequence != uint64(i+1) {
			t.Errorf("sequence %d", m.Event.Sequence)
		}
	}
	c.send(`{"type":"subscribe","after":"rubbish"}`)
	c.expect("subscribed")
	if m := c.expect("error"); m.Error.Code != engine.CodeValidation || m.Error.Errors[0].Pointer != "/after" {
		t.Errorf("got %+v", m)
	}
}

// TestLagged has a subscriber that does not read: it is told, closed with 1013, and resumes without loss.
func TestLagged(t *testing.T) {
	s := newSite(t, allScopes, func(o *stream.Options) {
		o.Queue = 200
		o.Pace = stream.Pace{WriteTimeout: time.Minute}
	})
	c := s.dial()
	c.send(`{"type":"subscribe"}`)
	c.expect("subscribed")
	big := strings.Repeat("x", 32<<10)
	for range 3 { // from the second on it reads what is live, not the backlog
		s.publish("call_0", "call.test")
		c.expect("event")
	}
	const n = 2000 // 64 MB: more than the sockets hold
	for i := range n {
		s.log.Publish(engine.Event{
			ID: fmt.Sprintf("evt_%d", i), Type: "call.test", Sequence: uint64(i + 1), ProjectID: project, CallID: "call_1",
			ClientState: big, Data: []byte(`{}`),
		})
		if i%50 == 49 { // the log's writer keeps up, the subscriber does not
			if _, err := s.log.WaitCall(t.Context(), project, "call_1", uint64(i), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	code, before := c.closed()
	if code != websocket.CloseTryAgainLater {
		t.Fatalf("close code %d", code)
	}
	last := before[len(before)-1]
	if last.Type != "lagged" || len(before) < 2 || last.Cursor != before[len(before)-2].Cursor {
		t.Fatalf("the last frame is %s with cursor %q behind %d frames", last.Type, last.Cursor, len(before))
	}
	next := before[len(before)-2].Event.Sequence + 1
	if next > n {
		t.Fatalf("it did not lag: %d events arrived", next-1)
	}
	c = s.dial()
	c.send(fmt.Sprintf(`{"type":"subscribe","after":%q}`, last.Cursor))
	c.expect("subscribed")
	for range 10 {
		if m := c.expect("event"); m.Event.Sequence != next {
			t.Fatalf("sequence %d, want %d", m.Event.Sequence, next)
		}
		next++
	}
}

func TestScopes(t *testing.T) {
	t.Run("none", func(t *testing.T) {
		if got := status(t, newSite(t, []session.Scope{session.ScopeConfigRead}, nil).url, nil); got != http.StatusForbidden {
			t.Errorf("status %d", got)
		}
	})
	t.Run("no key", func(t *testing.T) {
		if got := status(t, newSite(t, nil, nil).url, nil); got != http.StatusUnauthorized {
			t.Errorf("status %d", got)
		}
	})
	t.Run("events only", func(t *testing.T) {
		s := newSite(t, []session.Scope{session.ScopeEventsRead}, nil)
		c := s.dial()
		c.send(`{"type":"command","command_id":"c1","call_id":"call_1","action":"answer"}`)
		if m := c.expect("reply"); m.Status != "error" || m.Error.Code != "scope_missing" || m.CommandID != "c1" {
			t.Errorf("got %+v", m)
		}
		c.send(`{"type":"instructions","call_id":"call_1","instructions":[]}`)
		if m := c.expect("reply"); m.Error.Code != "scope_missing" {
			t.Errorf("got %+v", m)
		}
		if n := len(s.do.commands()); n != 0 {
			t.Errorf("%d commands were carried out", n)
		}
	})
	t.Run("commands only", func(t *testing.T) {
		c := newSite(t, []session.Scope{session.ScopeCallsWrite}, nil).dial()
		c.send(`{"type":"subscribe"}`)
		if m := c.expect("error"); m.Error.Code != "scope_missing" {
			t.Errorf("got %+v", m)
		}
	})
}

func TestOrigin(t *testing.T) {
	s := newSite(t, allScopes, func(o *stream.Options) { o.Origins = []string{"https://console.example.com"} })
	own := "http" + strings.TrimPrefix(s.url, "ws")
	for origin, want := range map[string]int{
		"": 101, own: 101, "https://console.example.com": 101, "https://evil.example": 403, "null": 403,
		"https://console.example.com.evil.example": 403,
	} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		if got := status(t, s.url, h); got != want {
			t.Errorf("origin %q: status %d, want %d", origin, got, want)
		}
	}
}

func TestNotAWebSocket(t *testing.T) {
	s := newSite(t, allScopes, nil)
	res, err := http.Get("http" + strings.TrimPrefix(s.url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusBadRequest || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d as %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
}

func TestMaxConnections(t *testing.T) {
	s := newSite(t, allScopes, func(o *stream.Options) { o.MaxConnections = 1 })
	s.dial()
	if got := status(t, s.url, nil); got != http.StatusServiceUnavailable {
		t.Errorf("status %d", got)
	}
}

func TestCloseSaysGoingAway(t *testing.T) {
	s := newSite(t, allScopes, nil)
	c := s.dial()
	over := make(chan error, 1)
	go func() { over <- s.server.Close(context.Background()) }()
	if code, _ := c.closed(); code != websocket.CloseGoingAway {
		t.Errorf("close code %d", code)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
	if got := status(t, s.url, nil); got != http.StatusServiceUnavailable {
		t.Errorf("a connection to a closed server: status %d", got)
	}
}

func TestRevokedKey(t *testing.T) {
	var revoked atomic.Bool
	s := newSite(t, allScopes, func(o *stream.Options) {
		o.Pace.Ping = 10 * time.Millisecond
		o.Valid = func(context.Context, session.Key) bool { return !revoked.Load() }
	})
	c := s.dial()
	c.send(`{"type":"ping"}`)
	c.expect("pong")
	revoked.Store(true)
	if code, _ := c.closed(); code != websocket.ClosePolicyViolation {
		t.Errorf("close code %d", code)
	}
}

// TestSilentClient does not answer pings: it is given up.
func TestSilentClient(t *testing.T) {
	s := newSite(t, allScopes, func(o *stream.Options) { o.Pace.Ping = 20 * time.Millisecond })
	c := s.dial()
	c.ws.SetPingHandler(func(string) error { return nil })
	_ = c.ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	_, _, err := c.ws.ReadMessage()
	if ne := (interface{ Timeout() bool })(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Fatal("the connection stays open")
	}
	if err == nil {
		t.Fatal("a frame came")
	}
}
