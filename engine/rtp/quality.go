package rtp

import (
	"sync"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// publicQuality is a copy of a session's figures for other threads.
type publicQuality struct {
	mu         sync.Mutex
	quality    media.Quality
	lastPacket moment // 0: none yet
}

func (p *publicQuality) read() (media.Quality, moment) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quality, p.lastPacket
}

// publish copies the figures unless somebody is reading: the shard does not wait, but for the last time.
func (s *Session) publish(last bool) {
	p := &s.quality
	if last {
		p.mu.Lock()
	} else if !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	if s.in.statistics.received > 0 {
		p.lastPacket = s.in.lastPacket
	}
	s.fill(&p.quality)
}

// fill writes the figures; the strings are made only when they change.
func (s *Session) fill(q *media.Quality) {
	in, rate := &s.in.statistics, float64(max(1, s.out.rate))
	late := s.in.late
	if s.in.jitter != nil {
		late += s.in.jitter.unplayed()
	}
	q.Relayed = s.relaying
	q.PacketsReceived, q.PacketsSent = in.received, uint64(s.out.packets)
	q.PacketsLost, q.PacketsDropped = in.lost(), s.drops
	q.LossPercent = percent(in.lost(), in.expected())
	q.JitterMS = in.jitter * 1000 / rate
	q.RoundTripMS = float64(s.rtcp.roundTrip) / float64(time.Millisecond)
	q.RemoteLoss, q.RemoteJitterMS = s.rtcp.remoteLoss, s.rtcp.remoteJitter*1000/rate
	robustness := lossRobustness
	q.JitterBufferMS = 0
	if s.in.jitter != nil {
		q.JitterBufferMS = float64(s.in.jitter.target()) / float64(time.Millisecond)
		robustness = concealedRobustness
	}
	q.ConcealedMS = s.in.concealed * uint64(packetTime/time.Millisecond)
	q.MOS = 0
	if in.received > 0 {
		q.MOS = meanOpinion(percent(in.lost()+late, in.expected()), robustness, s.delay())
	}
	s.describe(q)
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return min(100, float64(part)*100/float64(whole))
}

// delay is mouth to ear as far as it is known: half the round trip, the packet, and the jitter buffer.
func (s *Session) delay() time.Duration {
	d := s.rtcp.roundTrip/2 + packetTime
	if s.in.jitter != nil {
		d += s.in.jitter.target()
	}
	return d
}

// describe writes what is text. The caller compares before it makes a new string.
func (s *Session) describe(q *media.Quality) {
	if s.described.codec != s.params.Codec || q.Codec == "" {
		s.described.codec = s.params.Codec
		q.Codec = s.params.Codec.String()
		s.described.pathFrom = codec.Codec{}
	}
	from := s.params.Codec
	if s.linked {
		from = s.from.params.Codec
	}
	if s.described.pathFrom != from || q.Path == "" {
		s.described.pathFrom = from
		q.Path = from.String() + " → " + q.Codec
	}
	if s.described.remote != s.out.remote {
		s.described.remote = s.out.remote
		q.RemoteAddress = s.out.remote.String()
	}
	if q.LocalAddress == "" {
		q.LocalAddress = s.localAddress()
	}
}

// The packet-loss robustness factors (Bpl) of G.113 for G.711: without concealment, and with it.
const lossRobustness, concealedRobustness = 4.3, 25.1

// meanOpinion is the MOS that the E-model (ITU-T G.107, with the planning values of G.113 for G.711: Ie 0) gives for
// random loss in percent, what is made of it, and a one-way delay:
//
//	R = 93.2 − Id − Ie,eff;  Ie,eff = Ie + (95 − Ie)·Ppl/(Ppl + Bpl);  Id = 0.024·d + 0.11·(d − 177.3)·H(d − 177.3)
//	MOS = 1 + 0.035·R + R·(R − 60)·(100 − R)·7·10⁻⁶
func meanOpinion(lossPercent, bpl float64, delay time.Duration) float64 {
	d := float64(delay) / float64(time.Millisecond)
	impairment := 0.024 * d
	if d > 177.3 {
		impairment += 0.11 * (d - 177.3)
	}
	r := 93.2 - impairment - 95*lossPercent/(lossPercent+bpl)
	if r <= 0 {
		return 1
	}
	return min(4.5, max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6))
}
