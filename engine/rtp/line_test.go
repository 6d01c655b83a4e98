package rtp

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// constant is a Source of one payload byte in PCMU.
type constant byte

func (c constant) ReadFrame(f *media.Frame) error {
	f.SetPayload(mustPCMU(), filled(byte(c)), nil)
	return nil
}

// source is a Source of a function.
type source func(f *media.Frame) error

func (s source) ReadFrame(f *media.Frame) error { return s(f) }

// ramp counts up in payload bytes, so that a lost or repeated sample shows.
func ramp() source {
	var n byte
	return func(f *media.Frame) error {
		p := make([]byte, 160)
		for i := range p {
			p[i] = n
			n++
		}
		f.SetPayload(mustPCMU(), p, nil)
		return nil
	}
}

func single(t *testing.T, o Options, c codec.Codec, change func(*Params)) (*Session, *phone) {
	t.Helper()
	s, p := open(t, loopbackEngine(t, o), ""), newPhone(t, c)
	params := p.params()
	if change != nil {
		change(&params)
	}
	s.Set(params)
	return s, p
}

func allBytes(p []byte, b byte) bool {
	for _, x := range p {
		if x != b {
			return false
		}
	}
	return true
}

func TestSilenceUntilThereIsSomething(t *testing.T) {
	for name, silence := range map[string]byte{"PCMU": 0xff, "PCMA": 0xd5} {
		t.Run(name, func(t *testing.T) {
			c := codecNamed(t, name)
			sh, _, p := handSingle(t, c, func(p *Params) { p.SendPT = 96 })
			sh.pass(20 * packetTime)
			h := p.waitCount(20)
			checkStream(t, h)
			for i, x := range h {
				if x.PayloadType != 96 || len(x.Payload) != 160 || !allBytes(x.Payload, silence) {
					t.Fatalf("packet %d: type %d, payload %x…", i, x.PayloadType, x.Payload[:4])
				}
				if x.Marker != (i == 0) {
					t.Errorf("packet %d: marker %v", i, x.Marker)
				}
				if i > 0 && x.Timestamp-h[i-1].Timestamp != 160 {
					t.Errorf("packet %d: timestamp step %d", i, x.Timestamp-h[i-1].Timestamp)
				}
			}
			if len(h) != 20 {
				t.Errorf("%d packets in 20 packet times", len(h))
			}
		})
	}
}

func TestPromptThenSilence(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	p.waitCount(5)
	left := 10
	s.Hear(source(func(f *media.Frame) error {
		if left == 0 {
			return io.EOF
		}
		left--
		return constant(0x40 + byte(left)).ReadFrame(f)
	}))
	h := p.wait("the prompt and silence", func(h []heard) bool {
		return len(h) > 15 && h[len(h)-1].Payload[0] == 0xff && prompts(h) == 10
	})
	checkStream(t, h)
	next := byte(0x49)
	for i, x := range h {
		if x.Payload[0] == 0xff {
			continue
		}
		if !allBytes(x.Payload, next) || x.Marker != (next == 0x49) {
			t.Errorf("packet %d: %x, marker %v, want %x", i, x.Payload[0], x.Marker, next)
		}
		next--
	}
	h = p.waitCount(len(h) + 3)
	if n := prompts(h); n != 10 {
		t.Errorf("%d packets of a prompt of 10", n)
	}
}

func prompts(h []heard) (n int) {
	for _, x := range h {
		if x.Payload[0] != 0xff {
			n++
		}
	}
	return n
}

func TestPacketTimes(t *testing.T) {
	for _, ms := range []int{10, 20, 30, 40, 60} {
		sh, s, p := handSingle(t, mustPCMU(), func(p *Params) {
			p.PacketTime = time.Duration(ms) * time.Millisecond
		})
		s.Hear(ramp())
		sh.pass(1200 * time.Millisecond)
		h := p.waitCount(1200/ms - 1)
		checkStream(t, h)
		want := -1
		for i, x := range h {
			if len(x.Payload) != ms*8 {
				t.Fatalf("%d ms: packet %d has %d bytes", ms, i, len(x.Payload))
			}
			if i > 0 && x.Timestamp-h[i-1].Timestamp != uint32(ms*8) {
				t.Errorf("%d ms: packet %d: timestamp step %d", ms, i, x.Timestamp-h[i-1].Timestamp)
			}
			for _, b := range x.Payload {
				if want >= 0 && b != byte(want) {
					t.Fatalf("%d ms: packet %d: sample %d, want %d", ms, i, b, byte(want))
				}
				want = int(b) + 1
			}
		}
	}
}

