package transaction

import (
	"errors"
	"io"
	"time"

	"github.com/emiago/sipgo/sip"
)

// read takes messages from the connection until it ends. The first must begin in time, and each that began must be
// complete in time. After the first a connection may be quiet for as long as TCP's own keep-alive finds the peer there:
// it is the only way to a phone behind a NAT, whose call may last for hours without a message.
func (c *conn) read() {
	l := c.streams.layer
	g := &l.options.Guard
	s := splitter{guard: g}
	chunk := make([]byte, 4096)
	deadline := time.Now().Add(g.IdleTimeout)
	for begun, proven := false, false; ; {
		_ = c.sock.SetReadDeadline(deadline)
		n, err := c.sock.Read(chunk)
		s.add(chunk[:n])
		messages, split := c.split(&s)
		proven = proven || messages > 0
		switch {
		case split != nil:
			c.close(split)
			return
		case errors.Is(err, io.EOF):
			c.close(errConnEnded)
			return
		case err != nil:
			c.close(err)
			return
		case !s.pending():
			begun = false
			if deadline = time.Now().Add(g.IdleTimeout); proven {
				deadline = time.Time{}
			}
		case !begun || messages > 0:
			begun = true
			deadline = time.Now().Add(g.MessageTimeout)
		}
	}
}

// split hands the whole messages in s to the lanes and answers keep-alives.
func (c *conn) split(s *splitter) (messages int, err error) {
	l := c.streams.layer
	for {
		raw, ping, err := s.next()
		switch {
		case err != nil:
			c.refuse(raw, err)
			return messages, err
		case ping:
			c.enqueue([]byte("\r\n"), nil)
		case raw == "":
			return messages, nil
		default:
			l.arrive(raw, origin{addr: c.remote, conn: c})
			messages++
		}
	}
}

// refuse answers the last message of a stream that cannot be split any further, if its headers are whole.
func (c *conn) refuse(head string, reason error) {
	l := c.streams.layer
	l.count.malformed.Add(1)
	if errors.Is(reason, errStreamHeader) || errors.Is(reason, errStreamBody) {
		l.count.droppedSize.Add(1)
	}
	l.lane("").protect(func() {
		msg, _ := parse(head)
		req, ok := msg.(*sip.Request)
		if !ok || req.Method == sip.ACK || req.Via() == nil {
			return
		}
		stamp(req, origin{addr: c.remote, conn: c})
		res := l.response(req, sip.StatusBadRequest, "Bad Request: "+reason.Error())
		if errors.Is(reason, errStreamBody) {
			res.StatusCode, res.Reason = sip.StatusMessageTooLarge, "Message Too Large"
		}
		l.count.refused.Add(1)
		raw := encode(res)
		l.sent(transportTCP, c.remote, raw)
		c.last(raw)
	}, nil)
}

// last writes raw past the queue, before the connection is closed.
func (c *conn) last(raw []byte) {
	_ = c.sock.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.sock.Write(raw); err != nil {
		c.streams.layer.count.sendErrors.Add(1)
	}
}
