package transaction

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// A streamPeer is a plain TCP connection that reads messages.
type streamPeer struct {
	t    *testing.T
	sock net.Conn
	in   *bufio.Reader
}

func dialPeer(t *testing.T, to netip.AddrPort) *streamPeer {
	t.Helper()
	sock, err := net.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	return newStreamPeer(t, sock)
}

func newStreamPeer(t *testing.T, sock net.Conn) *streamPeer {
	t.Helper()
	t.Cleanup(func() { _ = sock.Close() })
	if err := sock.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &streamPeer{t, sock, bufio.NewReader(sock)}
}

func (p *streamPeer) send(raw string) {
	p.t.Helper()
	if _, err := io.WriteString(p.sock, raw); err != nil {
		p.t.Fatal(err)
	}
}

// read gives the next message, or the error that ended the connection.
func (p *streamPeer) read() (string, error) {
	var b strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		b.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	length := field(b.String(), "Content-Length")
	if length == "" { // a keep-alive
		return b.String(), nil
	}
	n, err := strconv.Atoi(length)
	if err == nil {
		_, err = io.CopyN(&b, p.in, int64(n))
	}
	return b.String(), err
}

func (p *streamPeer) expect(prefix string) string {
	p.t.Helper()
	m, err := p.read()
	if err != nil || !strings.HasPrefix(m, prefix) {
		p.t.Fatalf("read %q (%v), want %q", m, err, prefix)
	}
	return m
}

// expectEnd waits until the other side closes.
func (p *streamPeer) expectEnd() {
	p.t.Helper()
	m, err := p.read()
	if ne, ok := errors.AsType[net.Error](err); err == nil || ok && ne.Timeout() {
		p.t.Fatalf("read %q (%v), want the end", m, err)
	}
}

const viaTCP = "SIP/2.0/TCP 127.0.0.1:9"

func ok200(_ *sip.Request, tx *Server) { _ = answer(tx, 200, "OK") }

// Many messages in one write and one message in many are the same; each is answered over its connection.
func TestStreamFraming(t *testing.T) {
	l := serve(t, Options{Lanes: 1}, funcs{request: ok200})
	p := dialPeer(t, l.LocalAddr())
	var all strings.Builder
	for i := range 20 {
		all.WriteString(text{method: "MESSAGE", via: viaTCP, callID: fmt.Sprint("m", i), body: strings.Repeat("\r\n\r\n", i)}.String())
	}
	p.send(all.String())
	for i := range 20 {
		if m := p.expect("SIP/2.0 200 "); field(m, "Call-ID") != fmt.Sprint("m", i) {
			t.Errorf("answer %d is %q", i, m)
		}
	}
	for _, b := range []byte("\r\n" + text{method: "OPTIONS", via: viaTCP, callID: "bytes"}.String()) {
		p.send(string(b))
	}
	p.expect("SIP/2.0 200 ")
}

// RFC 5626 3.5.1: CRLF CRLF gets CRLF.
func TestStreamKeepAlive(t *testing.T) {
	l := serve(t, Options{}, funcs{request: ok200})
	p := dialPeer(t, l.LocalAddr())
	for range 3 {
		p.send("\r\n\r\n")
		if m := p.expect("\r\n"); m != "\r\n" {
			t.Errorf("pong is %q", m)
		}
	}
	p.send(text{method: "OPTIONS", via: viaTCP}.String())
	p.expect("SIP/2.0 200 ")
}

// A stream that cannot be split is answered if it can be, and closed.
func TestStreamRefused(t *testing.T) {
	noLength := strings.Replace(text{method: "OPTIONS", via: viaTCP}.String(), "Content-Length: 0\r\n", "", 1)
	length := func(v string) string {
		return strings.Replace(text{method: "OPTIONS", via: viaTCP}.String(), "Content-Length: 0", "Content-Length: "+v, 1)
	}
	tests := []struct{ name, raw, want string }{
		{"no Content-Length", noLength, "SIP/2.0 400 "},
		{"negative", length("-1"), "SIP/2.0 400 "},
		{"two values", length("5\r\nl: 6"), "SIP/2.0 400 "},
		{"too long", length("70000"), "SIP/2.0 513 "},
		{"endless headers", "OPTIONS sip:a@b SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 10000), ""},
		{"garbage", "\r\n\rgarbage", ""},
		{"another protocol", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := serve(t, Options{}, funcs{request: ok200})
			p := dialPeer(t, l.LocalAddr())
			_, _ = io.WriteString(p.sock, tt.raw) // may fail when the other side closes first
			if tt.want != "" {
				p.expect(tt.want)
			}
			p.expectEnd()
			waitFor(t, "the connection to be forgotten", func() bool { return l.Stats().Connections == 0 })
		})
	}
}

