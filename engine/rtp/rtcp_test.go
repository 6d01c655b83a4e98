package rtp

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// tell sends RTCP from the phone's RTCP port.
func (p *phone) tell(s *Session, packets ...rtcp.Packet) {
	p.t.Helper()
	b, err := rtcp.Marshal(packets)
	if err != nil {
		p.t.Fatal(err)
	}
	to := netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(s.Port()+1))
	if _, err := p.rtcp.WriteToUDPAddrPort(b, to); err != nil {
		p.t.Fatal(err)
	}
}

// waitReport waits for the phone's n-th compound packet.
func (p *phone) waitReport(n int) []rtcp.Packet {
	p.t.Helper()
	var b []byte
	eventually(p.t, "a report comes", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.reports) < n {
			return false
		}
		b = p.reports[n-1]
		return true
	})
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return packets
}

func TestReports(t *testing.T) {
	sh, s, p := handSingle(t, mustPCMU(), nil)
	for _, i := range []uint16{1, 2, 3, 5, 6, 7, 8, 9, 10} { // one of ten is lost
		p.sequence = i
		p.ts = uint32(i) * 160
		p.say(s, filled(1))
		sh.expect(t, 1)
		sh.pass(packetTime)
	}
	sh.pass(reportInterval / 2 * 3 / 2)
	packets := p.waitReport(1)
	if err := rtcp.CompoundPacket(packets).Validate(); err != nil {
		t.Errorf("not a valid compound packet (RFC 3550 §6.1): %v", err)
	}
	sr, ok := packets[0].(*rtcp.SenderReport)
	if !ok {
		t.Fatalf("first packet is %T", packets[0])
	}
	h := p.waitCount(20)
	if sr.SSRC != h[0].SSRC || sr.PacketCount == 0 || sr.OctetCount != sr.PacketCount*160 {
		t.Errorf("sender report %+v", sr)
	}
	if len(sr.Reports) != 1 {
		t.Fatalf("%d blocks", len(sr.Reports))
	}
	r := sr.Reports[0]
	if r.SSRC != p.ssrc || r.TotalLost != 1 || r.FractionLost != 25 || uint16(r.LastSequenceNumber) != 10 || r.LastSenderReport != 0 {
		t.Errorf("block %+v", r)
	}
	cname, ok := packets[1].(*rtcp.SourceDescription)
	if !ok || len(cname.Chunks) != 1 || cname.Chunks[0].Source != sr.SSRC || len(cname.Chunks[0].Items[0].Text) < 16 {
		t.Errorf("second packet %+v", packets[1])
	}
	s.Close()
	sh.pass(0)
	for n := 2; ; n++ { // a second report may be between
		last := p.waitReport(n)
		if bye, ok := last[len(last)-1].(*rtcp.Goodbye); ok {
			if len(bye.Sources) != 1 || bye.Sources[0] != sr.SSRC {
				t.Errorf("BYE of %v", bye.Sources)
			}
			return
		}
	}
}

func TestReportIntervals(t *testing.T) {
	sh, _, p := handSingle(t, mustPCMU(), nil)
	sh.pass(60 * time.Second)
	p.waitReport(8) // 60 s / 7.5 s
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.reports); n > 25 {
		t.Errorf("%d reports in a minute", n)
	}
}

// Round trip, loss and jitter as the far end reports them (RFC 3550 §6.4.1).
func TestReportsOfTheFarEnd(t *testing.T) {
	sh, s, p := handSingle(t, mustPCMU(), nil)
	p.say(s, filled(1))
	sh.expect(t, 1)
	sh.pass(reportInterval)
	sr := p.waitReport(1)[0].(*rtcp.SenderReport)
	sent := uint32(sr.NTPTime >> 16)
	// The report left some time before; the far end kept it for 100 ms less than has passed, less 80 ms of travel.
	now := uint32(s.ntpNow(sh) >> 16)
	p.tell(s, &rtcp.SenderReport{SSRC: p.ssrc, NTPTime: 0x1122334455667788, Reports: []rtcp.ReceptionReport{{
		SSRC: sr.SSRC, FractionLost: 64, Jitter: 80, LastSenderReport: sent,
		Delay: now - sent - compactNTP(80*time.Millisecond),
	}}})
	sh.expect(t, 1)
	sh.pass(10 * packetTime)
	q := s.Quality()
	if math.Abs(q.RoundTripMS-80) > 1 || q.RemoteLoss != 25 || q.RemoteJitterMS != 10 {
		t.Errorf("round trip %v ms, loss %v %%, jitter %v ms", q.RoundTripMS, q.RemoteLoss, q.RemoteJitterMS)
	}
	sh.pass(2 * reportInterval)
	for n := 2; ; n++ { // some may be from before
		block := p.waitReport(n)[0].(*rtcp.SenderReport).Reports[0]
		if block.LastSenderReport == 0 {
			continue
		}
		if block.LastSenderReport != 0x33445566 || block.Delay == 0 {
			t.Errorf("our block %+v", block)
		}
		return
	}
}

