package transaction

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Defect S1: INVITE and CANCEL back to back, 3,000 times: every CANCEL finds its INVITE.
func TestOrder(t *testing.T) {
	const calls, burst = 3000, 50
	ready := make(chan bool, burst)
	l := serve(t, Options{}, funcs{
		request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 180, "Ringing") },
		cancel: func(tx *Server) {
			ready <- answer(tx, 487, "Request Terminated") == nil
		},
	})
	p := newPeer(t)
	cancelled := 0
	for i := 0; i < calls; i += burst {
		for j := i; j < i+burst; j++ {
			m := text{method: "INVITE", callID: fmt.Sprint("order-", j), branch: fmt.Sprint("z9hG4bK", j)}
			p.send(l.LocalAddr(), m.String())
			m.method = "CANCEL"
			p.send(l.LocalAddr(), m.String())
		}
		for range burst {
			if receive(t, "Cancel", ready) {
				cancelled++
			}
		}
	}
	if s := l.Stats(); cancelled != calls || s.Refused != 0 {
		t.Errorf("%d of %d CANCELs matched; %+v", cancelled, calls, s)
	}
}

// Defect S1: back-to-back INFOs of one call reach the handler in the order of their CSeq.
func TestInfoOrder(t *testing.T) {
	const calls, infos, burst = 500, 4, 25
	var (
		mu   sync.Mutex
		last = make(map[string]uint32)
		bad  int
	)
	done := make(chan struct{}, burst*infos)
	l := serve(t, Options{}, funcs{request: func(req *sip.Request, tx *Server) {
		mu.Lock()
		id := string(*req.CallID())
		if req.CSeq().SeqNo != last[id]+1 {
			bad++
		}
		last[id] = req.CSeq().SeqNo
		mu.Unlock()
		_ = answer(tx, 200, "OK")
		done <- struct{}{}
	}})
	p := newPeer(t)
	for i := 0; i < calls; i += burst {
		for j := i; j < i+burst; j++ {
			for cseq := 1; cseq <= infos; cseq++ {
				p.send(l.LocalAddr(), text{
					method: "INFO", callID: fmt.Sprint("info-", j), branch: fmt.Sprintf("z9hG4bK%d-%d", j, cseq),
					cseq: cseq, toTag: "ours",
				}.String())
			}
		}
		for range burst * infos {
			receive(t, "INFO", done)
		}
	}
	if bad != 0 {
		t.Errorf("%d of %d INFOs out of order", bad, calls*infos)
	}
}

// A panic in one call's handler is answered with 500 and leaves the other calls of the same lane alone.
func TestPanic(t *testing.T) {
	l := serve(t, Options{Lanes: 1}, funcs{
		request: func(req *sip.Request, tx *Server) {
			if string(*req.CallID()) == "bad" {
				panic("handler is broken")
			}
			_ = answer(tx, 180, "Ringing")
		},
		ack:      func(*sip.Request) { panic("handler is broken") },
		response: func(*sip.Response) { panic("handler is broken") },
	})
	p := newPeer(t)
	p.send(l.LocalAddr(), text{method: "INVITE", callID: "good"}.String())
	p.expect("SIP/2.0 180 ")
	p.send(l.LocalAddr(), text{method: "INVITE", callID: "bad"}.String())
	if m := p.expect("SIP/2.0 500 "); field(m, "Call-ID") != "bad" {
		t.Errorf("500 is for %q", m)
	}
	p.send(l.LocalAddr(), text{method: "ACK", callID: "nobody", toTag: "x"}.String())
	p.send(l.LocalAddr(), reply(text{method: "INVITE", callID: "nobody"}.String(), 200, "x"))
	if !l.Do("bad", func() { panic("function is broken") }) {
		t.Error("Do refused")
	}
	p.send(l.LocalAddr(), text{method: "INVITE", callID: "good"}.String())
	p.expect("SIP/2.0 180 ")
	waitFor(t, "four panics", func() bool { return l.Stats().Panics == 4 })
}

