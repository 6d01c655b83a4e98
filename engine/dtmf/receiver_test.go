package dtmf_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

const packetTime = 20 * time.Millisecond

// packet is one packet time of a telephone-event stream.
type packet struct {
	ts      uint32
	marker  bool
	payload []byte
}

// press makes the packets that tell of one press: n of them and two more ends.
func press(key byte, ts uint32, n int) []packet {
	code, _ := dtmf.CodeOf(key)
	var packets []packet
	for i := range n {
		e := dtmf.Event{Code: code, Volume: 10, Duration: uint16(160 * (i + 1)), End: i == n-1}
		packets = append(packets, packet{ts, i == 0, e.AppendTo(nil)})
	}
	last := packets[n-1]
	return append(packets, last, last)
}

// without leaves packets out; with a nil payload their time passes all the same.
func without(packets []packet, lost ...int) []packet {
	out := append([]packet(nil), packets...)
	for _, i := range lost {
		out[i].payload = nil
	}
	return out
}

func silence(n int) []packet { return make([]packet, n) }

func join(parts ...[]packet) []packet {
	var all []packet
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// receive lets the packets come, one each 20 ms, then half a second of nothing, and writes down the digits.
func receive(r *dtmf.Receiver, clock int, packets []packet) string {
	var heard []string
	note := func(d dtmf.Digit, ok bool) {
		if ok {
			heard = append(heard, fmt.Sprintf("%c/%d", d.Key, d.Duration.Milliseconds()))
		}
	}
	for _, p := range append(packets, silence(25)...) {
		if p.payload != nil {
			note(r.Push(p.ts, p.marker, p.payload, clock))
		}
		note(r.Tick(packetTime))
	}
	return strings.Join(heard, " ")
}

func event(code byte, end bool, duration uint16) []byte {
	return dtmf.Event{Code: code, End: end, Volume: 10, Duration: duration}.AppendTo(nil)
}

func TestReceiver(t *testing.T) {
	five, six, five2 := press('5', 1000, 5), press('6', 3000, 5), press('5', 5000, 5)
	for _, c := range []struct {
		name    string
		packets []packet
		want    string
	}{
		{"a press", five, "5/100"},
		{"two keys", join(five, silence(3), six), "5/100 6/100"},
		{"the same key twice", join(five, five2), "5/100 5/100"},
		{"start lost: no marker", without(five, 0), "5/100"},
		{"all but one end lost", without(five, 0, 1, 2, 3, 4, 6), "5/100"},
		{"ends lost, silence follows", without(five, 4, 5, 6), "5/80"},
		{"ends lost, the next key follows", join(without(five, 4, 5, 6)[:4], six), "5/80 6/100"},
		{"only the first packet came", without(five, 1, 2, 3, 4, 5, 6), "5/20"},
		{"a gap of four packets within", without(press('5', 1, 12), 3, 4, 5, 6), "5/240"},
		{"a gap so long that it was taken for the end", without(press('5', 1, 14), 3, 4, 5, 6, 7, 8), "5/60"},
		{"reordered", []packet{five[1], five[0], five[2], five[4], five[3], five[5]}, "5/100"},
		{"everything twice", join(five, five), "5/100"},
		{"an end of the last press comes behind the next press's start", join(five[:5], six[:2], five[5:6], six[2:]), "5/100 6/100"},
		{"a first packet comes late, behind the next press", join(five[1:], six, five[:1]), "5/100 6/100"},
		{"timestamps wrap", join(press('1', 0xFFFFFF00, 5), press('2', 0x100, 5)), "1/100 2/100"},
		{"a sender whose timestamps stand still, other key", join(five, press('6', 1000, 5)), "5/100 6/100"},
		{
			"a sender whose timestamps stand still, same key",
			join(five, silence(5), press('5', 1000, 4)), "5/100 5/80",
		},
		{"a sender far back in time is a new one", join(press('1', 3_000_000, 5), press('2', 5, 5)), "1/100 2/100"},
		{"an end without duration", []packet{{1, true, event(7, true, 0)}}, "7/0"},
		{"hook flash is no key", join([]packet{{1, true, event(16, true, 160)}}, five), "5/100"},
		{"short payloads", []packet{{1, true, []byte{5, 0, 0}}, {1, true, []byte{}}}, ""},
		{"bytes behind the event", []packet{{1, true, append(event(5, true, 800), 0, 0)}}, "5/100"},
		{"events in one packet", []packet{
			{1, true, append(append(event(1, true, 400), event(2, true, 800)...), event(3, true, 400)...)},
		}, "1/50 2/100 3/50"},
		{"another event with the timestamp of one that lasts", []packet{
			{1, true, event(5, false, 160)}, {1, false, event(6, false, 320)}, {1, false, event(5, true, 480)},
		}, "5/60"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := receive(new(dtmf.Receiver), 8000, c.packets); got != c.want {
				t.Errorf("heard %q, want %q", got, c.want)
			}
		})
	}
}

