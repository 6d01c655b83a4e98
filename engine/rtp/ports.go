package rtp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A portPool hands out even ports of a range in random order (RFC 3550 §11, RFC 4961) and lets a freed one rest, so
// that late packets of an old call do not reach a new one.
type portPool struct {
	mu      sync.Mutex
	free    []int
	resting []restingPort // oldest first
	drain   time.Duration
}

type restingPort struct {
	port  int
	until time.Time
}

// portPair is two bound sockets.
type portPair struct {
	port      int
	rtp, rtcp socket
}

// busyPortTries bounds the search when other programs sit in the range.
const busyPortTries = 64

func newPortPool(first, last int, drain time.Duration) (*portPool, error) {
	if first < 1 || last > 65535 || first > last {
		return nil, fmt.Errorf("rtp: port range %d-%d is not within 1-65535", first, last)
	}
	p := &portPool{drain: drain}
	for port := first + first%2; port+1 <= last; port += 2 {
		p.free = append(p.free, port)
	}
	if len(p.free) == 0 {
		return nil, fmt.Errorf("rtp: port range %d-%d holds no pair of an even port and the next", first, last)
	}
	return p, nil
}

// open takes a random port and binds its two sockets. Ports that another program holds are put aside to be tried
// later.
func (p *portPool) open(bind netip.Addr) (portPair, error) {
	for range busyPortTries {
		port, ok := p.take(time.Now())
		if !ok {
			return portPair{}, ErrNoPorts
		}
		pair, err := bindPair(bind, port)
		switch {
		case err == nil:
			return pair, nil
		case errors.Is(err, unix.EADDRINUSE):
			p.rest(port, time.Now())
		default:
			p.putBack(port)
			return portPair{}, fmt.Errorf("rtp: bind %v port %d: %w", bind, port, err)
		}
	}
	return portPair{}, ErrNoPorts
}

func bindPair(bind netip.Addr, port int) (portPair, error) {
	rtp, err := listen(netip.AddrPortFrom(bind, uint16(port)))
	if err != nil {
		return portPair{}, err
	}
	rtcp, err := listen(netip.AddrPortFrom(bind, uint16(port+1)))
	if err != nil {
		rtp.close()
		return portPair{}, err
	}
	return portPair{port: port, rtp: rtp, rtcp: rtcp}, nil
}

func (p *portPool) take(now time.Time) (port int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	n := len(p.free)
	if n == 0 {
		return 0, false
	}
	i := int(randomUint32() % uint32(n))
	port = p.free[i]
	p.free[i] = p.free[n-1]
	p.free = p.free[:n-1]
	return port, true
}

func (p *portPool) wake(now time.Time) {
	n := 0
	for n < len(p.resting) && !p.resting[n].until.After(now) {
		p.free = append(p.free, p.resting[n].port)
		n++
	}
	p.resting = append(p.resting[:0], p.resting[n:]...)
}

// release closes the sockets of pair and lets its port rest.
func (p *portPool) release(pair portPair, now time.Time) {
	pair.rtp.close()
	pair.rtcp.close()
	p.rest(pair.port, now)
}

func (p *portPool) rest(port int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = append(p.resting, restingPort{port, now.Add(p.drain)})
}

func (p *portPool) putBack(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, port)
}

// available is the number of ports that could be opened at now.
func (p *portPool) available(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake(now)
	return len(p.free)
}

// randomUint32 is unpredictable: ports, SSRC, sequence and timestamp start must not be guessed (RFC 3550 §5.1, §9.1).
func randomUint32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.NativeEndian.Uint32(b[:])
}
