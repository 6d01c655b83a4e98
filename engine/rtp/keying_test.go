package rtp

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

func nextDigit(t *testing.T, s *Session) dtmf.Digit {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case ev, ok := <-s.Events():
			if !ok {
				t.Fatal("no digit, and the session is over")
			}
			if ev.Kind == Digit {
				return ev.Digit
			}
		case <-late:
			t.Fatal("no digit")
		}
	}
}

func TestSendDTMF(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), func(p *Params) { p.EventSendPT = 96 })
	s.Hear(source(func(f *media.Frame) error { return constant(0x42).ReadFrame(f) }))
	p.waitCount(3)
	if err := s.SendDTMF(context.Background(), "1w#"); err != nil {
		t.Fatal(err)
	}
	n := len(p.waitCount(0))
	h := p.wait("audio goes on", func(h []heard) bool { return len(h) > n+3 && h[len(h)-1].Payload[0] == 0x42 })
	checkStream(t, h)
	type press struct {
		code                  byte
		packets, ends, marker int
		duration              uint16
		ts                    uint32
		first, last           int
	}
	var presses []press
	for i, x := range h {
		if x.PayloadType != 96 {
			continue
		}
		if len(presses) == 0 || presses[len(presses)-1].ts != x.Timestamp {
			presses = append(presses, press{code: x.Payload[0], ts: x.Timestamp, first: i})
		}
		k := &presses[len(presses)-1]
		k.packets++
		k.last = i
		if x.Marker {
			k.marker++
		}
		if x.Payload[1]&0x80 != 0 {
			k.ends++
		}
		d := binary.BigEndian.Uint16(x.Payload[2:])
		if d < k.duration {
			t.Errorf("duration goes back from %d to %d", k.duration, d)
		}
		k.duration = d
	}
	if len(presses) != 2 || presses[0].code != 1 || presses[1].code != 11 {
		t.Fatalf("presses %+v", presses)
	}
	for _, k := range presses {
		if k.ends != 3 || k.marker != 1 || k.duration != 800 || k.packets != 7 || k.last-k.first != 6 {
			t.Errorf("press %+v: want 7 packets in a row, one marker, three ends, 100 ms", k)
		}
	}
	if pause := time.Duration(presses[1].ts-presses[0].ts) * time.Second / 8000; pause < 650*time.Millisecond {
		t.Errorf("the second key comes %v after the first", pause)
	}
	for i := presses[0].last + 1; i < presses[1].first; i++ {
		if h[i].Payload[0] == 0x42 {
			t.Error("the source goes on between keys")
			break
		}
	}
}

