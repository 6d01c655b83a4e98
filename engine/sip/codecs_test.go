package sip

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// allCodecs are those of the table that carry audio, in its order.
func allCodecs() []codec.Codec {
	return slices.DeleteFunc(codec.Table(), func(c codec.Codec) bool { return !c.Audio() })
}

// named are rows of the table.
func named(tb testing.TB, names ...string) []codec.Codec {
	tb.Helper()
	var list []codec.Codec
	for _, name := range names {
		at := slices.IndexFunc(allCodecs(), func(c codec.Codec) bool { return c.Name == name })
		if at < 0 {
			tb.Fatalf("no codec %q", name)
		}
		list = append(list, allCodecs()[at])
	}
	return list
}

// browser is an offer as browsers make it, behind a gateway that takes the encryption off.
var browserFormats = []string{
	"m=audio 4000 RTP/AVP 111 63 9 0 8 13 110 126", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1",
	"a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
	"a=rtpmap:13 CN/8000", "a=rtpmap:110 telephone-event/48000", "a=rtpmap:126 telephone-event/8000",
}

func TestAnswerWithOpus(t *testing.T) {
	opusFirst := func(lines ...string) []string {
		return append([]string{"m=audio 4000 RTP/AVP 96 0", "a=rtpmap:96 opus/48000/2"}, lines...)
	}
	for name, tt := range map[string]struct {
		lines  []string
		codecs []codec.Codec
		ours   bool
		answer string // the formats
		fmtp   string // of the far end, for our encoder
		events int    // their clock
		ptime  int
	}{
		"a browser": {browserFormats, allCodecs(), false, "111 opus/48000/2,110 telephone-event/48000", "minptime=10;useinbandfec=1", 48000, 20},
		"a browser, G.711 by our order": {
			browserFormats, named(t, "PCMA", "PCMU"), true, "8 PCMA/8000,126 telephone-event/8000", "", 8000, 20,
		},
		"our order": {browserFormats, named(t, "PCMA", "opus", "PCMU"), true, "8 PCMA/8000,126 telephone-event/8000", "", 8000, 20},
		"their order": {
			browserFormats, named(t, "PCMA", "opus", "PCMU"), false, "111 opus/48000/2,110 telephone-event/48000",
			"minptime=10;useinbandfec=1", 48000, 20,
		},
		"only events of 8000 Hz": {
			[]string{"m=audio 4000 RTP/AVP 107 101", "a=rtpmap:107 OPUS/48000/2", "a=rtpmap:101 telephone-event/8000"},
			allCodecs(), false, "107 opus/48000/2,101 telephone-event/8000", "", 8000, 20,
		},
		"only events of 48000 Hz with G.711": {
			[]string{"m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/48000"}, allCodecs(), false, "0 PCMU/8000", "", 0, 20,
		},
		"one channel is no Opus": {
			[]string{"m=audio 4000 RTP/AVP 96 97 0", "a=rtpmap:96 opus/48000/1", "a=rtpmap:97 opus/48000"},
			allCodecs(), false, "0 PCMU/8000", "", 0, 20,
		},
		"the node has no Opus":     {browserFormats, audioCodecs(), false, "9 G722/8000,126 telephone-event/8000", "", 8000, 20},
		"ptime that Opus has not":  {opusFirst("a=ptime:30"), allCodecs(), false, "96 opus/48000/2", "", 0, 20},
		"long ptime":               {opusFirst("a=ptime:60"), allCodecs(), false, "96 opus/48000/2", "", 0, 60},
		"longer than we make":      {opusFirst("a=ptime:120"), allCodecs(), false, "96 opus/48000/2", "", 0, 60},
		"maxptime":                 {opusFirst("a=maxptime:10"), allCodecs(), false, "96 opus/48000/2", "", 0, 10},
		"maxptime below its ptime": {opusFirst("a=ptime:60", "a=maxptime:40"), allCodecs(), false, "96 opus/48000/2", "", 0, 40},
		"nonsense in maxptime":     {opusFirst("a=maxptime:-3"), allCodecs(), false, "96 opus/48000/2", "", 0, 20},
	} {
		t.Run(name, func(t *testing.T) {
			m := freshMedia()
			m.OurOrder = tt.ours
			m, err := m.answer(body(tt.lines...), tt.codecs)
			if err != nil {
				t.Fatal(err)
			}
			d, err := parseDescription(m.Local)
			if err != nil {
				t.Fatal(err)
			}
			var answer []string
			for _, f := range d.line().codecs {
				answer = append(answer, f.rtpmap())
				if want := f.row().Fmtp; f.Fmtp != want {
					t.Errorf("%s is answered with %q, want what we want to get: %q", f.Name, f.Fmtp, want)
				}
			}
			if got := strings.Join(answer, ","); got != tt.answer {
				t.Errorf("answered %s, want %s", got, tt.answer)
			}
			p := m.params(netip.MustParseAddr("198.51.100.7"))
			if p.Fmtp != tt.fmtp || p.Codec.Name != m.Codec.Name || !p.Codec.Audio() || p.RecvPT != p.SendPT {
				t.Errorf("params %+v", p)
			}
			if p.Events != (tt.events > 0) || p.EventClock != tt.events {
				t.Errorf("events of %d Hz, want %d", p.EventClock, tt.events)
			}
			if p.PacketTime != time.Duration(tt.ptime)*time.Millisecond {
				t.Errorf("packet time %v, want %d ms", p.PacketTime, tt.ptime)
			}
		})
	}
}

