package transaction

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// A Handler takes what arrives. All calls for one Call-ID come one after the other, in the order of arrival, from that
// Call-ID's lane; they must not block. A panic in a handler is recovered, logged with its stack and counted; a request
// then gets 500.
type Handler interface {
	// Request is a new server transaction: INVITE and every other method but ACK and CANCEL, known or not.
	Request(req *sip.Request, tx *Server)
	// Cancel says that a CANCEL matched tx, on which no final response was sent. The layer has answered the CANCEL
	// with 200; the handler responds to tx with 487 (RFC 3261 9.2).
	Cancel(tx *Server)
	// ACK is an ACK that does not belong to a failure response: the ACK of a 2xx.
	ACK(req *sip.Request)
	// Response is a 2xx to an INVITE that has no open client transaction: it was sent again, or comes from another
	// fork, or from a call of a node that died. Provisional and failure responses of no transaction are dropped.
	Response(res *sip.Response)
	// Lost says that an INVITE's final response was not acknowledged in 64*T1 (ErrNoACK; after a failure response
	// there is nothing to do), or that a response could not be sent (ErrTransport).
	Lost(tx *Server, err error)
}

// arrive is the guard in front of the lanes: it judges a message by a glance and puts it into its lane. It is called
// by the goroutine that read the message.
func (l *Layer) arrive(raw string, from origin) {
	l.count.received.Add(1)
	m, ok := glanceAt(raw, &l.options.Guard)
	if !ok {
		l.count.droppedSize.Add(1)
		return
	}
	if l.options.Trace != nil {
		l.trace(false, from.transport(), from.addr, m.callID, raw)
	}
	if m.initial && l.buckets != nil && !l.exempt(from.addr.Addr()) && !l.buckets.take(from.addr.Addr(), l.now()) {
		l.count.droppedRate.Add(1)
		return
	}
	if !l.lane(m.callID).put(work{raw: raw, callID: m.callID, from: from}, l.options.Guard.Queue) {
		l.count.droppedQueue.Add(1)
	}
}

// receive parses a message in its lane and gives it to its transaction.
func (n *lane) receive(w *work) {
	l := n.layer
	n.protect(func() {
		msg, bad := parse(w.raw)
		if bad == nil && string(*msg.CallID()) != w.callID {
			bad = badRequest("malformed Call-ID")
		}
		if bad != nil {
			l.malformed(msg, bad, w)
			return
		}
		switch m := msg.(type) {
		case *sip.Request:
			stamp(m, w.from)
			n.request(m, w)
		case *sip.Response:
			m.SetTransport(w.from.transport())
			m.SetSource(w.from.addr.String())
			n.response(m)
		}
	}, nil)
}

// malformed answers a bad request if it has a Via to answer to; ACKs and responses are dropped.
func (l *Layer) malformed(msg sip.Message, bad *fault, w *work) {
	l.count.malformed.Add(1)
	if l.log.Enabled(context.Background(), slog.LevelDebug) && l.logs.take() {
		l.log.Debug("malformed SIP message", "source", w.from.addr, "fault", bad.Error(),
			"message", strconv.QuoteToASCII(w.raw[:min(len(w.raw), 200)]))
	}
	req, ok := msg.(*sip.Request)
	if !ok || req.Method == sip.ACK || req.Via() == nil {
		return
	}
	stamp(req, w.from)
	l.refuse(req, w.from, bad.status, bad.reason)
}

// stamp notes in a request where it came from: received and rport in its Via (RFC 3261 18.2.1, RFC 3581 4).
func stamp(req *sip.Request, from origin) {
	via := req.Via()
	ip := from.addr.Addr().String()
	port, rport := via.Params.Get("rport")
	if rport || via.Host != ip {
		via.Params.Add("received", ip)
	}
	if rport && port == "" {
		via.Params.Add("rport", strconv.Itoa(int(from.addr.Port())))
	}
	req.SetTransport(from.transport())
	req.SetSource(from.addr.String())
}

// request finds the transaction of a request, or makes one.
func (n *lane) request(req *sip.Request, w *work) {
	from := w.from
	if req.Method == sip.ACK {
		n.ack(req)
		return
	}
	if req.Method == sip.CANCEL {
		n.cancelled(req, from)
		return
	}
	l := n.layer
	tx, status, reason := n.match(req, w)
	if status != 0 {
		l.refuse(req, from, status, reason)
	}
	if tx != nil {
		n.protect(func() { l.handler.Request(req, tx) }, tx)
	}
}

