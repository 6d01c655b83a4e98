package rtp

import (
	"net/netip"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// inbound is what a session knows of the stream that comes in.
type inbound struct {
	codec      codec.Codec
	statistics reception
	lastPacket moment // of any accepted packet
	lost       bool   // MediaLost was reported

	packetTime time.Duration // of audio, as last seen; 0: not known
	sequence   uint16        // of the last audio packet
	timestamp  uint32
	seen       bool

	jitter     *jitterBuffer // only while somebody pulls the mic
	late       uint64        // lost in jitter buffers that are gone
	frame      media.Frame   // of the turn at hand
	frameTurn  int64
	frameValid bool
	rest       []int16   // decoded and not given yet, of packets that are no packet time long
	lostInRow  int       // packet times that were concealed
	concealed  uint64    // packet times, in all
	direct     bool      // somebody on this thread pulls the mic by ReadFrame
	directTurn int64     // when last
	directRate int       // in Hz, that it can use
	exchange   *exchange // towards a reader on another thread
}

func (in *inbound) setCodec(c codec.Codec) {
	in.codec = c
	in.statistics.setClock(c.ClockRate)
	in.seen, in.packetTime, in.frameValid = false, 0, false
	in.rest = in.rest[:0]
	if in.jitter != nil {
		in.late += in.jitter.unplayed()
		in.jitter = newJitterBuffer(c)
	}
}

// receiveRTP reads one datagram from the RTP socket.
func (s *Session) receiveRTP(sh *shard) {
	n, errno := s.sockets.rtp.receive(sh.buffer[:], &sh.from)
	if errno != 0 {
		return // EAGAIN, or what ICMP said of an earlier packet
	}
	if n > maxDatagram {
		s.drop(sh, DropTooLong)
		return
	}
	s.take(sh, sh.buffer[:n], sh.from.addrPort())
}

// take deals with a packet, which lies in sh.buffer.
func (s *Session) take(sh *shard, b []byte, from netip.AddrPort) {
	if isRTCP(b) {
		s.readRTCP(sh, b, from)
		return
	}
	h, start, end, why := parse(b)
	if why == dropNone {
		why = s.admit(sh, h, from)
	}
	if why != dropNone {
		s.drop(sh, why)
		return
	}
	s.heard(sh)
	sh.figures.packetsIn++
	if h.ssrc != s.in.statistics.ssrc {
		s.presses.Reset()
	}
	if s.params.Events && h.payloadType == s.params.EventRecvPT {
		s.in.statistics.update(h, sh.now, false)
		s.receiveEvent(sh, h, start, end)
		return
	}
	s.in.statistics.update(h, sh.now, h.payloadType == s.params.RecvPT)
	s.receiveAudio(sh, h, start, end)
}

// admit checks the payload type, then the source.
func (s *Session) admit(sh *shard, h header, from netip.AddrPort) DropReason {
	p := &s.params
	audio := h.payloadType == p.RecvPT || h.payloadType == payloadCN
	event := p.Events && h.payloadType == p.EventRecvPT
	if !s.ready || !audio && !event {
		return DropPayloadType
	}
	before := s.filter.locked
	why := s.filter.accept(from, h, sh.now)
	if s.filter.locked != before && s.setDestination() {
		s.report(sh, Event{Kind: SourceChanged, Remote: s.out.remote})
	}
	return why
}

// heard notes a sign of life.
func (s *Session) heard(sh *shard) {
	s.in.lastPacket = sh.now
	if s.in.lost {
		s.in.lost = false
		s.report(sh, Event{Kind: MediaBack, Remote: s.out.remote})
	}
}

// receiveAudio passes an audio packet on: at once to who relays, into the jitter buffer for who pulls.
func (s *Session) receiveAudio(sh *shard, h header, start, end int) {
	if !s.params.Receive {
		return
	}
	if h.payloadType == payloadCN && s.params.RecvPT != payloadCN {
		for _, hearer := range s.hearers {
			hearer.skip(sh, h)
		}
		if s.in.jitter != nil {
			s.in.jitter.pause()
		}
		return
	}
	s.in.measure(s, h)
	length := s.in.duration(end - start)
	for _, hearer := range s.hearers {
		if hearer.relaying {
			hearer.forward(sh, h, sh.buffer[start-headerSize:end], length)
		}
	}
	if j := s.in.jitter; j != nil {
		if why := j.push(h, sh.buffer[start:end], sh.now); why != dropNone {
			s.drop(sh, why)
		}
	}
}

// measure learns the packet time from two packets in a row.
func (in *inbound) measure(s *Session, h header) {
	if in.seen && h.sequence == in.sequence+1 && in.codec.ClockRate > 0 {
		step := h.timestamp - in.timestamp
		if took := time.Duration(step) * time.Second / time.Duration(in.codec.ClockRate); took != in.packetTime &&
			took > 0 && took <= 200*time.Millisecond {
			in.packetTime = took
			s.relink()
		}
	}
	in.sequence, in.timestamp, in.seen = h.sequence, h.timestamp, true
}

// duration is how many units of the clock a payload of n bytes lasts.
func (in *inbound) duration(n int) uint32 {
	switch {
	case bytewise(in.codec):
		return uint32(n)
	case in.packetTime > 0:
		return ticks(in.packetTime, in.codec.ClockRate)
	}
	return ticks(packetTime, in.codec.ClockRate)
}

// bytewise reports whether a payload of c is one byte per unit of the clock, so that it can be cut anywhere.
func bytewise(c codec.Codec) bool { return c.Bytewise() }

// ticks is d in units of a clock of rate Hz.
func ticks(d time.Duration, rate int) uint32 {
	return uint32(int64(d/time.Microsecond) * int64(rate) / 1_000_000)
}
