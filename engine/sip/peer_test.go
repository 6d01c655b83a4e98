package sip

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// patience is how long a test waits for what must come; nothing is asserted about how fast it comes.
const patience = 20 * time.Second

// house is a Door on loopback with the engine's side of its calls.
type house struct {
	t     testing.TB
	door  *Door
	layer *transaction.Layer
	addr  netip.AddrPort
	calls chan call
	stop  func()
}

// call is one inbound call as the engine gets it.
type call struct {
	in  engine.Incoming
	leg engine.Leg
}

// settings change what a house is made of.
type settings struct {
	layer transaction.Options
	media rtp.Options
	door  Options
}

func newHouse(tb testing.TB, change ...func(*settings)) *house {
	tb.Helper()
	h := &house{t: tb, calls: make(chan call, 4096)}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SIP_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s := settings{layer: transaction.Options{Listen: "127.0.0.1:0", T1: 100 * time.Millisecond, Log: log}}
	s.door.Log = log
	s.media = rtp.Options{Bind: netip.MustParseAddr("127.0.0.1"), MinPort: 20000, MaxPort: 29999, DrainPorts: time.Millisecond}
	s.door.Accept = func(in engine.Incoming, leg engine.Leg) error {
		h.calls <- call{in, leg}
		return nil
	}
	for _, f := range change {
		f(&s)
	}
	var err error
	if h.layer, err = transaction.Listen(s.layer); err != nil {
		tb.Fatal(err)
	}
	media, err := rtp.New(s.media)
	if err != nil {
		tb.Fatal(err)
	}
	s.door.Layer, s.door.Media = h.layer, media
	if h.door, err = New(s.door); err != nil {
		tb.Fatal(err)
	}
	h.addr = h.layer.LocalAddr()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.door.Serve(ctx) }()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Serve: %v", err)
		}
		_ = h.layer.Close()
		_ = media.Close()
	}
	tb.Cleanup(h.stop)
	return h
}

// call is the next inbound call.
func (h *house) call() call {
	h.t.Helper()
	select {
	case c := <-h.calls:
		return c
	case <-time.After(patience):
		h.t.Fatal("no inbound call arrived")
		return call{}
	}
}

// dial starts an outbound call to the peer.
func (h *house) dial(p *peer, change ...func(*engine.Outgoing)) engine.Leg {
	h.t.Helper()
	out := engine.Outgoing{
		Key: "k1", CallID: "call_1",
		From: engine.Address{URI: "sip:alice@example.com", Name: "Alice"},
		To:   engine.Address{URI: "sip:bob@" + p.addr.String()},
	}
	for _, f := range change {
		f(&out)
	}
	leg, err := h.door.Dial(context.Background(), out)
	if err != nil {
		h.t.Fatal(err)
	}
	p.only = leg.(*Leg).callID
	return leg
}

// signal is the leg's next signal, which must be of the kind.
func (h *house) signal(leg engine.Leg, kind engine.SignalKind) engine.Signal {
	h.t.Helper()
	select {
	case s, ok := <-leg.Signals():
		if !ok {
			h.t.Fatalf("signals closed, want kind %d", kind)
		}
		if s.Kind != kind {
			h.t.Fatalf("signal %+v, want kind %d", s, kind)
		}
		return s
	case <-time.After(patience):
		h.t.Fatalf("no signal, want kind %d", kind)
	}
	return engine.Signal{}
}

// over expects SignalEnded and the end of the signals.
func (h *house) over(leg engine.Leg, reason engine.Reason) engine.Cause {
	h.t.Helper()
	s := h.signal(leg, engine.SignalEnded)
	if s.Cause.Reason != reason {
		h.t.Fatalf("ended with %+v, want %s", s.Cause, reason)
	}
	if s, ok := <-leg.Signals(); ok {
		h.t.Fatalf("signal %+v after SignalEnded", s)
	}
	return *s.Cause
}

// eventually waits for a condition that nothing announces.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatal("never: " + what)
}

// empty waits until the door has forgotten every leg.
func (h *house) empty() {
	h.t.Helper()
	eventually(h.t, "the door forgets its legs", func() bool {
		h.door.mu.Lock()
		defer h.door.mu.Unlock()
		return len(h.door.legs) == 0
	})
}

