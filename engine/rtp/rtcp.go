package rtp

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"github.com/tipring/tipring/engine/codec"
)

// reportInterval is the time between our reports, half of it before the first, randomized so that senders do not fall
// into step (RFC 3550 §6.3.1).
const reportInterval = 5 * time.Second

// rtcpState is the control protocol of a session (RFC 3550 §6).
type rtcpState struct {
	cname  string
	sdp    netip.AddrPort // as the far end's SDP says
	remote netip.AddrPort
	to     rawAddress
	due    moment

	lastReport   uint32 // middle of the NTP time of the far end's last sender report
	lastReportAt moment

	remoteLoss   float64 // percent since the report before, as the far end tells
	remoteJitter float64 // units of the clock
	roundTrip    time.Duration
}

func (r *rtcpState) init(now moment) {
	var name [12]byte
	_, _ = rand.Read(name[:])             // never fails (crypto/rand)
	r.cname = hex.EncodeToString(name[:]) // RFC 7022 §4.2: random, and telling nothing
	r.due = now.add(randomInterval(reportInterval / 2))
}

// randomInterval is 0.5 … 1.5 of d.
func randomInterval(d time.Duration) time.Duration {
	return d/2 + time.Duration(uint64(d/time.Microsecond)*uint64(randomUint32())>>32)*time.Microsecond
}

func (r *rtcpState) setRemote(s *Session, a netip.AddrPort) {
	if r.sdp != a {
		r.sdp, r.remote = a, a
		r.to = s.sockets.rtcp.address(a)
	}
}

// turn sends a report when one is due, on hold too: it shows that the session lives.
func (r *rtcpState) turn(s *Session, sh *shard) {
	if sh.now < r.due {
		return
	}
	r.due = sh.now.add(randomInterval(reportInterval))
	s.sendRTCP(sh, s.report3550(sh))
}

func (s *Session) sendRTCP(sh *shard, packets []rtcp.Packet) {
	if !s.rtcp.remote.IsValid() || s.rtcp.remote.Port() == 0 || s.rtcp.remote.Addr().IsUnspecified() {
		return
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		s.drop(sh, DropRTCP)
		return
	}
	if errno := s.sockets.rtcp.send(b, &s.rtcp.to); errno != 0 {
		s.drop(sh, DropSend)
	}
}

// sendBye tells the far end that this stream is over (RFC 3550 §6.6).
func (s *Session) sendBye(sh *shard) {
	if s.ready && s.out.started {
		s.sendRTCP(sh, append(s.report3550(sh), &rtcp.Goodbye{Sources: []uint32{s.out.ssrc}}))
	}
}

// report3550 is a sender report if there is something sent, else a receiver report, with our name behind it.
func (s *Session) report3550(sh *shard) []rtcp.Packet {
	var blocks []rtcp.ReceptionReport
	if in := &s.in.statistics; in.started {
		block := rtcp.ReceptionReport{
			SSRC: in.ssrc, FractionLost: in.fraction(), TotalLost: uint32(min(in.lostNow(), 0x7fffff)),
			LastSequenceNumber: in.highest, Jitter: uint32(in.jitter), LastSenderReport: s.rtcp.lastReport,
		}
		if s.rtcp.lastReport != 0 {
			block.Delay = compactNTP(sh.now.sub(s.rtcp.lastReportAt))
		}
		blocks = append(blocks, block)
	}
	name := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: s.out.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: s.rtcp.cname}},
	}}}
	o := &s.out
	if !o.started {
		return []rtcp.Packet{&rtcp.ReceiverReport{SSRC: o.ssrc, Reports: blocks}, name}
	}
	return []rtcp.Packet{&rtcp.SenderReport{
		SSRC: o.ssrc, NTPTime: s.ntpNow(sh),
		RTPTime:     o.timestamp + ticks(sh.now.sub(o.sentAt), o.rate),
		PacketCount: o.packets, OctetCount: o.octets, Reports: blocks,
	}, name}
}

