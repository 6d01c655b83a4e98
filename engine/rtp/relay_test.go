package rtp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	pion "github.com/pion/rtp"
)

// numbered is a payload that says which one it is.
func numbered(i int) []byte {
	p := filled(0x55)
	binary.BigEndian.PutUint32(p, uint32(i))
	copy(p[4:], "numbered")
	return p
}

// numbers picks the numbered payloads out of what was heard.
func numbers(h []heard) (list []int, packets []heard) {
	for _, p := range h {
		if len(p.Payload) >= 12 && string(p.Payload[4:12]) == "numbered" {
			list = append(list, int(binary.BigEndian.Uint32(p.Payload)))
			packets = append(packets, p)
		}
	}
	return list, packets
}

func isNumbered(n int) func([]heard) bool {
	return func(h []heard) bool { l, _ := numbers(h); return len(l) >= n }
}

func TestRelayForwardsOnArrival(t *testing.T) {
	c := handBridge(t)
	sh, a, pa, pb := c.shard, c.a, c.pa, c.pb
	const n = 200
	for i := range n {
		pkt := pa.packet(numbered(i))
		pkt.Marker = i == 50
		if i == 60 {
			pkt.Padding, pkt.PaddingSize = true, 8
		}
		if i == 61 {
			pkt.CSRC = []uint32{1, 2, 3}
			if err := pkt.SetExtension(1, []byte{1, 2}); err != nil {
				t.Fatal(err)
			}
		}
		pa.send(a, pkt)
		sh.expect(t, 1)
		sh.pass(packetTime)
		pb.waitCount(max(0, i-50)) // its socket does not hold them all
	}
	got, packets := numbers(pb.wait("all packets", isNumbered(n)))
	for i := range n {
		if got[i] != i {
			t.Fatalf("packet %d heard in the place of %d", got[i], i)
		}
		p := packets[i]
		if p.SSRC == pa.ssrc || p.Padding || p.Extension || len(p.CSRC) > 0 || !bytes.Equal(p.Payload, numbered(i)) {
			t.Fatalf("packet %d: header or payload not rewritten: %v", i, p.Header)
		}
		if i > 1 && i != 50 && p.Marker || (i == 0 || i == 50) && !p.Marker {
			t.Errorf("packet %d: marker is %v", i, p.Marker)
		}
		if i > 0 && p.Timestamp != packets[i-1].Timestamp+160 {
			t.Errorf("packet %d: timestamp step %d", i, p.Timestamp-packets[i-1].Timestamp)
		}
	}
	h := pb.waitCount(n)
	checkStream(t, h)
	if len(h) != n || sh.figures.relayed != n || !c.b.Quality().Relayed {
		t.Errorf("%d packets heard, %d relayed: nothing else is sent meanwhile", len(h), sh.figures.relayed)
	}
}

func TestRelayKeepsLossAsGapAndReorderAsItCame(t *testing.T) {
	c := handBridge(t)
	sh, s, p := c.shard, c.a, c.pa
	for i, sequence := range []uint16{10, 11, 14, 13, 15} {
		p.sequence, p.ts = sequence, uint32(sequence)*160
		p.say(s, numbered(i))
		sh.expect(t, 1)
	}
	h := c.pb.waitCount(5)
	first := h[0]
	for i, want := range []uint16{0, 1, 4, 3, 5} {
		if d := h[i].SequenceNumber - first.SequenceNumber; d != want {
			t.Errorf("packet %d: sequence +%d, want +%d", i, d, want)
		}
		if d := h[i].Timestamp - first.Timestamp; d != uint32(want)*160 {
			t.Errorf("packet %d: timestamp +%d, want +%d", i, d, want*160)
		}
	}
}

func TestRelayMapsRestartsWithoutAJump(t *testing.T) {
	tests := map[string]func(p *phone){
		"another SSRC":        func(p *phone) { p.ssrc, p.sequence, p.ts = 77, 1, 5 },
		"timestamp back":      func(p *phone) { p.ts -= 100000 },
		"timestamp far ahead": func(p *phone) { p.ts += 1 << 30 },
		"sequence far off":    func(p *phone) { p.sequence += 20000 },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := handBridge(t)
			sh, s, p := c.shard, c.a, c.pa
			for i := range 10 {
				if i == 5 {
					change(p)
				}
				p.say(s, numbered(i))
				sh.expect(t, 1)
				sh.pass(packetTime)
			}
			h := c.pb.waitCount(9)
			checkStream(t, h)
			for i := 1; i < len(h); i++ {
				if step := h[i].Timestamp - h[i-1].Timestamp; step > 8000 {
					t.Errorf("packet %d: timestamp step %d", i, step)
				}
			}
		})
	}
}

