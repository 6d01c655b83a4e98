//go:build !linux

package transaction

import "net"

// growBuffer lets the kernel hold bursts, up to its own limit.
func growBuffer(sock *net.UDPConn) { _ = sock.SetReadBuffer(socketBuffer) }
