package rtp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
)

// A jitterRun feeds a buffer in virtual time: packets of numbered samples, pops every 20 ms.
type jitterRun struct {
	t   *testing.T
	j   *jitterBuffer
	now moment
	out []byte
	nil int // pops without audio
}

func newJitterRun(t *testing.T) *jitterRun {
	t.Helper()
	return &jitterRun{t: t, j: newJitterBuffer(mustPCMU()), now: moment(time.Hour)}
}

// push gives packet n of 20 ms; its payload is n, over and over.
func (r *jitterRun) push(n int) DropReason { return r.pushSized(n, n*160, 160) }

func (r *jitterRun) pushSized(n, ts, size int) DropReason {
	return r.j.push(header{sequence: uint16(n), timestamp: uint32(ts), ssrc: 1},
		bytes.Repeat([]byte{byte(n)}, size), r.now)
}

// pop takes one packet time and returns the byte that it is full of; 0xff for none.
func (r *jitterRun) pop() byte {
	p := r.j.pop(r.now)
	r.now = r.now.add(packetTime)
	if p == nil {
		r.nil++
		return 0xff
	}
	if len(p) != 160 {
		r.t.Fatalf("%d bytes", len(p))
	}
	r.out = append(r.out, p...)
	return p[0]
}

func (r *jitterRun) wantPops(want ...byte) {
	r.t.Helper()
	for i, w := range want {
		if got := r.pop(); got != w {
			r.t.Fatalf("pop %d: %d, want %d", i, got, w)
		}
	}
}

const none = 0xff

func TestJitterInOrder(t *testing.T) {
	r := newJitterRun(t)
	for n := 1; n <= 5; n++ {
		r.push(n)
		want := byte(n - 2) // 40 ms later
		if n <= 2 {
			want = none
		}
		r.wantPops(want)
	}
	r.wantPops(4, 5, none)
}

func TestJitterReordersAndDropsDuplicates(t *testing.T) {
	r := newJitterRun(t)
	r.push(2)
	r.push(1) // before anything was played; it has waited a packet time on its way
	r.wantPops(none)
	r.push(4)
	r.push(3)
	if why := r.push(3); why != DropLate {
		t.Errorf("a duplicate: %v", why)
	}
	r.wantPops(1, 2, 3, 4, none)
}

// A gap is told as lost where a number is missing, and as a pause where none is.
func TestJitterLoss(t *testing.T) {
	r := newJitterRun(t)
	r.push(1)
	r.wantPops(none, none)
	r.push(2)
	r.push(4)
	r.wantPops(1, 2, none)
	if !r.j.lost {
		t.Error("the third is lost")
	}
	r.wantPops(4)
	r.pushSized(5, 12*160, 160)
	r.wantPops(none)
	if r.j.lost {
		t.Error("nothing is lost in a pause")
	}
}

// A late packet is waited for, and so is heard: the delay has grown by that time. It is given back when nobody needs it.
func TestJitterGrowsWithLatePacketsAndShrinksAgain(t *testing.T) {
	r := newJitterRun(t)
	r.push(1)
	r.wantPops(none, none)
	r.push(2)
	r.wantPops(1, 2, none, none)
	if !r.j.lost {
		t.Error("what is late is made up for")
	}
	r.push(3)
	r.push(4)
	r.push(5)
	r.wantPops(3, 4)
	lag := func() time.Duration { return r.j.delay.lag(r.j.play, r.now) }
	if d := lag(); d < 70*time.Millisecond || d > 90*time.Millisecond {
		t.Errorf("the delay is %v, want the 40 ms of before and the two packet times that were waited", d)
	}
	n := 6
	for ; n < 9; n++ {
		r.push(n)
	}
	for range 1200 {
		r.push(n)
		n++
		r.pop()
	}
	if d := lag(); d > delayMargin+jitterSlack {
		t.Errorf("the delay is %v after a quiet time", d)
	}
}

func TestJitterIsBounded(t *testing.T) {
	r := newJitterRun(t)
	for n := range 1000 {
		r.push(n)
		if w := r.j.waiting(); w > 1600 {
			t.Fatalf("%d samples wait", w)
		}
	}
	r.now = r.now.add(time.Second)
	if first := r.pop(); first != byte(990-256*3) {
		t.Errorf("plays %d first", first)
	}
	if r.j.unplayed() != 990 {
		t.Errorf("%d discarded", r.j.unplayed())
	}
}

func TestJitterRestarts(t *testing.T) {
	tests := map[string]struct{ h header }{
		"SSRC":               {header{ssrc: 2, sequence: 3, timestamp: 480}},
		"sequence forward":   {header{ssrc: 1, sequence: 5000, timestamp: 480}},
		"sequence backward":  {header{ssrc: 1, sequence: 60000, timestamp: 480}},
		"timestamp backward": {header{ssrc: 1, sequence: 3, timestamp: 1 << 31}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := newJitterRun(t)
			r.push(1)
			r.wantPops(none, none)
			r.push(2)
			r.wantPops(1, 2)
			r.j.push(tc.h, filled(77), r.now)
			for range 4 {
				if r.pop() == 77 {
					return
				}
			}
			t.Error("the new stream is not heard")
		})
	}
}

