package transaction

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// maxDatagram is the longest request for UDP if the path's MTU is unknown; longer ones try TCP (RFC 3261 18.1.1).
const maxDatagram = 1300

// clientKey matches a response to its transaction (RFC 3261 17.1.3). Our branches are unique, but a CANCEL has the
// branch of its INVITE.
type clientKey struct {
	branch string
	method sip.RequestMethod
}

type clientState uint8

const (
	calling    clientState = iota // no response yet
	proceeding                    // a provisional response came
	completed                     // INVITE: a failure response came, its repetitions are acknowledged
	terminated
)

// Client is a client transaction (RFC 3261 17.1). Its methods may be called from any goroutine.
type Client struct {
	lane *lane
	key  clientKey

	// Guarded by the lane's mu.
	on       func(*sip.Response, error)
	req      *sip.Request // nil after the final response
	raw      []byte       // the request, for retransmission; after a failure response to an INVITE its ACK
	to       Target
	state    clientState
	resend   timer // A or E
	limit    timer // B, F or D, or the end of the wait after a CANCEL
	interval time.Duration
	fallback bool // sent over TCP for its length alone: UDP may be tried
	conn     *conn
	cancel   cancelState
	reason   string // of the CANCEL
}

type cancelState uint8

const (
	notCancelled cancelState = iota
	cancelHeld               // until the first provisional response (9.1)
	cancelSent
)

