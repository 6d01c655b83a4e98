// Package phone is a SIP phone for tests: real sockets, real RTP every 20 ms, scripted by the test, and honest about
// what it heard.
package phone

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options of a Phone; the zero value is a phone with PCMU, PCMA and RFC 4733.
type Options struct {
	User      string   // "" is "phone"
	Transport string   // "UDP" (default) or "TCP"
	Codecs    []string // in order of preference; nil: PCMU, PCMA
	NoEvents  bool     // no telephone-event in SDP
	// Username and Password answer a digest challenge.
	Username, Password string
	// Challenge, if set, makes the phone ask callers for these credentials (407).
	Challenge *Challenge
	// Manual phones do nothing by themselves with requests in a call: the test answers them with Reply.
	Manual bool
	// Wait bounds every Wait method; 0: 15 s.
	Wait time.Duration
}

// A Phone has a SIP socket on 127.0.0.1 until its test ends. Its methods that fail the test belong on the test's own
// goroutine.
type Phone struct {
	t    testing.TB
	o    Options
	user string
	wire wire

	mu       sync.Mutex // guards all below, and the state of the calls
	calls    map[string]*Call
	incoming []*Call // not yet taken by Expect
	messages []Seen
	closed   bool
	timers   []*time.Timer
}

// Seen is a message that a phone sent or received.
type Seen struct {
	At      time.Time
	Sent    bool
	Peer    netip.AddrPort
	Message Message
}

// New starts a phone.
func New(t testing.TB, o Options) *Phone {
	t.Helper()
	if o.User == "" {
		o.User = "phone"
	}
	if o.Codecs == nil {
		o.Codecs = []string{"PCMU", "PCMA"}
	}
	if o.Wait == 0 {
		o.Wait = 15 * time.Second
	}
	p := &Phone{t: t, o: o, user: o.User, calls: map[string]*Call{}}
	var err error
	p.mu.Lock()
	if strings.EqualFold(o.Transport, "TCP") {
		p.wire, err = listenTCP(p.receive)
	} else {
		p.wire, err = listenUDP(p.receive)
	}
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func (p *Phone) close() {
	p.mu.Lock()
	p.closed = true
	for _, t := range p.timers {
		t.Stop()
	}
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.audio.close()
	}
	p.wire.close()
	if p.t.Failed() {
		p.t.Logf("%s:\n%s", p.user, p.Trace())
	}
}

// Addr is where the phone listens.
func (p *Phone) Addr() netip.AddrPort { return p.wire.local() }

// URI is the phone's address, to be called at.
func (p *Phone) URI() string {
	u := "sip:" + p.user + "@" + p.Addr().String()
	if p.transport() == "TCP" {
		u += ";transport=tcp"
	}
	return u
}

func (p *Phone) transport() string {
	if strings.EqualFold(p.o.Transport, "TCP") {
		return "TCP"
	}
	return "UDP"
}

// Call calls a SIP URI whose host is an IP address, and returns at once.
func (p *Phone) Call(to string, opts CallOptions) *Call {
	p.t.Helper()
	peer, err := addrOf(to)
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := openAudio()
	if err != nil {
		p.t.Fatal(err)
	}
	c := &Call{phone: p, audio: a, peer: peer, id: rand.Text() + "@phone", outgoing: true, local: "<sip:" + p.user + "@" + p.Addr().String() + ">;tag=" + rand.Text()[:10], remote: "<" + to + ">", target: to, cseq: 100}
	if opts.From != "" {
		c.local = opts.From + ";tag=" + rand.Text()[:10]
	}
	c.sdp = c.offer()
	a.play(Silence())
	p.mu.Lock()
	p.calls[c.id] = c
	body := ""
	if !opts.NoOffer {
		body = c.sdp.String()
	}
	if opts.Body != nil {
		body = *opts.Body
	}
	c.opts = opts
	c.tx = c.request("INVITE", body, opts.Headers)
	c.state = Calling
	p.mu.Unlock()
	return c
}

// Expect waits for a call. The phone has answered it with 100 and nothing else.
func (p *Phone) Expect() *Call {
	p.t.Helper()
	var c *Call
	p.await(p.user+" is called", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.incoming) == 0 {
			return false
		}
		c, p.incoming = p.incoming[0], p.incoming[1:]
		return true
	}, nil)
	return c
}

// Calls is how many calls came in that Expect has not taken.
func (p *Phone) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.incoming)
}

// Send sends text as it is; "\n" becomes CRLF if there is no CRLF in it. {local} stands for the phone's host:port.
func (p *Phone) Send(text string, to netip.AddrPort) {
	p.t.Helper()
	if !strings.Contains(text, "\r\n") {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	text = strings.ReplaceAll(text, "{local}", p.Addr().String())
	if err := p.wire.send([]byte(text), to); err != nil {
		p.t.Fatalf("%s sends: %v", p.user, err)
	}
}

// WaitMessage waits for a received message, among all since the phone started.
func (p *Phone) WaitMessage(what string, match func(Message) bool) Message {
	p.t.Helper()
	var found Message
	p.await(p.user+" gets "+what, func() bool {
		for _, s := range p.Messages() {
			if !s.Sent && match(s.Message) {
				found = s.Message
				return true
			}
		}
		return false
	}, nil)
	return found
}

// Messages are all sent and received so far, retransmissions included.
func (p *Phone) Messages() []Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Seen(nil), p.messages...)
}