// Numbers are each side's own, and the far end's parameters are what our encoder hears of.
func TestAcceptOpus(t *testing.T) {
	m, err := freshMedia().offer(allCodecs())
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseDescription(m.Local)
	if err != nil {
		t.Fatal(err)
	}
	if f := d.line().codecs[2]; f.rtpmap() != "111 opus/48000/2" || !strings.Contains(f.Fmtp, "useinbandfec=1") {
		t.Errorf("offered %+v", d.line().codecs)
	}
	got, err := m.accept(body("m=audio 4000 RTP/AVP 96 97 98", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 maxplaybackrate=8000",
		"a=rtpmap:97 telephone-event/8000", "a=rtpmap:98 telephone-event/48000", "a=ptime:40"))
	if err != nil {
		t.Fatal(err)
	}
	p := got.params(netip.Addr{})
	if p.Codec.Name != "opus" || p.SendPT != 96 || p.RecvPT != 111 || p.Fmtp != "maxplaybackrate=8000" || p.PacketTime != 40*time.Millisecond {
		t.Errorf("params %+v", p)
	}
	if p.EventSendPT != 98 || p.EventRecvPT != 102 || p.EventClock != 48000 {
		t.Errorf("events %+v", p)
	}
	if _, err := m.accept(body("m=audio 4000 RTP/AVP 13")); !errors.Is(err, errNoCodec) {
		t.Errorf("an answer of comfort noise only: %v", err)
	}
}

func TestDialOffersWhatTheApplicationNames(t *testing.T) {
	h := newHouse(t)
	p := newPeer(t, h.addr)
	leg := h.dial(p, func(o *engine.Outgoing) { o.Codecs = []string{"OPUS", "pcma", "opus"} })
	invite := p.request(sip.INVITE)
	if names := formatNames(described(t, invite).line().codecs); names != "opus PCMA telephone-event telephone-event" {
		t.Errorf("offered %s", names)
	}
	p.respond(invite, 200, "calleetag", sdpText(1, 40000, "111", "a=rtpmap:111 opus/48000/2"))
	p.request(sip.ACK)
	h.signal(leg, engine.SignalAnswered)
	c := p.callee(invite)
	c.send("INVITE", sdpText(2, 40000, "0")) // not what the application wants
	c.ackFailure(c.response(488))
	c.send("INVITE", sdpText(2, 40000, "0 8"))
	if names := formatNames(described(t, c.response(200)).line().codecs); names != "PCMA" {
		t.Errorf("answered %s", names)
	}
	c.ack("")
	s, err := decodeState(leg.State())
	if err != nil || len(s.Media.Codecs) != 3 {
		t.Errorf("the state keeps %v: %v", s.Media.Codecs, err)
	}
}

func TestDialRefusesUnknownCodecs(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.door.Codecs = audioCodecs() })
	for _, names := range [][]string{{"PCMU", "G729"}, {"PCMU", "opus"}, {"PCMU", "telephone-event"}, {"PCMA", ""}} {
		_, err := h.door.Dial(context.Background(), engine.Outgoing{To: engine.Address{URI: "sip:a@127.0.0.1"}, Codecs: names})
		var e *engine.Error
		if !errors.As(err, &e) || e.Code != engine.CodeValidation || e.Pointer != "/codecs/1" {
			t.Errorf("%v: %v", names, err)
		}
	}
	h.empty()
}