// match answers a request that came again (tx is nil), makes a transaction for a new one, or gives the status to
// refuse it with.
func (n *lane) match(req *sip.Request, w *work) (tx *Server, status int, reason string) {
	key, branch := keyOf(req)
	initial := !req.To().Params.Has("tag")
	n.mu.Lock()
	defer n.mu.Unlock()
	rec, merged := n.find(key, branch)
	if rec != nil {
		n.repeated(rec, req)
		return nil, 0, ""
	}
	if status, reason = n.layer.admit(req, initial, merged && initial); status != 0 {
		return nil, status, reason
	}
	return n.open(req, w, key, branch), 0, ""
}

// admit gives the status to refuse a new request with, or 0. OPTIONS with Max-Forwards 0 is for us (RFC 3261 11), and
// so is a request within a dialog: nothing is forwarded.
func (l *Layer) admit(req *sip.Request, initial, merged bool) (status int, reason string) {
	open, most := l.count.openServer.Load(), int64(l.options.Guard.Open)
	switch hops := req.MaxForwards(); {
	case merged:
		return sip.StatusLoopDetected, "Loop Detected"
	case initial && hops != nil && hops.Val() == 0 && req.Method != sip.OPTIONS:
		return sip.StatusTooManyHops, "Too Many Hops"
	case initial && open >= most || open >= 2*most:
		l.count.droppedOpen.Add(1)
		return sip.StatusServiceUnavailable, "Service Unavailable"
	}
	return 0, ""
}

// open makes a server transaction. mu is held.
func (n *lane) open(req *sip.Request, w *work, key serverKey, branch string) *Server {
	rec := &serverRecord{key: key, branch: branch, from: w.from}
	tx := &Server{lane: n, req: req, raw: w.raw, came: time.Now(), rec: rec}
	rec.tx = tx
	n.insert(rec)
	n.layer.count.openServer.Add(1)
	if req.Method == sip.INVITE {
		tx.trying = true
		n.arm(&tx.resend, tx, tryingAfter)
	} else {
		n.arm(&tx.limit, tx, 64*n.layer.options.T1)
	}
	return tx
}

// ack takes an ACK: of a failure response (17.2.1), else for the dialog.
func (n *lane) ack(req *sip.Request) {
	l := n.layer
	if n.absorb(req) {
		return
	}
	n.protect(func() { l.handler.ACK(req) }, nil)
}

// absorb tells whether an ACK is not one of a 2xx: that of a failure response, with or without a transaction, or one
// that comes before the final response.
func (n *lane) absorb(req *sip.Request) bool {
	key, branch := keyOf(req)
	n.mu.Lock()
	defer n.mu.Unlock()
	rec, _ := n.find(key, branch)
	if rec == nil {
		tag, _ := req.To().Params.Get("tag")
		return tag == n.layer.statelessTag(req)
	}
	if rec.final >= 300 {
		n.finish(rec, rec.from.conn == nil) // timer I is 0 on streams
	}
	return rec.final == 0 || rec.final >= 300
}

// cancelled takes a CANCEL (9.2). It has no transaction of its own: answering it again is the same answer.
func (n *lane) cancelled(req *sip.Request, from origin) {
	l := n.layer
	tx, tag, known := n.cancel(req)
	if !known {
		l.refuse(req, from, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
		return
	}
	res := l.response(req, sip.StatusOK, "OK")
	if tag != "" {
		res.To().Params.Add("tag", tag)
	}
	l.respond(from, req.Via(), encode(res), nil)
	if tx != nil {
		n.protect(func() { l.handler.Cancel(tx) }, tx)
	}
}

// cancel finds the INVITE of a CANCEL. tx is nil if its handler is not to be told: it has a final response, or was
// cancelled before.
func (n *lane) cancel(req *sip.Request) (tx *Server, tag string, known bool) {
	key, branch := keyOf(req)
	n.mu.Lock()
	defer n.mu.Unlock()
	rec, _ := n.find(key, branch)
	if rec == nil {
		return nil, "", false
	}
	if rec.final == 0 && !rec.cancelled {
		tx = rec.tx
	}
	rec.cancelled = true
	return tx, rec.tag, true
}

// response gives a response to its client transaction.
func (n *lane) response(res *sip.Response) {
	l := n.layer
	call, known := n.matchResponse(res)
	switch {
	case known:
	case res.CSeq().MethodName == sip.INVITE && res.IsSuccess():
		l.handler.Response(res)
	default:
		l.count.stray.Add(1)
	}
	if call != nil {
		call()
	}
}

func (n *lane) matchResponse(res *sip.Response) (call func(), known bool) {
	branch, _ := res.Via().Params.Get("branch")
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.clients[clientKey{branch, res.CSeq().MethodName}]
	if c == nil {
		return nil, false
	}
	return c.receive(res), true
}