func TestRTCPSourceRules(t *testing.T) {
	sh, s, p := handSingle(t, mustPCMU(), nil)
	stranger := newPhone(t, mustPCMU())
	rr := func(ssrc uint32) *rtcp.ReceiverReport {
		return &rtcp.ReceiverReport{SSRC: ssrc, Reports: []rtcp.ReceptionReport{{SSRC: s.out.ssrc, FractionLost: 128}}}
	}
	s.rtcp.due = moment(time.Hour)
	p.say(s, filled(1))
	sh.expect(t, 1)
	stranger.tell(s, rr(12345)) // same IP address, but not the sender of the RTP
	sh.expect(t, 1)
	if s.rtcp.remoteLoss != 0 || sh.figures.drops[DropSource] != 1 {
		t.Error("a stranger's report counts")
	}
	stranger.tell(s, rr(p.ssrc)) // NAT's other port: it knows the SSRC
	sh.expect(t, 1)
	if s.rtcp.remoteLoss != 50 {
		t.Error("the far end's report does not count")
	}
	if got := s.rtcp.remote.Port(); got != stranger.addr().Port()+1 {
		t.Errorf("reports go to %d", got)
	}
	s.rtcp.remoteLoss = 0
	b, _ := rr(p.ssrc).Marshal()
	p.sendRaw(s, b) // on the RTP port
	sh.expect(t, 1)
	if s.rtcp.remoteLoss != 50 {
		t.Error("RTCP on the RTP port does not count")
	}
	p.sendRaw(s, []byte{0x81, 201, 0, 1, 0, 0})
	sh.expect(t, 1)
	if sh.figures.drops[DropRTCP] != 1 {
		t.Error("malformed RTCP is not counted")
	}
}

func TestMeanOpinion(t *testing.T) {
	for _, tc := range []struct {
		loss  float64
		delay time.Duration
		want  float64
	}{
		{0, 0, 4.41},
		{0, 20 * time.Millisecond, 4.40},
		{0, 400 * time.Millisecond, 3.02},
		{2, 0, 3.23},
		{5, 0, 2.17},
		{100, 0, 1.0},
		{0, 10 * time.Second, 1},
	} {
		if got := meanOpinion(tc.loss, lossRobustness, tc.delay); math.Abs(got-tc.want) > 0.05 {
			t.Errorf("%v %% loss, %v: MOS %.2f, want %.2f", tc.loss, tc.delay, got, tc.want)
		}
	}
	last := 5.0
	for loss := 0.0; loss <= 100; loss += 0.5 {
		mos := meanOpinion(loss, lossRobustness, 0)
		if mos > last {
			t.Fatalf("MOS rises at %v %% loss", loss)
		}
		last = mos
	}
}

// RFC 3550 §A.8: packets 5 ms early and late in turn have a jitter of 10 ms in the end.
func TestJitterAndLossOfReception(t *testing.T) {
	var r reception
	r.setClock(8000)
	now := moment(time.Hour)
	for i := range 300 {
		late := time.Duration(i%2) * 10 * time.Millisecond
		r.update(header{ssrc: 1, sequence: uint16(65500 + i), timestamp: uint32(i) * 160}, now.add(late), true)
		now = now.add(packetTime)
	}
	if ms := r.jitter / 8; math.Abs(ms-10) > 0.2 {
		t.Errorf("jitter %v ms", ms)
	}
	if r.lost() != 0 || r.expected() != 300 {
		t.Errorf("lost %d of %d, across the wrap", r.lost(), r.expected())
	}
	r.update(header{ssrc: 1, sequence: uint16(65500 + 310 - 1<<16)}, now, false)
	if r.lost() != 10 {
		t.Errorf("lost %d, want 10", r.lost())
	}
	r.update(header{ssrc: 1, sequence: 30000}, now, false) // one number far off is no loss
	if r.lost() != 10 || r.expected() != 311 {
		t.Errorf("lost %d of %d", r.lost(), r.expected())
	}
	r.update(header{ssrc: 2, sequence: 7}, now, false) // another SSRC: what was lost stays lost
	r.update(header{ssrc: 2, sequence: 9}, now, false)
	if r.lost() != 11 || r.expected() != 314 {
		t.Errorf("lost %d of %d", r.lost(), r.expected())
	}
}

func FuzzRTCP(f *testing.F) {
	sr, _ := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 2, FractionLost: 3}}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: 1, Text: "x"}}}}},
		&rtcp.Goodbye{Sources: []uint32{1}},
	})
	rr, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 2, LastSenderReport: 1}}}})
	f.Add(sr)
	f.Add(rr)
	f.Add([]byte{0x81, 201, 0, 7, 0, 0, 0, 1})
	f.Add([]byte{0x80, 207, 0, 1, 0, 0, 0, 0})
	_, sh := handEngine(f)
	s := open(f, sh.engine, "")
	remote := netip.MustParseAddrPort(phoneIP + ":9")
	s.Set(Params{Remote: remote, Signalling: remote.Addr(), Codec: mustPCMU(), Send: true, Receive: true})
	sh.pass(0)
	f.Fuzz(func(t *testing.T, b []byte) {
		s.in.statistics.started, s.in.statistics.ssrc = true, 1
		s.out.ssrc = 2
		drops := s.drops
		s.readRTCP(sh, b, remote)
		if s.rtcp.roundTrip < 0 || s.rtcp.remoteLoss < 0 || s.rtcp.remoteLoss > 100 || s.drops > drops+1 {
			t.Errorf("state %+v", s.rtcp)
		}
		s.report3550(sh)
	})
}