func TestReceiverReportsAtTheEnd(t *testing.T) {
	var r dtmf.Receiver
	packets := press('5', 1, 5)
	for i, p := range packets {
		d, ok := r.Push(p.ts, p.marker, p.payload, 8000)
		if ok != (i == 4) {
			t.Errorf("packet %d: %v, %v", i, d, ok)
		}
		if ok && d != (dtmf.Digit{Key: '5', Duration: 100 * time.Millisecond, Method: dtmf.RFC4733}) {
			t.Errorf("%+v", d)
		}
	}
}

func TestReceiverUsesTheClock(t *testing.T) {
	packets := []packet{{1, true, event(1, true, 4800)}}
	for clock, want := range map[int]string{48000: "1/100", 16000: "1/300", 8000: "1/600", 0: "1/600"} {
		if got := receive(new(dtmf.Receiver), clock, packets); got != want {
			t.Errorf("clock %d: %q, want %q", clock, got, want)
		}
	}
}

func TestReceiverLongPress(t *testing.T) {
	const clock, step = 48000, 960 // 3 s need three segments
	for _, lost := range []int{-1, 66, 67, 68, 69} {
		var packets []packet
		s, err := dtmf.NewSender('9', clock, 3*time.Second, packetTime)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			payload, marker, done := s.Next()
			if done {
				break
			}
			p := packet{ts: 12345 + s.TimestampOffset(), marker: marker}
			if payload != nil && i != lost {
				p.payload = append([]byte{}, payload...)
			}
			packets = append(packets, p)
		}
		if got := receive(new(dtmf.Receiver), clock, packets); got != "9/3000" {
			t.Errorf("packet %d lost: %q", lost, got)
		}
	}
	// a second press of the same key is not a segment of the first
	got := receive(new(dtmf.Receiver), 8000, join(press('9', 0, 5)[:3], press('9', 65535, 5)))
	if got != "9/60 9/100" {
		t.Errorf("two presses: %q", got)
	}
}

func TestReceiverReset(t *testing.T) {
	var r dtmf.Receiver
	half := press('5', 1000, 5)[:2]
	for _, p := range half {
		r.Push(p.ts, p.marker, p.payload, 8000)
	}
	r.Reset()
	if got := receive(&r, 8000, press('5', 900, 5)); got != "5/40 5/100" {
		t.Errorf("heard %q", got)
	}
}

func TestReceiverDoesNotAllocate(t *testing.T) {
	var r dtmf.Receiver
	payloads := [][]byte{event(1, false, 160), event(1, true, 320)}
	ts := uint32(0)
	if n := testing.AllocsPerRun(100, func() {
		ts += 1000
		for i, p := range payloads {
			r.Push(ts, i == 0, p, 8000)
			r.Tick(packetTime)
		}
	}); n != 0 {
		t.Errorf("%v allocations per press", n)
	}
}

func BenchmarkReceiver(b *testing.B) {
	var r dtmf.Receiver
	p := event(1, true, 320)
	ts := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		ts += 1000
		r.Push(ts, true, p, 8000)
	}
}

// FuzzRFC4733 lets any packets come, 7 bytes each: what comes out is bounded and made of keys.
func FuzzRFC4733(f *testing.F) {
	f.Add([]byte("\x01\x00\x10\x05\x0a\x00\xa0\x01\x00\x10\x05\x8a\x01\x40"))
	f.Add([]byte("\x01\x00\x10\x05\x8a\x00\xa0\x01\x00\x10\x06\x8a\x01\x40\x01\x00\x10\x06\x0a\x00\x10"))
	f.Add([]byte("\x00\xff\xff\x05\x0a\xff\xff\x00\x7f\xfe\x05\x0a\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var r dtmf.Receiver
		packets, digits := 0, 0
		note := func(d dtmf.Digit, ok bool) {
			if !ok {
				return
			}
			digits++
			if _, valid := dtmf.CodeOf(d.Key); !valid || d.Duration < 0 || d.Method != dtmf.RFC4733 {
				t.Fatalf("%+v", d)
			}
		}
		for ; len(in) >= 7; in = in[7:] {
			ts := uint32(in[1])<<24 | uint32(in[2])<<8
			size := 3 + min(len(in)-3, 4+int(in[0]>>4))
			note(r.Push(ts, in[0]&1 != 0, in[3:size], int(in[0]>>2)*4000))
			note(r.Tick(time.Duration(in[0]&2) * packetTime))
			packets += 5
			if in[0]&8 != 0 {
				r.Reset()
			}
			var e dtmf.Event
			if err := e.Unmarshal(in[3:7]); err != nil {
				t.Fatal(err)
			}
			if again := e.AppendTo(nil); again[0] != in[3] || again[1] != in[4]&0xBF || string(again[2:]) != string(in[5:7]) {
				t.Fatalf("%x is written as %x", in[3:7], again)
			}
		}
		for range 20 {
			note(r.Tick(time.Second))
		}
		if digits > packets {
			t.Errorf("%d digits of %d events", digits, packets)
		}
		if d, ok := r.Tick(time.Hour); ok {
			t.Errorf("a digit is left: %+v", d)
		}
	})
}
