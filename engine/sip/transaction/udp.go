package transaction

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// socketBuffer is how much the kernel is asked to hold of a burst of datagrams.
const socketBuffer = 4 << 20

// A packetSocket sends datagrams. *net.UDPConn is one; tests have others.
type packetSocket interface {
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// readDatagrams takes datagrams until the socket is closed. One goroutine reads, so the order of arrival is kept.
func (l *Layer) readDatagrams(sock *net.UDPConn) error {
	buf := make([]byte, 65535)
	for {
		n, from, err := sock.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read: %w", err)
		case err != nil:
			// An ICMP error of an earlier datagram; the socket is as good as before.
			l.log.Debug("UDP read", "error", err)
			continue
		}
		if keepAlive(buf[:n]) {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		l.arrive(string(buf[:n]), origin{addr: from})
	}
}

// keepAlive tells whether a datagram only keeps a NAT binding open: empty, CRLFs, or a NUL as some phones send.
func keepAlive(b []byte) bool {
	if len(b) > 4 {
		return false
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 {
			return false
		}
	}
	return true
}

// sendDatagram writes raw at once. failed may be nil.
func (l *Layer) sendDatagram(to netip.AddrPort, raw []byte, failed func(error)) {
	l.sent(transportUDP, to, raw)
	if _, err := l.packets.WriteToUDPAddrPort(raw, to); err != nil {
		l.count.sendErrors.Add(1)
		if failed != nil {
			failed(err)
		}
	}
}