// receiveRTCP reads one datagram from the RTCP socket.
func (s *Session) receiveRTCP(sh *shard) {
	n, errno := s.sockets.rtcp.receive(sh.buffer[:], &sh.from)
	if errno != 0 {
		return
	}
	if n > maxDatagram {
		s.drop(sh, DropTooLong)
		return
	}
	s.readRTCP(sh, sh.buffer[:n], sh.from.addrPort())
}

// readRTCP takes a compound packet, whichever port it came by.
func (s *Session) readRTCP(sh *shard, b []byte, from netip.AddrPort) {
	if !s.ready || !s.knownRTCP(from) {
		s.drop(sh, DropSource)
		return
	}
	packets, err := rtcp.Unmarshal(b)
	if err != nil || len(packets) == 0 {
		s.drop(sh, DropRTCP)
		return
	}
	if !s.ownSender(packets[0], from) {
		s.drop(sh, DropSource)
		return
	}
	s.heard(sh)
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			s.rtcp.lastReport, s.rtcp.lastReportAt = uint32(p.NTPTime>>16), sh.now
			s.readReports(sh, p.Reports)
		case *rtcp.ReceiverReport:
			s.readReports(sh, p.Reports)
		}
	}
}

// knownRTCP is the first part of the source rule: where reports or RTP go to, the address of SDP, or the IP address
// that RTP is locked to.
func (s *Session) knownRTCP(from netip.AddrPort) bool {
	return from == s.rtcp.remote || from == s.rtcp.sdp || from == s.filter.remote() ||
		s.filter.locked.IsValid() && from.Addr() == s.filter.locked.Addr()
}

// ownSender is the second part: who is at another port must be the sender of the RTP, and reports then go back to
// where they came from.
func (s *Session) ownSender(first rtcp.Packet, from netip.AddrPort) bool {
	if from == s.rtcp.remote || from == s.filter.remote() {
		return true
	}
	var ssrc uint32
	switch p := first.(type) {
	case *rtcp.SenderReport:
		ssrc = p.SSRC
	case *rtcp.ReceiverReport:
		ssrc = p.SSRC
	default:
		return false
	}
	if from != s.rtcp.sdp && (!s.in.statistics.started || ssrc != s.in.statistics.ssrc) {
		return false
	}
	s.rtcp.remote, s.rtcp.to = from, s.sockets.rtcp.address(from)
	return true
}

// readReports takes what the far end says of our stream, and the round trip (RFC 3550 §6.4.1).
func (s *Session) readReports(sh *shard, reports []rtcp.ReceptionReport) {
	for _, r := range reports {
		if r.SSRC != s.out.ssrc {
			continue
		}
		s.rtcp.remoteLoss = float64(r.FractionLost) * 100 / 256
		if e, ok := s.encoder.(codec.LossAdapter); ok {
			e.AdaptLoss(s.rtcp.remoteLoss)
		}
		s.rtcp.remoteJitter = float64(r.Jitter)
		if r.LastSenderReport == 0 {
			continue
		}
		took := int32(uint32(s.ntpNow(sh)>>16) - r.LastSenderReport - r.Delay)
		if took >= 0 && took < 10<<16 { // else its clock or ours was set
			s.rtcp.roundTrip = time.Duration(took) * time.Second >> 16
		}
	}
}

func (s *Session) ntpNow(sh *shard) uint64 {
	return ntp(s.engine.clock.start.Add(time.Duration(sh.now)))
}

// ntp is t in seconds since 1900, 32.32 bits.
func ntp(t time.Time) uint64 {
	const between1900And1970 = 2208988800
	ns := uint64(t.Nanosecond())
	return (uint64(t.Unix())+between1900And1970)<<32 | ns<<32/uint64(time.Second)
}

// compactNTP is d in units of 1/65536 s.
func compactNTP(d time.Duration) uint32 { return uint32(uint64(d) << 16 / uint64(time.Second)) }
