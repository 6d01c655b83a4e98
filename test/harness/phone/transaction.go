package phone

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Timers of RFC 3261 17.1.1.1.
const (
	t1 = 500 * time.Millisecond
	t2 = 4 * time.Second
)

// transaction is a request of ours and what came back.
type transaction struct {
	call     *Call
	req      Message
	to       netip.AddrPort
	interval time.Duration
	tries    int
	timer    *time.Timer
	heard    bool // any response
	final    Message
	digest   bool // answered a challenge already
}

// request sends a request within the call (or the first INVITE) and retransmits it. The caller holds the lock.
func (c *Call) request(method, body string, headers []Field) *transaction {
	c.cseq++
	m := Message{Start: method + " " + c.target + " SIP/2.0", Body: body}
	m.Add("Via", c.via())
	m.Add("Max-Forwards", "70")
	m.Add("From", c.local)
	m.Add("To", c.remote)
	m.Add("Call-ID", c.id)
	m.Add("CSeq", fmt.Sprintf("%d %s", c.cseq, method))
	m.Add("Contact", "<"+c.phone.URI()+">")
	m.Add("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE")
	m.Add("User-Agent", "tipring-test-phone")
	for _, r := range c.routes {
		m.Add("Route", r)
	}
	if body != "" && !has(headers, "Content-Type") {
		m.Add("Content-Type", "application/sdp")
	}
	m.Fields = append(m.Fields, headers...)
	return c.start(m)
}

func (c *Call) start(m Message) *transaction {
	tx := &transaction{call: c, req: m, to: c.hop(), interval: t1}
	if c.txs == nil {
		c.txs = map[string]*transaction{}
	}
	c.txs[m.Branch()+" "+m.Method()] = tx
	c.phone.transmit(m, tx.to)
	tx.schedule()
	return tx
}

func (c *Call) via() string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK%s;rport", c.phone.transport(), c.phone.Addr(), rand.Text()[:16])
}

func has(fields []Field, name string) bool {
	for _, f := range fields {
		if long(f.Name) == long(name) {
			return true
		}
	}
	return false
}

// hop is where requests of the call go: the first route, else the remote target, else whoever we spoke to.
func (c *Call) hop() netip.AddrPort {
	next := c.target
	if len(c.routes) > 0 {
		next = uri(c.routes[0])
	}
	if a, err := addrOf(next); err == nil {
		return a
	}
	return c.peer
}

func (tx *transaction) schedule() {
	if tx.call.phone.transport() == "TCP" {
		return
	}
	tx.timer = tx.call.phone.after(tx.interval, func() {
		done := tx.final.Start != "" || tx.heard && tx.req.Method() == "INVITE"
		if done || tx.tries > 10 {
			return
		}
		tx.tries++
		tx.interval *= 2
		if tx.req.Method() != "INVITE" {
			tx.interval = min(tx.interval, t2)
		}
		tx.call.phone.transmit(tx.req, tx.to)
		tx.schedule()
	})
}

// onResponse is called with the lock held.
func (c *Call) onResponse(m Message) {
	_, method := m.CSeq()
	tx := c.txs[m.Branch()+" "+method]
	if tx == nil {
		return
	}
	tx.heard = true
	status := m.Status()
	if status < 200 {
		if method == "INVITE" && tx == c.tx {
			c.onProvisional(m)
		}
		return
	}
	again := tx.final.Start != ""
	if !again {
		tx.final = m
	}
	if method != "INVITE" {
		return
	}
	c.ack(tx, m)
	if again {
		return
	}
	switch {
	case (status == 401 || status == 407) && !tx.digest && c.phone.o.Username != "":
		c.answerChallenge(tx, m)
	case tx == c.tx:
		c.onFirstFinal(m)
	case status < 300:
		c.learn(m)
	}
}

func (c *Call) onProvisional(m Message) {
	if m.Status() == 180 && c.state == Calling {
		c.state = Ringing
	}
	if m.Status() > 100 {
		c.early = append(c.early, m)
	}
	if strings.Contains(m.Get("Content-Type"), "sdp") {
		if d, err := ParseSDP(m.Body); err == nil {
			c.theirs = d
			c.audio.agree(d, c.sdp)
		}
	}
}

func (c *Call) onFirstFinal(m Message) {
	if m.Status() >= 300 {
		c.end(Ended{Status: m.Status(), Reason: m.Get("Reason"), Message: m})
		return
	}
	c.remote = m.Get("To")
	c.routes = nil
	for _, r := range m.All("Record-Route") {
		c.routes = append([]string{r}, c.routes...) // RFC 3261 12.1.2: reversed
	}
	c.learn(m)
	if c.state != Over {
		c.state = Answered
	}
}

// learn takes the target and the description of a 2xx.
func (c *Call) learn(m Message) {
	if t := m.Get("Contact"); t != "" {
		c.target = uri(t)
	}
	c.readAnswer(m.Body)
}

func (c *Call) readAnswer(body string) {
	d, err := ParseSDP(body)
	if err != nil {
		return
	}
	c.theirs = d
	c.audio.agree(d, c.sdp)
}

