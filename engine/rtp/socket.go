package rtp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is a non-blocking UDP socket that the Go poller does not know: a media thread reads and writes it without
// the scheduler's help.
type socket struct {
	fd     int
	family int                  // AF_INET or AF_INET6
	via    func(b []byte) error // in the place of fd, for sessions that a Transport carries
}

// expedited is DSCP EF, the class of telephony (RFC 4594 §4.1), in the place of the old TOS byte.
const expedited = 46 << 2

func listen(a netip.AddrPort) (socket, error) {
	s := socket{family: unix.AF_INET}
	if a.Addr().Is6() && !a.Addr().Is4In6() {
		s.family = unix.AF_INET6
	}
	fd, err := unix.Socket(s.family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return socket{}, os.NewSyscallError("socket", err)
	}
	s.fd = fd
	var sa unix.Sockaddr
	if s.family == unix.AF_INET {
		sa = &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, expedited) // a wish: some hosts forbid it
	} else {
		sa = &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, expedited)
	}
	if err := unix.Bind(fd, sa); err != nil {
		s.close()
		return socket{}, os.NewSyscallError("bind", err)
	}
	return s, nil
}

func (s socket) close() { _ = unix.Close(s.fd) }

// rawAddress is a socket address as the kernel reads it: an IPv4 address lies in the front of the IPv6 structure.
type rawAddress struct {
	storage unix.RawSockaddrInet6
	size    uint32
}

// address makes a for the socket; the zero rawAddress if the socket cannot reach it.
func (s socket) address(a netip.AddrPort) rawAddress {
	var r rawAddress
	port := networkOrder(a.Port())
	switch {
	case !a.IsValid():
	case s.family == unix.AF_INET6:
		r.storage = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: port, Addr: a.Addr().As16()}
		r.size = unix.SizeofSockaddrInet6
	case a.Addr().Unmap().Is4():
		//nolint:gosec // G103: the smaller structure lies in the front of the larger one
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(&r.storage)) = unix.RawSockaddrInet4{
			Family: unix.AF_INET, Port: port, Addr: a.Addr().Unmap().As4(),
		}
		r.size = unix.SizeofSockaddrInet4
	}
	return r
}

func (r *rawAddress) addrPort() netip.AddrPort {
	if r.storage.Family == unix.AF_INET {
		//nolint:gosec // G103: as in address
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.storage))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), networkOrder(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(r.storage.Addr).Unmap(), networkOrder(r.storage.Port))
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// receive reads one datagram into b and its sender into from. n is the datagram's true length, which may be more
// than b holds. RawSyscall keeps the scheduler out: the call never blocks.
func (s socket) receive(b []byte, from *rawAddress) (n int, errno syscall.Errno) {
	from.size = unix.SizeofSockaddrInet6
	//nolint:gosec // G103: the kernel fills what the caller owns
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&from.storage)),
		uintptr(unsafe.Pointer(&from.size)))
	return int(r), errno
}

func (s socket) send(b []byte, to *rawAddress) syscall.Errno {
	if s.via != nil {
		if s.via(b) != nil {
			return syscall.EAGAIN
		}
		return 0
	}
	//nolint:gosec // G103: the kernel reads what the caller owns
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to.storage)), uintptr(to.size))
	return errno
}
