package webrtc

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/engine/token"
)

const (
	keptEvents  = 256              // of a page, for when it comes back
	keptReplies = 64               // of a page's commands, for those that it sends again
	awayFor     = 60 * time.Second // without a socket, until a page is forgotten
	writeWait   = 5 * time.Second
	closeWait   = time.Second // for the page's close frame
	writeQueue  = 256         // frames for a slow page; one that is slower is cut off
)

// A page is a browser page that was welcomed; it outlives its socket by a minute.
type page struct {
	door    *Door
	session string

	mu      sync.Mutex // guards what follows
	claims  token.Claims
	socket  *socket // nil: away
	seq     uint64
	events  []eventFrame // the last ones
	replies map[string]reply
	order   []string // of replies
	away    *time.Timer
	gone    bool
}

// publish tells the page something, now or when it comes back. It does not block.
func (p *page) publish(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	f := eventFrame{Type: "event", Sequence: p.seq, Event: e}
	if len(p.events) == keptEvents {
		p.events = append(p.events[:0], p.events[1:]...)
	}
	p.events = append(p.events, f)
	if p.socket != nil {
		p.socket.send(f)
	}
}

// attach gives the page a socket and sends what it missed behind after; the one before is closed.
func (p *page) attach(s *socket, w welcome, after uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket != nil {
		p.socket.close(websocket.CloseNormalClosure, "the page has connected again")
	}
	p.socket = s
	if p.away != nil {
		p.away.Stop()
		p.away = nil
	}
	s.send(w)
	for _, e := range p.events {
		if e.Sequence > after {
			s.send(e)
		}
	}
}

// detach notes that a socket is gone.
func (p *page) detach(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.socket != s {
		return
	}
	p.socket = nil
	p.away = time.AfterFunc(awayFor, func() { p.door.leave(p) })
}

// may is what the page's token says now.
func (p *page) may() token.Claims {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.claims
}

// replied is the reply that a command got before.
func (p *page) replied(id string) (reply, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.replies[id]
	return r, ok && id != ""
}

// answer sends a reply and keeps it.
func (p *page) answer(r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.CommandID != "" {
		if len(p.order) == keptReplies {
			delete(p.replies, p.order[0])
			p.order = append(p.order[:0], p.order[1:]...)
		}
		p.replies[r.CommandID] = r
		p.order = append(p.order, r.CommandID)
	}
	if p.socket != nil {
		p.socket.send(r)
	}
}

// A socket is one WebSocket of a page. One goroutine writes, the handler's reads.
type socket struct {
	ws     *websocket.Conn
	out    chan any
	done   chan struct{}
	once   sync.Once
	reason []byte // of the close frame
}

func newSocket(ws *websocket.Conn) *socket {
	s := &socket{ws: ws, out: make(chan any, writeQueue), done: make(chan struct{})}
	go s.write() // ends with the socket
	return s
}

// send queues a frame; a page that does not read them is cut off, and comes back.
func (s *socket) send(frame any) {
	select {
	case s.out <- frame:
	default:
		s.close(websocket.CloseTryAgainLater, "the page reads too slowly")
	}
}

// close ends the socket; it does not wait.
func (s *socket) close(code int, why string) {
	s.once.Do(func() {
		s.reason = websocket.FormatCloseMessage(code, why)
		close(s.done)
	})
}

func (s *socket) write() {
	defer time.AfterFunc(closeWait, func() { _ = s.ws.Close() }) // the reader may have closed it before
	for {
		select {
		case f := <-s.out:
			if !s.put(f) {
				return
			}
		case <-s.done:
			for len(s.out) > 0 { // what was said before goes first
				if !s.put(<-s.out) {
					return
				}
			}
			_ = s.ws.WriteControl(websocket.CloseMessage, s.reason, time.Now().Add(writeWait))
			return
		}
	}
}

// drain reads what still comes until the page has closed too: a connection that is closed with something unread loses what
// was sent last.
func (s *socket) drain() {
	_ = s.ws.SetReadDeadline(time.Now().Add(closeWait))
	for {
		if _, _, err := s.ws.NextReader(); err != nil {
			_ = s.ws.Close()
			return
		}
	}
}

func (s *socket) put(frame any) bool {
	b, err := json.Marshal(frame)
	if err != nil {
		return true // of our own making; the next one may be better
	}
	if s.ws.SetWriteDeadline(time.Now().Add(writeWait)) != nil {
		return false
	}
	return s.ws.WriteMessage(websocket.TextMessage, b) == nil
}