// The application's order makes the answer; what cannot be had is said at once.
func TestPrefer(t *testing.T) {
	h := newHouse(t)
	offer := sdpText(1, 40000, "0 8 111 110 101", "a=rtpmap:111 opus/48000/2", "a=rtpmap:110 telephone-event/48000", "a=rtpmap:101 telephone-event/8000")
	for name, tt := range map[string]struct {
		codecs []string
		want   string
		code   engine.Code
	}{
		"Opus first":       {[]string{"opus", "PCMU"}, "opus telephone-event", ""},
		"as G.711 of ours": {[]string{"G729", "pcma", "PCMU"}, "PCMA telephone-event", ""},
		"nothing named":    {nil, "PCMU telephone-event", ""},
		"none that we do":  {[]string{"G729"}, "PCMU telephone-event", engine.CodeUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.caller()
			c.send("INVITE", offer)
			leg := h.call().leg.(*Leg)
			if err := leg.Prefer(tt.codecs); engine.ErrorCode(err) != tt.code {
				t.Errorf("Prefer(%v): %v", tt.codecs, err)
			}
			if err := leg.Answer(context.Background()); err != nil {
				t.Fatal(err)
			}
			res := c.response(200)
			c.learn(res)
			d := described(t, res)
			if names := formatNames(d.line().codecs); names != tt.want || d.origin.SessionVersion != 1 {
				t.Errorf("answered %s in version %d, want %s", names, d.origin.SessionVersion, tt.want)
			}
			c.ack("")
			h.signal(leg, engine.SignalAnswered)
			if err := leg.Prefer([]string{"PCMA"}); engine.ErrorCode(err) != engine.CodeInvalidState {
				t.Errorf("Prefer after the answer: %v", err)
			}
			c.send("BYE", "")
			c.response(200)
		})
	}
}

