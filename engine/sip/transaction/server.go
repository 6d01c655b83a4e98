package transaction

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Errors of transactions.
var (
	ErrTimeout   = errors.New("transaction: no final response in time")       // 64*T1 (RFC 3261 timers B and F)
	ErrTransport = errors.New("transaction: transport failed")                // wraps the reason
	ErrNoACK     = errors.New("transaction: final response not acknowledged") // 64*T1 (timer H)
	ErrFinalSent = errors.New("transaction: final response already sent")
	ErrClosed    = errors.New("transaction: layer closed")
)

// tryingAfter is when the layer sends 100 by itself if the handler has not responded to an INVITE (RFC 3261 17.2.1).
const tryingAfter = 200 * time.Millisecond

// Server is a server transaction (RFC 3261 17.2). Its methods may be called from any goroutine.
type Server struct {
	lane *lane
	req  *sip.Request
	raw  string // req as it came; req's parts are of it
	came time.Time
	rec  *serverRecord

	// Guarded by the lane's mu.
	resend   timer // 100 before the first response, then the final response again
	limit    timer // no ACK, or for other methods no final response
	interval time.Duration
	trying   bool // an INVITE without any response
}

// Request is the request that opened the transaction.
func (t *Server) Request() *sip.Request { return t.req }

// Arrival is the request as it came.
func (t *Server) Arrival() Trace {
	return Trace{Time: t.came, Transport: t.Transport(), Remote: t.Source(), CallID: string(*t.req.CallID()), Raw: t.raw}
}

// Source is where the request came from.
func (t *Server) Source() netip.AddrPort { return t.rec.from.addr }

// Transport is "UDP" or "TCP".
func (t *Server) Transport() string { return t.rec.from.transport() }

// Target reaches the sender of the request by the way that it came, for requests to it.
func (t *Server) Target() Target { return Target{Transport: t.Transport(), Addr: t.Source()} }

// Respond sends a provisional or final response; a Server header is added if it has none. After the final one it is
// ErrFinalSent and nothing is stored or sent. A 2xx to an INVITE is sent again after T1, 2*T1 … up to every T2 until
// Acked, a failure response (over UDP) until its ACK. A request other than INVITE that got no final response in 64*T1
// is ErrTimeout: its client has given up (RFC 4320).
func (t *Server) Respond(res *sip.Response) error {
	n := t.lane
	if n.layer.closed.Load() {
		return ErrClosed
	}
	if agent := n.layer.options.UserAgent; agent != "" && Header(res, "Server") == "" {
		res.AppendHeader(sip.NewHeader("Server", agent))
	}
	raw := encode(res)
	n.mu.Lock()
	defer n.mu.Unlock()
	rec := t.rec
	switch {
	case rec.final != 0:
		return ErrFinalSent
	case rec.tx == nil:
		return ErrTimeout
	}
	rec.last = raw
	if to := res.To(); to != nil && rec.tag == "" {
		rec.tag, _ = to.Params.Get("tag")
	}
	if t.trying {
		t.trying = false
		n.disarm(&t.resend)
	}
	if res.StatusCode >= 200 {
		t.final(res.StatusCode)
	}
	t.send()
	return nil
}

// final moves to the state after the final response. mu is held.
func (t *Server) final(status int) {
	n, o := t.lane, &t.lane.layer.options
	t.rec.final = status
	if t.req.Method != sip.INVITE {
		n.finish(t.rec, t.rec.from.conn == nil) // timer J is 0 on streams
		return
	}
	t.interval = o.T1
	if status < 300 || t.rec.from.conn == nil { // a 2xx is sent again on streams too: 13.3.1.4
		n.arm(&t.resend, t, t.interval)
	}
	n.arm(&t.limit, t, 64*o.T1)
}

// send sends the last response. mu is held.
func (t *Server) send() {
	rec := t.rec
	t.lane.layer.respond(rec.from, t.req.Via(), rec.last, t.failed)
}

// failed is called when a response could not be sent; from any goroutine.
func (t *Server) failed(err error) {
	t.lane.post(func() {
		if t.fail() && t.req.Method == sip.INVITE {
			t.lane.layer.handler.Lost(t, fmt.Errorf("%w: %w", ErrTransport, err))
		}
	})
}

// fail ends the transaction; false if it was over.
func (t *Server) fail() bool {
	t.lane.mu.Lock()
	defer t.lane.mu.Unlock()
	open := t.rec.tx != nil
	t.lane.finish(t.rec, false)
	return open
}

// Acked says that the dialog saw the ACK of the 2xx: it is not sent again.
func (t *Server) Acked() {
	t.lane.mu.Lock()
	defer t.lane.mu.Unlock()
	if t.rec.final >= 200 && t.rec.final < 300 {
		t.lane.finish(t.rec, true)
	}
}

// expire implements the timers of the transaction; mu is held.
func (t *Server) expire(timer *timer) func() {
	n, o := t.lane, &t.lane.layer.options
	if timer == &t.limit {
		n.finish(t.rec, false)
		if t.req.Method != sip.INVITE {
			return nil
		}
		return func() { n.layer.handler.Lost(t, ErrNoACK) }
	}
	if t.trying {
		t.trying = false
		t.rec.last = encode(n.layer.response(t.req, sip.StatusTrying, "Trying"))
		t.send()
		return nil
	}
	n.layer.count.retransmitted.Add(1)
	t.send()
	t.interval = min(2*t.interval, o.T2)
	n.arm(&t.resend, t, t.interval)
	return nil
}

// repeated answers the request that came again (17.2.1 and 17.2.2; absorbed after a 2xx: RFC 6026). mu is held.
func (n *lane) repeated(rec *serverRecord, req *sip.Request) {
	n.layer.count.repeated.Add(1)
	if rec.last == nil || rec.key.method == sip.INVITE && rec.final >= 200 && rec.final < 300 {
		return
	}
	n.layer.count.retransmitted.Add(1)
	n.layer.respond(rec.from, req.Via(), rec.last, nil)
}