func tonePayload(t *testing.T, c codec.Codec, hz float64) func(i int) []byte {
	t.Helper()
	enc, err := c.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	payload, err := enc.Encode(nil, mediatest.Sine(8000, hz, -10, 2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return func(i int) []byte { return payload[i*160%16000 : i*160%16000+160] }
}

// hear decodes what a phone heard, in the order of timestamps.
func hear(t *testing.T, c codec.Codec, h []heard) []int16 {
	t.Helper()
	dec, err := c.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	var pcm []int16
	for _, x := range h {
		if pcm, err = dec.Decode(pcm, x.Payload); err != nil {
			t.Fatal(err)
		}
	}
	return pcm
}

// waitTone waits until half a second of a tone has been heard without a break.
func waitTone(t *testing.T, p *phone, c codec.Codec, hz float64) {
	t.Helper()
	p.wait("the tone", func(h []heard) bool {
		if len(h) < 25 {
			return false
		}
		pcm := hear(t, c, h[len(h)-25:])
		return math.Abs(mediatest.Frequency(pcm, 8000)-hz) < 5 && mediatest.LongestGap(pcm, 8000) < 10*time.Millisecond
	})
}

func TestTranscoding(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	u, al := mustPCMU(), codecNamed(t, "PCMA")
	a, b, pa, pb := bridge(t, e, u, al)
	pa.talk(a, tonePayload(t, u, 440))
	pb.talk(b, tonePayload(t, al, 1000))
	waitTone(t, pb, al, 440)
	waitTone(t, pa, u, 1000)
	checkStream(t, pa.waitCount(0))
	checkStream(t, pb.waitCount(0))
	eventually(t, "the path is shown", func() bool {
		q := b.Quality()
		return !q.Relayed && q.Path == "PCMU/8000 → PCMA/8000" && q.Codec == "PCMA/8000"
	})
	// The re-INVITE makes the codecs the same: now packets are relayed.
	params := pb.params()
	params.Codec, params.SendPT, params.RecvPT = u, 0, 0
	b.Set(params)
	eventually(t, "the bridge relays", func() bool { return a.Quality().Relayed && b.Quality().Relayed })
	n := len(pb.waitCount(0))
	pb.wait("PCMU", func(h []heard) bool { return len(h) > n && h[len(h)-1].PayloadType == 0 })
}

// A prompt of PCM at any rate is heard in the codec of the leg.
func TestPlayer(t *testing.T) {
	for name, rate := range map[string]int{"PCMU": 8000, "PCMA": 16000} {
		c := codecNamed(t, name)
		s, p := single(t, Options{Shards: 1}, c, nil)
		tone := mediatest.Sine(rate, 850, -10, 20*time.Second)
		s.Hear(source(func(f *media.Frame) error {
			n := rate / 50
			f.SetPCM(rate, tone[:n])
			tone = tone[n:]
			return nil
		}))
		waitTone(t, p, c, 850)
	}
}

func TestEcho(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	s.Hear(s.Mic())
	p.talk(s, tonePayload(t, mustPCMU(), 700))
	waitTone(t, p, mustPCMU(), 700)
	if s.Quality().Relayed {
		t.Error("an echo is no relay: it goes through the jitter buffer")
	}
}

// listener is a Tap that counts frames with a marked payload, per direction.
type listener struct{ in, out, all atomic.Int64 }

func (l *listener) Frame(d media.Direction, f *media.Frame) {
	l.all.Add(1)
	pcm, _ := f.PCM()
	if len(pcm) == 0 || mediatest.Level(pcm) < -40 {
		return
	}
	if d == media.In {
		l.in.Add(1)
	} else {
		l.out.Add(1)
	}
}

func TestTapHearsBothDirectionsOfARelay(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.talk(a, func(int) []byte { return filled(0x20) })
	pb.talk(b, func(int) []byte { return filled(0x30) })
	eventually(t, "the bridge relays", func() bool { return b.Quality().Relayed && a.Quality().Relayed })
	l := new(listener)
	remove := a.Tap(l)
	eventually(t, "the tap hears both", func() bool { return l.in.Load() > 10 && l.out.Load() > 10 })
	if !b.Quality().Relayed || !a.Quality().Relayed {
		t.Error("a tap ends the relay: packets need no decoding to be passed on")
	}
	n := len(pb.waitCount(0))
	pb.wait("the voice goes on", func(h []heard) bool { return len(h) > n && h[len(h)-1].Payload[0] == 0x20 })
	remove()
	remove()
	n = len(pb.waitCount(0))
	pb.waitCount(n + 2)
	count := l.all.Load()
	n = len(pb.waitCount(0))
	pb.waitCount(n + 5)
	if l.all.Load() != count {
		t.Error("a removed tap still hears")
	}
}

type panicking struct{}

func (panicking) ReadFrame(*media.Frame) error        { panic("source") }
func (panicking) Frame(media.Direction, *media.Frame) { panic("tap") }

func TestAPanicEndsTheSourceOnly(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	s, p := open(t, e, ""), newPhone(t, mustPCMU())
	s.Set(p.params())
	other, q := open(t, e, ""), newPhone(t, mustPCMU())
	other.Set(q.params())
	other.Hear(constant(0x41))
	q.waitCount(2)
	s.Hear(panicking{})
	s.Tap(panicking{})
	eventually(t, "both faults are counted", func() bool { return e.Stats().SourceFaults == 2 })
	n, m := len(p.waitCount(0)), len(q.waitCount(0))
	checkStream(t, p.waitCount(n+5))
	checkStream(t, q.waitCount(m+5))
	s.Hear(constant(0x42))
	p.wait("another source", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0x42 })
	if n := e.Stats().SourceFaults; n != 2 {
		t.Errorf("%d faults", n)
	}
}

func TestASourceThatFailsIsOver(t *testing.T) {
	s, p := single(t, Options{Shards: 1}, mustPCMU(), nil)
	calls := make(chan struct{}, 100)
	s.Hear(source(func(*media.Frame) error { calls <- struct{}{}; return errors.New("broken") }))
	<-calls
	n := len(p.waitCount(0))
	p.waitCount(n + 10)
	if len(calls) != 0 {
		t.Error("a source is asked again after its end")
	}
}

func TestMute(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.talk(a, func(int) []byte { return filled(0x20) })
	last := func(b byte) func([]heard) bool {
		return func(h []heard) bool {
			n := len(h)
			return n > 5 && h[n-1].Payload[0] == b && h[n-2].Payload[0] == b && h[n-3].Payload[0] == b
		}
	}
	for name, mute := range map[string]func(on bool){
		"in":  func(on bool) { a.Mute(media.In, on) },
		"out": func(on bool) { b.Mute(media.Out, on) },
	} {
		pb.wait("the voice", last(0x20))
		mute(true)
		pb.wait("silence, muted "+name, last(0xff))
		if a.in.lost || len(pb.waitCount(0)) == 0 {
			t.Fatal("nothing goes on")
		}
		mute(false)
		pb.wait("the voice", last(0x20))
	}
	checkStream(t, pb.waitCount(0))
}

func TestDirections(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, _, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.talk(a, func(int) []byte { return filled(0x20) })
	voice := func(h []heard) bool { return len(h) > 0 && h[len(h)-1].Payload[0] == 0x20 }
	pb.wait("the voice", voice)
	hold := pa.params()
	hold.Receive = false // the caller is on hold: we send, and listen no more
	a.Set(hold)
	pb.wait("silence", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0xff })
	n := len(pa.waitCount(0))
	pa.waitCount(n + 5)
	hold.Send = false // inactive
	a.Set(hold)
	eventually(t, "nothing is sent", func() bool {
		before := len(pa.waitCount(0))
		m := len(pb.waitCount(0))
		pb.waitCount(m + 5)
		return len(pa.waitCount(0)) == before
	})
	a.Set(pa.params())
	pb.wait("the voice again", voice)
	h := pa.wait("packets after the pause", func(h []heard) bool { return longestStep(h) > 4*packetTime })
	checkStream(t, h)
}

