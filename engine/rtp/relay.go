package rtp

import (
	"encoding/binary"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

const (
	eventSize    = dtmf.EventSize
	maxMisorder  = 100             // older than that is another stream's number (RFC 3550 §A.1)
	maxDropout   = 3000            // a gap longer than that too
	maxTimeLeap  = 1 * time.Second // a timestamp may run ahead of real time so far
	eventSilence = 100 * time.Millisecond
)

// forward sends a packet of the mic that s hears on, right as it came: b is its payload behind room for a header,
// which is overwritten. Numbers are mapped so that for the far end the stream that it hears just goes on; what the
// network lost stays a gap in sequence numbers.
func (s *Session) forward(sh *shard, in header, b []byte, length uint32) {
	o := &s.out
	if !o.remote.IsValid() {
		return
	}
	switch {
	case !o.mapped || in.ssrc != o.inSSRC:
		s.remap(sh, in)
	case s.far(in) && !o.strange(in.sequence):
		s.drop(sh, DropLate) // one such packet is an old one; two in a row are a new beginning
		return
	case s.far(in) || s.leaps(sh, in):
		s.remap(sh, in)
	}
	sequence := in.sequence + o.sequence
	older := int16(sequence-o.next) < 0
	if older && int16(in.sequence-o.inFirst) < 0 {
		s.drop(sh, DropLate) // belongs before what we sent ourselves
		return
	}
	h := header{
		marker: in.marker || o.marker, payloadType: s.params.SendPT, sequence: sequence,
		timestamp: in.timestamp + o.offset, ssrc: o.ssrc,
	}
	h.put(b)
	if older {
		s.retransmit(sh, b)
		return
	}
	o.marker = false
	o.next = sequence
	o.timestamp, o.length, o.sentAt, o.started = h.timestamp, length, sh.now, true
	s.transmit(sh, b)
	sh.figures.relayed++
}

// far reports whether in's number is too far from the last one for packets of one stream (RFC 3550 §A.1).
func (s *Session) far(in header) bool {
	ahead := int16(in.sequence + s.out.sequence - s.out.next)
	return ahead <= -maxMisorder || ahead >= maxDropout
}

// strange reports whether a far number follows another far number.
func (o *outbound) strange(sequence uint16) bool {
	again := o.odd && sequence == o.oddNext
	o.odd, o.oddNext = !again, sequence+1
	return again
}

// leaps reports whether the timestamp of a newer packet goes back, or runs ahead of the time that passed.
func (s *Session) leaps(sh *shard, in header) bool {
	o := &s.out
	if int16(in.sequence+o.sequence-o.next) < 0 {
		return false
	}
	leap := int32(in.timestamp + o.offset - o.timestamp)
	return leap < 0 || leap > int32(ticks(sh.now.sub(o.sentAt)+maxTimeLeap, o.rate))
}

// remap lets the relayed stream, from in on, follow what was sent last.
func (s *Session) remap(sh *shard, in header) {
	o := &s.out
	timestamp, _ := o.upcoming(sh.now)
	o.inSSRC, o.inFirst = in.ssrc, in.sequence
	o.sequence, o.offset = o.next-in.sequence, timestamp-in.timestamp
	o.mapped, o.marker = true, true
	o.payload = o.payload[:0]
}

// retransmit sends a packet that other packets have overtaken: the next number stays.
func (s *Session) retransmit(sh *shard, b []byte) {
	next := s.out.next
	s.transmit(sh, b)
	s.out.next = next
	sh.figures.relayed++
}

// skip leaves a packet of the mic out (comfort noise and events that the far end did not negotiate) without a gap
// in the numbers.
func (s *Session) skip(sh *shard, in header) {
	o := &s.out
	if s.relaying && o.mapped && in.ssrc == o.inSSRC && in.sequence+o.sequence == o.next {
		o.sequence--
	}
	s.drop(sh, DropUnwanted)
}

// A relayedEvent is the key press that is being passed on.
type relayedEvent struct {
	timestamp uint32 // as it came
	sent      uint32 // as we send it
	last      moment // packet
	known     bool
	over      bool
}

// lasts reports whether audio pauses for the event.
func (e *relayedEvent) lasts(now moment) bool {
	return e.known && !e.over && now.sub(e.last) < eventSilence
}

// forwardEvent passes a telephone-event packet of the mic on, with the far end's payload type and clock. It does so
// too when audio is not relayed but converted, in our own numbers then.
func (s *Session) forwardEvent(sh *shard, in header, payload []byte, clock int) {
	o, p := &s.out, &s.params
	if !p.Send || !o.remote.IsValid() || s.mutedOut || s.keying.busy() || len(payload) < eventSize {
		return
	}
	if !p.Events {
		s.skip(sh, in)
		return
	}
	e := &o.event
	begins := !e.known || e.timestamp != in.timestamp
	sequence := o.next
	if s.relaying {
		if !o.mapped || in.ssrc != o.inSSRC {
			s.remap(sh, in)
		}
		sequence = in.sequence + o.sequence
		if int16(sequence-o.next) < 0 {
			s.drop(sh, DropLate) // each packet tells all, so an old one tells nothing
			return
		}
	}
	if begins {
		*e = relayedEvent{timestamp: in.timestamp, known: true}
		if s.relaying {
			e.sent = in.timestamp + o.offset
		} else {
			e.sent, _ = o.upcoming(sh.now)
		}
	}
	e.last, e.over = sh.now, payload[1]&0x80 != 0
	b := sh.scratch[:headerSize+eventSize]
	h := header{marker: begins, payloadType: p.EventSendPT, sequence: sequence, timestamp: e.sent, ssrc: o.ssrc}
	h.put(b)
	copy(b[headerSize:], payload[:eventSize])
	convertDuration(b[headerSize:], clock, p.EventClock)
	o.next = sequence
	s.transmit(sh, b)
	sh.figures.relayed++
}

// convertDuration tells the duration of an event in units of another clock (RFC 4733 §2.1).
func convertDuration(event []byte, from, to int) {
	if from == to || from <= 0 || to <= 0 {
		return
	}
	d := uint64(binary.BigEndian.Uint16(event[2:])) * uint64(to) / uint64(from)
	binary.BigEndian.PutUint16(event[2:], uint16(min(d, 0xffff)))
}
