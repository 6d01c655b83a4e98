package rtp

import (
	"net/netip"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

const (
	// maxLead is how far timestamps may run off the session's own clock before that is set by them. Within it, a
	// packet time that they run ahead is made good by leaving out one packet.
	maxLead = 60 * time.Millisecond
	// relayStall is how long a relayed stream may be silent until silence of our own is sent in its place.
	relayStall = 100 * time.Millisecond
)

// outbound is the stream that goes out: one SSRC, whose sequence numbers and timestamps go on whatever is heard.
type outbound struct {
	remote netip.AddrPort
	to     rawAddress

	ssrc      uint32
	next      uint16 // sequence number
	timestamp uint32 // of the last audio packet
	length    uint32 // of it, in units of the clock
	sentAt    moment // it
	started   bool
	lastAny   moment // when any packet was sent

	rate     int    // of the clock, in Hz
	zero     uint32 // the own clock: zero is the timestamp of zeroAt
	zeroAt   moment
	marker   bool // the next audio packet begins a talk-spurt
	payload  []byte
	payloadT uint32 // timestamp of payload's first byte

	silent bool // the last packet was silence
	rest   bool // a packet of silence is due between two sources, if the codec has a memory

	mapped   bool   // what follows maps the numbers of the relayed stream to ours
	inSSRC   uint32 //
	inFirst  uint16 // the first sequence number mapped
	sequence uint16 // what is to be added
	offset   uint32 // what is to be added to timestamps
	odd      bool   // the last relayed number was far from the one before; oddNext would follow it
	oddNext  uint16
	event    relayedEvent

	packets, octets uint32 // for sender reports
}

// maxPayload is 60 ms of a codec with one byte per sample, and room for a compressed one.
const maxPayload = 640

func (o *outbound) init(now moment) {
	o.ssrc, o.next, o.zero = randomUint32(), uint16(randomUint32()), randomUint32()
	o.zeroAt, o.lastAny = now, now
	o.marker = true
}

// setClock changes the rate of timestamps; they go on from where they are.
func (o *outbound) setClock(rate int, now moment) {
	if o.rate != rate {
		o.zero = o.clock(now)
		o.zeroAt = now
	}
	o.rate, o.mapped, o.marker = rate, false, true
	o.payload = o.payload[:0]
}

// clock is the own clock's timestamp at now.
func (o *outbound) clock(now moment) uint32 {
	return o.zero + ticks(now.sub(o.zeroAt), o.rate)
}

// upcoming is the timestamp for what is sent at now, right behind the last packet or at the own clock's time, and
// how far it is ahead of that clock.
func (o *outbound) upcoming(now moment) (timestamp, lead uint32) {
	clock := o.clock(now)
	if !o.started {
		return clock, 0
	}
	behind := o.timestamp + o.length
	ahead := int32(behind - clock)
	if limit := int32(ticks(maxLead, o.rate)); ahead > limit || ahead < -limit {
		// The relayed clock drifted, or there was a pause: go on by the time that really passed.
		due := o.timestamp + max(o.length, ticks(now.sub(o.sentAt), o.rate))
		o.zero += due - clock
		clock = due
		ahead = int32(behind - clock)
	}
	if ahead > 0 {
		return behind, uint32(ahead)
	}
	return clock, 0
}

// send is the session's own sending: in each turn a packet, unless a relayed one does it.
func (s *Session) send(sh *shard, at moment) {
	switch {
	case !s.params.Send || !s.out.remote.IsValid() || s.params.Codec.ClockRate <= 0:
		return
	case s.keying.busy() && s.key4733(sh, at):
		return
	case s.relaying:
		if len(s.taps) > 0 {
			s.listen(sh, media.Out, s.from.micFrame(sh))
		}
		if !s.out.mapped || sh.now.sub(s.out.lastAny) >= relayStall {
			s.sendSilence(sh, at)
		}
		return
	case s.out.event.lasts(sh.now):
		s.pull(sh) // audio pauses under a key, and what was said meanwhile is over
		return
	}
	if len(s.out.payload) == 0 {
		if _, lead := s.out.upcoming(at); lead >= ticks(packetTime, s.out.rate) {
			return
		}
	}
	if s.pauses() {
		s.sendSilence(sh, at)
		return
	}
	f := s.pull(sh)
	if f == nil || s.mutedOut {
		s.sendSilence(sh, at)
		return
	}
	s.sendFrame(sh, f, at)
}

// pauses reports whether silence has to be sent before what is heard next: a decoder with a memory of one source's encoder
// makes noise of another's first packets, and silence makes it forget.
func (s *Session) pauses() bool {
	rest := s.out.rest && !s.out.silent && !bytewise(s.params.Codec)
	s.out.rest = false
	return rest
}

// pull takes the next packet time of what the far end hears, and lets the taps listen; nil is silence.
func (s *Session) pull(sh *shard) *media.Frame {
	f := s.read(sh)
	if len(s.taps) > 0 {
		heard := f
		if f == nil || s.mutedOut {
			heard = sh.silence()
		}
		s.listen(sh, media.Out, heard)
	}
	return f
}

func (s *Session) read(sh *shard) *media.Frame {
	switch {
	case s.source == nil:
		return nil
	case s.from != nil:
		if s.from.owner.Load() == nil { // closed
			s.unlink()
			s.source, s.from = nil, nil
			return nil
		}
		if !s.linked {
			return nil
		}
		return s.from.micFrame(sh)
	}
	f := &sh.frame
	f.Asker = media.Asker{Thread: sh, Rate: s.params.Codec.SampleRate}
	f.SetSilence()
	if !sh.callSource(s.source, f) {
		s.source = nil
		return nil
	}
	return f
}

func (s *Session) sendFrame(sh *shard, f *media.Frame, at moment) {
	if f.Silent() {
		s.sendSilence(sh, at)
		return
	}
	if f.Lost() && f.Codec().Same(s.params.Codec) {
		s.leaveGap(sh, at)
		return
	}
	payload, err := f.Encode(s.params.Codec, s.encode())
	if err != nil || len(payload) == 0 {
		s.sendSilence(sh, at)
		return
	}
	s.packetize(sh, payload, at)
}

// leaveGap lets the far end see that a packet was lost before it came to us: it conceals better than we could.
func (s *Session) leaveGap(sh *shard, at moment) {
	if !bytewise(s.params.Codec) || s.params.PacketTime == packetTime {
		o := &s.out
		timestamp, _ := o.upcoming(at)
		o.next++
		o.timestamp, o.length, o.sentAt, o.started = timestamp, ticks(packetTime, o.rate), sh.now, true
		return
	}
	s.sendSilence(sh, at)
}

// sendSilence sends a packet time of comfort silence; the audio behind it begins a talk-spurt.
func (s *Session) sendSilence(sh *shard, at moment) {
	if !bytewise(s.params.Codec) {
		s.sendCodedSilence(sh, at)
		return
	}
	n := int(ticks(packetTime, s.params.Codec.ClockRate))
	silence := sh.silent[:min(n, len(sh.silent))]
	fill := s.params.Codec.Silence()
	for i := range silence {
		silence[i] = fill
	}
	s.out.marker = !s.out.started
	s.packetize(sh, silence, at)
	s.out.marker = true
}

// sendCodedSilence is sendSilence in a codec that has a payload for it. The encoder is told, for the far end's decoder hears
// it.
func (s *Session) sendCodedSilence(sh *shard, at moment) {
	const ms = int(packetTime / time.Millisecond)
	var payload []byte
	if e, ok := s.encoder.(codec.Silencer); ok {
		payload = e.EncodeSilence(sh.silent[:0], ms)
	} else {
		payload = s.params.Codec.AppendSilence(sh.silent[:0], ms)
	}
	if len(payload) > 0 {
		s.packetize(sh, payload, at)
		s.out.silent = true
	}
}

// packetize cuts audio into packets of the time that the peer wants.
func (s *Session) packetize(sh *shard, payload []byte, at moment) {
	o := &s.out
	o.mapped = false
	if s.params.PacketTime == packetTime || !bytewise(s.params.Codec) {
		timestamp, _ := o.upcoming(at)
		s.sendAudio(sh, payload, timestamp, ticks(packetTime, o.rate))
		return
	}
	if len(o.payload) == 0 {
		o.payloadT, _ = o.upcoming(at)
	}
	o.payload = append(o.payload, payload...)
	s.sendRest(sh)
}

// sendRest sends one packet of the peer's packet time if there is enough for it: after each turn, and half a turn
// later too if packets are of 10 ms.
func (s *Session) sendRest(sh *shard) {
	o := &s.out
	n := int(ticks(s.params.PacketTime, o.rate))
	if len(o.payload) < n || n == 0 || s.relaying || !s.params.Send || !o.remote.IsValid() {
		return
	}
	s.sendAudio(sh, o.payload[:n], o.payloadT, uint32(n))
	o.payloadT += uint32(n)
	o.payload = append(o.payload[:0], o.payload[n:]...)
}

func (s *Session) sendAudio(sh *shard, payload []byte, timestamp, length uint32) {
	o := &s.out
	h := header{
		marker: o.marker, payloadType: s.params.SendPT, sequence: o.next, timestamp: timestamp, ssrc: o.ssrc,
	}
	o.marker = false
	b := sh.scratch[:headerSize+copy(sh.scratch[headerSize:], payload)]
	h.put(b)
	o.timestamp, o.length, o.sentAt, o.started = timestamp, length, sh.now, true
	s.transmit(sh, b)
}

// transmit sends b, whose sequence number is the next one.
func (s *Session) transmit(sh *shard, b []byte) {
	o := &s.out
	o.next++
	o.lastAny, o.silent = sh.now, false
	o.packets++
	o.octets += uint32(len(b) - headerSize)
	if errno := s.sockets.rtp.send(b, &o.to); errno != 0 {
		s.drop(sh, DropSend)
		return
	}
	sh.figures.packetsOut++
}