// longestStep is the longest time between two packets by their timestamps.
func longestStep(h []heard) (d time.Duration) {
	for i := 1; i < len(h); i++ {
		d = max(d, time.Duration(h[i].Timestamp-h[i-1].Timestamp)*time.Second/8000)
	}
	return d
}

func TestMediaLostAndBack(t *testing.T) {
	s, p := single(t, Options{Shards: 1, MediaTimeout: 200 * time.Millisecond}, mustPCMU(), nil)
	next := func(want EventKind) {
		t.Helper()
		select {
		case ev := <-s.Events():
			if ev.Kind != want {
				t.Fatalf("event %v, want %v", ev.Kind, want)
			}
		case <-time.After(patience):
			t.Fatalf("no event %v", want)
		}
	}
	next(MediaLost)
	p.say(s, filled(1))
	next(MediaBack)
	next(MediaLost)
	hold := p.params()
	hold.Receive = false
	s.Set(hold)
	p.say(s, filled(1))
	next(MediaBack)
	n := len(p.waitCount(0))
	p.waitCount(n + 20) // 400 ms: on hold, silence is no loss
	if len(s.Events()) != 0 {
		t.Errorf("event on hold: %+v", <-s.Events())
	}
	eventually(t, "the last packet is long ago", func() bool { return !s.ReceivedWithin(time.Millisecond) })
	if !s.ReceivedWithin(time.Hour) {
		t.Error("no packet within an hour")
	}
}

