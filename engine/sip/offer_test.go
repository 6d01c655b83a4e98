package sip

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

func audioCodecs() []codec.Codec {
	var cs []codec.Codec
	for _, c := range codec.Table() {
		if c.Audio() && c.ClockRate == 8000 {
			cs = append(cs, c)
		}
	}
	return cs
}

func freshMedia() MediaState {
	return MediaState{SessionID: 4711, Version: 1, Address: netip.MustParseAddrPort("192.0.2.1:10000")}
}

// body makes a session description with the given m-line and what follows.
func body(lines ...string) []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

func TestAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		lines     []string
		codec     string
		send      uint8
		event     uint8
		direction direction
		ptime     int
		remote    string
		rtcp      string
	}{
		"static numbers without rtpmap": {[]string{"m=audio 4000 RTP/AVP 8 0"}, "PCMA", 8, 0, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001"},
		"offerer's order": {
			[]string{"m=audio 4000 RTP/AVP 18 0 8", "a=rtpmap:18 G729/8000"},
			"PCMU", 0, 0, sendrecv, 20,
			"198.51.100.7:4000", "198.51.100.7:4001",
		},
		"dynamic number": {
			[]string{"m=audio 4000 RTP/AVP 97 96", "a=rtpmap:97 pcmu/8000/1", "a=rtpmap:96 telephone-event/8000"},
			"PCMU", 97, 96,
			sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001",
		},
		"event clock": {
			[]string{"m=audio 4000 RTP/AVP 0 110 101", "a=rtpmap:110 telephone-event/48000", "a=rtpmap:101 telephone-event/8000"},
			"PCMU", 0, 101, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001",
		},
		"ptime and address of the m-line": {
			[]string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 203.0.113.9", "a=ptime:30"},
			"PCMU", 0, 0,
			sendrecv, 30, "203.0.113.9:4000", "203.0.113.9:4001",
		},
		"odd ptime":            {[]string{"m=audio 4000 RTP/AVP 0", "a=ptime:25"}, "PCMU", 0, 0, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001"},
		"rtcp port":            {[]string{"m=audio 4000 RTP/AVP 0", "a=rtcp:5555"}, "PCMU", 0, 0, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:5555"},
		"rtcp address":         {[]string{"m=audio 4000 RTP/AVP 0", "a=rtcp:5555 IN IP4 203.0.113.9"}, "PCMU", 0, 0, sendrecv, 20, "198.51.100.7:4000", "203.0.113.9:5555"},
		"sendonly":             {[]string{"m=audio 4000 RTP/AVP 0", "a=sendonly"}, "PCMU", 0, 0, recvonly, 20, "198.51.100.7:4000", "198.51.100.7:4001"},
		"host name":            {[]string{"m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example"}, "PCMU", 0, 0, sendrecv, 20, "invalid AddrPort", "invalid AddrPort"},
		"IPv6":                 {[]string{"m=audio 4000 RTP/AVP 0", "c=IN IP6 2001:db8::7"}, "PCMU", 0, 0, sendrecv, 20, "[2001:db8::7]:4000", "[2001:db8::7]:4001"},
		"feedback profile":     {[]string{"m=audio 4000 RTP/AVPF 0"}, "PCMU", 0, 0, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001"},
		"broken rtpmap beside": {[]string{"m=audio 4000 RTP/AVP 96 0", "a=rtpmap:96 x"}, "PCMU", 0, 0, sendrecv, 20, "198.51.100.7:4000", "198.51.100.7:4001"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := freshMedia().answer(body(tt.lines...), audioCodecs())
			if err != nil {
				t.Fatal(err)
			}
			if m.Codec.Name != tt.codec || m.Codec.PayloadType != tt.send || m.RecvPT != tt.send || m.Direction != tt.direction ||
				m.PacketTime != tt.ptime || m.RemoteAddr.String() != tt.remote || m.RemoteRTCP.String() != tt.rtcp {
				t.Errorf("agreed %+v", m)
			}
			if m.EventSendPT != tt.event || (m.EventClock != 0) != (tt.event != 0) {
				t.Errorf("event %d/%d", m.EventSendPT, m.EventClock)
			}
			if m.Learn != (name == "host name") {
				t.Errorf("learn %v", m.Learn)
			}
			p := m.params(netip.MustParseAddr("198.51.100.7"))
			if p.Codec.Name != tt.codec || p.Send != (tt.direction&sendonly != 0) || p.PacketTime != time.Duration(tt.ptime)*time.Millisecond {
				t.Errorf("params %+v", p)
			}
			if d, err := parseDescription(m.Local); err != nil || d.origin.UnicastAddress != "192.0.2.1" {
				t.Errorf("answer %v\n%s", err, m.Local)
			}
		})
	}
}

func TestAnswerRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		body []byte
		want error
	}{
		"empty":          {nil, errMalformedSDP},
		"text":           {[]byte("hello"), errMalformedSDP},
		"no m-line":      {body(), errMalformedSDP},
		"other codec":    {body("m=audio 4000 RTP/AVP 18"), errNoCodec},
		"wrong clock":    {body("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/16000"), errNoCodec},
		"stereo":         {body("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 PCMU/8000/2"), errNoCodec},
		"port 0":         {body("m=audio 0 RTP/AVP 0"), errNoCodec},
		"SRTP only":      {body("m=audio 4000 RTP/SAVP 0"), errNoCodec},
		"port too large": {body("m=audio 70000 RTP/AVP 0"), errMalformedSDP},
		"no address":     {[]byte("v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"), errMalformedSDP},
		"many m-lines":   {body(strings.Repeat("m=audio 4000 RTP/AVP 0\r\n", 17) + "a=x"), errMalformedSDP},
		"many formats":   {body("m=audio 4000 RTP/AVP" + strings.Repeat(" 0", 40)), errMalformedSDP},
		"many lines":     {body("m=audio 4000 RTP/AVP 0\r\n" + strings.Repeat("a=x\r\n", 65) + "a=x"), errMalformedSDP},
		"long line":      {body("m=audio 4000 RTP/AVP 0", "a="+strings.Repeat("x", 1100)), errMalformedSDP},
		"huge":           {body("m=audio 4000 RTP/AVP 0", strings.Repeat("b=AS:1\r\n", 3000)+"a=x"), errMalformedSDP},
	} {
		m, err := freshMedia().answer(tt.body, audioCodecs())
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if m.Agreed || m.Local != nil {
			t.Errorf("%s: the state changed: %+v", name, m)
		}
	}
}

