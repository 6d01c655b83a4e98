package rtp

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// EventKind says what happened on the wire.
type EventKind uint8

// The events.
const (
	Digit         EventKind = iota + 1 // the far end keyed Event.Digit; once per press
	MediaLost                          // no packet for Options.MediaTimeout while both directions were on
	MediaBack                          // packets again, after MediaLost
	SourceChanged                      // by the source rules, packets now come from and go to Event.Remote
)

// An Event is something that happened on the wire and that the control side should know.
type Event struct {
	Kind   EventKind
	Digit  dtmf.Digit
	Remote netip.AddrPort
}

// eventQueue bounds Session.Events. What nobody takes is dropped and counted as DropEvent: 8 digits nobody collected are
// lost digits either way.
const eventQueue = 8

// Params are what an offer and its answer have settled.
type Params struct {
	Remote     netip.AddrPort // where the peer's SDP wants RTP
	RemoteRTCP netip.AddrPort // default: Remote's port + 1 (RFC 3550 §11)
	Signalling netip.Addr     // where the peer's SIP came from
	Codec      codec.Codec
	Fmtp       string // format parameters of Codec in the peer's description
	SendPT     uint8  // payload type of Codec in the peer's numbers
	RecvPT     uint8  // payload type of Codec in ours

	Events      bool // telephone-event is negotiated
	EventSendPT uint8
	EventRecvPT uint8
	EventClock  int // Hz, default Codec.ClockRate

	Send, Receive bool          // direction as we see it; both false: inactive
	PacketTime    time.Duration // that the peer wants to get: 10, 20, 30, 40 or 60 ms; anything else is 20 ms
	Learn         bool          // the peer is behind NAT, whatever its SDP looks like
}

func (p *Params) setDefaults() {
	if !p.RemoteRTCP.IsValid() && p.Remote.IsValid() && p.Remote.Port() != 0 {
		p.RemoteRTCP = netip.AddrPortFrom(p.Remote.Addr(), p.Remote.Port()+1)
	}
	p.Remote = netip.AddrPortFrom(p.Remote.Addr().Unmap(), p.Remote.Port())
	p.RemoteRTCP = netip.AddrPortFrom(p.RemoteRTCP.Addr().Unmap(), p.RemoteRTCP.Port())
	if p.EventClock <= 0 {
		p.EventClock = p.Codec.ClockRate
	}
	switch ms := p.PacketTime.Milliseconds(); ms {
	case 10, 20, 30, 40, 60:
		p.PacketTime = time.Duration(ms) * time.Millisecond
	default:
		p.PacketTime = packetTime
	}
}

// A Session is one leg's RTP and RTCP. It is a media.Line; all its methods may be called from any goroutine and,
// SendDTMF aside, return at once.
type Session struct {
	engine *Engine
	key    string
	mic    *mic
	events chan Event
	over   chan struct{} // closed when the shard has let go of it

	settled atomic.Pointer[Params]
	notify  atomic.Pointer[func()]
	owner   atomic.Pointer[shard] // whose thread may touch the wire state; nil when over
	quality publicQuality

	mu      sync.Mutex // guards the hand-over to the owner
	pending []func(*shard)
	waiting bool // posted to the owner, or being applied by it
	closed  bool

	home    *shard // where it is or will soon be; this and what follows: guarded by engine.placing
	hears   *Session
	heardBy map[*Session]struct{}
	room    any // that it hears
	leaving bool

	port    int // 0: a Transport carries its packets
	carried bool
	inbox   inbox
	*wire   // owned by the owner's thread; nil when over
}

var _ media.Line = (*Session)(nil)

func newSession(e *Engine, key string, sockets portPair) *Session {
	s := &Session{
		engine: e, key: key, events: make(chan Event, eventQueue), over: make(chan struct{}),
		port: sockets.port, wire: newWire(sockets, e.clock.now()),
	}
	s.mic = &mic{session: s}
	return s
}

// Port is the local RTP port; RTCP has the next one.
func (s *Session) Port() int { return s.port }

// Set applies what offer and answer have settled; again after each re-INVITE. It takes effect at the shard's next
// waking. Before the first Set every packet is dropped and none is sent.
func (s *Session) Set(p Params) {
	if s.carried {
		p.Remote, p.RemoteRTCP, p.Learn = carriedAddress(), carriedAddress(), false
	}
	p.setDefaults()
	s.settled.Store(&p)
	s.do(func(sh *shard) { s.configure(sh, p) })
}