// Trace is the ladder of start lines, for logs.
func (p *Phone) Trace() string {
	var b strings.Builder
	for _, s := range p.Messages() {
		arrow := "<-"
		if s.Sent {
			arrow = "->"
		}
		_, method := s.Message.CSeq()
		fmt.Fprintf(&b, "%s %s %s %s [%s] %s\n", s.At.Format("15:04:05.000"), arrow, s.Peer, s.Message.Start, method, s.Message.Get("Call-ID"))
	}
	return b.String()
}

// await polls a condition: sockets and sound give no other sign.
func (p *Phone) await(what string, cond func() bool, detail func() string) {
	p.t.Helper()
	deadline := time.Now().Add(p.o.Wait)
	for !cond() {
		if time.Now().After(deadline) {
			more := ""
			if detail != nil {
				more = ": " + detail()
			}
			p.t.Fatalf("not within %v: %s%s", p.o.Wait, what, more)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// after runs f later, unless the phone is closed; f is called with the lock held.
func (p *Phone) after(d time.Duration, f func()) *time.Timer {
	t := time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed {
			f()
		}
	})
	p.timers = append(p.timers, t)
	return t
}

// transmit sends a message; the caller holds the lock.
func (p *Phone) transmit(m Message, to netip.AddrPort) {
	p.messages = append(p.messages, Seen{time.Now(), true, to, m})
	p.wire.send([]byte(m.String()), to) //nolint:errcheck // a peer that is gone shows as silence, which is what SIP sees too
}

// receive takes a message apart and gives it to its call.
func (p *Phone) receive(b []byte, from netip.AddrPort) {
	m, err := Parse(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || p.closed {
		return
	}
	p.messages = append(p.messages, Seen{time.Now(), false, from, m})
	c := p.calls[m.Get("Call-ID")]
	switch {
	case m.Status() != 0:
		if c != nil {
			c.onResponse(m)
		}
	case c != nil:
		c.onRequest(m, from)
	case m.Method() == "INVITE" && param(m.Get("To"), "tag") == "":
		p.onInvite(m, from)
	case m.Method() == "ACK":
	case m.Method() == "OPTIONS":
		p.transmit(response(m, 200, "OK", ""), from)
	default:
		p.transmit(response(m, 481, "Call/Transaction Does Not Exist", rand.Text()[:8]), from)
	}
}

func (p *Phone) onInvite(m Message, from netip.AddrPort) {
	if p.o.Challenge != nil {
		if !p.o.Challenge.accepts(m) {
			r := response(m, 407, "Proxy Authentication Required", rand.Text()[:8])
			r.Add("Proxy-Authenticate", p.o.Challenge.header())
			p.transmit(r, from)
			return
		}
	}
	a, err := openAudio()
	if err != nil {
		p.t.Errorf("%s: %v", p.user, err)
		return
	}
	c := &Call{
		phone: p, audio: a, peer: from, id: m.Get("Call-ID"), invite: m, state: Incoming, cseq: 500,
		local: m.Get("To") + ";tag=" + rand.Text()[:10], remote: m.Get("From"),
		target: uri(m.Get("Contact")), routes: m.All("Record-Route"),
	}
	c.sdp = c.offer()
	c.readOffer(m.Body)
	p.calls[c.id] = c
	if !slices.ContainsFunc(c.sdp.Payloads, func(p Payload) bool { return p.Name != "telephone-event" }) {
		c.respond(m, 488, "Not Acceptable Here", "")
		c.end(Ended{Status: 488, ByUs: true})
		return
	}
	p.incoming = append(p.incoming, c)
	c.respond(m, 100, "Trying", "")
}

// response answers a request; tag is added to To if it has none.
func response(req Message, status int, reason, tag string) Message {
	m := Message{Start: "SIP/2.0 " + strconv.Itoa(status) + " " + reason}
	for _, f := range req.Fields {
		switch long(f.Name) {
		case "via", "from", "call-id", "cseq", "record-route":
			m.Fields = append(m.Fields, f)
		case "to":
			if param(f.Value, "tag") == "" && tag != "" {
				f.Value += ";tag=" + tag
			}
			m.Fields = append(m.Fields, f)
		}
	}
	return m
}

// addrOf is the address in a SIP URI with an IP address for a host.
func addrOf(u string) (netip.AddrPort, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(u, "sips:"), "sip:")
	if _, h, ok := strings.Cut(host, "@"); ok {
		host = h
	}
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host = host[:i]
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, 5060), nil
	}
	a, err := netip.ParseAddrPort(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("phone: %q: a phone calls IP addresses: %w", u, err)
	}
	return a, nil
}
