package rtp

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"github.com/tipring/tipring/engine/codec"
)

const (
	patience = 60 * time.Second // until a condition that must come true is given up

	// Addresses of their own keep the packets of other programs on this machine out of the tests.
	engineIP = "127.0.55.1"
	phoneIP  = "127.0.55.2"
)

func mustPCMU() codec.Codec {
	c, _ := codec.ByName("PCMU", 8000)
	return c
}

func codecNamed(tb testing.TB, name string) codec.Codec {
	tb.Helper()
	c, ok := codec.ByName(name, 8000)
	if !ok {
		tb.Fatalf("no codec %s", name)
	}
	return c
}

func loopbackEngine(tb testing.TB, o Options) *Engine {
	tb.Helper()
	if !o.Bind.IsValid() {
		o.Bind = netip.MustParseAddr(engineIP)
	}
	if o.MinPort == 0 {
		o.MinPort, o.MaxPort = 20000, 29999
	}
	e, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

// handEngine has one shard that no thread runs: the test does, step by step.
func handEngine(tb testing.TB) (*Engine, *shard) {
	tb.Helper()
	o := Options{Bind: netip.MustParseAddr(engineIP), MinPort: 20000, MaxPort: 29999, Log: slog.New(slog.DiscardHandler)}
	o.setDefaults()
	ports, err := newPortPool(o.MinPort, o.MaxPort, 0)
	if err != nil {
		tb.Fatal(err)
	}
	e := &Engine{
		options: o, clock: newClock(), ports: ports,
		sessions: make(map[*Session]struct{}), keys: make(map[string]*keyPlace),
	}
	sh, err := newShard(e, 0)
	if err != nil {
		tb.Fatal(err)
	}
	e.shards = []*shard{sh}
	tb.Cleanup(func() {
		for s := range e.sessions {
			s.Close()
		}
		sh.step(0)
		sh.poll.close()
	})
	return e, sh
}

func open(tb testing.TB, e *Engine, key string) *Session {
	tb.Helper()
	s, err := e.Open(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// A phone is the far end of a session: a UDP socket pair, and what it heard.
type phone struct {
	t        testing.TB
	rtp      *net.UDPConn
	rtcp     *net.UDPConn
	codec    codec.Codec
	ssrc     uint32
	sequence uint16
	ts       uint32

	mu      sync.Mutex
	heard   []heard
	reports [][]byte
	changed chan struct{}
}

type heard struct {
	pion.Packet
	at time.Time
}

func newPhone(tb testing.TB, c codec.Codec) *phone {
	tb.Helper()
	p := &phone{t: tb, codec: c, ssrc: 0x1000, sequence: 65500, ts: 0xffffff00, changed: make(chan struct{})}
	for p.rtp == nil {
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(phoneIP)})
		if err != nil {
			tb.Fatal(err)
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		b, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(phoneIP), Port: port + 1})
		if err != nil {
			_ = a.Close()
			continue
		}
		p.rtp, p.rtcp = a, b
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		p.read(p.rtp, func(b []byte) {
			var h heard
			if h.Unmarshal(append([]byte(nil), b...)) == nil {
				h.at = time.Now()
				p.heard = append(p.heard, h)
			}
		})
	})
	readers.Go(func() {
		p.read(p.rtcp, func(b []byte) { p.reports = append(p.reports, append([]byte(nil), b...)) })
	})
	tb.Cleanup(func() {
		_ = p.rtp.Close()
		_ = p.rtcp.Close()
		readers.Wait()
	})
	return p
}

func (p *phone) read(c *net.UDPConn, take func([]byte)) {
	b := make([]byte, 2048)
	for {
		n, _, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		take(b[:n])
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
}

func (p *phone) addr() netip.AddrPort { return p.rtp.LocalAddr().(*net.UDPAddr).AddrPort() }

// params are the session's side of a call with p.
func (p *phone) params() Params {
	return Params{
		Remote: p.addr(), Signalling: p.addr().Addr(), Codec: p.codec,
		SendPT: p.codec.PayloadType, RecvPT: p.codec.PayloadType,
		Events: true, EventSendPT: 101, EventRecvPT: 101, EventClock: 8000, Send: true, Receive: true,
	}
}

// packet is the next packet of the phone; its payload is 20 ms.
func (p *phone) packet(payload []byte) *pion.Packet {
	pkt := &pion.Packet{Header: pion.Header{
		Version: 2, PayloadType: p.codec.PayloadType, SequenceNumber: p.sequence, Timestamp: p.ts, SSRC: p.ssrc,
	}, Payload: payload}
	p.sequence++
	p.ts += uint32(len(payload))
	return pkt
}

func (p *phone) say(s *Session, payload []byte) { p.send(s, p.packet(payload)) }

func (p *phone) send(s *Session, pkt *pion.Packet) {
	p.t.Helper()
	b, err := pkt.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	p.sendRaw(s, b)
}

func (p *phone) sendRaw(s *Session, b []byte) {
	p.t.Helper()
	if _, err := p.rtp.WriteToUDPAddrPort(b, netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(s.Port()))); err != nil {
		p.t.Fatal(err)
	}
}

