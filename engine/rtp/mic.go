package rtp

import (
	"io"
	"sync/atomic"
	"time"

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
	owner := s.owner.Load()
	if owner == nil {
		return io.EOF
	}
	if sh, ok := f.Asker.Thread.(*shard); ok && sh == owner {
		s.pulledDirectly(sh, f.Asker.Rate)
		f.SetAlias(s.micFrame(sh))
		return nil
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
			s.hearNext(sh.now)
			if s.mutedIn || !s.params.Receive {
				in.frame.SetSilence()
			}
		}
	}
	return &in.frame
}

// hearNext fills the mic's frame with the next packet time from the jitter buffer.
func (s *Session) hearNext(now moment) {
	in := &s.in
	decoder := s.decode()
	if decoder == nil || bytewise(in.codec) {
		s.hearWhole(in.jitter.pop(now))
		return
	}
	want := decoder.Rate() * int(packetTime/time.Millisecond) / 1000
	for tries := 0; len(in.rest) < want && tries < maxPackets; tries++ {
		payload := in.jitter.pop(now)
		if len(in.rest) == 0 && (len(payload) == 0 || in.codec.Duration(payload) == packetTime) {
			s.hearWhole(payload)
			return
		}
		if len(payload) == 0 {
			break
		}
		if pcm, err := decoder.Decode(in.rest, payload); err == nil {
			in.rest = pcm
		}
	}
	for len(in.rest) < want {
		in.rest = append(in.rest, 0)
	}
	in.frame.SetPCM(decoder.Rate(), in.rest[:want])
	in.rest = in.rest[:copy(in.rest, in.rest[want:])]
}

// maxPackets is how many packets make a packet time at most: Opus has 2.5 ms.
const maxPackets = 8

// hearWhole fills the mic's frame with a payload of a packet time, or with what stands for a lost one.
func (s *Session) hearWhole(payload []byte) {
	in := &s.in
	switch {
	case len(payload) > 0:
		in.lostInRow = 0
		in.frame.SetPayload(in.codec, payload, s.decode())
	case in.jitter.lost && in.lostInRow < maxConcealed:
		in.lostInRow++
		in.concealed++
		in.frame.SetLost(in.codec, in.jitter.following, s.decode())
	}
}

// maxConcealed is how many lost packet times in a row are made up for; silence follows.
const maxConcealed = 5

// pulledDirectly notes that somebody on the session's own thread reads the mic and can use rate Hz, so that there is
// something to read.
func (s *Session) pulledDirectly(sh *shard, rate int) {
	s.in.directTurn = sh.turnNumber()
	if !s.in.direct || s.in.directRate != rate {
		s.in.direct, s.in.directRate = true, rate
		s.setDemand()
	}
}

// stillPulled forgets a reader that has not come for a second.
func (s *Session) stillPulled(sh *shard) {
	if s.in.direct && sh.turnNumber()-s.in.directTurn > exchangeIdle {
		s.in.direct = false
		s.setDemand()
	}
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
	lost    bool
	rate    int // of pcm, which is there when payload is no packet time
	pcm     []int16
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
	slot.codec, slot.rate = f.Codec(), 0
	slot.payload, slot.pcm = append(slot.payload[:0], f.Payload()...), slot.pcm[:0]
	slot.lost = f.Lost()
	if len(slot.payload) == 0 && !slot.lost && !f.Silent() {
		pcm, rate := f.PCM()
		slot.rate, slot.pcm = rate, append(slot.pcm, pcm...)
	}
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
	switch {
	case len(slot.pcm) > 0:
		f.SetPCM(slot.rate, slot.pcm)
	case slot.lost && x.decoder != nil:
		f.SetLost(slot.codec, nil, x.decoder)
	case len(slot.payload) > 0:
		if !x.codec.Same(slot.codec) {
			x.codec = slot.codec
			x.decoder, _ = slot.codec.NewDecoderAt(wideband) // nil: the frame finds none either and stays silent
		}
		f.SetPayload(slot.codec, slot.payload, x.decoder)
	}
	x.taken.Store(taken + 1)
}