// ack answers a final response to an INVITE; a repeated one too (RFC 3261 13.2.2.4, 17.1.1.3).
func (c *Call) ack(tx *transaction, m Message) {
	if c.opts.NoACK {
		return
	}
	n, _ := tx.req.CSeq()
	ack := Message{}
	if m.Status() >= 300 {
		ack.Start = "ACK " + tx.req.URI() + " SIP/2.0"
		ack.Add("Via", tx.req.Get("Via"))
		for _, r := range tx.req.All("Route") {
			ack.Add("Route", r)
		}
	} else {
		target := c.target
		if t := m.Get("Contact"); t != "" {
			target = uri(t)
		}
		ack.Start = "ACK " + target + " SIP/2.0"
		ack.Add("Via", c.via())
		for _, r := range slices.Backward(m.All("Record-Route")) {
			ack.Add("Route", r)
		}
	}
	ack.Add("Max-Forwards", "70")
	ack.Add("From", tx.req.Get("From"))
	ack.Add("To", m.Get("To"))
	ack.Add("Call-ID", c.id)
	ack.Add("CSeq", fmt.Sprintf("%d ACK", n))
	if auth := tx.req.Get("Proxy-Authorization"); auth != "" && m.Status() < 300 {
		ack.Add("Proxy-Authorization", auth)
	}
	if m.Status() < 300 && tx.req.Body == "" { // our INVITE had no offer: the answer goes here
		if d, err := ParseSDP(m.Body); err == nil {
			c.theirs = d
			c.sdp = c.answerTo(d)
			ack.Add("Content-Type", "application/sdp")
			ack.Body = c.sdp.String()
			c.audio.agree(d, c.sdp)
		}
	}
	to := tx.to
	if m.Status() < 300 {
		if t := m.Get("Contact"); t != "" && len(m.All("Record-Route")) == 0 {
			if a, err := addrOf(uri(t)); err == nil {
				to = a
			}
		}
	}
	c.phone.transmit(ack, to)
}

// cancel sends CANCEL for the INVITE that is under way (RFC 3261 9.1). The caller holds the lock.
func (c *Call) cancel() {
	n, _ := c.tx.req.CSeq()
	m := Message{Start: "CANCEL " + c.tx.req.URI() + " SIP/2.0"}
	for _, name := range []string{"Via", "Max-Forwards", "From", "To", "Call-ID"} {
		m.Add(name, c.tx.req.Get(name))
	}
	m.Add("CSeq", fmt.Sprintf("%d CANCEL", n))
	c.start(m)
}

// respond answers a request, remembers the answer for retransmissions of it, and repeats final answers to an INVITE
// until the ACK. The caller holds the lock.
func (c *Call) respond(req Message, status int, reason, body string, headers ...Field) {
	m := response(req, status, reason, param(c.local, "tag"))
	if status > 100 {
		m.Add("Contact", "<"+c.phone.URI()+">")
		m.Add("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE")
	}
	m.Fields = append(m.Fields, headers...)
	if body != "" {
		m.Add("Content-Type", "application/sdp")
		m.Body = body
	}
	if c.answers == nil {
		c.answers = map[string]Message{}
	}
	c.answers[req.Branch()+" "+req.Method()] = m
	to := c.replyTo(req)
	c.phone.transmit(m, to)
	if req.Method() == "INVITE" && status >= 200 {
		c.repeat(req, m, to, t1, 0)
	}
}

func (c *Call) repeat(req, m Message, to netip.AddrPort, d time.Duration, n int) {
	if c.phone.transport() == "TCP" && m.Status() >= 300 || n > 10 {
		return
	}
	seq, _ := req.CSeq()
	c.phone.after(d, func() {
		if c.acked >= seq || c.state == Over && m.Status() < 300 {
			return
		}
		c.phone.transmit(m, to)
		c.repeat(req, m, to, min(2*d, t2), n+1)
	})
}

// replyTo is where answers go: the source of the newest request (RFC 3581).
func (c *Call) replyTo(Message) netip.AddrPort { return c.peer }

// onRequest is called with the lock held.
func (c *Call) onRequest(m Message, from netip.AddrPort) {
	if m.Method() != "ACK" {
		c.peer = from
	}
	if old, ok := c.answers[m.Branch()+" "+m.Method()]; ok && m.Method() != "ACK" {
		c.phone.transmit(old, from)
		return
	}
	switch m.Method() {
	case "ACK":
		c.onACK(m)
		return
	case "CANCEL":
		c.respond(m, 200, "OK", "")
		if c.state == Incoming || c.state == Ringing && !c.outgoing {
			c.respond(c.invite, 487, "Request Terminated", "")
			c.end(Ended{Method: "CANCEL", Reason: m.Get("Reason"), Message: m})
		}
		return
	}
	if c.phone.o.Manual {
		c.pending = append(c.pending, m)
		return
	}
	switch m.Method() {
	case "BYE":
		c.respond(m, 200, "OK", "")
		c.end(Ended{Method: "BYE", Reason: m.Get("Reason"), Message: m})
	case "INVITE", "UPDATE":
		c.onReinvite(m)
	case "INFO":
		c.infos = append(c.infos, m)
		c.respond(m, 200, "OK", "")
	default:
		c.respond(m, 200, "OK", "")
	}
}

func (c *Call) onACK(m Message) {
	n, _ := m.CSeq()
	c.acked = max(c.acked, n)
	if m.Body != "" {
		c.readAnswer(m.Body)
	}
	if !c.outgoing && c.state == accepted {
		c.state = Answered
	}
}

// onReinvite answers an offer within the call by its complement, or with what the test set.
func (c *Call) onReinvite(m Message) {
	if len(c.refusals) > 0 {
		r := c.refusals[0]
		c.refusals = c.refusals[1:]
		c.respond(m, r, "Not Now", "")
		return
	}
	if t := m.Get("Contact"); t != "" {
		c.target = uri(t)
	}
	c.offers = append(c.offers, m)
	if m.Body == "" {
		body := ""
		if m.Method() == "INVITE" { // offerless: ours goes into the 2xx
			body = c.sdp.String()
		}
		c.respond(m, 200, "OK", body)
		return
	}
	if !c.readOffer(m.Body) {
		return
	}
	c.respond(m, 200, "OK", c.sdp.String())
	c.audio.agree(c.theirs, c.sdp)
}