// What phones send in practice.
func TestDescriptionsFromTheField(t *testing.T) {
	for name, text := range map[string]string{
		"line feeds only":     strings.ReplaceAll(string(body("m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000")), "\r\n", "\n"),
		"empty session name":  "v=0\r\no=x 1 1 IN IP4 1.2.3.4\r\ns= \r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
		"large session id":    "v=0\r\no=x 18446744073709551615 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
		"bandwidth":           "v=0\r\no=x 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nb=AS:64\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nb=TIAS:64000\r\na=x\r\n",
		"address after a=":    "v=0\r\no=x 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\nc=IN IP4 1.2.3.4\r\n",
		"crypto over RTP/AVP": string(body("m=audio 4000 RTP/AVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc")),
		"ICE":                 string(body("m=audio 4000 RTP/AVP 0", "a=ice-ufrag:x", "a=candidate:1 1 UDP 1 1.2.3.4 4000 typ host", "a=ssrc:1 cname:x")),
		"video beside":        string(body("m=audio 4000 RTP/AVP 0", "m=video 4002 RTP/AVP 99", "a=rtpmap:99 H264/90000", "a=inactive")),
	} {
		m, err := freshMedia().answer([]byte(text), audioCodecs())
		if err != nil || m.Direction != sendrecv || m.Codec.Name != "PCMU" {
			t.Errorf("%s: %v %+v", name, err, m)
		}
	}
}