// 2,000 datagrams from 2,000 sources, garbage and requests, leave nothing behind for each source.
func TestPoolGrowth(t *testing.T) {
	const sources = 2000
	l := serve(t, Options{Guard: Guard{LimitLocal: true, Finished: 100}, Lanes: 4}, funcs{
		request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") },
	})
	sent := 0
	for i := range sources {
		ip := net.IPv4(127, 0, byte(1+i/250), byte(1+i%250))
		sock, err := net.DialUDP("udp", &net.UDPAddr{IP: ip}, net.UDPAddrFromAddrPort(l.LocalAddr()))
		if err != nil {
			t.Skip("this system has no 127.0.0.0/8:", err)
		}
		for _, m := range []string{"x", text{method: "OPTIONS", callID: "pool-" + strconv.Itoa(i)}.String()} {
			if _, err := sock.Write([]byte(m)); err != nil {
				t.Fatal(err)
			}
			sent++
		}
		if err := sock.Close(); err != nil {
			t.Fatal(err)
		}
		if i%50 == 0 {
			waitFor(t, "messages to be read", func() bool { return l.Stats().Received == uint64(sent) })
		}
	}
	waitFor(t, "all to be answered", func() bool { s := l.Stats(); return s.OpenServer == 0 && s.Sent >= sources })
	s := l.Stats()
	if s.Connections != 0 || s.Finished > 100 {
		t.Errorf("%+v", s)
	}
	l.streams.mu.Lock()
	if n := len(l.streams.conns) + len(l.streams.perSource) + len(l.streams.silentAt); n != 0 {
		t.Errorf("%d entries for connections", n)
	}
	l.streams.mu.Unlock()
	entries := 0
	for _, n := range l.lanes {
		n.mu.Lock()
		entries += len(n.servers) + len(n.clients) + len(n.timers)
		n.mu.Unlock()
	}
	if entries > 100 {
		t.Errorf("%d entries in the lanes", entries)
	}
	if len(l.buckets.sets) != bucketSets {
		t.Errorf("the table of buckets has %d sets", len(l.buckets.sets))
	}
}

// RFC 3261 18.2.1, 18.2.2 and RFC 3581: received, rport, and where the response goes.
func TestReceivedAndRport(t *testing.T) {
	tests := []struct {
		name, via string
		want      string // with %d for the port of the peer
		listens   bool   // the response goes to the port of the Via, where nobody sent from
	}{
		{"rport", "SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bKa", "SIP/2.0/UDP 127.0.0.1:9;rport=%d;branch=z9hG4bKa;received=127.0.0.1", false},
		{"other host", "SIP/2.0/UDP 10.1.1.1:9;rport;branch=z9hG4bKb", "SIP/2.0/UDP 10.1.1.1:9;rport=%d;branch=z9hG4bKb;received=127.0.0.1", false},
		{"name", "SIP/2.0/UDP phone.example:%d;branch=z9hG4bKc", "SIP/2.0/UDP phone.example:%d;branch=z9hG4bKc;received=127.0.0.1", true},
		{"same", "SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKd", "SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bKd", true},
		{"upper case", "SIP/2.0/udp 127.0.0.1:9;RPORT;Branch=z9hG4bKe", "SIP/2.0/udp 127.0.0.1:9;rport=%d;branch=z9hG4bKe;received=127.0.0.1", false},
		{"maddr is not followed", "SIP/2.0/UDP 127.0.0.1:9;rport;maddr=192.0.2.1;branch=z9hG4bKf", "SIP/2.0/UDP 127.0.0.1:9;rport=%d;maddr=192.0.2.1;branch=z9hG4bKf;received=127.0.0.1", false},
	}
	l := serve(t, Options{}, funcs{request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") }})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, at := newPeer(t), newPeer(t)
			if !tt.listens {
				at = from
			}
			fill := func(s string) string { return strings.ReplaceAll(s, "%d", strconv.Itoa(int(at.addr().Port()))) }
			m := strings.Replace(text{method: "OPTIONS", callID: tt.name[:4]}.String(),
				"Via: SIP/2.0/UDP 127.0.0.1:5099;rport;branch=z9hG4bKone", "Via: "+fill(tt.via), 1)
			from.send(l.LocalAddr(), m)
			if via := field(at.expect("SIP/2.0 200 "), "Via"); via != fill(tt.want) {
				t.Errorf("Via: %q, want %q", via, fill(tt.want))
			}
		})
	}
}