func TestRelayDropsOnePacketOfLongAgo(t *testing.T) {
	c := handBridge(t)
	sh, s, p := c.shard, c.a, c.pa
	for i := range 3 {
		p.say(s, numbered(i))
		sh.expect(t, 1)
	}
	old := p.packet(numbered(99))
	old.SequenceNumber -= 500
	old.Timestamp -= 500 * 160
	p.send(s, old)
	sh.expect(t, 1)
	p.sequence--
	p.ts -= 160
	p.say(s, numbered(3))
	sh.expect(t, 1)
	if got, _ := numbers(c.pb.waitCount(4)); len(got) != 4 || got[3] != 3 {
		t.Errorf("heard %v", got)
	}
}

func TestRelayEvents(t *testing.T) {
	c := handBridge(t)
	sh, a, b, pa, pb := c.shard, c.a, c.b, c.pa, c.pb
	params := pb.params()
	params.EventSendPT = 96
	b.Set(params)
	sh.pass(0)
	for i := range 4 {
		pa.say(a, numbered(i))
	}
	sh.expect(t, 4)
	pb.wait("audio", isNumbered(4))
	start := pa.ts
	for i := range 8 {
		end := byte(0)
		if i >= 5 {
			end = 0x80
		}
		d := uint16(160 * min(i+1, 6))
		pkt := &pion.Packet{Header: pion.Header{
			Version: 2, Marker: i == 0, PayloadType: 101, SequenceNumber: pa.sequence, Timestamp: start, SSRC: pa.ssrc,
		}, Payload: []byte{5, end | 10, byte(d >> 8), byte(d)}}
		pa.sequence++
		pa.send(a, pkt)
	}
	sh.expect(t, 8)
	h := pb.wait("8 event packets", func(h []heard) bool { return countPT(h, 96) >= 8 })
	_, audio := numbers(h)
	first := true
	for _, p := range h {
		if p.PayloadType != 96 {
			continue
		}
		if p.Marker != first {
			t.Errorf("marker %v on an event packet", p.Marker)
		}
		if want := audio[3].Timestamp + 160; p.Timestamp != want {
			t.Errorf("event timestamp %d, want %d", p.Timestamp, want)
		}
		first = false
	}
	checkStream(t, h)
	if d := nextDigit(t, a); d.Key != '5' || d.Duration != 120*time.Millisecond {
		t.Errorf("digit %+v", d)
	}
	a.Close()
	sh.pass(0)
	for ev := range a.Events() {
		t.Errorf("one press, and another event: %+v", ev)
	}
}

// Hearing again what is heard already changes nothing.
func TestHearTwice(t *testing.T) {
	c := handBridge(t)
	for i := range 6 {
		c.pa.say(c.a, numbered(i))
		c.shard.expect(t, 1)
		c.b.Hear(c.a.Mic())
		c.shard.pass(packetTime)
	}
	h := c.pb.waitCount(6)
	checkStream(t, h)
	for i, p := range h {
		if p.Marker != (i == 0) {
			t.Errorf("packet %d: marker %v", i, p.Marker)
		}
	}
}

// A far end that cannot take events gets no packet of them, and no gap in its numbers.
func TestRelayLeavesOutUnwantedEvents(t *testing.T) {
	c := handBridge(t)
	sh, s, p := c.shard, c.a, c.pa
	params := c.pb.params()
	params.Events = false
	c.b.Set(params)
	sh.pass(0)
	for i := range 6 {
		pkt := p.packet(numbered(i))
		if i == 2 || i == 3 {
			pkt.PayloadType, pkt.Payload = 101, []byte{5, 10, 0, 160}
		}
		p.send(s, pkt)
		sh.expect(t, 1)
	}
	h := c.pb.waitCount(4)
	checkStream(t, h)
	if got, _ := numbers(h); len(got) != 4 || got[2] != 4 {
		t.Errorf("heard %v", got)
	}
}

func countPT(h []heard, pt uint8) (n int) {
	for _, p := range h {
		if p.PayloadType == pt {
			n++
		}
	}
	return n
}

// relay → prompt → relay → silence: one stream for the far end.
func TestContinuityAcrossSources(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, b, pa, pb := bridge(t, e, codecNamed(t, "PCMU"), codecNamed(t, "PCMU"))
	pa.talk(a, numbered)
	for round := range 3 {
		pb.wait("relayed audio", isNumbered(15*(round+1)))
		b.Hear(constant(0x33))
		pb.wait("the prompt", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0x33 })
		b.Hear(nil)
		pb.wait("silence", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0xff })
		n, _ := numbers(pb.waitCount(0))
		b.Hear(a.Mic())
		pb.wait("relayed audio", isNumbered(len(n)+5))
	}
	h := pb.waitCount(0)
	checkStream(t, h)
	kind := func(p heard) string {
		switch {
		case len(p.Payload) > 12 && string(p.Payload[4:12]) == "numbered":
			return "relay"
		case p.Payload[0] == 0x33:
			return "prompt"
		}
		return "silence"
	}
	for i := 2; i < len(h); i++ {
		if kind(h[i]) != kind(h[i-1]) && kind(h[i]) != "silence" && !h[i].Marker {
			t.Errorf("packet %d: %s after %s without a marker", i, kind(h[i]), kind(h[i-1]))
		}
	}
}