func TestSendDTMFRefusals(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	if err := s.SendDTMF(context.Background(), "1x"); !errors.Is(err, ErrBadDigit) {
		t.Errorf("bad digit: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.SendDTMF(ctx, "1wwwwwwwwwwwwwwwwwwww2") }()
	p.wait("the first key", func(h []heard) bool { return countPT(h, 101) >= 7 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := s.SendDTMF(context.Background(), "3"); err != nil {
		t.Errorf("after a cancelled string: %v", err)
	}
	h := p.wait("the second key", func(h []heard) bool { return countPT(h, 101) >= 14 })
	if n := countPT(h, 101); n != 14 {
		t.Errorf("%d event packets, want 7 of '1' and 7 of '3'", n)
	}
	go func() { result <- s.SendDTMF(context.Background(), "wwwwwwwwwwwwwwwwwwwwwwwwwwwwww") }()
	eventually(t, "it waits", func() bool { return len(s.pendingJobs()) == 1 })
	s.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("closed meanwhile: %v", err)
	}
	if err := s.SendDTMF(context.Background(), "1"); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	other, q := single(t, Options{Shards: 1}, mustPCMU(), func(p *Params) { p.Events = false })
	if err := other.SendDTMF(context.Background(), "1"); !errors.Is(err, ErrNoTelephoneEvent) {
		t.Errorf("not negotiated: %v", err)
	}
	q.waitCount(1)
}

// pendingJobs asks the shard.
func (s *Session) pendingJobs() []*keyJob {
	answer := make(chan []*keyJob, 1)
	if !s.do(func(*shard) { answer <- append([]*keyJob(nil), s.keying.jobs...) }) {
		return nil
	}
	return <-answer
}

func TestTooManyStringsAtOnce(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	p.waitCount(1)
	ctx := t.Context()
	results := make(chan error, maxKeyJobs+1)
	for range maxKeyJobs + 1 {
		go func() { results <- s.SendDTMF(ctx, "wwwwwwwwwwwwwwwwwwww") }()
	}
	if err := <-results; !errors.Is(err, ErrBusy) {
		t.Errorf("error %v", err)
	}
}

// event is a telephone-event packet that does not move the phone's audio timestamp.
func (p *phone) event(s *Session, ts uint32, marker, end bool, code byte, duration uint16) {
	p.t.Helper()
	flags := byte(10)
	if end {
		flags |= 0x80
	}
	p.send(s, &pion.Packet{Header: pion.Header{
		Version: 2, Marker: marker, PayloadType: 101, SequenceNumber: p.sequence, Timestamp: ts, SSRC: p.ssrc,
	}, Payload: []byte{code, flags, byte(duration >> 8), byte(duration)}})
	p.sequence++
}

func TestDigitsOnTheWire(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	for i, tc := range []struct {
		name string
		send func(ts uint32)
		want byte
	}{
		{"three ends are one digit", func(ts uint32) {
			p.event(s, ts, true, false, 7, 160)
			for range 3 {
				p.event(s, ts, false, true, 7, 800)
			}
		}, '7'},
		{"first packets lost", func(ts uint32) { p.event(s, ts, false, true, 11, 800) }, '#'},
		{"all ends lost", func(ts uint32) { p.event(s, ts, true, false, 10, 640) }, '*'},
	} {
		tc.send(uint32(10000 * (i + 1)))
		if d := nextDigit(t, s); d.Key != tc.want || d.Method != dtmf.RFC4733 {
			t.Errorf("%s: %+v", tc.name, d)
		}
	}
	s.Close()
	for ev := range s.Events() {
		t.Errorf("one more event: %+v", ev)
	}
}

// A key is passed on when audio is converted too, in our own numbers, and it is not part of the audio.
func TestEventsThroughTranscoding(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, _, pa, pb := bridge(t, e, mustPCMU(), codecNamed(t, "PCMA"))
	pb.waitCount(3)
	ts := pa.ts
	for i := range 8 {
		pa.event(a, ts, i == 0, i >= 5, 9, uint16(160*min(i+1, 6)))
	}
	h := pb.wait("8 event packets", func(h []heard) bool { return countPT(h, 101) >= 8 })
	n := len(h)
	h = pb.waitCount(n + 3)
	checkStream(t, h)
	var at uint32
	for _, x := range h {
		if x.PayloadType != 101 {
			if !allBytes(x.Payload, 0xd5) {
				t.Error("the key is heard as audio")
			}
			continue
		}
		if at == 0 {
			at = x.Timestamp
		}
		if x.Timestamp != at || x.Payload[0] != 9 {
			t.Errorf("event packet at %d, code %d", x.Timestamp, x.Payload[0])
		}
	}
	if d := nextDigit(t, a); d.Key != '9' {
		t.Errorf("digit %+v", d)
	}
}

// Digits nobody takes are dropped and counted; the shard does not wait for them.
func TestEventQueueIsBounded(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	s, p := open(t, e, ""), newPhone(t, mustPCMU())
	s.Set(p.params())
	for i := range eventQueue + 5 {
		p.event(s, uint32(10000*(i+1)), true, true, 1, 800)
	}
	eventually(t, "five are dropped", func() bool { return e.Stats().Drops["event"] == 5 })
}

func TestConvertDuration(t *testing.T) {
	for _, tc := range []struct{ from, to, in, want int }{
		{8000, 8000, 800, 800}, {8000, 48000, 800, 4800}, {48000, 8000, 4800, 800}, {8000, 48000, 60000, 65535}, {0, 8000, 5, 5},
	} {
		b := []byte{1, 0, byte(tc.in >> 8), byte(tc.in)}
		convertDuration(b, tc.from, tc.to)
		if got := int(binary.BigEndian.Uint16(b[2:])); got != tc.want {
			t.Errorf("%d at %d Hz is %d at %d Hz, want %d", tc.in, tc.from, got, tc.to, tc.want)
		}
	}
}
