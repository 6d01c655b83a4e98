package transaction

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
)

// patience is how long a test waits for something that must come; it is never waited out in a test that passes.
const patience = 20 * time.Second

// funcs is a Handler of functions; those that are nil do nothing.
type funcs struct {
	request  func(*sip.Request, *Server)
	cancel   func(*Server)
	ack      func(*sip.Request)
	response func(*sip.Response)
	lost     func(*Server, error)
}

func (f funcs) Request(req *sip.Request, tx *Server) {
	if f.request != nil {
		f.request(req, tx)
	}
}

func (f funcs) Cancel(tx *Server) {
	if f.cancel != nil {
		f.cancel(tx)
	}
}

func (f funcs) ACK(req *sip.Request) {
	if f.ack != nil {
		f.ack(req)
	}
}

func (f funcs) Response(res *sip.Response) {
	if f.response != nil {
		f.response(res)
	}
}

func (f funcs) Lost(tx *Server, err error) {
	if f.lost != nil {
		f.lost(tx, err)
	}
}

// answer responds to req with a To tag of its own.
func answer(tx *Server, status int, reason string) error {
	res := sip.NewResponseFromRequest(tx.Request(), status, reason, nil)
	if status != 100 {
		res.To().Params.Add("tag", "ours")
	}
	return tx.Respond(res)
}

// serve runs a layer on a free port of 127.0.0.1 for the length of the test.
func serve(t *testing.T, o Options, h Handler) *Layer {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Serve(context.Background(), h) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error("Serve:", err)
		}
	})
	return l
}

// A peer is a plain UDP socket.
type peer struct {
	t    *testing.T
	sock *net.UDPConn
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	sock, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sock.Close() })
	return &peer{t, sock}
}

func (p *peer) addr() netip.AddrPort { return p.sock.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *peer) send(to netip.AddrPort, raw string) {
	p.t.Helper()
	if _, err := p.sock.WriteToUDPAddrPort([]byte(raw), to); err != nil {
		p.t.Fatal(err)
	}
}

// read gives the next datagram, or "" if none comes in time.
func (p *peer) read(within time.Duration) string {
	p.t.Helper()
	if err := p.sock.SetReadDeadline(time.Now().Add(within)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 65535)
	n, err := p.sock.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// expect gives the next datagram that starts with prefix, skipping others.
func (p *peer) expect(prefix string) string {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if m := p.read(time.Until(end)); strings.HasPrefix(m, prefix) {
			return m
		}
	}
	p.t.Fatalf("no %q came", prefix)
	return ""
}

// field is the value of the first header line with that name in raw.
func field(raw, name string) string {
	for line := range strings.Lines(raw) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// A text is a request in the making.
type text struct {
	method, uri, via, branch, callID, fromTag, toTag string
	cseq                                             int
	cseqMethod                                       string
	extra                                            []string
	body                                             string
}

func (m text) String() string {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&m.uri, "sip:echo@127.0.0.1")
	def(&m.via, "SIP/2.0/UDP 127.0.0.1:5099;rport")
	def(&m.branch, "z9hG4bKone")
	def(&m.callID, "call-1")
	def(&m.fromTag, "theirs")
	def(&m.cseqMethod, m.method)
	m.cseq = max(m.cseq, 1)
	to := ""
	if m.toTag != "" {
		to = ";tag=" + m.toTag
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: %s;branch=%s\r\n", m.method, m.uri, m.via, m.branch)
	fmt.Fprintf(&b, "From: <sip:a@127.0.0.1>;tag=%s\r\nTo: <sip:echo@127.0.0.1>%s\r\n", m.fromTag, to)
	fmt.Fprintf(&b, "Call-ID: %s\r\nCSeq: %d %s\r\n", m.callID, m.cseq, m.cseqMethod)
	for _, line := range m.extra {
		b.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.String()
}

// outbound makes a request for Layer.Request.
func outbound(method sip.RequestMethod, callID string) *sip.Request {
	req := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: "b", Host: "example.org"})
	req.AppendHeader(&sip.FromHeader{
		Address: sip.Uri{Scheme: "sip", User: "a", Host: "example.org"}, Params: sip.HeaderParams{{K: "tag", V: "ours"}},
	})
	req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: "b", Host: "example.org"}})
	id := sip.CallIDHeader(callID)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 7, MethodName: method})
	return req
}

// reply makes a response to a request as it was on the wire.
func reply(request string, status int, toTag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Whatever\r\n", status)
	for line := range strings.Lines(request) {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "to":
			line = strings.TrimRight(line, "\r\n")
			if toTag != "" && !strings.Contains(line, ";tag=") {
				line += ";tag=" + toTag
			}
			b.WriteString(line + "\r\n")
		case "via", "from", "call-id", "cseq":
			b.WriteString(line)
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// far is where the other side of a world without sockets is.
var far = netip.MustParseAddrPort("192.0.2.7:5099")

// A world is a layer without sockets, in a bubble of synctest, and the list of what it sent.
type world struct {
	t     *testing.T
	layer *Layer
	start time.Time

	mu   sync.Mutex
	sent []datagram
	fail error
}

type datagram struct {
	at  time.Duration
	to  netip.AddrPort
	raw string
}

// inWorld runs f in a bubble with a layer that h handles.
func inWorld(t *testing.T, o Options, h func(*world) Handler, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, start: time.Now()}
		if o.Lanes == 0 {
			o.Lanes = 2
		}
		w.layer = newLayer(o.withDefaults(), w, nil)
		w.layer.local = netip.MustParseAddrPort("192.0.2.1:5060")
		w.layer.handler = h(w)
		for _, n := range w.layer.lanes {
			w.layer.begin(func() { n.run(w.layer.ctx.Done()) })
		}
		f(w)
		if err := w.layer.Close(); err != nil {
			t.Error(err)
		}
		w.layer.work.Wait()
	})
}

func (w *world) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, datagram{time.Since(w.start), to, string(b)})
	return len(b), w.fail
}

func (w *world) Close() error { return nil }

// arrive lets messages arrive from far and waits until all is done that follows.
func (w *world) arrive(raws ...fmt.Stringer) {
	for _, raw := range raws {
		w.layer.arrive(raw.String(), origin{addr: far})
	}
	synctest.Wait()
}

// sleep lets time pass and waits until all is done that was due. What the test did before happens before it.
func (w *world) sleep(d time.Duration) {
	for _, n := range w.layer.lanes {
		n.post(func() {})
	}
	time.Sleep(d)
	synctest.Wait()
}

type raw string

func (r raw) String() string { return string(r) }

// take gives what was sent since the last time.
func (w *world) take() []datagram {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// takeOne gives the one message that was sent.
func (w *world) takeOne(prefix string) string {
	w.t.Helper()
	sent := w.take()
	if len(sent) != 1 || !strings.HasPrefix(sent[0].raw, prefix) {
		w.t.Fatalf("sent %d messages %q, want one %q", len(sent), firstLines(sent), prefix)
	}
	return sent[0].raw
}

func firstLines(sent []datagram) []string {
	var lines []string
	for _, d := range sent {
		line, _, _ := strings.Cut(d.raw, "\r\n")
		lines = append(lines, line)
	}
	return lines
}

// times are when the messages with that prefix were sent.
func times(sent []datagram, prefix string) []time.Duration {
	var at []time.Duration
	for _, d := range sent {
		if strings.HasPrefix(d.raw, prefix) {
			at = append(at, d.at)
		}
	}
	return at
}

// waitFor waits until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// receive takes a value that must come.
func receive[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
