package rtp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestPortsAreEvenRandomAndRest(t *testing.T) {
	p, err := newPortPool(10001, 10100, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if n := p.available(now); n != 49 { // 10002…10098: the pair of 10100 would leave the range
		t.Fatalf("%d pairs", n)
	}
	var order []int
	seen := map[int]bool{}
	for {
		port, ok := p.take(now)
		if !ok {
			break
		}
		if port%2 != 0 || port < 10002 || port > 10098 || seen[port] {
			t.Fatalf("port %d", port)
		}
		seen[port] = true
		order = append(order, port)
	}
	if slices.IsSorted(order) {
		t.Error("ports come in order")
	}
	p.rest(10050, now)
	if _, ok := p.take(now.Add(5*time.Second - time.Nanosecond)); ok {
		t.Error("a port was used again before its rest was over")
	}
	if port, ok := p.take(now.Add(5 * time.Second)); !ok || port != 10050 {
		t.Errorf("got %d, %v after the rest", port, ok)
	}
}

func TestPortRangesThatCannotBe(t *testing.T) {
	for _, r := range [][2]int{{0, 10}, {-5, 10}, {20, 10}, {60000, 70000}, {10001, 10002}, {10000, 10000}} {
		if _, err := newPortPool(r[0], r[1], 0); err == nil {
			t.Errorf("range %v is accepted", r)
		}
	}
}

// The pair is skipped when another program holds either port of it.
func TestPortsOfOthersAreSkipped(t *testing.T) {
	loopback := netip.MustParseAddr(engineIP)
	for odd := range 2 {
		first := freeRange(t, 4)
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice(), Port: first + odd})
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPortPool(first, first+3, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := p.open(loopback)
		if err != nil {
			t.Fatal(err)
		}
		if pair.port != first+2 {
			t.Errorf("got %d", pair.port)
		}
		if _, err := p.open(loopback); !errors.Is(err, ErrNoPorts) {
			t.Errorf("error %v", err)
		}
		p.release(pair, time.Now())
		_ = c.Close()
	}
}

// freeRange finds n ports in a row, the first even, that nobody uses now.
func freeRange(t *testing.T, n int) int {
	t.Helper()
	for first := 31000; first < 60000; first += n + n%2 {
		free := true
		for port := first; free && port < first+n; port++ {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(engineIP), Port: port})
			if free = err == nil; free {
				_ = c.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func TestOpenUntilNoPortsAndAfterClose(t *testing.T) {
	first := freeRange(t, 8)
	e := loopbackEngine(t, Options{MinPort: first, MaxPort: first + 7, DrainPorts: -1})
	var last *Session
	for range 4 {
		last = open(t, e, "k")
		if last.Port()%2 != 0 || last.Port() < first || last.Port() > first+6 {
			t.Errorf("port %d", last.Port())
		}
	}
	if _, err := e.Open("k"); !errors.Is(err, ErrNoPorts) {
		t.Errorf("error %v", err)
	}
	last.Close()
	last.Close()
	for range last.Events() { // until it is over
	}
	s := open(t, e, "k")
	if s.Port() != last.Port() {
		t.Errorf("port %d, want %d back", s.Port(), last.Port())
	}
	eventually(t, "the figures show it", func() bool { st := e.Stats(); return st.Sessions == 4 && st.PortsFree == 0 })
	_ = e.Close()
	if _, err := e.Open("k"); err == nil {
		t.Error("a closed engine opens sessions")
	}
}

func TestIPv6(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here:", err)
	}
	defer func() { _ = c.Close() }()
	e := loopbackEngine(t, Options{Bind: netip.MustParseAddr("::1"), Shards: 1})
	s := open(t, e, "")
	remote := c.LocalAddr().(*net.UDPAddr).AddrPort()
	s.Set(Params{Remote: remote, Signalling: remote.Addr(), Codec: mustPCMU(), Send: true, Receive: true})
	s.Hear(s.Mic())
	_ = c.SetDeadline(time.Now().Add(patience))
	b := make([]byte, 2000)
	for sequence := uint16(0); ; sequence++ {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		h, start, end, why := parse(b[:n])
		if why != dropNone || h.payloadType != 0 || end-start != 160 {
			t.Fatalf("packet %+v of %d bytes: %v", h, n, why)
		}
		if b[start] == 0x42 {
			return // our own voice came back
		}
		packet := append(make([]byte, headerSize), filled(0x42)...)
		header{sequence: sequence, timestamp: uint32(sequence) * 160, ssrc: 9}.put(packet)
		if _, err := c.WriteTo(packet, from); err != nil {
			t.Fatal(err)
		}
	}
}
