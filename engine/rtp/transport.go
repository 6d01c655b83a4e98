package rtp

import (
	"net/netip"
	"sync"
)

// A Transport carries the packets of a session in the place of sockets of its own: a browser's peer connection. Its methods
// are called on a media thread: they must not block, and they may not keep b.
type Transport interface {
	SendRTP(b []byte) error
	SendRTCP(b []byte) error
}

// inboxSize is how many packets may wait between a Transport and the media thread: more are dropped and counted.
const inboxSize = 64

// inbox holds packets that a Transport delivered until the media thread comes.
type inbox struct {
	mu      sync.Mutex
	packets [][]byte
	spare   [][]byte
	waiting bool // the media thread was asked to come
	dropped uint64
	reading [][]byte // the media thread's
}

// carriedAddress stands for the far end of a session that a Transport carries: who that is the Transport knows.
func carriedAddress() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9)
}

// OpenOn makes a session whose packets t carries, with the SSRC that t sends by. What t receives is to be given to Deliver.
// The error is ErrClosed.
func (e *Engine) OpenOn(key string, t Transport, ssrc uint32) (*Session, error) {
	s := newSession(e, key, portPair{rtp: socket{via: t.SendRTP}, rtcp: socket{via: t.SendRTCP}})
	s.carried, s.out.ssrc = true, ssrc
	if !e.begin(s) {
		return nil, ErrClosed
	}
	return s, nil
}

// Carry lets another Transport carry the session from now on: its stream goes on under another SSRC.
func (s *Session) Carry(t Transport, ssrc uint32) {
	s.do(func(*shard) {
		s.sockets.rtp.via, s.sockets.rtcp.via = t.SendRTP, t.SendRTCP
		s.out.ssrc, s.out.marker, s.out.mapped = ssrc, true, false
	})
}

// Deliver hands a packet that the Transport received, RTP or RTCP, to the session. It copies b and does not block; it may
// be called from any goroutine.
func (s *Session) Deliver(b []byte) {
	if len(b) == 0 || len(b) > maxDatagram {
		return
	}
	x := &s.inbox
	x.mu.Lock()
	if len(x.packets) >= inboxSize {
		x.dropped++
		x.mu.Unlock()
		return
	}
	var p []byte
	if n := len(x.spare); n > 0 {
		p, x.spare = x.spare[n-1], x.spare[:n-1]
	}
	x.packets = append(x.packets, append(p[:0], b...))
	ask := !x.waiting
	x.waiting = true
	x.mu.Unlock()
	if ask {
		s.do(s.collect)
	}
}

// collect deals with what waits in the inbox, as if it had just come from a socket.
func (s *Session) collect(sh *shard) {
	x := &s.inbox
	x.mu.Lock()
	x.packets, x.reading, x.waiting = x.reading[:0], x.packets, false
	sh.figures.drops[DropOverflow] += x.dropped
	s.drops += x.dropped
	x.dropped = 0
	x.mu.Unlock()
	for _, p := range x.reading {
		s.take(sh, sh.buffer[:copy(sh.buffer[:], p)], carriedAddress())
	}
	x.mu.Lock()
	x.spare = append(x.spare, x.reading...)
	x.reading = x.reading[:0]
	x.mu.Unlock()
}
