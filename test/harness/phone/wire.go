package phone

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// A wire carries whole SIP messages over UDP or TCP.
type wire interface {
	send(b []byte, to netip.AddrPort) error
	local() netip.AddrPort
	close() // and wait for the readers
}

type udpWire struct {
	conn *net.UDPConn
	done sync.WaitGroup
}

func listenUDP(recv func([]byte, netip.AddrPort)) (*udpWire, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	w := &udpWire{conn: conn}
	w.done.Go(func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err == nil && n > 4:
				recv(append([]byte(nil), buf[:n]...), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
			}
		}
	})
	return w, nil
}

func (w *udpWire) local() netip.AddrPort { return w.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (w *udpWire) send(b []byte, to netip.AddrPort) error {
	_, err := w.conn.WriteToUDPAddrPort(b, to)
	return err
}

func (w *udpWire) close() {
	w.conn.Close()
	w.done.Wait()
}

// tcpWire listens and dials; responses and requests go out on the connection to that address if there is one.
type tcpWire struct {
	ln   net.Listener
	recv func([]byte, netip.AddrPort)
	done sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[netip.AddrPort]net.Conn
}

func listenTCP(recv func([]byte, netip.AddrPort)) (*tcpWire, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	w := &tcpWire{ln: ln, recv: recv, conns: map[netip.AddrPort]net.Conn{}}
	w.done.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.add(c)
		}
	})
	return w, nil
}

func (w *tcpWire) add(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		c.Close()
		return
	}
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	w.conns[from] = c
	w.done.Go(func() {
		w.read(c, from)
		w.mu.Lock()
		delete(w.conns, from)
		w.mu.Unlock()
		c.Close()
	})
}

// read takes the stream apart: head up to the empty line, then Content-Length bytes.
func (w *tcpWire) read(c net.Conn, from netip.AddrPort) {
	r := bufio.NewReader(c)
	for {
		var head strings.Builder
		length := 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if head.Len() == 0 && line == "\r\n" {
				continue // keep-alive
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
			if name, v, ok := strings.Cut(line, ":"); ok && long(strings.TrimSpace(name)) == "content-length" {
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		w.recv(append([]byte(head.String()), body...), from)
	}
}

func (w *tcpWire) local() netip.AddrPort { return w.ln.Addr().(*net.TCPAddr).AddrPort() }

func (w *tcpWire) send(b []byte, to netip.AddrPort) error {
	w.mu.Lock()
	c := w.conns[to]
	w.mu.Unlock()
	if c == nil {
		var err error
		if c, err = net.Dial("tcp4", to.String()); err != nil {
			return err
		}
		w.add(c)
	}
	_, err := c.Write(b)
	return err
}

func (w *tcpWire) close() {
	w.mu.Lock()
	w.closed = true
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.ln.Close()
	w.done.Wait()
}