// Garbage is counted and gets no answer; a request with a Via and a fault gets 400; an ACK never does.
func TestMalformed(t *testing.T) {
	l := serve(t, Options{}, funcs{request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") }})
	p := newPeer(t)
	good := text{method: "OPTIONS", callID: "good"}.String()
	without := func(name string) string {
		var b strings.Builder
		for line := range strings.Lines(text{method: "OPTIONS", callID: "bad"}.String()) {
			if !strings.HasPrefix(line, name+":") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	silent := []string{
		"x", "\x00\x01\x02\x03\x04\x05", "GET / HTTP/1.1\r\n\r\n", without("Via"), strings.Repeat("A", 60000),
		text{method: "ACK", cseqMethod: "BYE"}.String(),
		"SIP/2.0 4294967301 OK\r\n\r\n", reply(good, 200, "x"), "\r\n\r\n", "\x00\x00\x00\x00",
	}
	answered := map[string]string{
		without("From"): "400", without("To"): "400", without("Call-ID"): "400", without("CSeq"): "400",
		text{method: "OPTIONS", cseqMethod: "INVITE"}.String():                             "400",
		text{method: "OPTIONS", extra: []string{"Max-Forwards: x"}}.String():               "400",
		strings.Replace(good, "SIP/2.0\r\n", "SIP/3.0\r\n", 1):                             "505",
		strings.Replace(good, "Content-Length: 0", "Content-Length: 10", 1):                "400",
		text{method: "OPTIONS", uri: "soap.beep://192.0.2.1:3002", callID: "x"}.String():   "416",
		text{method: "OPTIONS", extra: []string{"Call-ID: another"}, callID: "y"}.String(): "400",
	}
	for _, m := range silent {
		p.send(l.LocalAddr(), m)
	}
	p.send(l.LocalAddr(), good)
	if m := p.read(patience); !strings.HasPrefix(m, "SIP/2.0 200 ") {
		t.Errorf("something among the silent was answered: %q", m)
	}
	for m, status := range answered {
		p.send(l.LocalAddr(), m)
		if res := p.read(patience); !strings.HasPrefix(res, "SIP/2.0 "+status+" ") {
			t.Errorf("%q was answered %q, want %s", m, res, status)
		}
	}
	if s := l.Stats(); s.Malformed < 15 || s.Panics != 0 {
		t.Errorf("%+v", s)
	}
}

// A source over its rate gets no answer to new requests, but its dialogs go on, and so do others.
func TestRate(t *testing.T) {
	l := serve(t, Options{Guard: Guard{Rate: 0.001, Burst: 5, LimitLocal: true}}, funcs{
		request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") },
	})
	p := newPeer(t)
	for i := range 20 {
		p.send(l.LocalAddr(), text{method: "OPTIONS", callID: fmt.Sprint("rate-", i)}.String())
	}
	p.send(l.LocalAddr(), text{method: "BYE", callID: "rate-0", cseq: 2, toTag: "ours"}.String())
	answers := map[string]int{}
	for answers["2 BYE"] == 0 {
		answers[field(p.expect("SIP/2.0 200 "), "CSeq")]++
	}
	waitFor(t, "all to be judged", func() bool { return l.Stats().DroppedRate == 15 })
	other, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, net.UDPAddrFromAddrPort(l.LocalAddr()))
	if err != nil {
		t.Skip("this system has no 127.0.0.2:", err)
	}
	q := &peer{t, other}
	defer other.Close()
	if _, err := other.Write([]byte(text{method: "OPTIONS", callID: "other"}.String())); err != nil {
		t.Fatal(err)
	}
	q.expect("SIP/2.0 200 ")
}

// Too many headers, or too long ones, are dropped before they are parsed.
func TestHeaderLimits(t *testing.T) {
	l := serve(t, Options{Guard: Guard{Headers: 20, HeaderBytes: 2000}}, funcs{
		request: func(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") },
	})
	p := newPeer(t)
	for _, extra := range [][]string{make([]string, 30), {"X: " + strings.Repeat("x", 3000)}, {"X: " + strings.Repeat("x", 60000)}} {
		for i := range extra {
			if extra[i] == "" {
				extra[i] = "X: y"
			}
		}
		p.send(l.LocalAddr(), text{method: "OPTIONS", callID: "big", extra: extra}.String())
	}
	p.send(l.LocalAddr(), text{method: "OPTIONS", callID: "good", body: strings.Repeat("b", 3000)}.String())
	if m := p.read(patience); field(m, "Call-ID") != "good" {
		t.Errorf("answered %q", m)
	}
	if s := l.Stats(); s.DroppedSize != 3 {
		t.Errorf("%+v", s)
	}
}

func TestBuckets(t *testing.T) {
	b := newBuckets(10, 3)
	a := netip.MustParseAddr("192.0.2.1")
	take := func(n int, ip netip.Addr, seconds float64) (taken int) {
		for range n {
			if b.take(ip, durationOf(seconds)) {
				taken++
			}
		}
		return taken
	}
	if got := take(10, a, 0); got != 3 {
		t.Errorf("burst of %d, want 3", got)
	}
	if got := take(10, a, 0.21); got != 2 {
		t.Errorf("%d after 0.21 s, want 2", got)
	}
	// A flood of other sources does not give a busy one a new burst often.
	again := 0
	for i := range 200000 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		b.take(ip, durationOf(0.22))
		if i%1000 == 0 {
			again += take(1, a, 0.22)
		}
	}
	if again > 20 {
		t.Errorf("a source without tokens got %d during a flood", again)
	}
	v6a, v6b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:2")
	if got := take(2, v6a, 1) + take(2, v6b, 1); got != 3 {
		t.Errorf("%d for two addresses of one /64, want 3", got)
	}
}

func durationOf(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
