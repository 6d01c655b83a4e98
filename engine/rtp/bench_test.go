package rtp

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkRelay is one packet: the generator's send, epoll, receive, source rules, statistics, rewriting, send.
func BenchmarkRelay(b *testing.B) {
	e, sh := handEngine(b)
	g := newGenerator(b)
	g.bridge(e, 1, "PCMU", "PCMU")
	sh.drain(b)
	packet := make([]byte, headerSize+160)
	header{}.put(packet)
	b.ReportAllocs()
	for b.Loop() {
		g.sequence++
		binary.BigEndian.PutUint16(packet[2:], g.sequence)
		_ = g.socket.send(packet, &g.to[0])
		for done := sh.figures.packetsIn + 1; sh.figures.packetsIn < done; {
			for _, ev := range sh.poll.wait(time.Second) {
				sh.receive(ev.Fd)
			}
		}
	}
}

// BenchmarkRewrite is what we add to the kernel's work for a packet: header in, source rules, statistics, header out.
func BenchmarkRewrite(b *testing.B) {
	e, sh := handEngine(b)
	g := newGenerator(b)
	s := g.bridge(e, 1, "PCMU", "PCMU")
	sh.drain(b)
	s[1].deafen(b)
	packet := make([]byte, headerSize+160)
	header{}.put(packet)
	b.ReportAllocs()
	for b.Loop() {
		g.sequence++
		binary.BigEndian.PutUint16(packet[2:], g.sequence)
		h, start, end, _ := parse(packet)
		if s[0].admit(sh, h, g.remote) != dropNone {
			b.Fatal("refused")
		}
		s[0].in.statistics.update(h, sh.now, true)
		copy(sh.buffer[:], packet)
		s[0].receiveAudio(sh, h, start, end)
	}
}

// BenchmarkTranscodePCMUtoPCMA is a packet from the jitter buffer to the other codec, without the kernel.
func BenchmarkTranscodePCMUtoPCMA(b *testing.B) {
	e, sh := handEngine(b)
	g := newGenerator(b)
	s := g.bridge(e, 1, "PCMU", "PCMA")
	sh.drain(b)
	s[1].deafen(b)
	copy(sh.buffer[headerSize:], filled(0x42))
	b.ReportAllocs()
	for b.Loop() {
		g.sequence++
		h := header{sequence: g.sequence, timestamp: uint32(g.sequence) * 160}
		s[0].receiveAudio(sh, h, headerSize, headerSize+160)
		sh.tick += slotsInTurn
		sh.now = slotStart(sh.tick)
		s[1].send(sh, sh.now)
	}
}

// BenchmarkRelay500 is 500 relayed calls in real time: each iteration is one packet time with one packet per leg.
// cpu-µs/packet is the CPU time of the media thread alone, system calls and wheel included.
func BenchmarkRelay500(b *testing.B) { benchmarkCalls(b, 500, "PCMU", "PCMU") }

// BenchmarkTranscode200 is the same for PCMU ↔ PCMA.
func BenchmarkTranscode200(b *testing.B) { benchmarkCalls(b, 200, "PCMU", "PCMA") }

func benchmarkCalls(b *testing.B, calls int, codecA, codecB string) {
	b.Helper()
	e := loopbackEngine(b, Options{Shards: 1, DrainPorts: -1})
	g := newGenerator(b)
	runtime.GC()
	rss := residentKiB(b)
	sessions := g.bridge(e, calls, codecA, codecB)
	for range 20 { // settle
		g.round()
	}
	var before, after runtime.MemStats
	st, cpu, begun := e.Stats(), threadTime(sessions[0]), time.Now()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		g.round()
	}
	used, took := threadTime(sessions[0])-cpu, time.Since(begun)
	runtime.ReadMemStats(&after)
	time.Sleep(2 * publishEvery)
	end := e.Stats()
	packets := float64(end.PacketsIn - st.PacketsIn)
	b.ReportMetric(used.Seconds()*1e6/packets, "cpu-µs/packet")
	b.ReportMetric(used.Seconds()*100/took.Seconds(), "%core")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/packets, "mallocs/packet")
	b.ReportMetric(float64(end.LatenessP50.Microseconds()), "late-p50-µs")
	b.ReportMetric(float64(end.LatenessP99.Microseconds()), "late-p99-µs")
	b.ReportMetric(float64(end.SlotsSkipped), "skipped")
	b.ReportMetric(float64(residentKiB(b)-rss)/float64(calls), "KiB/call")
}

// deafen makes sending fail at once, so that the kernel's work is not measured.
func (s *Session) deafen(b *testing.B) {
	b.Helper()
	fd := s.sockets.rtp.fd
	s.sockets.rtp.fd = -1
	b.Cleanup(func() { s.sockets.rtp.fd = fd })
}

// A generator is the far end of many sessions: one socket, a packet per session and packet time, spread over it.
type generator struct {
	b        *testing.B
	socket   socket
	remote   netip.AddrPort
	to       []rawAddress
	types    []uint8
	sequence uint16
	next     time.Time
}

func newGenerator(b *testing.B) *generator {
	b.Helper()
	s, err := listen(netip.MustParseAddrPort(phoneIP + ":0"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.close)
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	return &generator{b: b, socket: s, remote: localAddr(b, s), next: time.Now()}
}

func localAddr(tb testing.TB, s socket) netip.AddrPort {
	tb.Helper()
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		tb.Fatal(err)
	}
	v4, ok := name.(*unix.SockaddrInet4)
	if !ok {
		tb.Fatalf("address %T", name)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
}

func (g *generator) bridge(e *Engine, calls int, codecs ...string) (sessions []*Session) {
	for range calls {
		pair := []*Session{open(g.b, e, ""), open(g.b, e, "")}
		for i, s := range pair {
			c := codecNamed(g.b, codecs[i])
			s.Set(Params{
				Remote: g.remote, Signalling: g.remote.Addr(), Codec: c, SendPT: c.PayloadType, RecvPT: c.PayloadType,
				Send: true, Receive: true,
			})
			s.Hear(pair[1-i].Mic())
			g.to = append(g.to, g.socket.address(netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(s.Port()))))
			g.types = append(g.types, c.PayloadType)
		}
		sessions = append(sessions, pair...)
	}
	return sessions
}

func (g *generator) round() {
	packet, in := make([]byte, headerSize+160), make([]byte, 2048)
	var from rawAddress
	for i := range g.to {
		h := header{payloadType: g.types[i], sequence: g.sequence, timestamp: uint32(g.sequence) * 160, ssrc: uint32(i)}
		h.put(packet)
		_ = g.socket.send(packet, &g.to[i])
		for range 2 {
			if _, errno := g.socket.receive(in, &from); errno != 0 {
				break
			}
		}
		if i%(len(g.to)/10) == 0 {
			if d := time.Until(g.next.Add(packetTime * time.Duration(i) / time.Duration(len(g.to)))); d > 0 {
				ts := unix.NsecToTimespec(int64(d))
				_ = unix.Nanosleep(&ts, nil)
			}
		}
	}
	g.sequence++
	g.next = g.next.Add(packetTime)
}

// threadTime is the CPU time of a session's media thread.
func threadTime(s *Session) time.Duration {
	answer := make(chan time.Duration)
	s.do(func(*shard) {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_THREAD, &u)
		answer <- time.Duration(u.Utime.Nano() + u.Stime.Nano())
	})
	return <-answer
}

func residentKiB(b *testing.B) int {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize() / 1024
}
