package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// agent is one side of all calls: a UDP socket, messages as templates, nothing parsed that is not needed.
type agent struct {
	conn   *net.UDPConn
	addr   string
	media  func(user string) int // RTP port of ours for that call, for SDP
	onCall func(*call)           // called side: a call came
	opus   atomic.Bool           // speaks Opus and nothing else
	done   sync.WaitGroup

	mu    sync.Mutex
	calls map[string]*call // by Call-ID

	retransmitted atomic.Int64 // requests of ours sent again
	repeated      atomic.Int64 // 2xx of ours sent again for want of an ACK
	failed        atomic.Int64
}

// call is one dialog of an agent.
type call struct {
	id, user    string
	from, to    string // header values with tags
	invite      []byte
	began       time.Time
	setup       time.Duration // INVITE to 200
	answered    bool
	ended       bool
	bye         bool
	target      string         // Request-URI of what follows
	peer        netip.AddrPort // signaling
	audio       netip.AddrPort // their RTP
	onAnswer    func(*call)
	onEnd       func(*call)
	provisional bool
	acked       bool
}

// newAgent listens; onCall, if not nil, is told of each call that came in.
func newAgent(listen string, media func(string) int, onCall func(*call)) (*agent, error) {
	addr, err := net.ResolveUDPAddr("udp4", listen)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp4", addr)
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(8 << 20)  //nolint:errcheck // the kernel's limit holds then
	conn.SetWriteBuffer(8 << 20) //nolint:errcheck // as above
	a := &agent{conn: conn, addr: conn.LocalAddr().String(), media: media, onCall: onCall, calls: map[string]*call{}}
	a.done.Go(a.read)
	return a, nil
}

func (a *agent) close() {
	a.conn.Close()
	a.done.Wait()
}

func (a *agent) read() {
	buf := make([]byte, 65536)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		m := buf[:n]
		if bytes.HasPrefix(m, []byte("SIP/2.0 ")) {
			a.response(m)
		} else {
			a.request(m, from)
		}
	}
}

func (a *agent) send(b []byte, to netip.AddrPort) {
	a.conn.WriteToUDPAddrPort(b, to) //nolint:errcheck // what is lost is sent again or counted as failed
}

func (a *agent) sdp(user string) string {
	return description(a.media(user), a.opus.Load())
}

// description is the SDP of a port of ours.
func description(port int, opus bool) string {
	pt, codec := 0, "PCMU/8000"
	if opus {
		pt, codec = opusPT, "opus/48000/2"
	}
	return fmt.Sprintf("v=0\r\no=load 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP %d\r\na=rtpmap:%d %s\r\na=ptime:20\r\na=sendrecv\r\n",
		port, pt, pt, codec)
}

// dial sends an INVITE to user at the server.
func (a *agent) dial(id, user, server string, onAnswer, onEnd func(*call)) {
	peer, err := netip.ParseAddrPort(server)
	if err != nil {
		a.failed.Add(1)
		return
	}
	target := "sip:" + user + "@" + server
	c := &call{id: id, user: user, from: "<sip:load@" + a.addr + ">;tag=" + id, to: "<" + target + ">", target: target, peer: peer, onAnswer: onAnswer, onEnd: onEnd}
	sdp := a.sdp(user)
	c.invite = fmt.Appendf(nil, "INVITE %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKi%s;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 INVITE\r\nContact: <sip:load@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
		target, a.addr, id, c.from, c.to, id, a.addr, len(sdp), sdp)
	c.began = time.Now()
	a.mu.Lock()
	a.calls[id] = c
	a.mu.Unlock()
	a.send(c.invite, peer)
	a.again(c, c.invite, 500*time.Millisecond, func() bool { return c.provisional || c.answered })
}

// again sends a request again until done; 64*T1 without an answer fail the call.
func (a *agent) again(c *call, m []byte, d time.Duration, done func() bool) {
	time.AfterFunc(d, func() {
		a.mu.Lock()
		over := done() || c.ended
		a.mu.Unlock()
		if over {
			return
		}
		if d > 20*time.Second {
			a.end(c, true)
			return
		}
		a.retransmitted.Add(1)
		a.send(m, c.peer)
		a.again(c, m, 2*d, done)
	})
}

func (a *agent) end(c *call, failed bool) {
	a.mu.Lock()
	over := c.ended
	c.ended = true
	delete(a.calls, c.id)
	a.mu.Unlock()
	if over {
		return
	}
	if failed {
		a.failed.Add(1)
	}
	if c.onEnd != nil {
		c.onEnd(c)
	}
}

func (a *agent) find(m []byte) *call {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[string(field(m, "Call-ID", "i"))]
}

func (a *agent) response(m []byte) {
	c := a.find(m)
	if c == nil || len(m) < 12 {
		return
	}
	status, err := strconv.Atoi(string(m[8:11]))
	if err != nil {
		return
	}
	invite := bytes.HasSuffix(field(m, "CSeq", ""), []byte("INVITE"))
	switch {
	case !invite:
		if status >= 200 {
			a.end(c, status >= 300)
		}
	case status < 200:
		a.mu.Lock()
		c.provisional = true
		a.mu.Unlock()
	case status < 300:
		a.mu.Lock()
		first := !c.answered
		c.answered = true
		c.to = string(field(m, "To", "t"))
		c.target = string(inBrackets(field(m, "Contact", "m")))
		if first {
			c.setup = time.Since(c.began)
			c.audio = audioOf(m)
		}
		a.mu.Unlock()
		a.send(a.inDialog(c, "ACK", 1), c.peer)
		if first && c.onAnswer != nil {
			c.onAnswer(c)
		}
	default:
		ack := fmt.Appendf(nil, "ACK sip:%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKi%s;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
			c.user+"@"+c.peer.String(), a.addr, c.id, c.from, field(m, "To", "t"), c.id)
		a.send(ack, c.peer)
		a.end(c, true)
	}
}

