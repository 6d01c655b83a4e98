package webrtc

import (
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/token"
)

// What a page may do.
const (
	maxFrame   = 64 << 10
	helloWait  = 10 * time.Second
	heartbeat  = 5 * time.Second
	silentPage = 4 * heartbeat
	frameRate  = 50.0 // per second
	frameBurst = 200.0
)

// Close codes of our own (RFC 6455 7.4.2: 4000 to 4999).
const (
	closeBadFrame = 4400
	closeToken    = 4401
	closeLate     = 4408
	closeTooFast  = 4429
)

// allowed checks the Origin of a page: a page of our own host, or one of the list. What is no browser sends none.
func (d *Door) allowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(d.o.Origins, "*") || slices.Contains(d.o.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// ServeHTTP implements http.Handler: the socket of a page.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ws, err := d.upgrader.Upgrade(w, r, nil)
	if err != nil {
		d.stats.refused.Add(1)
		return // the upgrader has answered
	}
	ws.SetReadLimit(maxFrame)
	s := newSocket(ws)
	defer s.drain()
	p, err := d.welcome(s)
	if err != nil {
		d.stats.refused.Add(1)
		d.log.Debug("page refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	defer p.detach(s)
	tokens, last := frameBurst, time.Now()
	for {
		f, err := d.read(s, silentPage)
		if err != nil {
			if engine.ErrorCode(err) == engine.CodeValidation {
				s.send(errorFrame{Type: "error", Error: problemOf(err)})
				s.close(closeBadFrame, "a frame that cannot be read")
			} else {
				s.close(websocket.CloseNormalClosure, "")
			}
			return
		}
		now := time.Now()
		tokens = min(frameBurst, tokens+now.Sub(last).Seconds()*frameRate)
		last = now
		if tokens--; tokens < 0 {
			s.send(errorFrame{Type: "error", Error: problemOf(engine.Errorf(codeRateLimited, "over %g frames per second", frameRate))})
			s.close(closeTooFast, "too many frames")
			return
		}
		switch f.Type {
		case "ping":
			s.send(bareFrame{"pong"})
		case "command":
			d.command(p, f)
		}
	}
}

// read waits for a frame.
func (*Door) read(s *socket, wait time.Duration) (*frameIn, error) {
	if err := s.ws.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	kind, b, err := s.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	if kind != websocket.TextMessage {
		return nil, engine.Errorf(engine.CodeValidation, "frames are text")
	}
	return decode(b)
}

// welcome waits for a page's hello and gives it its page, a new one or the one that it had.
func (d *Door) welcome(s *socket) (*page, error) {
	f, err := d.read(s, helloWait)
	if err == nil && f.Type != "hello" {
		err = engine.Errorf(engine.CodeValidation, "the first frame is a hello")
	}
	if err != nil {
		code := closeLate
		if engine.ErrorCode(err) == engine.CodeValidation {
			s.send(errorFrame{Type: "error", Error: problemOf(err)})
			code = closeBadFrame
		}
		s.close(code, "no hello")
		return nil, err
	}
	claims, err := d.verify(f.Token)
	if err != nil {
		s.send(errorFrame{Type: "error", Error: problemOf(err)})
		s.close(closeToken, string(engine.ErrorCode(err)))
		return nil, err
	}
	p := d.page(f.Session, claims)
	w := welcome{
		Type: "welcome", Session: p.session, Identity: claims.Identity, ExpiresAt: claims.ExpiresAt.UTC(),
		HeartbeatS: int(heartbeat / time.Second), Incoming: claims.Incoming, Outgoing: claims.Outgoing,
		ICEServers: d.servers(claims.Identity), Nodes: []string{}, Calls: []heldCall{},
	}
	for _, c := range f.Calls[:min(len(f.Calls), 16)] {
		_, err := d.leg(p, c.CallID)
		w.Calls = append(w.Calls, heldCall{CallID: c.CallID, Alive: err == nil})
	}
	p.attach(s, w, f.After)
	return p, nil
}

// verify reads a token; the error is an *engine.Error.
func (d *Door) verify(t string) (token.Claims, error) {
	c, err := d.o.Tokens.Verify(t)
	switch {
	case errors.Is(err, token.ErrExpired):
		return c, engine.Errorf(codeTokenExpired, "the token has expired: get a new one")
	case err != nil:
		return c, engine.Errorf(codeTokenInvalid, "%v", err)
	}
	return c, nil
}

// page is the page of a session, if it is the same one's, else a new one.
func (d *Door) page(session string, c token.Claims) *page {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pages[session]; p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.claims.Identity == c.Identity && p.claims.ProjectID == c.ProjectID {
			p.claims = c
			return p
		}
	}
	p := &page{door: d, session: newID(), claims: c, replies: map[string]reply{}}
	d.pages[p.session] = p
	return p
}

// errReplied says that a command has sent its reply itself: events follow it.
var errReplied = errors.New("replied")

// command carries out a command and replies. A panic in it costs this command only.
func (d *Door) command(p *page, f *frameIn) {
	if r, ok := p.replied(f.CommandID); ok {
		p.answer(r)
		return
	}
	r, err := d.guarded(p, f)
	if errors.Is(err, errReplied) || f.Action == "stats" || f.Action == "candidate" && err == nil {
		return
	}
	if err != nil && engine.ErrorCode(err) == engine.CodeInternal {
		d.log.Error("a page's command failed", "action", f.Action, "call", f.CallID, "error", err)
	}
	p.answer(replyTo(f, r, err))
}

// replyTo completes the reply to a command.
func replyTo(f *frameIn, r reply, err error) reply {
	if err != nil {
		return reply{Type: "reply", CommandID: f.CommandID, Status: "error", Error: problemOf(err)}
	}
	r.Type, r.CommandID, r.Status = "reply", f.CommandID, "accepted"
	return r
}

func (d *Door) guarded(p *page, f *frameIn) (r reply, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			d.log.Error("a page's command panicked", "action", f.Action, "panic", fault, "stack", string(debug.Stack()))
			err = engine.Errorf(engine.CodeInternal, "this node failed; its log says why")
		}
	}()
	return d.do(p, f)
}
