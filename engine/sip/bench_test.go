package sip

import (
	"bytes"
	"context"
	"net"
	"testing"

	"github.com/tipring/tipring/engine"
)

// One inbound call over loopback UDP: INVITE, 100, 200, ACK, BYE, 200. The scripted caller costs a few microseconds of
// it: it writes three ready-made datagrams and reads three.
func BenchmarkInboundCall(b *testing.B) {
	h := newHouse(b, func(s *settings) {
		s.door.Accept = func(_ engine.Incoming, leg engine.Leg) error { return leg.Answer(context.Background()) }
	})
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(h.addr))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	c := h.caller()
	c.addr = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	buf := make([]byte, 65536)
	read := func(prefix string) []byte {
		for {
			n, err := conn.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			if bytes.HasPrefix(buf[:n], []byte(prefix)) {
				return buf[:n]
			}
		}
	}
	write := func(s string) {
		if _, err := conn.Write([]byte(s)); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	offer := plainOffer()
	b.ReportAllocs()
	for b.Loop() {
		n++
		id := appendInt("z9hG4bKbench", n)
		c.callID, c.remote = id, ""
		write(c.text("INVITE", 1, id, offer, "Supported: timer"))
		ok := read("SIP/2.0 200")
		_, rest, _ := bytes.Cut(ok, []byte("\r\nTo: "))
		_, tag, _ := bytes.Cut(rest, []byte(";tag="))
		end := bytes.IndexAny(tag, "\r;")
		c.remote = string(tag[:end])
		write(c.text("ACK", 1, id+"a", ""))
		write(c.text("BYE", 2, id+"b", ""))
		read("SIP/2.0 200")
	}
}

func appendInt(s string, n int) string {
	b := []byte(s)
	for ; n > 0; n /= 10 {
		b = append(b, byte('0'+n%10))
	}
	return string(b)
}

func BenchmarkAnswer(b *testing.B) {
	offer := []byte(plainOffer())
	codecs := audioCodecs()
	m := freshMedia()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.answer(offer, codecs); err != nil {
			b.Fatal(err)
		}
	}
}