// A message that began must be complete in time, however many bytes trickle in; an idle connection may last longer.
func TestStreamDeadlines(t *testing.T) {
	l := serve(t, Options{Guard: Guard{MessageTimeout: 100 * time.Millisecond, IdleTimeout: time.Hour}}, funcs{request: ok200})
	idle, slow := dialPeer(t, l.LocalAddr()), dialPeer(t, l.LocalAddr())
	go func() {
		for { // ends when the connection is closed
			if _, err := io.WriteString(slow.sock, "X"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	slow.expectEnd()
	idle.send(text{method: "OPTIONS", via: viaTCP}.String())
	idle.expect("SIP/2.0 200 ")

	// A connection without a message ends, one that had a message stays.
	l = serve(t, Options{Guard: Guard{IdleTimeout: time.Second, MessageTimeout: time.Hour}}, funcs{request: ok200})
	proven := dialPeer(t, l.LocalAddr())
	proven.send(text{method: "OPTIONS", via: viaTCP}.String())
	proven.expect("SIP/2.0 200 ")
	dialPeer(t, l.LocalAddr()).expectEnd()
	proven.send(text{method: "OPTIONS", via: viaTCP, callID: "later"}.String())
	proven.expect("SIP/2.0 200 ")
}

func TestConnectionLimits(t *testing.T) {
	for name, g := range map[string]Guard{
		"all": {Connections: 3}, "per source": {ConnectionsPerSource: 3, LimitLocal: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := serve(t, Options{Guard: g}, funcs{request: ok200})
			var in []*streamPeer
			for range 3 {
				in = append(in, dialPeer(t, l.LocalAddr()))
			}
			waitFor(t, "three connections", func() bool { return l.Stats().Connections == 3 })
			dialPeer(t, l.LocalAddr()).expectEnd()
			_ = in[0].sock.Close()
			waitFor(t, "room", func() bool { return l.Stats().Connections == 2 })
			p := dialPeer(t, l.LocalAddr())
			p.send(text{method: "OPTIONS", via: viaTCP}.String())
			p.expect("SIP/2.0 200 ")
			if s := l.Stats(); s.DroppedConnections != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// RFC 3261 18.2.2: when the connection of a request has ended, the response goes over a new one to the sent-by port;
// without one, an INVITE's handler is told.
func TestStreamReconnect(t *testing.T) {
	txs, lost := make(chan *Server, 2), make(chan error, 2)
	l := serve(t, Options{}, funcs{
		request: func(_ *sip.Request, tx *Server) { txs <- tx },
		lost:    func(_ *Server, err error) { lost <- err },
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := dialPeer(t, l.LocalAddr())
	p.send(text{method: "INVITE", via: "SIP/2.0/TCP " + listener.Addr().String(), callID: "back"}.String())
	tx := receive(t, "INVITE", txs)
	_ = p.sock.Close()
	waitFor(t, "the end", func() bool { return l.Stats().Connections == 0 })
	if err := answer(tx, 486, "Busy Here"); err != nil {
		t.Fatal(err)
	}
	sock, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	q := newStreamPeer(t, sock)
	busy := q.expect("SIP/2.0 486 ")
	_, tag, _ := strings.Cut(field(busy, "To"), ";tag=")
	q.send(text{method: "ACK", via: "SIP/2.0/TCP " + listener.Addr().String(), callID: "back", toTag: tag}.String())
	waitFor(t, "the ACK", func() bool { return l.Stats().OpenServer == 0 })

	p = dialPeer(t, l.LocalAddr())
	p.send(text{method: "INVITE", via: viaTCP, callID: "gone"}.String()) // nobody listens on port 9
	tx = receive(t, "INVITE", txs)
	_ = p.sock.Close()
	waitFor(t, "the end", func() bool { return l.Stats().Connections <= 1 })
	if err := answer(tx, 200, "OK"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "Lost", lost); !errors.Is(err, ErrTransport) {
		t.Errorf("lost: %v", err)
	}
}

// Our requests go over the connection that the peer opened, and their answers come back by it.
func TestStreamReuse(t *testing.T) {
	targets := make(chan Target, 1)
	l := serve(t, Options{}, funcs{request: func(req *sip.Request, tx *Server) { targets <- tx.Target(); ok200(req, tx) }})
	p := dialPeer(t, l.LocalAddr())
	p.send(text{method: "REGISTER", via: viaTCP}.String())
	to := receive(t, "REGISTER", targets)
	p.expect("SIP/2.0 200 ")
	results := make(chan int, 3)
	c, err := l.Request(outbound(sip.INVITE, "c"), to, func(res *sip.Response, err error) {
		if err == nil {
			results <- res.StatusCode
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	invite := p.expect("INVITE ")
	if via := field(invite, "Via"); !strings.HasPrefix(via, "SIP/2.0/TCP "+l.LocalAddr().String()+";") {
		t.Errorf("Via: %q", via)
	}
	p.send(reply(invite, 180, "a"))
	receive(t, "180", results)
	c.Cancel("")
	cancel := p.expect("CANCEL ")
	if field(cancel, "Via") != field(invite, "Via") {
		t.Errorf("CANCEL has Via %q", field(cancel, "Via"))
	}
	p.send(reply(cancel, 200, "a") + reply(invite, 487, "a"))
	p.expect("ACK ")
	if status := receive(t, "487", results); status != 487 {
		t.Errorf("told %d", status)
	}
	if err := l.ACK(outbound(sip.ACK, "c"), to); err != nil {
		t.Fatal(err)
	}
	p.expect("ACK ")
	if s := l.Stats(); s.OpenClient != 0 || s.Connections != 1 {
		t.Errorf("%+v", s)
	}
}

// A connection that ends before any response is a transport error at once, not after 32 s.
func TestStreamLost(t *testing.T) {
	l := serve(t, Options{}, funcs{request: ok200})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(listener.Addr().String())
	errs := make(chan error, 2)
	request := func() {
		t.Helper()
		_, err := l.Request(outbound(sip.OPTIONS, "c"), Target{"tcp", at}, func(_ *sip.Response, err error) { errs <- err })
		if err != nil {
			t.Fatal(err)
		}
	}
	request()
	sock, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	newStreamPeer(t, sock).expect("OPTIONS ")
	_ = sock.Close()
	if err := receive(t, "the error", errs); !errors.Is(err, ErrTransport) {
		t.Errorf("peer closed: %v", err)
	}
	_ = listener.Close()
	request()
	if err := receive(t, "the error", errs); !errors.Is(err, ErrTransport) {
		t.Errorf("nobody listens: %v", err)
	}
	waitFor(t, "both to be over", func() bool { s := l.Stats(); return s.OpenClient == 0 && s.Connections == 0 })
}

// Defect S6: what is too long for a datagram goes over TCP if the peer has it, else in fragments; responses always do.
func TestMTU(t *testing.T) {
	long := strings.Repeat("a=long:"+strings.Repeat("x", 60)+"\r\n", 60)
	big := func() *sip.Request {
		req := outbound(sip.INVITE, "big")
		req.SetBody([]byte(long))
		return req
	}
	t.Run("TCP", func(t *testing.T) {
		l := serve(t, Options{}, funcs{request: ok200})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		c, err := l.Request(big(), Target{Addr: netip.MustParseAddrPort(listener.Addr().String())}, func(*sip.Response, error) {})
		if err != nil {
			t.Fatal(err)
		}
		sock, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		m := newStreamPeer(t, sock).expect("INVITE ")
		if !strings.HasSuffix(m, long) || !strings.HasPrefix(field(m, "Via"), "SIP/2.0/TCP ") || c.Target().Transport != "TCP" {
			t.Errorf("sent by %+v: %q", c.Target(), m)
		}
	})
	t.Run("UDP", func(t *testing.T) {
		l := serve(t, Options{}, funcs{request: ok200})
		p := newPeer(t)
		results := make(chan int, 9)
		for i := range 2 { // the second time TCP is not tried
			c, err := l.Request(big(), Target{Addr: p.addr()}, func(res *sip.Response, err error) {
				if err != nil {
					t.Error(err)
					return
				}
				results <- res.StatusCode
			})
			if err != nil {
				t.Fatal(err)
			}
			m := p.expect("INVITE ")
			if !strings.HasSuffix(m, long) || !strings.HasPrefix(field(m, "Via"), "SIP/2.0/UDP ") || c.Target().Transport != "UDP" {
				t.Errorf("%d: sent by %+v: %q", i, c.Target(), m)
			}
			p.send(l.LocalAddr(), reply(m, 486, "a"))
			if ack := p.expect("ACK "); field(ack, "Via") != field(m, "Via") {
				t.Errorf("ACK has Via %q, INVITE %q", field(ack, "Via"), field(m, "Via"))
			}
			receive(t, "486", results)
		}
		if !l.streams.silent(p.addr()) {
			t.Error("it is not remembered that nobody answers on TCP")
		}
	})
	t.Run("response", func(t *testing.T) {
		l := serve(t, Options{}, funcs{request: func(_ *sip.Request, tx *Server) {
			res := sip.NewResponseFromRequest(tx.Request(), 200, "OK", []byte(long))
			if err := tx.Respond(res); err != nil {
				t.Error(err)
			}
		}})
		p := newPeer(t)
		p.send(l.LocalAddr(), text{method: "INVITE", body: long}.String())
		if m := p.expect("SIP/2.0 200 "); !strings.HasSuffix(m, long) {
			t.Errorf("answered %q", m)
		}
	})
}

// A peer that does not read is cut off; it does not hold up the lane, and what waits for it is told.
func TestSlowReader(t *testing.T) {
	txs := make(chan *Server, 1)
	lost := make(chan error, 1)
	l := serve(t, Options{Guard: Guard{MessageTimeout: time.Hour}}, funcs{
		request: func(req *sip.Request, tx *Server) {
			if req.Method == sip.INVITE {
				txs <- tx
			} else {
				ok200(req, tx)
			}
		},
		lost: func(_ *Server, err error) { lost <- err },
	})
	p := dialPeer(t, l.LocalAddr())
	p.send(text{method: "INVITE", via: viaTCP}.String())
	tx := receive(t, "INVITE", txs)
	body := []byte(strings.Repeat("x", 60000))
	for l.Stats().Connections == 1 {
		if err := tx.Respond(sip.NewResponseFromRequest(tx.Request(), 183, "Session Progress", body)); err != nil {
			break
		}
	}
	if err := receive(t, "Lost", lost); !errors.Is(err, ErrTransport) {
		t.Errorf("lost: %v", err)
	}
	q := newPeer(t)
	q.send(l.LocalAddr(), text{method: "OPTIONS"}.String())
	q.expect("SIP/2.0 200 ")
}

// Trace sees every message, with its Call-ID, both ways and on both transports.
func TestTrace(t *testing.T) {
	var (
		mu   sync.Mutex
		seen []string
	)
	l := serve(t, Options{UserAgent: "Tipring", Trace: func(tr Trace) {
		line, _, _ := strings.Cut(tr.Raw, "\r\n")
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s sent=%v %s: %s", tr.Transport, tr.Sent, tr.CallID, line))
		if tr.Remote.Addr().String() != "127.0.0.1" || tr.Time.IsZero() {
			t.Errorf("%+v", tr)
		}
	}}, funcs{request: ok200})
	p, q := newPeer(t), dialPeer(t, l.LocalAddr())
	p.send(l.LocalAddr(), text{method: "OPTIONS", callID: "udp"}.String())
	if m := p.expect("SIP/2.0 200 "); field(m, "Server") != "Tipring" {
		t.Errorf("answered %q", m)
	}
	q.send(text{method: "OPTIONS", callID: "tcp", via: viaTCP}.String())
	q.expect("SIP/2.0 200 ")
	mu.Lock()
	defer mu.Unlock()
	want := []string{
		"UDP sent=false udp: OPTIONS sip:echo@127.0.0.1 SIP/2.0", "UDP sent=true udp: SIP/2.0 200 OK",
		"TCP sent=false tcp: OPTIONS sip:echo@127.0.0.1 SIP/2.0", "TCP sent=true tcp: SIP/2.0 200 OK",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("saw %q", seen)
	}
}
