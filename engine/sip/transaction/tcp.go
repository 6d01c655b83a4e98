package transaction

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	connQueue   = 1 << 20 // most bytes that wait for one connection
	silentFor   = 5 * time.Minute
	maxSilent   = 1024
)

var (
	errConnQueue = errors.New("connection too slow: its queue is full")
	errConnEnded = errors.New("connection closed by the peer")
)

// streams is the table of TCP connections by their remote address, whoever opened them.
type streams struct {
	layer    *Layer
	listener net.Listener

	mu        sync.Mutex
	conns     map[netip.AddrPort]*conn
	perSource map[netip.Addr]int
	silentAt  map[netip.AddrPort]time.Duration // where nobody answered on TCP, and when
}

func newStreams(l *Layer, listener net.Listener) *streams {
	return &streams{
		layer: l, listener: listener,
		conns:     make(map[netip.AddrPort]*conn),
		perSource: make(map[netip.Addr]int),
		silentAt:  make(map[netip.AddrPort]time.Duration),
	}
}

// to is the connection to addr; if there is none yet, one that dials when it has something to send.
func (s *streams) to(addr netip.AddrPort, timeout time.Duration) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[addr]; c != nil {
		return c
	}
	c := &conn{streams: s, remote: addr, timeout: timeout}
	s.put(c)
	return c
}

// put adds c to the table. mu is held.
func (s *streams) put(c *conn) {
	s.conns[c.remote] = c
	s.perSource[c.remote.Addr()]++
	s.layer.count.connections.Add(1)
}

func (s *streams) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.remote] != c {
		return
	}
	delete(s.conns, c.remote)
	s.layer.count.connections.Add(-1)
	if ip := c.remote.Addr(); s.perSource[ip] > 1 {
		s.perSource[ip]--
	} else {
		delete(s.perSource, ip)
	}
}

// noteSilent remembers that nobody answers on TCP at addr, in a bounded table.
func (s *streams) noteSilent(addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.silentAt) >= maxSilent {
		clear(s.silentAt)
	}
	s.silentAt[addr] = s.layer.now()
}

// silent tells whether TCP at addr was tried in vain a short while ago.
func (s *streams) silent(addr netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.silentAt[addr]
	if ok && s.layer.now()-at > silentFor {
		delete(s.silentAt, addr)
		ok = false
	}
	return ok
}

// accept takes connections until the listener is closed.
func (s *streams) accept() error {
	backOff := time.NewTimer(0)
	defer backOff.Stop()
	for {
		sock, err := s.listener.Accept()
		switch {
		case err == nil:
			s.take(sock)
			continue
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		}
		// Out of files, or the peer left before we came: go on in a moment.
		s.layer.log.Warn("TCP connection not accepted", "error", err)
		backOff.Reset(100 * time.Millisecond)
		select {
		case <-backOff.C:
		case <-s.layer.ctx.Done():
		}
	}
}

// take starts a connection that was accepted, or closes it if there are too many.
func (s *streams) take(sock net.Conn) {
	remote, err := netip.ParseAddrPort(sock.RemoteAddr().String())
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	c := &conn{streams: s, remote: remote, sock: sock}
	if err != nil || !s.admit(c) {
		s.layer.count.droppedConnections.Add(1)
		_ = sock.Close()
		return
	}
	if !s.layer.begin(c.read) {
		c.close(ErrClosed)
	}
}

func (s *streams) admit(c *conn) bool {
	g, ip := &s.layer.options.Guard, c.remote.Addr()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= g.Connections || s.perSource[ip] >= g.ConnectionsPerSource && !s.layer.exempt(ip) {
		return false
	}
	s.put(c)
	return true
}

// closeAll closes every connection; none is added after the layer is closed.
func (s *streams) closeAll() {
	s.mu.Lock()
	var all []*conn
	for _, c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		c.close(ErrClosed)
	}
}

// A conn is one TCP connection. Messages are queued and written by a goroutine that lives while there are any, so that
// a lane never waits for a slow peer; another one reads for as long as the connection is open.
type conn struct {
	streams *streams
	remote  netip.AddrPort
	timeout time.Duration // to dial

	mu      sync.Mutex
	sock    net.Conn // nil before there is one
	queue   []outgoing
	bytes   int // that wait
	writing bool
	ended   error // not nil: closed
	waiting map[*Client]struct{}
}