// peer is a scripted SIP element: a UDP socket and messages written by hand.
type peer struct {
	t      testing.TB
	conn   *net.UDPConn
	addr   netip.AddrPort
	to     netip.AddrPort // the door
	parser *sip.Parser
	seen   map[string]int // datagrams, to tell retransmissions
	only   string         // Call-ID to listen to: a port may have been another peer's before; "": all
}

func newPeer(tb testing.TB, to netip.AddrPort) *peer {
	tb.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &peer{
		t: tb, conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), to: to,
		parser: sip.NewParser(), seen: map[string]int{},
	}
}

func (p *peer) write(text string) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort([]byte(text), p.to); err != nil {
		p.t.Fatal(err)
	}
}

// read is the next datagram, which may be a retransmission (n > 1).
func (p *peer) read() (msg sip.Message, n int) {
	p.t.Helper()
	buf := make([]byte, 65536)
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	raw := ""
	for raw == "" || !strings.Contains(raw, p.only) {
		size, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			p.t.Fatalf("nothing came: %v", err)
		}
		raw = string(buf[:size])
	}
	p.seen[raw]++
	msg, err := p.parser.ParseSIP([]byte(raw))
	if err != nil {
		p.t.Fatalf("unreadable: %v\n%s", err, raw)
	}
	return msg, p.seen[raw]
}

// next is the next message that is not a retransmission, nor a 100.
func (p *peer) next() sip.Message {
	p.t.Helper()
	for {
		msg, n := p.read()
		res, ok := msg.(*sip.Response)
		if trying := ok && res.StatusCode == 100; n == 1 && !trying {
			return msg
		}
	}
}

// response is the next message, which must be a response with the status.
func (p *peer) response(status int) *sip.Response {
	p.t.Helper()
	msg := p.next()
	res, ok := msg.(*sip.Response)
	if !ok || res.StatusCode != status {
		p.t.Fatalf("got\n%s\nwant a %d", msg, status)
	}
	return res
}

// request is the next message, which must be a request of the method.
func (p *peer) request(method sip.RequestMethod) *sip.Request {
	p.t.Helper()
	msg := p.next()
	req, ok := msg.(*sip.Request)
	if !ok || req.Method != method {
		p.t.Fatalf("got\n%s\nwant %s", msg, method)
	}
	return req
}

// respond answers req. With a tag, To gets it; headers are whole lines; a body is a session description.
func (p *peer) respond(req *sip.Request, status int, tag, body string, headers ...string) {
	p.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Whatever\r\n", status)
	for _, v := range req.GetHeaders("via") {
		b.WriteString(v.String() + "\r\n")
	}
	b.WriteString(req.From().String() + "\r\n")
	to := req.To().String()
	if tag != "" && !req.To().Params.Has("tag") {
		to += ";tag=" + tag
	}
	b.WriteString(to + "\r\n" + req.CallID().String() + "\r\n" + req.CSeq().String() + "\r\n")
	contact := true
	for _, h := range headers {
		b.WriteString(h + "\r\n")
		contact = contact && !strings.HasPrefix(h, "Contact:")
	}
	if contact && status > 100 && status < 300 {
		fmt.Fprintf(&b, "Contact: <sip:peer@%s>\r\n", p.addr)
	}
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	p.write(b.String())
}

// ok takes a request of the method and answers 200.
func (p *peer) ok(method sip.RequestMethod) *sip.Request {
	p.t.Helper()
	req := p.request(method)
	p.respond(req, 200, "", "")
	return req
}

// caller is a peer in one dialog as its UAC. The zero cseq is before the INVITE.
type caller struct {
	*peer
	callID  string
	tag     string
	remote  string // the door's tag
	target  string // the door's Contact
	from    string
	to      string
	cseq    int
	branch  int
	invited string // branch of the INVITE
}

func (h *house) caller() *caller {
	p := newPeer(h.t, h.addr)
	p.only = rand.Text() + "@peer"
	return &caller{
		peer: p, callID: p.only, tag: "peertag",
		target: "sip:100@" + h.addr.String(),
		from:   `"Bob \"B\" Brown" <sip:bob@peer.example>`, to: "<sip:100@tipring.example>",
	}
}