// wait blocks until ok is true of what the phone heard.
func (p *phone) wait(what string, ok func(h []heard) bool) []heard {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p.mu.Lock()
		h, changed := slices.Clip(p.heard), p.changed
		p.mu.Unlock()
		if ok(h) {
			return h
		}
		select {
		case <-changed:
		case <-ctx.Done():
			p.t.Fatalf("gave up waiting for %s after %d packets", what, len(h))
		}
	}
}

func (p *phone) waitCount(n int) []heard {
	p.t.Helper()
	return p.wait("packets", func(h []heard) bool { return len(h) >= n })
}

// talk says payload every 20 ms until the test or stop ends it.
func (p *phone) talk(s *Session, payload func(i int) []byte) (stop func()) {
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(packetTime)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			b, _ := p.packet(payload(i)).Marshal()
			_, _ = p.rtp.WriteToUDPAddrPort(b, netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(s.Port())))
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { close(done); running.Wait() }) }
	p.t.Cleanup(stop)
	return stop
}

// eventually waits for a condition that other threads bring about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	tb.Fatalf("gave up waiting until %s", what)
}

// filled is a packet time of one byte.
func filled(b byte) []byte {
	p := make([]byte, 160)
	for i := range p {
		p[i] = b
	}
	return p
}

// bridge opens two sessions that hear each other, with a phone each.
func bridge(tb testing.TB, e *Engine, ca, cb codec.Codec) (a, b *Session, pa, pb *phone) {
	tb.Helper()
	a, b = open(tb, e, "x"), open(tb, e, "y")
	pa, pb = newPhone(tb, ca), newPhone(tb, cb)
	pb.ssrc = 0x2000
	a.Set(pa.params())
	b.Set(pb.params())
	a.Hear(b.Mic())
	b.Hear(a.Mic())
	return a, b, pa, pb
}

// checkStream checks what every receiver relies on: one SSRC, sequence numbers without a gap, timestamps that never
// go back, and never run off real time.
func checkStream(t *testing.T, h []heard) {
	t.Helper()
	for i := 1; i < len(h); i++ {
		last, now := h[i-1], h[i]
		if now.SSRC != last.SSRC {
			t.Fatalf("packet %d: SSRC changed from %08x to %08x", i, last.SSRC, now.SSRC)
		}
		if now.SequenceNumber != last.SequenceNumber+1 {
			t.Errorf("packet %d: sequence %d after %d", i, now.SequenceNumber, last.SequenceNumber)
		}
		step := int32(now.Timestamp - last.Timestamp)
		event := len(now.Payload) == 4 || len(last.Payload) == 4
		if !event && step <= 0 {
			t.Errorf("packet %d: timestamp stepped by %d", i, step)
		}
	}
}

// drain lets the shard of a handEngine serve everything that has come: neither the wheel nor the clock moves.
func (sh *shard) drain(tb testing.TB) {
	tb.Helper()
	for {
		ready := sh.poll.wait(packetTime)
		if len(ready) == 0 {
			return
		}
		for i := range ready {
			if ready[i].Fd == bellToken {
				sh.poll.quiet()
				sh.control()
			} else {
				sh.receive(ready[i].Fd)
			}
		}
	}
}

// expect serves the next n packets of a handEngine's sockets.
func (sh *shard) expect(tb testing.TB, n int) {
	tb.Helper()
	for n > 0 {
		ready := sh.poll.wait(patience)
		if len(ready) == 0 {
			tb.Fatalf("%d packets did not come", n)
		}
		for i := range ready {
			if ready[i].Fd == bellToken {
				sh.poll.quiet()
				sh.control()
				continue
			}
			sh.receive(ready[i].Fd)
			n--
		}
	}
}

// pass lets time pass for the shard of a handEngine: its wheel turns as if every thread were in time.
func (sh *shard) pass(d time.Duration) {
	sh.poll.quiet()
	sh.control()
	for range d / slotTime {
		sh.tick++
		sh.now = slotStart(sh.tick)
		sh.runSlot()
	}
}

// handSingle is a session of a handEngine and its phone.
func handSingle(t *testing.T, c codec.Codec, change func(*Params)) (*shard, *Session, *phone) {
	t.Helper()
	e, sh := handEngine(t)
	s, p := open(t, e, ""), newPhone(t, c)
	params := p.params()
	if change != nil {
		change(&params)
	}
	s.Set(params)
	return sh, s, p
}

// A handCall is two bridged sessions of a handEngine with the same codec, and their phones.
type handCall struct {
	engine *Engine
	shard  *shard
	a, b   *Session
	pa, pb *phone
}

func handBridge(tb testing.TB) handCall {
	tb.Helper()
	e, sh := handEngine(tb)
	a, b, pa, pb := bridge(tb, e, codecNamed(tb, "PCMU"), codecNamed(tb, "PCMU"))
	sh.drain(tb)
	if !b.relaying || !a.relaying {
		tb.Fatal("the bridge does not relay")
	}
	return handCall{e, sh, a, b, pa, pb}
}
