package transaction

import (
	"context"
	"strconv"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// carrierInvite is an INVITE as carriers send them.
const carrierInvite = "INVITE sip:+4930123456@192.0.2.1:5060;user=phone SIP/2.0\r\n" +
	"Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK+f0e1d2c3b4a5968778695a4b3c2d1e0f+1;rport\r\n" +
	"Record-Route: <sip:198.51.100.7;lr;ftag=SDkg8f301-7c4a>\r\n" +
	"Max-Forwards: 66\r\n" +
	"From: \"Alice\" <sip:+4940987654@carrier.example;user=phone>;tag=SDkg8f301-7c4a\r\n" +
	"To: <sip:+4930123456@192.0.2.1;user=phone>\r\n" +
	"Call-ID: SDkg8f301-0c8a2fd7c9c3b9d6e8f@198.51.100.7\r\n" +
	"CSeq: 1 INVITE\r\n" +
	"Contact: <sip:+4940987654@198.51.100.7:5060;transport=udp>\r\n" +
	"P-Asserted-Identity: <sip:+4940987654@carrier.example;user=phone>\r\n" +
	"Privacy: none\r\n" +
	"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, PRACK, INFO\r\n" +
	"Supported: timer, 100rel\r\n" +
	"Session-Expires: 1800\r\n" +
	"Min-SE: 90\r\n" +
	"Content-Type: application/sdp\r\n" +
	"Content-Length: 21\r\n\r\nv=0\r\no=- 1 1 IN IP4 \r"

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, bad := parse(carrierInvite); bad != nil {
			b.Fatal(bad)
		}
	}
}

// BenchmarkParseSipgo is the sip package's own parser, for comparison.
func BenchmarkParseSipgo(b *testing.B) {
	raw := []byte(carrierInvite)
	p := sip.NewParser()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.ParseSIP(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// A bench is a layer without sockets and goroutines: what arrives is handled at once.
type bench struct {
	l *Layer
	world
}

func newBench(h Handler) *bench {
	b := &bench{}
	b.l = newLayer(Options{Lanes: 1, Guard: Guard{Rate: -1}}.withDefaults(), &b.world, nil)
	b.l.local = far
	b.l.handler = h
	return b
}

func (b *bench) arrive(raw string) {
	b.l.arrive(raw, origin{addr: far})
	n := b.l.lanes[0]
	for _, w := range n.take(nil) {
		n.do(&w)
	}
	b.sent = b.sent[:0]
}

// BenchmarkOptions is OPTIONS → 200 through guard, parser, transaction and handler, with its place in the table of
// finished transactions and the leaving of an older one.
func BenchmarkOptions(b *testing.B) {
	l := newBench(funcs{request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") }})
	l.l.maxFinished = 1000
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		l.arrive(text{method: "OPTIONS", callID: "bench-" + strconv.Itoa(i)}.String())
	}
}

// BenchmarkInvite is INVITE → 180 → 200 → ACK.
func BenchmarkInvite(b *testing.B) {
	var tx *Server
	l := newBench(funcs{
		request: func(_ *sip.Request, t *Server) {
			tx = t
			_ = answer(t, 180, "Ringing")
			_ = answer(t, 200, "OK")
		},
		ack: func(*sip.Request) { tx.Acked() },
	})
	l.l.maxFinished = 1000
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		id := "bench-" + strconv.Itoa(i)
		l.arrive(text{method: "INVITE", callID: id}.String())
		l.arrive(text{method: "ACK", callID: id, branch: "z9hG4bKack", toTag: "ours"}.String())
	}
	if s := l.l.Stats(); s.OpenServer != 0 {
		b.Fatalf("%+v", s)
	}
}

// BenchmarkClientInvite is an INVITE of ours → 180 → 200 and its ACK.
func BenchmarkClientInvite(b *testing.B) {
	l := newBench(funcs{})
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		id := "bench-" + strconv.Itoa(i)
		_, err := l.l.Request(outbound(sip.INVITE, id), Target{Addr: far}, func(*sip.Response, error) {})
		if err != nil {
			b.Fatal(err)
		}
		invite := l.sent[0].raw
		l.arrive(reply(invite, 180, "a"))
		l.arrive(reply(invite, 200, "a"))
		if err := l.l.ACK(outbound(sip.ACK, id), Target{Addr: far}); err != nil {
			b.Fatal(err)
		}
		l.sent = l.sent[:0]
	}
	if s := l.l.Stats(); s.OpenClient != 0 {
		b.Fatalf("%+v", s)
	}
}

// BenchmarkText is the cost of making the text of a request, which is within the figures above.
func BenchmarkText(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = text{method: "OPTIONS", callID: "bench"}.String()
	}
}

// BenchmarkLoopback is OPTIONS → 200 over the sockets of two layers, 64 at a time.
func BenchmarkLoopback(b *testing.B) {
	run := func(h Handler) *Layer {
		l, err := Listen(Options{Listen: "127.0.0.1:0"})
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.Serve(context.Background(), h) }()
		b.Cleanup(func() { _ = l.Close(); <-done })
		return l
	}
	to := Target{Addr: run(funcs{request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") }}).LocalAddr()}
	client := run(funcs{})
	slots := make(chan struct{}, 64)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		slots <- struct{}{}
		_, err := client.Request(outbound(sip.OPTIONS, "bench-"+strconv.Itoa(i)), to, func(_ *sip.Response, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