// When the relayed stream stops, silence of our own goes on with the same numbers.
func TestRelayStallIsFilled(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, _, pa, pb := bridge(t, e, codecNamed(t, "PCMU"), codecNamed(t, "PCMU"))
	for i := range 3 {
		pa.say(a, numbered(i))
	}
	h := pb.wait("audio", isNumbered(3))
	pb.waitCount(len(h) + 10)
	pa.ts += 1600
	pa.say(a, numbered(3))
	h = pb.wait("audio again", isNumbered(4))
	checkStream(t, h)
}

// However often the source changes, timestamps stay with real time: they neither run ahead by a little each time nor
// step back.
func TestTimestampsStayWithTheClock(t *testing.T) {
	c := handBridge(t)
	sh, a, b, pa, pb := c.shard, c.a, c.b, c.pa, c.pb
	sh.pass(3 * packetTime)
	base := sh.now
	first := pb.waitCount(3)[2].Timestamp
	for cycle := range 40 {
		b.Hear(a.Mic())
		phase := time.Duration(cycle%10) * slotTime
		sh.pass(phase)
		for i := range 5 {
			pa.say(a, numbered(i))
			sh.expect(t, 1)
			sh.pass(packetTime)
		}
		b.Hear(constant(0x33))
		sh.pass(4*packetTime - phase)
		pb.waitCount(8 * cycle)
		sent := b.out.timestamp - first
		if off := time.Duration(sent)*time.Second/8000 - sh.now.sub(base); off > maxLead || off < -maxLead {
			t.Fatalf("cycle %d: timestamps are %v off", cycle, off)
		}
	}
	h := pb.waitCount(3 + 40*8)
	checkStream(t, h)
	for i := 1; i < len(h); i++ {
		if step := h[i].Timestamp - h[i-1].Timestamp; step > 160*4 {
			t.Errorf("packet %d: timestamp step %d", i, step)
		}
	}
}

// A phone whose clock is fast for an hour does not make the prompt behind the relay late or early.
func TestDriftOfTheRelayedClock(t *testing.T) {
	for name, step := range map[string]uint32{"fast": 162, "slow": 158} {
		t.Run(name, func(t *testing.T) {
			c := handBridge(t)
			sh, a, b, pa, pb := c.shard, c.a, c.b, c.pa, c.pb
			for i := range 500 {
				pa.say(a, numbered(i))
				pa.ts += step - 160
				sh.expect(t, 1)
				sh.pass(packetTime)
				pb.waitCount(max(0, i-50)) // its socket does not hold them all
			}
			b.Hear(constant(0x33))
			sh.pass(5 * packetTime)
			h := pb.waitCount(503)
			checkStream(t, h)
			for i := 499; i < len(h); i++ {
				if step := h[i].Timestamp - h[i-1].Timestamp; step < 150 || step > 480 {
					t.Errorf("packet %d: timestamp step %d", i, step)
				}
			}
			if n := prompts(h[500:]); n < 3 {
				t.Errorf("the prompt began late: %d of 5 packets", n)
			}
		})
	}
}

// The goal of the design: the packet path does not allocate.
func TestRelayDoesNotAllocate(t *testing.T) {
	c := handBridge(t)
	c.pa.say(c.a, numbered(0))
	c.shard.expect(t, 1)
	b, err := c.pa.packet(numbered(1)).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	generator, err := listen(netip.MustParseAddrPort(phoneIP + ":0"))
	if err != nil {
		t.Fatal(err)
	}
	defer generator.close()
	params := c.pa.params()
	params.Remote = localAddr(t, generator)
	c.a.Set(params)
	c.b.Set(params) // nobody reads there: a reader's allocations would count
	c.shard.pass(0)
	to := generator.address(netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(c.a.Port())))
	before := c.shard.figures.relayed
	n := testing.AllocsPerRun(200, func() {
		binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])+1)
		if errno := generator.send(b, &to); errno != 0 {
			t.Fatal(errno)
		}
		for done := c.shard.figures.packetsIn + 1; c.shard.figures.packetsIn < done; {
			for _, ev := range c.shard.poll.wait(time.Second) {
				c.shard.receive(ev.Fd)
			}
		}
	})
	if relayed := c.shard.figures.relayed - before; n != 0 || relayed != 201 {
		t.Errorf("%v allocations per packet, %d relayed", n, relayed)
	}
}