func (a *agent) inDialog(c *call, method string, cseq int) []byte {
	return fmt.Appendf(nil, "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d%s;rport\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n\r\n",
		method, c.target, a.addr, method[:1], cseq, c.id, c.from, c.to, c.id, cseq, method)
}

// hangup sends BYE.
func (a *agent) hangup(c *call) {
	a.mu.Lock()
	if c.ended || c.bye {
		a.mu.Unlock()
		return
	}
	c.bye = true
	a.mu.Unlock()
	m := a.inDialog(c, "BYE", 2)
	a.send(m, c.peer)
	a.again(c, m, 500*time.Millisecond, func() bool { return c.ended })
}

func (a *agent) request(m []byte, from netip.AddrPort) {
	method, _, _ := bytes.Cut(m, []byte(" "))
	switch string(method) {
	case "INVITE":
		a.ring(m, from)
	case "ACK":
		if c := a.find(m); c != nil {
			a.mu.Lock()
			c.acked = true
			a.mu.Unlock()
		}
	case "BYE":
		a.send(reply(m, "200 OK", "", "", ""), from)
		if c := a.find(m); c != nil {
			a.end(c, false)
		}
	default:
		a.send(reply(m, "200 OK", "", "", ""), from)
	}
}

// ring is the called side: 180, and 200 at once.
func (a *agent) ring(m []byte, from netip.AddrPort) {
	if c := a.find(m); c != nil {
		return // sent again: our answers are on their way
	}
	id := string(field(m, "Call-ID", "i"))
	line, _, _ := bytes.Cut(m, []byte("\r\n"))
	_, user, _ := bytes.Cut(line, []byte("sip:"))
	user, _, _ = bytes.Cut(user, []byte("@"))
	c := &call{id: id, user: string(user), peer: from, began: time.Now(), audio: audioOf(m), answered: true}
	a.mu.Lock()
	a.calls[id] = c
	a.mu.Unlock()
	tag := ";tag=" + strconv.FormatInt(time.Now().UnixNano(), 36)
	contact := "Contact: <sip:" + c.user + "@" + a.addr + ">\r\n"
	a.send(reply(m, "180 Ringing", tag, contact, ""), from)
	ok := reply(m, "200 OK", tag, contact+"Content-Type: application/sdp\r\n", a.sdp(c.user))
	a.send(ok, from)
	if a.onCall != nil {
		a.onCall(c)
	}
	a.repeat(c, ok, 500*time.Millisecond)
}

func (a *agent) repeat(c *call, ok []byte, d time.Duration) {
	time.AfterFunc(d, func() {
		a.mu.Lock()
		over := c.acked || c.ended
		a.mu.Unlock()
		if over || d > 20*time.Second {
			return
		}
		a.repeated.Add(1)
		a.send(ok, c.peer)
		a.repeat(c, ok, min(2*d, 4*time.Second))
	})
}

func reply(m []byte, status, tag, headers, body string) []byte {
	b := make([]byte, 0, 1024)
	b = append(b, "SIP/2.0 "+status+"\r\n"...)
	rest := m
	for {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(bytes.ToLower(bytes.TrimSpace(name))) {
		case "via", "v", "from", "f", "call-id", "i", "cseq", "record-route":
			b = append(append(b, line...), "\r\n"...)
		case "to", "t":
			b = append(b, line...)
			if !bytes.Contains(line, []byte(";tag=")) {
				b = append(b, tag...)
			}
			b = append(b, "\r\n"...)
		}
	}
	b = append(b, headers...)
	return fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
}

// field is the first header field of that name or its compact form.
func field(m []byte, name, compact string) []byte {
	for len(m) > 0 {
		var line []byte
		line, m, _ = bytes.Cut(m, []byte("\r\n"))
		if len(line) == 0 {
			return nil
		}
		n, v, ok := bytes.Cut(line, []byte(":"))
		if ok && (bytes.EqualFold(n, []byte(name)) || compact != "" && bytes.EqualFold(n, []byte(compact))) {
			return bytes.TrimSpace(v)
		}
	}
	return nil
}

func inBrackets(v []byte) []byte {
	_, v, ok := bytes.Cut(v, []byte("<"))
	if !ok {
		return nil
	}
	v, _, _ = bytes.Cut(v, []byte(">"))
	return v
}

// audioOf is the first audio address of the SDP in m.
func audioOf(m []byte) netip.AddrPort {
	var ip netip.Addr
	if _, v, ok := bytes.Cut(m, []byte("c=IN IP4 ")); ok {
		v, _, _ = bytes.Cut(v, []byte("\r\n"))
		ip, _ = netip.ParseAddr(string(v))
	}
	_, v, ok := bytes.Cut(m, []byte("m=audio "))
	if !ok {
		return netip.AddrPort{}
	}
	v, _, _ = bytes.Cut(v, []byte(" "))
	port, err := strconv.ParseUint(string(v), 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, uint16(port))
}