// Events reports what happens on the wire. The channel is closed after Close.
func (s *Session) Events() <-chan Event { return s.events }

// Notify has f called on the media thread whenever Events has something new. f must not block: it hands on. Who reads
// Events all the time needs no Notify.
func (s *Session) Notify(f func()) { s.notify.Store(&f) }

// Hear sets what the far end hears; nil is comfort silence.
func (s *Session) Hear(src media.Source) { s.engine.hear(s, src) }

// Mic is what the far end says; the same Source every time.
func (s *Session) Mic() media.Source { return s.mic }

// Tap lets t listen to both directions until remove is called; what is relayed goes on to be. t may be called once
// more while remove is on its way.
func (s *Session) Tap(t media.Tap) (remove func()) {
	entry := &tap{to: t}
	s.do(func(sh *shard) { s.addTap(entry) })
	var once sync.Once
	return func() { once.Do(func() { s.do(func(sh *shard) { s.removeTap(entry) }) }) }
}

// Mute silences a direction: In is what the far end says, Out is what it hears.
func (s *Session) Mute(d media.Direction, on bool) {
	s.do(func(sh *shard) { s.mute(d, on) })
}

// Codec is the negotiated codec; the zero Codec before Set.
func (s *Session) Codec() codec.Codec {
	if p := s.settled.Load(); p != nil {
		return p.Codec
	}
	return codec.Codec{}
}

// Quality is a copy of the session's figures, at most 200 ms old.
func (s *Session) Quality() media.Quality {
	q, _ := s.quality.read()
	return q
}

// ReceivedWithin reports whether a packet of the far end was accepted within the last d, to 200 ms.
func (s *Session) ReceivedWithin(d time.Duration) bool {
	_, last := s.quality.read()
	return last > 0 && s.engine.clock.now().sub(last) <= d
}

// Close ends the session: RTCP BYE, sockets closed, port at rest. It is idempotent and does not wait.
func (s *Session) Close() {
	if s.engine.leave(s) {
		s.do(s.finish)
	}
}

// do hands f to the owner's thread. Closures of a session run in the order in which they came, wherever it moves to;
// none run after Close, and then do is false.
func (s *Session) do(f func(*shard)) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.pending = append(s.pending, f)
	post := !s.waiting
	s.waiting = true
	s.mu.Unlock()
	if post {
		s.owner.Load().post(s) // cannot change: an owner lets go only while it applies closures
	}
	return true
}

// apply runs what is pending, until the session is gone from sh.
func (s *Session) apply(sh *shard) {
	for s.owner.Load() == sh {
		s.mu.Lock()
		if len(s.pending) == 0 {
			s.pending, s.waiting = nil, false
			s.mu.Unlock()
			return
		}
		f := s.pending[0]
		s.pending = s.pending[1:]
		s.mu.Unlock()
		f(sh)
	}
}

// attach begins the session's life on a shard.
func (s *Session) attach(sh *shard) {
	if err := sh.adopt(s); err != nil {
		sh.engine.options.Log.Error("rtp: watch sockets", "port", s.sockets.port, "error", err)
	}
}

// move gives a closure that takes the session from the shard it is on to another one.
func (s *Session) move(to *shard) func(*shard) {
	return func(sh *shard) {
		if sh == to {
			return
		}
		s.unlinkAll()
		sh.release(s)
		s.mu.Lock()
		s.pending = append([]func(*shard){s.attach}, s.pending...)
		s.owner.Store(to)
		s.mu.Unlock()
		to.post(s)
	}
}

// finish is the last closure.
func (s *Session) finish(sh *shard) {
	s.sendBye(sh)
	s.unlinkAll()
	sh.release(s)
	s.keying.fail(ErrClosed)
	s.publish(true)
	s.mu.Lock()
	s.closed, s.pending = true, nil
	s.mu.Unlock()
	s.owner.Store(nil)
	if !s.carried {
		s.engine.ports.release(s.sockets, time.Now())
	}
	s.wire = nil // whoever keeps the session for its last figures does not keep that
	close(s.events)
	close(s.over)
	s.engine.alive.Done()
}