// Request starts a client transaction. It puts a new Via on top in place of any (branch, rport), adds Max-Forwards,
// User-Agent and Content-Length where missing, sends and retransmits; req must not be changed before the final
// response. on is called on the Call-ID's lane for each provisional response and then once for the final response or
// an error (ErrTimeout, ErrTransport). A failure response to an INVITE is acknowledged by the layer. After the first
// 2xx to an INVITE further ones go to Handler.Response. An error means that nothing was sent and on is not called.
func (l *Layer) Request(req *sip.Request, to Target, on func(*sip.Response, error)) (*Client, error) {
	if err := checkRequest(req, to); err != nil {
		return nil, err
	}
	if l.closed.Load() {
		return nil, ErrClosed
	}
	n := l.lane(string(*req.CallID()))
	c := &Client{lane: n, on: on, req: req, to: to.normal()}
	c.key = clientKey{branch: sip.RFC3261BranchMagicCookie + rand.Text(), method: req.Method}
	for req.RemoveHeader("Via") {
	}
	l.dress(req, c.to, c.key.branch)
	c.raw = encode(req)
	if len(c.raw) > maxDatagram && c.to.Transport == transportUDP && !l.streams.silent(c.to.Addr) {
		c.fallback, c.to.Transport = true, transportTCP
		c.raw = overTransport(c.raw, transportUDP, transportTCP)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c.start()
	return c, nil
}

func checkRequest(req *sip.Request, to Target) error {
	switch {
	case req.CallID() == nil || req.CSeq() == nil || req.From() == nil || req.To() == nil:
		return errors.New("transaction: a request needs Call-ID, CSeq, From and To")
	case req.Method == sip.ACK || req.Method == sip.CANCEL:
		return fmt.Errorf("transaction: %s is not sent by Request", req.Method)
	}
	return to.check()
}

// overTransport changes the transport in the topmost Via of an encoded request.
func overTransport(raw []byte, from, to string) []byte {
	return bytes.Replace(raw, []byte("SIP/2.0/"+from+" "), []byte("SIP/2.0/"+to+" "), 1)
}

// start sends the request and arms the timers. mu is held.
func (c *Client) start() {
	n, o := c.lane, &c.lane.layer.options
	n.clients[c.key] = c
	n.layer.count.openClient.Add(1)
	n.arm(&c.limit, c, 64*o.T1)
	c.transmit()
}

// transmit sends the request for the first time by its transport. mu is held.
func (c *Client) transmit() {
	n, o := c.lane, &c.lane.layer.options
	if c.to.Transport == transportUDP {
		c.interval = o.T1
		n.arm(&c.resend, c, c.interval)
	}
	c.send()
}

// send sends raw. mu is held.
func (c *Client) send() {
	l := c.lane.layer
	if c.to.Transport == transportUDP {
		l.sendDatagram(c.to.Addr, c.raw, func(err error) { c.failed(nil, err) })
		return
	}
	timeout := dialTimeout
	if c.fallback {
		timeout = min(dialTimeout, 4*l.options.T1)
	}
	c.conn = l.streams.to(c.to.Addr, timeout)
	c.conn.watch(c)
	c.conn.send(c.raw, nil)
}

// failed is called when the datagram could not be sent (conn is nil) or the connection ended; from any goroutine.
func (c *Client) failed(conn *conn, err error) {
	c.lane.post(func() {
		if on := c.fail(conn); on != nil {
			on(nil, fmt.Errorf("%w: %w", ErrTransport, err))
		}
	})
}

// fail tries UDP if the request may go there, else ends the transaction and returns whom to tell. Once a response came
// the end of the connection says nothing: the rest may come by a new one (18.2.2).
func (c *Client) fail(conn *conn) (on func(*sip.Response, error)) {
	n := c.lane
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.state != calling || c.conn != conn {
		return nil
	}
	if c.fallback {
		c.fallback, c.conn = false, nil
		n.layer.streams.noteSilent(c.to.Addr)
		c.to.Transport = transportUDP
		c.raw = overTransport(c.raw, transportTCP, transportUDP)
		c.transmit()
		return nil
	}
	on = c.on
	c.terminate()
	return on
}

// terminate takes the transaction out of the table. mu is held.
func (c *Client) terminate() {
	if c.state == terminated {
		return
	}
	n := c.lane
	c.state = terminated
	delete(n.clients, c.key)
	n.layer.count.openClient.Add(-1)
	n.disarm(&c.resend)
	n.disarm(&c.limit)
	c.release()
}

// release lets go of what only an open transaction needs. mu is held.
func (c *Client) release() {
	c.req, c.on = nil, nil
	if c.conn != nil {
		c.conn.unwatch(c)
		c.conn = nil
	}
}

// receive takes a response and returns what is to be called. mu is held.
func (c *Client) receive(res *sip.Response) (call func()) {
	on := c.on
	invite := c.key.method == sip.INVITE
	switch {
	case c.state == completed:
		if res.IsSuccess() { // of another fork, after a failure
			return func() { c.lane.layer.handler.Response(res) }
		}
		if !res.IsProvisional() {
			c.lane.layer.count.retransmitted.Add(1)
			c.sendACK()
		}
		return nil
	case res.IsProvisional():
		c.proceed()
	case invite && !res.IsSuccess():
		c.acknowledge(res)
	default:
		c.terminate()
	}
	return func() { on(res, nil) }
}

// proceed is what a provisional response changes. mu is held.
func (c *Client) proceed() {
	n := c.lane
	first := c.state == calling
	c.state = proceeding
	if c.conn != nil {
		c.conn.unwatch(c)
	}
	if c.key.method != sip.INVITE {
		c.interval = n.layer.options.T2
		if first && n.disarm(&c.resend) {
			n.arm(&c.resend, c, c.interval)
		}
		return
	}
	n.disarm(&c.resend)
	if c.cancel != cancelSent {
		n.disarm(&c.limit)
	}
	if c.cancel == cancelHeld {
		c.sendCancel()
	}
}

// acknowledge sends the ACK of a failure response and keeps it for repetitions (17.1.1.3). mu is held.
func (c *Client) acknowledge(res *sip.Response) {
	n := c.lane
	ack := followUp(c.req, sip.ACK, c.to.Transport)
	if to := res.To(); to != nil {
		ack.AppendHeader(sip.HeaderClone(to))
	}
	ack.SetBody(nil)
	c.raw = encode(ack)
	c.state = completed
	n.disarm(&c.resend)
	c.sendACK()
	if c.to.Transport == transportUDP {
		n.arm(&c.limit, c, 64*n.layer.options.T1) // timer D
		c.release()
		return
	}
	c.terminate()
}

func (c *Client) sendACK() {
	l := c.lane.layer
	if c.to.Transport == transportUDP {
		l.sendDatagram(c.to.Addr, c.raw, nil)
		return
	}
	l.streams.to(c.to.Addr, dialTimeout).send(c.raw, nil)
}

// followUp is a request that belongs to the INVITE req and has its branch: ACK of a failure, or CANCEL. Its To is left
// to the caller.
func followUp(req *sip.Request, method sip.RequestMethod, transport string) *sip.Request {
	r := sip.NewRequest(method, req.Recipient)
	via := req.Via().Clone()
	via.Transport = transport
	r.AppendHeader(via)
	sip.CopyHeaders("Route", req, r)
	hops := sip.MaxForwardsHeader(70)
	r.AppendHeader(&hops)
	r.AppendHeader(sip.HeaderClone(req.From()))
	r.AppendHeader(sip.HeaderClone(req.CallID()))
	r.AppendHeader(&sip.CSeqHeader{SeqNo: req.CSeq().SeqNo, MethodName: method})
	return r
}

// Cancel ends an INVITE (RFC 3261 9.1): the CANCEL follows the INVITE by the same way with its branch, held back until
// the first provisional response. reason is the value of its Reason header (RFC 3326), "" for none. The final
// response, a 2xx that won the race included, still goes to on; without one in 64*T1 on gets ErrTimeout.
func (c *Client) Cancel(reason string) {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	if c.key.method != sip.INVITE || c.cancel != notCancelled {
		return
	}
	c.reason = reason
	switch c.state {
	case calling:
		c.cancel = cancelHeld
	case proceeding:
		c.sendCancel()
	case completed, terminated:
	}
}

// sendCancel starts the CANCEL's own transaction, whose response says nothing. mu is held.
func (c *Client) sendCancel() {
	n := c.lane
	c.cancel = cancelSent
	req := followUp(c.req, sip.CANCEL, c.to.Transport)
	req.AppendHeader(sip.HeaderClone(c.req.To()))
	if c.reason != "" {
		req.AppendHeader(sip.NewHeader("Reason", c.reason))
	}
	if agent := n.layer.options.UserAgent; agent != "" {
		req.AppendHeader(sip.NewHeader("User-Agent", agent))
	}
	req.SetBody(nil)
	cancel := &Client{
		lane: n, key: clientKey{c.key.branch, sip.CANCEL}, on: func(*sip.Response, error) {},
		req: req, raw: encode(req), to: c.to,
	}
	n.arm(&c.limit, c, 64*n.layer.options.T1)
	cancel.start()
}

// Target is where the request went: TCP if it was too long for UDP.
func (c *Client) Target() Target {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	return c.to
}

// expire implements the timers of the transaction; mu is held.
func (c *Client) expire(timer *timer) func() {
	n, o := c.lane, &c.lane.layer.options
	if timer == &c.limit {
		on := c.on
		c.terminate()
		if on == nil { // timer D
			return nil
		}
		return func() { on(nil, ErrTimeout) }
	}
	n.layer.count.retransmitted.Add(1)
	c.interval *= 2
	if c.key.method != sip.INVITE {
		c.interval = min(c.interval, o.T2)
	}
	n.arm(&c.resend, c, c.interval)
	c.send()
	return nil
}
