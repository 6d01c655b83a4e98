package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// side is the RTP of one side of all calls: one socket, whose packets carry call, number and sending time, so that
// delay, loss and crossed calls are exact. Arrival is the kernel's time stamp.
type side struct {
	conn *net.UDPConn
	name byte // 'a' caller, 'b' callee
	done sync.WaitGroup
	legs []leg

	mu      sync.Mutex
	from    int64 // window of sending times that counts, ns since the epoch
	until   int64
	delays  []time.Duration
	crossed int
	changed int
	foreign int
}

type leg struct {
	to   atomic.Pointer[netip.AddrPort]
	sent atomic.Int64 // in the window
	seq  uint16
	got  int64 // in the window, by its own packets' time
	ssrc uint32
}

// Payload of a packet: mark, side, call, number, time; the rest is a pattern that must arrive unchanged.
const (
	packetBytes = 160
	headBytes   = 12
	mark        = "tiprLOAD"
)

// listenStamped opens a socket of 127.0.0.1 whose packets carry the kernel's time of arrival.
func listenStamped() (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	conn.SetReadBuffer(16 << 20)  //nolint:errcheck // the kernel's limit holds then
	conn.SetWriteBuffer(16 << 20) //nolint:errcheck // as above
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var opt error
	if err := raw.Control(func(fd uintptr) {
		opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); err != nil || opt != nil {
		return nil, fmt.Errorf("kernel time stamps: %w %w", err, opt)
	}
	return conn, nil
}

func newSide(name byte, calls int) (*side, error) {
	conn, err := listenStamped()
	if err != nil {
		return nil, err
	}
	s := &side{conn: conn, name: name, legs: make([]leg, calls)}
	for i := range s.legs {
		s.legs[i].ssrc = uint32(name)<<24 | uint32(i)
	}
	return s, nil
}

func (s *side) port() int { return s.conn.LocalAddr().(*net.UDPAddr).Port }

func (s *side) close() {
	s.conn.Close()
	s.done.Wait()
}

// receive counts what comes back from the other side, until the socket is closed.
func (s *side) receive() {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, m, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		at := arrival(oob[:m])
		p := buf[:n]
		if n >= headBytes && p[1]&0x7f >= 72 && p[1]&0x7f <= 76 { // RTCP by multiplexing
			continue
		}
		if n != headBytes+packetBytes || string(p[headBytes:headBytes+8]) != mark {
			s.mu.Lock()
			s.foreign++ // comfort silence before the bridge stands
			s.mu.Unlock()
			continue
		}
		body := p[headBytes:]
		call, sent := int(binary.BigEndian.Uint32(body[9:])), int64(binary.BigEndian.Uint64(body[17:]))
		s.mu.Lock()
		if sent >= s.from && sent < s.until && call < len(s.legs) {
			s.legs[call].got++
			s.delays = append(s.delays, time.Duration(at-sent))
			to := s.legs[call].to.Load()
			if body[8] == s.name || to == nil || to.Port() != from.Port() {
				s.crossed++
			}
			for i, v := range body[25:] {
				if v != byte(i*7) {
					s.changed++
					break
				}
			}
		}
		s.mu.Unlock()
	}
}

// arrival is the kernel's time stamp among the control messages.
func arrival(oob []byte) int64 {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range msgs {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
			}
		}
	}
	return time.Now().UnixNano()
}

// pacer sends one packet per leg and 20 ms from one locked thread, on a grid of 1 ms: call i has its place i mod 20.
type pacer struct {
	sides [2]*side
	stop  chan struct{}
	done  sync.WaitGroup
	from  atomic.Int64 // as in side
	until atomic.Int64
	late  atomic.Int64 // ticks begun more than 5 ms late
}

func (p *pacer) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pkt := make([]byte, headBytes+packetBytes)
	pkt[0] = 0x80
	copy(pkt[headBytes:], mark)
	for i := range pkt[headBytes+25:] {
		pkt[headBytes+25+i] = byte(i * 7)
	}
	start := time.Now()
	for tick := 0; ; tick++ {
		due := start.Add(time.Duration(tick) * time.Millisecond)
		if d := time.Until(due); d > 0 {
			ts := unix.NsecToTimespec(int64(d))
			unix.Nanosleep(&ts, nil) //nolint:errcheck // an interrupted sleep is an early tick
		} else if d < -5*time.Millisecond {
			p.late.Add(1)
		}
		select {
		case <-p.stop:
			return
		default:
		}
		for _, s := range p.sides {
			for i := tick % 20; i < len(s.legs); i += 20 {
				p.send(s, i, uint32(tick/20), pkt)
			}
		}
	}
}

func (p *pacer) send(s *side, i int, frame uint32, pkt []byte) {
	l := &s.legs[i]
	to := l.to.Load()
	if to == nil {
		return
	}
	now := time.Now().UnixNano()
	l.seq++
	binary.BigEndian.PutUint16(pkt[2:], l.seq)
	binary.BigEndian.PutUint32(pkt[4:], frame*160)
	binary.BigEndian.PutUint32(pkt[8:], l.ssrc)
	body := pkt[headBytes:]
	body[8] = s.name
	binary.BigEndian.PutUint32(body[9:], uint32(i))
	binary.BigEndian.PutUint32(body[13:], frame)
	binary.BigEndian.PutUint64(body[17:], uint64(now))
	if now >= p.from.Load() && now < p.until.Load() {
		l.sent.Add(1)
	}
	s.conn.WriteToUDPAddrPort(pkt, *to) //nolint:errcheck // what is lost is counted as lost
}
