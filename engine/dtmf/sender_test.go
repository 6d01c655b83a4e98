package dtmf_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

func TestSender(t *testing.T) {
	for _, c := range []struct {
		name           string
		clock          int
		duration, time time.Duration
		packets        int // that differ: one a packet time of the press
		step           uint16
	}{
		{"default", 8000, 0, 20 * time.Millisecond, 5, 160},
		{"default clock and packet time", 0, 0, 0, 5, 160},
		{"too short is 50 ms, in whole packets", 8000, 10 * time.Millisecond, 20 * time.Millisecond, 3, 160},
		{"50 ms in packets of 10", 8000, 50 * time.Millisecond, 10 * time.Millisecond, 5, 80},
		{"opus clock", 48000, 100 * time.Millisecond, 20 * time.Millisecond, 5, 960},
		{"packets of 60 ms", 8000, 100 * time.Millisecond, 60 * time.Millisecond, 2, 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := dtmf.NewSender('#', c.clock, c.duration, c.time)
			if err != nil {
				t.Fatal(err)
			}
			ends, silent, packets := 0, 0, 0
			for {
				payload, marker, done := s.Next()
				if done {
					break
				}
				if payload == nil {
					silent++
					continue
				}
				if silent > 0 {
					t.Fatal("a packet in the gap")
				}
				packets++
				var e dtmf.Event
				if err := e.Unmarshal(payload); err != nil {
					t.Fatal(err)
				}
				want := c.step * uint16(min(packets, c.packets))
				if e.Code != 11 || e.Duration != want || marker != (packets == 1) || e.End != (packets >= c.packets) {
					t.Errorf("packet %d: %+v, marker %v; want duration %d", packets, e, marker, want)
				}
				if e.End {
					ends++
				}
				if s.TimestampOffset() != 0 {
					t.Errorf("packet %d is ahead by %d", packets, s.TimestampOffset())
				}
			}
			if ends != 3 || packets != c.packets+2 {
				t.Errorf("%d packets, %d ends", packets, ends)
			}
			if step := max(c.time, time.Millisecond); c.time > 0 && time.Duration(silent+2)*step < 100*time.Millisecond {
				t.Errorf("a gap of %v behind the press", time.Duration(silent+2)*step)
			}
			if payload, _, done := s.Next(); payload != nil || !done {
				t.Error("goes on when it is done")
			}
		})
	}
}

func TestSenderLongPress(t *testing.T) {
	s, err := dtmf.NewSender('1', 48000, 3*time.Second, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var last dtmf.Event
	markers, segments, offset := 0, 0, uint32(0)
	for {
		payload, marker, done := s.Next()
		if done {
			break
		}
		if marker {
			markers++
		}
		if payload == nil {
			continue
		}
		var e dtmf.Event
		if err := e.Unmarshal(payload); err != nil {
			t.Fatal(err)
		}
		if now := s.TimestampOffset(); now != offset {
			if now != offset+0xFFFF || last.Duration != 0xFFFF || last.End {
				t.Errorf("from %d to %d behind %+v", offset, now, last)
			}
			segments++
			offset = now
		}
		last = e
	}
	if markers != 1 || segments != 2 || uint32(last.Duration)+offset != 144000 || !last.End {
		t.Errorf("%d markers, %d segments, last %+v at %d", markers, segments, last, offset)
	}
}

func TestSenderRefuses(t *testing.T) {
	for _, key := range []byte("w ex\x00") {
		if _, err := dtmf.NewSender(key, 8000, 0, 0); !errors.Is(err, dtmf.ErrKey) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, err := dtmf.NewSender('1', 8000, 0, time.Nanosecond); err == nil {
		t.Error("packets of a nanosecond")
	}
	if _, err := dtmf.NewSender('1', 48000, 0, time.Hour); err == nil {
		t.Error("packets of an hour")
	}
}

// What a Sender sends, a Receiver hears: every key, every usual clock.
func TestSenderToReceiver(t *testing.T) {
	for _, clock := range []int{8000, 16000, 48000} {
		var r dtmf.Receiver
		ts := uint32(0xFFFF0000)
		var heard []byte
		const keys = "0123456789*#ABCDbb11"
		for i := range len(keys) {
			s, err := dtmf.NewSender(keys[i], clock, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			start := ts
			for {
				payload, marker, done := s.Next()
				if done {
					break
				}
				ts += uint32(clock / 50)
				if payload == nil {
					r.Tick(packetTime)
					continue
				}
				if d, ok := r.Push(start+s.TimestampOffset(), marker, payload, clock); ok {
					heard = append(heard, d.Key)
					if d.Duration != dtmf.DefaultDuration {
						t.Errorf("%c lasts %v", d.Key, d.Duration)
					}
				}
			}
		}
		if string(heard) != "0123456789*#ABCDBB11" {
			t.Errorf("at %d Hz: %q", clock, heard)
		}
	}
}

func TestSenderDoesNotAllocate(t *testing.T) {
	s, err := dtmf.NewSender('1', 8000, time.Minute, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Next() }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
