package stream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

const project = "prj_a"

// site is a server of streams over a real store.
type site struct {
	t      *testing.T
	store  session.Store
	log    *session.Log
	server *stream.Server
	url    string
	do     *recorder
	seq    map[string]uint64
}

// recorder is a Commander that keeps what it was told; answer decides.
type recorder struct {
	mu     sync.Mutex
	got    []engine.Command
	answer func(ctx context.Context, cmd engine.Command) (engine.Reply, error)
}

func (r *recorder) Do(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
	r.mu.Lock()
	r.got = append(r.got, cmd)
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		return answer(ctx, cmd)
	}
	return engine.Reply{Call: &engine.CallInfo{ID: cmd.Target(), State: engine.CallAnswered}, CommandID: "cmd_made"}, nil
}

func (r *recorder) commands() []engine.Command {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]engine.Command(nil), r.got...)
}

func newSite(t *testing.T, scopes []session.Scope, tune func(*stream.Options)) *site {
	t.Helper()
	store, err := session.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, store: store, log: session.NewLog(store, session.LogOptions{}), do: &recorder{}, seq: map[string]uint64{}}
	o := stream.Options{
		Commander: s.do, Log: s.log, Tail: store.Tail,
		Key: func(context.Context) (session.Key, bool) {
			return session.Key{ID: "key_1", ProjectID: project, Scopes: scopes}, len(scopes) > 0
		},
	}
	if tune != nil {
		tune(&o)
	}
	s.server = stream.Handler(o)
	srv := httptest.NewServer(s.server)
	s.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.server.Close(ctx); err != nil {
			t.Error(err)
		}
		srv.Close()
		_ = s.log.Close(ctx)
		_ = store.Close()
	})
	return s
}

var allScopes = []session.Scope{session.ScopeEventsRead, session.ScopeCallsWrite}

// publish puts an event of a call in the log.
func (s *site) publish(call, typ string) engine.Event {
	s.seq[call]++
	e := engine.Event{
		ID: fmt.Sprintf("evt_%s_%d", call, s.seq[call]), Type: typ, Timestamp: time.Now().UTC(), Sequence: s.seq[call],
		ProjectID: project, ApplicationID: "app_1", CallID: call, Data: json.RawMessage(`{}`),
	}
	s.log.Publish(e)
	return e
}

// client is the customer's program.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

// message is any frame of ours.
type message struct {
	Type         string          `json:"type"`
	Cursor       session.Cursor  `json:"cursor"`
	After        session.Cursor  `json:"after"`
	Request      bool            `json:"request"`
	Event        engine.Event    `json:"event"`
	CommandID    string          `json:"command_id"`
	EventID      string          `json:"event_id"`
	CallID       string          `json:"call_id"`
	Status       string          `json:"status"`
	ConferenceID string          `json:"conference_id"`
	Participant  json.RawMessage `json:"participant"`
	Call         json.RawMessage `json:"call"`
	Error        struct {
		Code   engine.Code `json:"code"`
		Status int         `json:"status"`
		Errors []struct {
			Pointer string `json:"pointer"`
		} `json:"errors"`
	} `json:"error"`
}

func (s *site) dial() *client {
	s.t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(s.t.Context(), s.url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	s.t.Cleanup(func() { _ = ws.Close() })
	c := &client{t: s.t, ws: ws}
	c.expect("welcome")
	return c
}

func (c *client) send(frame string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(frame)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read() message {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	var m message
	if err := c.ws.ReadJSON(&m); err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return m
}

func (c *client) expect(typ string) message {
	c.t.Helper()
	m := c.read()
	if m.Type != typ {
		c.t.Fatalf("got %+v, want type %q", m, typ)
	}
	return m
}

// closed reads until the connection is closed and gives the close code.
func (c *client) closed() (code int, before []message) {
	c.t.Helper()
	_ = c.ws.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		var m message
		err := c.ws.ReadJSON(&m)
		if e, ok := err.(*websocket.CloseError); ok { //nolint:errorlint // gorilla gives it bare
			return e.Code, before
		}
		if err != nil {
			c.t.Fatalf("no close frame: %v", err)
		}
		before = append(before, m)
	}
}

func status(t *testing.T, url string, header http.Header) int {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), url, header)
	if err == nil {
		_ = ws.Close()
	}
	if res == nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 400 && res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d as %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return res.StatusCode
}
