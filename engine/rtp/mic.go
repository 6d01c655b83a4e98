package rtp

import (
	"io"
	"sync/atomic"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// mic is a session's far end as a Source. A session that hears it does not call ReadFrame: it gets packets on
// arrival, or micFrame from the thread that both are on. ReadFrame serves every other reader (a mixer, a source
// around it), on whatever thread, through an exchange.
type mic struct {
	session  *Session
	exchange atomic.Pointer[exchange]
}

// ReadFrame gives the next 20 ms of what the far end says: silence when there is none, io.EOF when the session is
// closed. The first call only asks for it. It is called by one goroutine at a time.
func (m *mic) ReadFrame(f *media.Frame) error {
	s := m.session
	f.SetSilence()
	if s.owner.Load() == nil {
		return io.EOF
	}
	x := m.exchange.Load()
	if x == nil {
		x = new(exchange)
		if m.exchange.CompareAndSwap(nil, x) {
			s.do(func(*shard) {
				s.in.exchange = x
				s.setDemand()
			})
		}
		return nil
	}
	x.take(f)
	return nil
}

// micFrame is what the far end said in this turn, the same for all who ask. nil is silence.
func (s *Session) micFrame(sh *shard) *media.Frame {
	in := &s.in
	if turn := sh.turnNumber(); !in.frameValid || in.frameTurn != turn {
		in.frameValid, in.frameTurn = true, turn
		in.frame.SetSilence()
		if in.jitter != nil {
			payload := in.jitter.pop(sh.now)
			if len(payload) > 0 && !s.mutedIn && s.params.Receive {
				in.frame.SetPayload(in.codec, payload, s.decoder)
			}
		}
	}
	return &in.frame
}

// listenIn gives the turn's mic frame to the taps and the reader on another thread.
func (s *Session) listenIn(sh *shard) {
	f := s.micFrame(sh)
	s.listen(sh, media.In, f)
	if x := s.in.exchange; x != nil && !x.give(f) {
		s.in.exchange = nil
		s.mic.exchange.CompareAndSwap(x, nil)
		s.setDemand()
	}
}

const (
	exchangeSize = 4  // frames between the two threads; a fuller one drops the new frame
	exchangeIdle = 50 // frames nobody took until the reader is taken for gone
)

// An exchange hands frames from a shard to one reader on another thread, without a lock.
type exchange struct {
	slots [exchangeSize]exchanged
	given atomic.Uint32 // by the shard
	taken atomic.Uint32 // by the reader
	full  int           // frames in a row that found no room; the shard's

	decoder codec.Decoder // the reader's, for codec
	codec   codec.Codec
}

type exchanged struct {
	codec   codec.Codec
	payload []byte
}

// give passes f on; false when nobody has taken any for a second.
func (x *exchange) give(f *media.Frame) bool {
	given := x.given.Load()
	if given-x.taken.Load() == exchangeSize {
		x.full++
		return x.full < exchangeIdle
	}
	x.full = 0
	slot := &x.slots[given%exchangeSize]
	slot.codec = f.Codec()
	slot.payload = append(slot.payload[:0], f.Payload()...)
	x.given.Store(given + 1)
	return true
}

// take fills f with the oldest frame; f stays silent if there is none.
func (x *exchange) take(f *media.Frame) {
	taken := x.taken.Load()
	if taken == x.given.Load() {
		return
	}
	slot := &x.slots[taken%exchangeSize]
	if len(slot.payload) > 0 {
		if !x.codec.Same(slot.codec) {
			x.codec = slot.codec
			x.decoder, _ = slot.codec.NewDecoder() // nil: the frame finds none either and stays silent
		}
		f.SetPayload(slot.codec, slot.payload, x.decoder)
	}
	x.taken.Store(taken + 1)
}
