package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A Frame of the WebSocket, either way.
type Frame struct {
	Type      string         `json:"type"`
	Cursor    string         `json:"cursor"`
	Request   bool           `json:"request"`
	Event     *Event         `json:"event"`
	CommandID string         `json:"command_id"`
	EventID   string         `json:"event_id"`
	CallID    string         `json:"call_id"`
	Status    string         `json:"status"`
	Replayed  bool           `json:"replayed"`
	Call      map[string]any `json:"call"`
	Error     map[string]any `json:"error"`
}

// A Stream is one WebSocket conversation: events recorded, commands sent.
type Stream struct {
	events
	conn *websocket.Conn
	done chan struct{} // closed when reading has ended
	on   func(*Stream, Frame)

	mu     sync.Mutex
	frames []Frame
	next   int // command id
	closed error
	write  sync.Mutex
}

// Stream connects to /v1/stream.
func (n *Node) Stream() *Stream {
	n.t.Helper()
	s, res, err := n.TryStream(n.Key)
	if err != nil {
		n.t.Fatalf("harness: /v1/stream: %v %v", err, res)
	}
	return s
}

// TryStream connects to /v1/stream with a key, and may be refused.
func (n *Node) TryStream(key string) (*Stream, *http.Response, error) {
	d := websocket.Dialer{HandshakeTimeout: patience}
	conn, res, err := d.Dial("ws://"+n.HTTP+"/v1/stream", http.Header{"Authorization": {"Bearer " + key}})
	if err != nil {
		return nil, res, err
	}
	return newStream(n.t, conn, nil), res, nil
}

func newStream(t testing.TB, conn *websocket.Conn, on func(*Stream, Frame)) *Stream {
	s := &Stream{events: events{t: t, name: "stream"}, conn: conn, done: make(chan struct{}), on: on}
	go s.read() // ends when the connection does
	t.Cleanup(func() {
		conn.Close()
		<-s.done
	})
	return s
}

func (s *Stream) read() {
	defer close(s.done)
	for {
		_, b, err := s.conn.ReadMessage()
		if err != nil {
			s.mu.Lock()
			s.closed = err
			s.mu.Unlock()
			return
		}
		var f Frame
		if err := json.Unmarshal(b, &f); err != nil {
			s.t.Errorf("stream: a frame that is no JSON: %s", b)
			continue
		}
		s.mu.Lock()
		s.frames = append(s.frames, f)
		s.mu.Unlock()
		if f.Event != nil {
			s.add(*f.Event)
		}
		if s.on != nil {
			s.on(s, f)
		}
	}
}

// Frames are all frames so far.
func (s *Stream) Frames() []Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Frame(nil), s.frames...)
}

// Send sends a frame, or text as it is.
func (s *Stream) Send(frame any) {
	s.t.Helper()
	b, ok := frame.(string)
	if !ok {
		raw, err := json.Marshal(frame)
		if err != nil {
			s.t.Errorf("harness: %v", err)
			return
		}
		b = string(raw)
	}
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.conn.WriteMessage(websocket.TextMessage, []byte(b)); err != nil {
		s.t.Errorf("stream: %v", err)
	}
}

// WaitFrame waits for the first frame that matches, among all so far.
func (s *Stream) WaitFrame(what string, match func(Frame) bool) Frame {
	s.t.Helper()
	var found Frame
	Eventually(s.t, "stream gets "+what, func() bool {
		for _, f := range s.Frames() {
			if match(f) {
				found = f
				return true
			}
		}
		return false
	}, func() string { return fmt.Sprintf("%d frames, connection: %v", len(s.Frames()), s.Err()) })
	return found
}

// Subscribe subscribes with the given members and waits until the server says so.
func (s *Stream) Subscribe(fields map[string]any) {
	s.t.Helper()
	f := map[string]any{"type": "subscribe"}
	maps.Copy(f, fields)
	n := len(s.Frames())
	s.Send(f)
	Eventually(s.t, "stream is subscribed", func() bool {
		for _, f := range s.Frames()[n:] {
			if f.Type == "subscribed" {
				return true
			}
			if f.Type == "error" {
				s.t.Fatalf("subscribe: %v", f.Error)
			}
		}
		return false
	}, nil)
}

// Command sends a command and waits for its reply; callID "" goes with "originate".
func (s *Stream) Command(callID, action string, params map[string]any) Frame {
	s.t.Helper()
	s.mu.Lock()
	s.next++
	id := fmt.Sprintf("stream-%d-%d", time.Now().UnixNano(), s.next)
	s.mu.Unlock()
	f := map[string]any{"type": "command", "command_id": id, "action": action}
	if callID != "" {
		f["call_id"] = callID
	}
	maps.Copy(f, params)
	s.Send(f)
	return s.WaitFrame("a reply to "+action, func(f Frame) bool { return f.Type == "reply" && f.CommandID == id })
}

// Must is Command that fails the test if it is refused.
func (s *Stream) Must(callID, action string, params map[string]any) Frame {
	s.t.Helper()
	f := s.Command(callID, action, params)
	if f.Status != "accepted" {
		s.t.Fatalf("%s: %s %v", action, f.Status, f.Error)
	}
	return f
}

// Instruct answers an event that asks.
func (s *Stream) Instruct(e Event, ins ...Instruction) {
	s.t.Helper()
	s.Send(map[string]any{"type": "instructions", "event_id": e.ID, "call_id": e.CallID, "instructions": ins})
}

// Err is why the connection ended, nil while it is up.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close ends the connection.
func (s *Stream) Close() {
	s.conn.Close()
	<-s.done
}

// A StreamApp is an application that Tipring dials by WebSocket.
type StreamApp struct {
	events
	server *httptest.Server
	on     func(*Stream, Frame)

	mu      sync.Mutex
	streams []*Stream
	refuse  bool
}

// NewStreamApp starts an application that speaks WebSocket; on is called for each frame, from the reading goroutine.
func NewStreamApp(t testing.TB, on func(*Stream, Frame)) *StreamApp {
	t.Helper()
	a := &StreamApp{events: events{t: t, name: "wss application"}, on: on}
	a.server = httptest.NewServer(http.HandlerFunc(a.accept))
	t.Cleanup(func() {
		a.Drop()
		a.server.Close()
	})
	return a
}

// URL is the application's ws:// URL.
func (a *StreamApp) URL() string { return "ws" + strings.TrimPrefix(a.server.URL, "http") + "/app" }

func (a *StreamApp) accept(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	refuse := a.refuse
	a.mu.Unlock()
	if refuse {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	u := websocket.Upgrader{}
	conn, err := u.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s := newStream(a.t, conn, func(s *Stream, f Frame) {
		if f.Event != nil {
			a.add(*f.Event)
		}
		if a.on != nil {
			a.on(s, f)
		}
	})
	a.mu.Lock()
	a.streams = append(a.streams, s)
	a.mu.Unlock()
}

// Connections is how many times Tipring has connected.
func (a *StreamApp) Connections() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.streams)
}

// Refuse lets new connections fail, or come again.
func (a *StreamApp) Refuse(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = on
}

// Drop cuts all connections.
func (a *StreamApp) Drop() {
	a.mu.Lock()
	streams := a.streams
	a.mu.Unlock()
	for _, s := range streams {
		s.conn.Close()
	}
}
