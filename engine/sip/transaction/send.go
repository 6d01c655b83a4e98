package transaction

import (
	"bytes"
	"crypto/rand"
	"hash/maphash"
	"net/netip"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// retryAfter is how long a client that got 503 should wait, in seconds.
const retryAfter = "5"

// encode is a message as it goes onto the wire.
func encode(m sip.Message) []byte {
	var buf bytes.Buffer
	buf.Grow(1024 + len(m.Body()))
	m.StringWrite(&buf)
	return buf.Bytes()
}

// dress puts the Via on top of a request and adds what every request has.
func (l *Layer) dress(req *sip.Request, to Target, branch string) {
	host, port := l.sentBy(to.Addr.Addr())
	req.PrependHeader(&sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: to.Transport, Host: host, Port: port,
		Params: sip.HeaderParams{{K: "branch", V: branch}, {K: "rport"}},
	})
	if req.MaxForwards() == nil {
		hops := sip.MaxForwardsHeader(70)
		req.AppendHeader(&hops)
	}
	if l.options.UserAgent != "" && Header(req, "User-Agent") == "" {
		req.AppendHeader(sip.NewHeader("User-Agent", l.options.UserAgent))
	}
	if req.ContentLength() == nil {
		req.SetBody(req.Body())
	}
}

// ACK sends the ACK of a 2xx, with a Via of its own. Called again with the same request it sends the same message, as
// it must for a 2xx that came again (RFC 3261 13.2.2.4).
func (l *Layer) ACK(req *sip.Request, to Target) error {
	if err := to.check(); err != nil {
		return err
	}
	if l.closed.Load() {
		return ErrClosed
	}
	to = to.normal()
	if req.Via() == nil {
		l.dress(req, to, sip.RFC3261BranchMagicCookie+rand.Text())
	}
	raw := encode(req)
	if to.Transport == transportTCP {
		l.streams.to(to.Addr, dialTimeout).send(raw, nil)
		return nil
	}
	var failure error
	l.sendDatagram(to.Addr, raw, func(err error) { failure = err })
	return failure
}

// Reply answers a request that has no transaction, with the same To tag each time (RFC 3261 8.2.7).
func (l *Layer) Reply(req *sip.Request, status int, reason string, headers ...sip.Header) error {
	addr, err := netip.ParseAddrPort(req.Source())
	if err != nil {
		return err
	}
	from := origin{addr: addr}
	if req.Transport() == transportTCP {
		from.conn = l.streams.to(addr, dialTimeout)
	}
	l.refuse(req, from, status, reason, headers...)
	return nil
}

// refuse answers without a transaction.
func (l *Layer) refuse(req *sip.Request, from origin, status int, reason string, headers ...sip.Header) {
	l.count.refused.Add(1)
	res := l.response(req, status, reason)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	if status == sip.StatusServiceUnavailable && Header(res, "Retry-After") == "" {
		res.AppendHeader(sip.NewHeader("Retry-After", retryAfter))
	}
	l.respond(from, req.Via(), encode(res), nil)
}

// response makes a response of the layer's own. Its To tag follows from the request (8.2.7).
func (l *Layer) response(req *sip.Request, status int, reason string) *sip.Response {
	res := sip.NewResponse(status, reason)
	sip.CopyHeaders("Via", req, res)
	if h := req.From(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if h := req.To(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
		if to := res.To(); status != sip.StatusTrying && !to.Params.Has("tag") {
			to.Params.Add("tag", l.statelessTag(req))
		}
	}
	if h := req.CallID(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if h := req.CSeq(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if status == sip.StatusTrying { // 8.2.6.1
		sip.CopyHeaders("Timestamp", req, res)
	}
	if l.options.UserAgent != "" {
		res.AppendHeader(sip.NewHeader("Server", l.options.UserAgent))
	}
	res.SetBody(nil)
	return res
}

// statelessTag is the To tag of our answer to a request without a transaction.
func (l *Layer) statelessTag(req *sip.Request) string {
	var h maphash.Hash
	h.SetSeed(l.seed)
	if id := req.CallID(); id != nil {
		_, _ = h.WriteString(string(*id))
	}
	if from := req.From(); from != nil {
		tag, _ := from.Params.Get("tag")
		_, _ = h.WriteString("\n" + tag)
	}
	if cseq := req.CSeq(); cseq != nil {
		_, _ = h.WriteString("\n" + strconv.FormatUint(uint64(cseq.SeqNo), 10))
	}
	return "s" + strconv.FormatUint(h.Sum64(), 36)
}

// respond sends a response the way that its request came (RFC 3261 18.2.2, RFC 3581 4): over the same connection, or
// if that has ended over a new one to where the client listens. maddr is not followed: it would let anyone have our
// answers sent to a third party.
func (l *Layer) respond(from origin, via *sip.ViaHeader, raw []byte, failed func(error)) {
	port := uint16(via.Port)
	if port == 0 {
		port = defaultPort
	}
	if from.conn == nil {
		to := from.addr
		if !via.Params.Has("rport") {
			to = netip.AddrPortFrom(to.Addr(), port)
		}
		l.sendDatagram(to, raw, failed)
		return
	}
	c := from.conn
	if c.over() {
		c = l.streams.to(netip.AddrPortFrom(from.addr.Addr(), port), dialTimeout)
	}
	c.send(raw, failed)
}

// sent counts and traces a message that goes out.
func (l *Layer) sent(transport string, to netip.AddrPort, raw []byte) {
	l.count.sent.Add(1)
	if l.options.Trace == nil {
		return
	}
	text := string(raw)
	m, _ := glanceAt(text, &l.options.Guard)
	l.trace(true, transport, to, m.callID, text)
}

func (l *Layer) trace(sent bool, transport string, remote netip.AddrPort, callID, raw string) {
	l.options.Trace(Trace{
		Time: time.Now(), Sent: sent, Transport: transport, Remote: remote, CallID: callID, Raw: raw,
	})
}