func TestPreferWhatIsNotOffered(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", sdpText(1, 40000, "0"))
	leg := h.call().leg.(*Leg)
	if err := leg.Prefer([]string{"opus"}); engine.ErrorCode(err) != engine.CodeUnsupported {
		t.Errorf("got %v", err)
	}
	if err := leg.Ring(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if err := leg.Prefer([]string{"PCMU"}); engine.ErrorCode(err) != engine.CodeInvalidState {
		t.Errorf("Prefer after early media: %v", err)
	}
	if names := formatNames(described(t, c.response(183)).line().codecs); names != "PCMU" {
		t.Errorf("answered %s", names)
	}
}

// Without an offer in the INVITE ours has what the application named.
func TestPreferWithoutAnOffer(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", "")
	leg := h.call().leg.(*Leg)
	if err := leg.Prefer([]string{"opus", "PCMA"}); err != nil {
		t.Fatal(err)
	}
	if err := leg.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	res := c.response(200)
	if names := formatNames(described(t, res).line().codecs); names != "opus PCMA telephone-event telephone-event" {
		t.Errorf("offered %s", names)
	}
	c.learn(res)
	c.ack(sdpText(1, 40000, "96", "a=rtpmap:96 opus/48000/2"))
	h.signal(leg, engine.SignalAnswered)
	eventually(t, "Opus is in use", func() bool { return leg.Audio().Codec().Name == "opus" })
}

// A call goes from G.711 to Opus and back, by the far end's re-INVITEs, and is heard all the time.
func TestReinviteToOpusAndBack(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	ear, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ear.Close() })
	port := ear.LocalAddr().(*net.UDPAddr).Port
	leg, _ := h.connect(c, sdpText(1, port, "0", "a=sendrecv"))
	clip, err := media.NewClip(8000, mediatest.Sine(8000, 500, -12, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	leg.Audio().Hear(media.NewPlayer(clip, media.LoopForever))
	for i, tt := range []struct {
		formats string
		lines   []string
		codec   codec.Codec
		pt      byte
	}{
		{"", nil, named(t, "PCMU")[0], 0},
		{"96", []string{"a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1", "a=sendrecv"}, named(t, "opus")[0], 96},
		{"8", []string{"a=sendrecv"}, named(t, "PCMA")[0], 8},
		{"107", []string{"a=rtpmap:107 opus/48000/2", "a=sendrecv"}, named(t, "opus")[0], 107},
	} {
		if tt.formats != "" {
			c.send("INVITE", sdpText(i+1, port, tt.formats, tt.lines...))
			c.learn(c.response(200))
			c.ack("")
		}
		pcm := heardOf(t, ear, tt.codec, tt.pt)
		if hz := mediatest.Frequency(pcm, 8000); math.Abs(hz-500) > 3 {
			t.Errorf("%v: 500 Hz are heard as %.1f", tt.codec, hz)
		}
		if l := mediatest.Level(pcm) + 12; math.Abs(l) > 1 {
			t.Errorf("%v: heard %.1f dB louder", tt.codec, l)
		}
	}
}

// heardOf is half a second of what comes in packets of the payload type, at 8 kHz.
func heardOf(tb testing.TB, ear *net.UDPConn, c codec.Codec, pt byte) []int16 {
	tb.Helper()
	dec, err := c.NewDecoderAt(8000)
	if err != nil {
		tb.Fatal(err)
	}
	var pcm []int16
	buf := make([]byte, 1500)
	_ = ear.SetReadDeadline(time.Now().Add(patience))
	for len(pcm) < 6000 {
		n, err := ear.Read(buf)
		if err != nil {
			tb.Fatalf("%v: only %d samples came: %v", c, len(pcm), err)
		}
		if n <= 12 || buf[1]&0x7F != pt {
			continue
		}
		if d := c.Duration(buf[12:n]); d != 20*time.Millisecond {
			tb.Fatalf("%v: a payload of %v", c, d)
		}
		if pcm, err = dec.Decode(pcm, buf[12:n]); err != nil {
			tb.Fatal(err)
		}
	}
	return pcm[2000:6000]
}

// An Opus caller and a PCMU caller hear each other, each in its codec.
func TestOpusMeetsG711(t *testing.T) {
	h := newHouse(t)
	opusPhone := newRTPPhone(t, named(t, "opus")[0], 96, 500)
	plainPhone := newRTPPhone(t, named(t, "PCMU")[0], 0, 900)
	opusLeg, answer := h.connect(h.caller(), sdpText(1, opusPhone.port(), "96", "a=rtpmap:96 opus/48000/2", "a=sendrecv"))
	opusPhone.talk(described(t, answer).line().port)
	plainLeg, answer := h.connect(h.caller(), sdpText(1, plainPhone.port(), "0", "a=sendrecv"))
	plainPhone.talk(described(t, answer).line().port)
	opusLeg.Audio().Hear(plainLeg.Audio().Mic())
	plainLeg.Audio().Hear(opusLeg.Audio().Mic())
	for _, tt := range []struct {
		ear *rtpPhone
		hz  float64
	}{{opusPhone, 900}, {plainPhone, 500}} {
		eventually(t, tt.ear.codec.String()+" hears the other", func() bool {
			pcm := heardOf(t, tt.ear.conn, tt.ear.codec, tt.ear.pt)
			return math.Abs(mediatest.Frequency(pcm, 8000)-tt.hz) < 3 && math.Abs(mediatest.Level(pcm)+12) < 1
		})
	}
}

// rtpPhone is a socket that sends a tone in one codec.
type rtpPhone struct {
	conn  *net.UDPConn
	codec codec.Codec
	pt    byte
	hz    float64
	done  chan struct{} // closed when it talks no more; nil while it never did
}

func newRTPPhone(tb testing.TB, c codec.Codec, pt byte, hz float64) *rtpPhone {
	tb.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	p := &rtpPhone{conn: conn, codec: c, pt: pt, hz: hz}
	tb.Cleanup(func() {
		_ = conn.Close()
		if p.done != nil {
			<-p.done
		}
	})
	return p
}

func (p *rtpPhone) port() int { return p.conn.LocalAddr().(*net.UDPAddr).Port }

// talk sends the tone to a port until the test ends.
func (p *rtpPhone) talk(port int) {
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	enc, _ := p.codec.NewEncoder()
	tone := mediatest.Sine(8000, p.hz, -12, time.Second) // a whole number of periods
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			packet := []byte{0x80, p.pt, byte(i >> 8), byte(i), 0, 0, 0, 0, 0, 0, 0, 7}
			binary.BigEndian.PutUint32(packet[4:], uint32(i*p.codec.ClockRate/50))
			packet, _ = enc.(codec.RateEncoder).EncodeRate(packet, tone[i%50*160:(i%50+1)*160], 8000)
			if _, err := p.conn.WriteToUDP(packet, to); err != nil {
				return // the socket is closed at the end of the test
			}
			<-tick.C
		}
	}()
}