func TestOfferAndAccept(t *testing.T) {
	m, err := freshMedia().offer(audioCodecs())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		lines  []string
		codec  string
		send   uint8
		recv   uint8
		event  uint8
		held   bool
		failed bool
	}{
		"as offered":          {[]string{"m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"}, "PCMU", 0, 0, 101, false, false},
		"its own numbers":     {[]string{"m=audio 4000 RTP/AVP 97 98", "a=rtpmap:97 pcma/8000", "a=rtpmap:98 TELEPHONE-EVENT/8000"}, "PCMA", 97, 8, 98, false, false},
		"several codecs":      {[]string{"m=audio 4000 RTP/AVP 8 0"}, "PCMA", 8, 8, 0, false, false},
		"events only":         {[]string{"m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"}, "", 0, 0, 0, false, true},
		"not offered":         {[]string{"m=audio 4000 RTP/AVP 18"}, "", 0, 0, 0, false, true},
		"refused":             {[]string{"m=audio 0 RTP/AVP 0"}, "", 0, 0, 0, false, true},
		"held from the start": {[]string{"m=audio 4000 RTP/AVP 0", "a=sendonly"}, "PCMU", 0, 0, 0, true, false},
		"on another line":     {[]string{"m=video 0 RTP/AVP 99", "m=audio 4000 RTP/AVP 0"}, "", 0, 0, 0, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := m.accept(body(tt.lines...))
			if tt.failed {
				if !errors.Is(err, errNoCodec) || got.Agreed {
					t.Errorf("%v %+v", err, got)
				}
				return
			}
			if err != nil || got.Codec.Name != tt.codec || got.Codec.PayloadType != tt.send || got.RecvPT != tt.recv ||
				got.EventSendPT != tt.event || got.HeldByPeer != tt.held {
				t.Errorf("%v %+v", err, got)
			}
			if tt.event != 0 && got.EventRecvPT != 101 {
				t.Errorf("we take events as %d", got.EventRecvPT)
			}
		})
	}
}

func TestDirectionReverse(t *testing.T) {
	for d, want := range map[direction]direction{sendrecv: sendrecv, inactive: inactive, sendonly: recvonly, recvonly: sendonly} {
		if got := d.reverse(); got != want {
			t.Errorf("%s reversed is %s", d, got)
		}
		if p, ok := parseDirection(d.String()); !ok || p != d {
			t.Errorf("%s is read as %s", d, p)
		}
	}
}

// Both sides hold: inactive; each takes back only its own hold (RFC 6337 5.3).
func TestBothHold(t *testing.T) {
	m, err := freshMedia().answer(body("m=audio 4000 RTP/AVP 0", "a=sendonly"), audioCodecs())
	if err != nil || !m.HeldByPeer || m.Direction != recvonly {
		t.Fatalf("%v %+v", err, m)
	}
	m.Hold = true
	if m, err = m.offer(audioCodecs()); err != nil || !strings.Contains(string(m.Local), "a=sendonly") {
		t.Fatalf("%v\n%s", err, m.Local)
	}
	if m, err = m.accept(body("m=audio 4000 RTP/AVP 0", "a=inactive")); err != nil || !m.HeldByPeer || m.Direction != inactive {
		t.Fatalf("%v %+v", err, m)
	}
	m.Hold = false
	if m, err = m.offer(audioCodecs()); err != nil || !strings.Contains(string(m.Local), "a=sendrecv") {
		t.Fatalf("%v\n%s", err, m.Local)
	}
	if m, err = m.accept(body("m=audio 4000 RTP/AVP 0", "a=sendonly")); err != nil || !m.HeldByPeer || m.Direction != recvonly {
		t.Fatalf("%v %+v", err, m)
	}
	if m, err = m.answer(body("m=audio 4000 RTP/AVP 0"), audioCodecs()); err != nil || m.HeldByPeer || m.Direction != sendrecv {
		t.Fatalf("%v %+v", err, m)
	}
}
