package transaction

import (
	"net"

	"golang.org/x/sys/unix"
)

// growBuffer lets the kernel hold bursts: past its own limit if we may, else up to it.
func growBuffer(sock *net.UDPConn) {
	if raw, err := sock.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer)
		})
		if err == nil {
			return
		}
	}
	_ = sock.SetReadBuffer(socketBuffer)
}