// text writes a request of the dialog.
func (c *caller) text(method string, cseq int, branch, body string, headers ...string) string {
	var b strings.Builder
	to := c.to
	if c.remote != "" {
		to += ";tag=" + c.remote
	}
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\n", method, c.target, c.addr, branch)
	fmt.Fprintf(&b, "From: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", c.from, c.tag, to, c.callID, cseq, method)
	b.WriteString("Max-Forwards: 70\r\n")
	contact, kind := true, "application/sdp"
	for _, h := range headers {
		contact = contact && !strings.HasPrefix(h, "Contact:")
		if v, ok := strings.CutPrefix(h, "Content-Type: "); ok {
			kind = v
			continue
		}
		if h != "" {
			b.WriteString(h + "\r\n")
		}
	}
	if contact {
		fmt.Fprintf(&b, "Contact: <sip:bob@%s>\r\n", c.addr)
	}
	if body != "" {
		b.WriteString("Content-Type: " + kind + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// send sends a new request of the dialog.
func (c *caller) send(method, body string, headers ...string) {
	c.t.Helper()
	c.cseq++
	c.branch++
	branch := fmt.Sprintf("z9hG4bK%s.%d", c.callID, c.branch)
	if method == "INVITE" {
		c.invited = branch
	}
	c.write(c.text(method, c.cseq, branch, body, headers...))
}

// ack acknowledges the 2xx to the last INVITE.
func (c *caller) ack(body string) {
	c.t.Helper()
	c.branch++
	c.write(c.text("ACK", c.cseq, fmt.Sprintf("z9hG4bK%s.%d", c.callID, c.branch), body))
}

// ackFailure acknowledges a failure response to the last INVITE.
func (c *caller) ackFailure(res *sip.Response) {
	c.t.Helper()
	remote := c.remote
	c.remote = toTag(res)
	c.write(c.text("ACK", c.cseq, c.invited, ""))
	c.remote = remote
}

// learn takes the dialog from the door's response.
func (c *caller) learn(res *sip.Response) {
	c.remote = toTag(res)
	if contact := res.Contact(); contact != nil {
		c.target = contact.Address.String()
	}
}

// connect makes an answered call with the offer.
func (h *house) connect(c *caller, offer string, headers ...string) (engine.Leg, *sip.Response) {
	h.t.Helper()
	c.send("INVITE", offer, headers...)
	leg := h.call().leg
	if err := leg.Answer(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	res := c.response(200)
	c.learn(res)
	c.ack("")
	h.signal(leg, engine.SignalAnswered)
	return leg, res
}

// callee answers the door's INVITE.
func (p *peer) answer(body string, headers ...string) *sip.Request {
	p.t.Helper()
	req := p.request(sip.INVITE)
	p.respond(req, 200, "calleetag", body, headers...)
	p.request(sip.ACK)
	return req
}

// reply turns a request of the door into the dialog of its callee.
func (p *peer) callee(req *sip.Request) *caller {
	from, to := req.From(), req.To()
	f, tag := withoutTag(from.DisplayName, from.Address, from.Params)
	t, _ := withoutTag(to.DisplayName, to.Address, to.Params)
	return &caller{
		peer: p, callID: string(*req.CallID()), tag: "calleetag", remote: tag, from: t, to: f,
		target: req.Contact().Address.String(), cseq: 10,
	}
}

// sdp is a session description of the peer: audio at 127.0.0.1:port and the lines.
func sdpText(version, port int, formats string, lines ...string) string {
	s := fmt.Sprintf("v=0\r\no=peer 77 %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\n",
		version, port, formats)
	for _, l := range lines {
		s += l + "\r\n"
	}
	return s
}

// offer of PCMU, PCMA and telephone-event.
func plainOffer() string {
	return sdpText(1, 40000, "0 8 101", "a=rtpmap:101 telephone-event/8000", "a=sendrecv")
}

// described is a session description of the door.
func described(tb testing.TB, msg sip.Message) *description {
	tb.Helper()
	d, err := parseDescription(msg.Body())
	if err != nil {
		tb.Fatalf("no description: %v\n%s", err, msg)
	}
	return &d
}

func header(msg sip.Message, name string) string { return transaction.Header(msg, name) }