// Whoever reads a mic himself, on whatever thread, gets what the far end says.
func TestMicReadFromAnotherThread(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 2})
	a, pa := open(t, e, ""), newPhone(t, mustPCMU())
	a.Set(pa.params())
	pa.talk(a, tonePayload(t, mustPCMU(), 600))
	b, pb := open(t, e, ""), newPhone(t, codecNamed(t, "PCMA"))
	b.Set(pb.params())
	wrapped := a.Mic()
	b.Hear(source(func(f *media.Frame) error { return wrapped.ReadFrame(f) }))
	pb.wait("the tone through a wrapper", func(h []heard) bool {
		if len(h) < 15 {
			return false
		}
		pcm := hear(t, codecNamed(t, "PCMA"), h[len(h)-15:])
		return math.Abs(mediatest.Frequency(pcm, 8000)-600) < 10 && mediatest.Level(pcm) > -20
	})
	a.Close()
	for range a.Events() {
	}
	var f media.Frame
	if err := wrapped.ReadFrame(&f); !errors.Is(err, io.EOF) || !f.Silent() {
		t.Errorf("a closed mic gives %v", err)
	}
}

// A reader that goes away does not keep the session buffering.
func TestMicForgetsAReaderThatIsGone(t *testing.T) {
	_, sh := handEngine(t)
	e := sh.engine
	s, p := open(t, e, ""), newPhone(t, mustPCMU())
	s.Set(p.params())
	var f media.Frame
	_ = s.Mic().ReadFrame(&f)
	sh.drain(t)
	if s.in.jitter == nil {
		t.Fatal("nothing is kept for the reader")
	}
	for i := range int64(exchangeSize + exchangeIdle) {
		sh.tick += slotsInTurn
		sh.now += moment(packetTime)
		s.turn(sh, slotStart(sh.tick+i))
	}
	if s.in.jitter != nil || s.mic.exchange.Load() != nil {
		t.Error("packets are kept for nobody")
	}
}

func TestClosedMicIsSilenceForItsHearer(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 2})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.talk(a, func(int) []byte { return filled(0x20) })
	pb.wait("the voice", func(h []heard) bool { return len(h) > 3 && h[len(h)-1].Payload[0] == 0x20 })
	a.Close()
	pb.wait("silence", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0xff })
	b.Hear(a.Mic())
	b.Hear(constant(0x21))
	pb.wait("another source", func(h []heard) bool { return h[len(h)-1].Payload[0] == 0x21 })
	checkStream(t, pb.waitCount(0))
	for range 3 {
		a.Set(pa.params())
		a.Hear(nil)
		a.Mute(media.In, true)
		a.Tap(new(listener))()
		a.Close()
	}
}

// Control calls from everywhere at once, with traffic: nothing is lost, nothing races.
func TestControlFromEverywhere(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 2})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.talk(a, func(int) []byte { return filled(0x20) })
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 20 {
				remove := b.Tap(new(listener))
				b.Mute(media.Out, i%2 == 0)
				b.Hear(constant(0x20))
				_, _, _ = b.Quality(), e.Stats(), b.Codec()
				b.Set(pb.params())
				b.Mute(media.Out, false)
				b.Hear(a.Mic())
				remove()
			}
		})
	}
	all.Wait()
	eventually(t, "the bridge relays", func() bool { return b.Quality().Relayed })
	checkStream(t, pb.waitCount(0))
}