// Pauses of the talker (no packets, timestamps go on) and packets of other lengths.
func TestJitterByTimestamp(t *testing.T) {
	r := newJitterRun(t)
	r.push(1)
	r.wantPops(none, none, 1, none, none)
	r.now = r.now.add(10 * time.Second)
	r.pushSized(2, 80000, 160)
	r.wantPops(2, none) // it was 120 ms longer on its way than the first
	for _, size := range []int{80, 240, 320, 480} {
		r := newJitterRun(t)
		for i := range 960 * 2 / size {
			r.pushSized(i+1, i*size, size)
			r.now = r.now.add(time.Duration(size) * time.Second / 8000)
			for r.j.waiting() > 480 {
				r.pop()
			}
		}
		for range 10 {
			r.pop()
		}
		for i, b := range r.out {
			if want := byte(i/size + 1); b != want && b != 0xff {
				t.Fatalf("size %d: sample %d is of packet %d, want %d", size, i, b, want)
			}
		}
		if len(r.out) < 960*2-160 {
			t.Errorf("size %d: %d samples came out", size, len(r.out))
		}
	}
}

func TestJitterDoesNotAllocate(t *testing.T) {
	r := newJitterRun(t)
	n := 0
	step := func() {
		r.j.push(header{sequence: uint16(n), timestamp: uint32(n) * 160, ssrc: 1}, r.j.out[:160:160], r.now)
		r.j.pop(r.now)
		r.now = r.now.add(packetTime)
		n++
	}
	r.j.out = make([]byte, 160)
	for range 100 {
		step()
	}
	if a := testing.AllocsPerRun(500, step); a != 0 {
		t.Errorf("%v allocations per packet", a)
	}
}

// In whatever order packets come: what comes out is in order, nothing twice, and the buffer stays within its bounds.
// Three bytes of input are one packet: number, what else is odd about it, and how many pops follow.
func FuzzJitter(f *testing.F) {
	f.Add([]byte{1, 0, 0, 2, 0, 1, 4, 0, 1, 3, 0, 1, 5, 0, 3})
	f.Add([]byte{10, 0, 1, 9, 0, 1, 8, 0, 1, 200, 0, 2, 201, 0, 1, 11, 0, 1})
	f.Add([]byte{1, 7, 0, 2, 9, 1, 3, 130, 2, 4, 0, 5})
	f.Fuzz(func(t *testing.T, in []byte) {
		j := newJitterBuffer(mustPCMU())
		now := moment(time.Hour)
		played := map[uint32]bool{}
		ssrc, last, begun := uint32(1), uint32(0), false
		base := 0
		for ; len(in) >= 3; in = in[3:] {
			n := base + int(int8(in[0]))
			base += int(int8(in[0])) / 8
			if in[1]&0x80 != 0 {
				ssrc++
				played, begun = map[uint32]bool{}, false
			}
			size := 160 + 8*int(in[1]&0x0f)
			payload := make([]byte, size)
			for i := 0; i+8 <= size; i += 8 { // each 8 samples say which they are
				binary.BigEndian.PutUint32(payload[i:], ssrc)
				binary.BigEndian.PutUint32(payload[i+4:], uint32(n*1000+i))
			}
			j.push(header{sequence: uint16(n), timestamp: uint32(n) * 320, ssrc: ssrc}, payload, now)
			if !j.played { // it began anew
				played, begun = map[uint32]bool{}, false
			}
			for range in[2] % 8 {
				p := j.pop(now)
				now = now.add(packetTime)
				if p != nil && len(p) != 160 {
					t.Fatalf("%d bytes", len(p))
				}
				for i := 0; i+8 <= len(p); i += 8 {
					who, id := binary.BigEndian.Uint32(p[i:]), binary.BigEndian.Uint32(p[i+4:])
					if who != ssrc {
						continue // silence, or what was cut elsewhere
					}
					if played[id] {
						t.Fatalf("%d played twice", id)
					}
					if begun && int32(id-last) < 0 {
						t.Fatalf("%d after %d", id, last)
					}
					played[id], last, begun = true, id, true
				}
			}
			if w := j.waiting(); j.count > jitterSlots || j.count > 1 && w > ticks(jitterLimit, 8000) {
				t.Fatalf("%d packets, %d samples wait", j.count, w)
			}
		}
	})
}

// BenchmarkJitter is one packet in and one out.
func BenchmarkJitter(b *testing.B) {
	j := newJitterBuffer(mustPCMU())
	payload, now := filled(1), moment(0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		j.push(header{sequence: uint16(n), timestamp: uint32(n) * 160, ssrc: 1}, payload, now)
		j.pop(now)
		now = now.add(packetTime)
	}
}