// outgoing is a message to send. failed is called if it cannot be sent and must only post to a lane; it may be nil.
type outgoing struct {
	raw    []byte
	failed func(error)
}

// watch makes c hear of the end of the connection, at once if it has ended.
func (c *conn) watch(tx *Client) {
	c.mu.Lock()
	ended := c.ended
	if ended == nil {
		if c.waiting == nil {
			c.waiting = make(map[*Client]struct{})
		}
		c.waiting[tx] = struct{}{}
	}
	c.mu.Unlock()
	if ended != nil {
		tx.failed(c, ended)
	}
}

func (c *conn) unwatch(tx *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, tx)
}

// over tells whether the connection has ended.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended != nil
}

// send sends a message. failed may be nil.
func (c *conn) send(raw []byte, failed func(error)) {
	c.streams.layer.sent(transportTCP, c.remote, raw)
	c.enqueue(raw, failed)
}

// enqueue queues raw. A queue that is full ends the connection: its messages could not be delivered in time anyway.
func (c *conn) enqueue(raw []byte, failed func(error)) {
	c.mu.Lock()
	ended, full, start := c.ended, false, false
	if ended == nil {
		c.queue = append(c.queue, outgoing{raw, failed})
		c.bytes += len(raw)
		full = c.bytes > connQueue
		start = !c.writing
		c.writing = true
	}
	c.mu.Unlock()
	switch {
	case ended != nil:
		c.streams.layer.count.sendErrors.Add(1)
		if failed != nil {
			failed(ended)
		}
	case full:
		c.streams.layer.count.droppedQueue.Add(1)
		c.close(errConnQueue)
	case start && !c.streams.layer.begin(c.write):
		c.close(ErrClosed)
	}
}

// write dials if need be and writes the queue until it is empty or the connection ends.
func (c *conn) write() {
	sock, err := c.socket()
	for err == nil {
		c.mu.Lock()
		if len(c.queue) == 0 || c.ended != nil {
			c.writing = false
			c.mu.Unlock()
			return
		}
		raw := c.queue[0].raw
		c.mu.Unlock()
		_ = sock.SetWriteDeadline(time.Now().Add(c.streams.layer.options.Guard.MessageTimeout))
		if _, err = sock.Write(raw); err == nil {
			c.written(len(raw))
		}
	}
	c.close(err)
}

// written takes the first message off the queue, unless the end of the connection has taken all.
func (c *conn) written(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended == nil {
		c.queue[0] = outgoing{}
		c.queue = c.queue[1:]
		c.bytes -= n
	}
}

// socket is the open socket; it dials if there is none.
func (c *conn) socket() (net.Conn, error) {
	c.mu.Lock()
	sock := c.sock
	c.mu.Unlock()
	if sock != nil {
		return sock, nil
	}
	l := c.streams.layer
	dialer := net.Dialer{Timeout: c.timeout}
	if ip := l.local.Addr(); !ip.IsUnspecified() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0))
	}
	sock, err := dialer.DialContext(l.ctx, "tcp", c.remote.String())
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	ended := c.ended
	if ended == nil {
		c.sock = sock
	}
	c.mu.Unlock()
	if ended != nil {
		_ = sock.Close()
		return nil, ended
	}
	if !l.begin(c.read) {
		return nil, ErrClosed
	}
	return sock, nil
}

// close ends the connection for reason and tells all who wait. Only the first call counts.
func (c *conn) close(reason error) {
	c.mu.Lock()
	if c.ended != nil {
		c.mu.Unlock()
		return
	}
	c.ended = reason
	queue, waiting, sock := c.queue, c.waiting, c.sock
	c.queue, c.waiting, c.bytes = nil, nil, 0
	c.mu.Unlock()
	if sock != nil {
		_ = sock.Close()
	}
	c.streams.remove(c)
	for _, m := range queue {
		c.streams.layer.count.sendErrors.Add(1)
		if m.failed != nil {
			m.failed(reason)
		}
	}
	for tx := range waiting {
		tx.failed(c, reason)
	}
}
