package rtp

import (
	"encoding/binary"
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is an epoll set with an eventfd that wakes it.
type poller struct {
	epoll, bell int
	events      [256]unix.EpollEvent
	timeout     unix.Timespec
	nanoseconds bool // epoll_pwait2 is there (Linux 5.11); else the wait is in milliseconds
}

// bellToken marks the poller's own event.
const bellToken = -1

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{epoll: epoll, bell: bell, nanoseconds: true}
	if err := p.add(bell, bellToken); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.bell)
}

// add watches fd for packets; wait reports token for it.
func (p *poller) add(fd int, token int32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd,
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: token}))
}

func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// ring wakes wait; it may be called from any thread.
func (p *poller) ring() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.bell, one[:]) // EAGAIN: it rings already
}

func (p *poller) quiet() {
	var b [8]byte
	_, _ = unix.Read(p.bell, b[:])
}

// wait returns what is ready, after at most timeout; a negative timeout is no limit.
func (p *poller) wait(timeout time.Duration) []unix.EpollEvent {
	if timeout == 0 {
		//nolint:gosec // G103: the kernel fills the array, which is the poller's
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		if errno != 0 {
			return nil
		}
		return p.events[:n]
	}
	if p.nanoseconds {
		var spec *unix.Timespec
		if timeout > 0 {
			p.timeout = unix.NsecToTimespec(int64(timeout))
			spec = &p.timeout
		}
		//nolint:gosec // G103: both pointers are into the poller
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll),
			uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(spec)), 0, 0)
		switch errno {
		case 0:
			return p.events[:n]
		case unix.ENOSYS, unix.EPERM: // an old kernel, or a sandbox that does not know the call
			p.nanoseconds = false
		default:
			return nil
		}
	}
	return p.waitMilliseconds(timeout)
}

// waitMilliseconds rounds down, and sleeps what is less than a millisecond, so that a deadline is met all the same.
func (p *poller) waitMilliseconds(timeout time.Duration) []unix.EpollEvent {
	ms := -1
	if timeout > 0 {
		ms = int(timeout / time.Millisecond)
		if ms == 0 {
			p.timeout = unix.NsecToTimespec(int64(timeout))
			_ = unix.Nanosleep(&p.timeout, nil)
		}
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil
	}
	return p.events[:max(0, n)]
}
