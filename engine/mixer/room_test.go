package mixer_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
	"github.com/tipring/tipring/engine/mixer"
)

// voice is a mic that says a tone; 0 Hz is silence.
type voice struct {
	hz, level float64 // dBFS
	rate, at  int
	law       bool // as payload of PCMU
	panics    bool
	decoded   int
}

func (v *voice) ReadFrame(f *media.Frame) error {
	if v.panics {
		panic("a source with a fault")
	}
	n := v.rate / 50
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(math.MaxInt16 * math.Pow(10, v.level/20) * math.Sin(2*math.Pi*v.hz*float64(v.at+i)/float64(v.rate))))
	}
	v.at += n
	if v.law {
		c, _ := codec.ByName("PCMU", 8000)
		enc, err := c.NewEncoder()
		if err != nil {
			return err
		}
		p, err := enc.Encode(nil, pcm)
		if err != nil {
			return err
		}
		f.SetPayload(c, p, v)
		return nil
	}
	f.SetPCM(v.rate, pcm)
	return nil
}

// Decode counts who looks into the payload.
func (v *voice) Decode(dst []int16, p []byte) ([]int16, error) {
	v.decoded++
	c, _ := codec.ByName("PCMU", 8000)
	dec, err := c.NewDecoder()
	if err != nil {
		return dst, err
	}
	return dec.Decode(dst, p)
}

func (*voice) Rate() int { return 8000 }

func tone(hz float64) *voice { return &voice{hz: hz, level: -20, rate: 8000} }

// table is a room and its seats, pulled in turn as a media thread does.
type table struct {
	t     testing.TB
	room  *mixer.Room
	seats []*mixer.Seat
	heard [][]int16
	rate  int
}

func sit(t testing.TB, voices ...*voice) *table {
	tb := &table{t: t, room: mixer.NewRoom(mixer.Options{})}
	for _, v := range voices {
		tb.join(v)
	}
	return tb
}

func (tb *table) join(v *voice) *mixer.Seat {
	s := tb.room.Join(v, v.rate, mixer.State{})
	tb.seats, tb.heard = append(tb.seats, s), append(tb.heard, nil)
	return s
}

// run lets time pass; what is heard in it replaces what was heard before.
func (tb *table) run(d time.Duration) {
	var f media.Frame
	for i := range tb.heard {
		tb.heard[i] = nil
	}
	for range d / media.PacketTime {
		for i, s := range tb.seats {
			if err := s.ReadFrame(&f); err != nil && !errors.Is(err, io.EOF) {
				tb.t.Fatal(err)
			}
			pcm, rate := f.PCM()
			if len(pcm) == 0 {
				pcm = make([]int16, max(tb.rate, 8000)/50)
			} else {
				tb.rate = rate
			}
			tb.heard[i] = append(tb.heard[i], pcm...)
		}
	}
}

// hears checks the tones that a seat hears, and that the others are not in it.
func (tb *table) hears(seat int, want ...float64) {
	tb.t.Helper()
	for _, hz := range []float64{400, 600, 900, 1300, 2100} {
		is := false
		for _, w := range want {
			is = is || w == hz
		}
		l := mediatest.ToneLevel(tb.heard[seat], tb.rate, hz)
		if is && math.Abs(l+20) > 1 {
			tb.t.Errorf("seat %d hears %v Hz with %.1f dB, want -20", seat, hz, l)
		}
		if !is && l > -60 {
			tb.t.Errorf("seat %d hears %v Hz with %.1f dB, which it must not", seat, hz, l)
		}
	}
}

func TestEveryoneHearsTheOthers(t *testing.T) {
	tb := sit(t, tone(400), tone(600), tone(900), &voice{rate: 8000})
	tb.run(time.Second)
	tb.run(time.Second)
	tb.hears(0, 600, 900)
	tb.hears(1, 400, 900)
	tb.hears(2, 400, 600)
	tb.hears(3, 400, 600, 900)
}

// Who comes between two mixes makes none out of turn: it hears the one at hand, and the others go on to set the pace.
// Else all would hear from then on what was mixed up to a packet time ago.
func TestWhoComesSetsNoPace(t *testing.T) {
	tb := sit(t, tone(400), tone(600))
	tb.run(100 * time.Millisecond)
	late := tb.join(tone(900))
	var f media.Frame
	for i := range 10 {
		for _, s := range []*mixer.Seat{late, tb.seats[0], tb.seats[1]} {
			before := tb.room.Stats().Mixes
			if err := s.ReadFrame(&f); err != nil {
				t.Fatal(err)
			}
			if s == late && f.Silent() {
				t.Error("who comes hears nothing at first")
			}
			if mixed := tb.room.Stats().Mixes != before; mixed != (s == tb.seats[0]) {
				t.Errorf("packet time %d: a mix is made: %v", i, mixed)
			}
		}
	}
}

func TestWhoTakesPartHow(t *testing.T) {
	tb := sit(t, tone(400), tone(600), tone(900))
	s := tb.seats
	for _, step := range []struct {
		what  string
		seat  int
		state mixer.State
		hear  [3][]float64
	}{
		{"muted", 2, mixer.State{Muted: true}, [3][]float64{{600}, {400}, {400, 600}}},
		{"deafened", 2, mixer.State{Deafened: true}, [3][]float64{{600, 900}, {400, 900}, nil}},
		{"monitor", 2, mixer.State{Whisper: []*mixer.Seat{}}, [3][]float64{{600}, {400}, {400, 600}}},
		{"coach", 2, mixer.State{Whisper: s[:1]}, [3][]float64{{600, 900}, {400}, {400, 600}}},
		{"again", 2, mixer.State{}, [3][]float64{{600, 900}, {400, 900}, {400, 600}}},
	} {
		t.Run(step.what, func(t *testing.T) {
			tb.t = t
			s[step.seat].Set(step.state)
			tb.run(time.Second)
			tb.run(time.Second)
			for i, hz := range step.hear {
				tb.hears(i, hz...)
			}
		})
	}
}

func TestVolume(t *testing.T) {
	tb := sit(t, tone(400), tone(600))
	tb.seats[1].Set(mixer.State{VolumeDB: -6})
	tb.run(time.Second)
	if l := mediatest.ToneLevel(tb.heard[0], tb.rate, 600); math.Abs(l+26) > 1 {
		t.Errorf("it has %.1f dB, want -26", l)
	}
}

func TestPlayToAllAndToOne(t *testing.T) {
	tb := sit(t, tone(400), tone(600))
	tb.run(time.Second)
	tb.room.Play(&voice{hz: 1300, level: -20, rate: 16000})
	tb.run(time.Second)
	tb.hears(0, 600, 1300)
	tb.hears(1, 400, 1300)
	tb.room.Play(nil)
	tb.seats[0].Play(&voice{hz: 2100, level: -20, rate: 8000})
	tb.run(time.Second)
	tb.hears(0, 2100)
	tb.hears(1, 400)
	tb.seats[0].Play(nil)
	tb.run(time.Second)
	tb.hears(0, 600)
}

// A wideband seat makes the room wideband, and its going narrow again; nobody's tone breaks off.
func TestRateFollowsTheSeats(t *testing.T) {
	tb := sit(t, tone(400), tone(600))
	tb.run(time.Second)
	if tb.rate != 8000 {
		t.Fatalf("the mix has %d Hz", tb.rate)
	}
	wide := tb.join(&voice{hz: 900, level: -20, rate: 48000})
	tb.run(time.Second)
	tb.run(time.Second)
	if tb.rate != 16000 {
		t.Fatalf("the mix has %d Hz", tb.rate)
	}
	tb.hears(0, 600, 900)
	tb.hears(2, 400, 600)
	if gap := mediatest.LongestGap(tb.heard[0], tb.rate); gap > 20*time.Millisecond {
		t.Errorf("a gap of %v", gap)
	}
	wide.Leave()
	tb.seats, tb.heard = tb.seats[:2], tb.heard[:2]
	tb.run(time.Second)
	tb.hears(0, 600)
	if tb.rate != 8000 {
		t.Errorf("the mix has %d Hz", tb.rate)
	}
	if err := wide.ReadFrame(new(media.Frame)); !errors.Is(err, io.EOF) {
		t.Errorf("who left reads %v", err)
	}
}

// Ten who shout at full scale neither wrap nor leave the range.
func TestLimiter(t *testing.T) {
	var voices []*voice
	for i := range 10 {
		voices = append(voices, &voice{hz: 400 + 10*float64(i), rate: 8000})
	}
	tb := sit(t, append(voices, &voice{rate: 8000})...)
	tb.run(time.Second)
	last, jumps := int16(0), 0
	for _, v := range tb.heard[10] {
		if d := int(v) - int(last); d > 40000 || d < -40000 {
			jumps++
		}
		last = v
	}
	if jumps > 0 {
		t.Errorf("the sum wrapped %d times", jumps)
	}
}

// A long steady tone is not taken for noise; noise below it is gated.
func TestDetection(t *testing.T) {
	var told []string
	room := mixer.NewRoom(mixer.Options{Speaking: func(_ *mixer.Seat, on bool) { told = append(told, fmt.Sprint(on)) }})
	tb := &table{t: t, room: room}
	v := tone(400)
	tb.join(v)
	tb.join(&voice{hz: 600, level: -60, rate: 8000})
	tb.run(time.Minute)
	tb.run(time.Second)
	tb.hears(1, 400)
	tb.hears(0)
	if !tb.seats[0].Speaking() || tb.seats[1].Speaking() {
		t.Error("who speaks is not who is said to")
	}
	v.level = -200
	tb.run(2 * time.Second)
	tb.run(time.Second)
	tb.hears(1)
	if got := fmt.Sprint(told); got != "[true false]" {
		t.Errorf("it was told %s", got)
	}
}

// Silence is not decoded.
func TestSilenceCostsNothing(t *testing.T) {
	quiet := &voice{rate: 8000, law: true, level: -300}
	loud := &voice{rate: 8000, law: true, hz: 400, level: -20}
	tb := sit(t, quiet, loud)
	tb.run(time.Second)
	if quiet.decoded != 0 {
		t.Errorf("silence was decoded %d times", quiet.decoded)
	}
	if loud.decoded != 50 {
		t.Errorf("a voice was decoded %d times, want 50", loud.decoded)
	}
}

// counting is an encoder that counts.
type counting struct {
	codec.RateEncoder
	n, warmed int
}

func (c *counting) EncodeRate(dst []byte, pcm []int16, rate int) ([]byte, error) {
	c.n++
	return c.RateEncoder.EncodeRate(dst, pcm, rate)
}

func (c *counting) Warm([]int16, int) { c.warmed++ }

// All who listen share one encoding; a talker has his own, warmed when he begins.
func TestEncodedOnceForAll(t *testing.T) {
	talker := tone(400)
	tb := sit(t, talker)
	for range 20 {
		tb.join(&voice{rate: 8000})
	}
	pcma, _ := codec.ByName("PCMA", 8000)
	encs := make([]*counting, len(tb.seats))
	for i := range encs {
		e, err := pcma.NewEncoder()
		if err != nil {
			t.Fatal(err)
		}
		encs[i] = &counting{RateEncoder: e.(codec.RateEncoder)}
	}
	frames := make([]media.Frame, len(tb.seats))
	turn := func() (payloads [][]byte) {
		for i, s := range tb.seats {
			if err := s.ReadFrame(&frames[i]); err != nil {
				t.Fatal(err)
			}
			p, err := frames[i].Encode(pcma, encs[i])
			if err != nil {
				t.Fatal(err)
			}
			payloads = append(payloads, p)
		}
		return payloads
	}
	for range 10 {
		p := turn()
		for i := 2; i < len(p); i++ {
			if &p[i][0] != &p[1][0] {
				t.Fatal("two listeners have payloads of their own")
			}
		}
	}
	for i, e := range encs[1:] {
		if e.n != 0 {
			t.Errorf("listener %d encoded %d times", i, e.n)
		}
	}
	tb.seats[1].Leave()
	tb.seats[1] = tb.room.Join(tone(600), 8000, mixer.State{})
	for range 5 {
		turn()
	}
	if encs[1].n != 5 || encs[1].warmed != 1 {
		t.Errorf("a new talker's encoder worked %d times, warmed %d times", encs[1].n, encs[1].warmed)
	}
}

func TestSourceWithAFault(t *testing.T) {
	bad := &voice{rate: 8000, panics: true}
	tb := sit(t, bad, tone(400))
	tb.room.Play(&voice{panics: true})
	tb.run(time.Second)
	tb.hears(0, 400)
	if n := tb.room.Stats().Faults; n != 2 {
		t.Errorf("%d faults", n)
	}
}

// A tap hears the whole mix, without whispers.
func TestTap(t *testing.T) {
	tb := sit(t, tone(400), tone(600), tone(900))
	tb.seats[2].Set(mixer.State{Whisper: tb.seats[:1]})
	tp := new(taped)
	remove := tb.room.Tap(tp)
	tb.run(time.Second)
	remove()
	tb.run(time.Second)
	if len(tp.pcm) != 8000 {
		t.Fatalf("%d samples were tapped", len(tp.pcm))
	}
	for hz, want := range map[float64]bool{400: true, 600: true, 900: false} {
		if l := mediatest.ToneLevel(tp.pcm, 8000, hz); (l > -25) != want {
			t.Errorf("%v Hz has %.1f dB", hz, l)
		}
	}
}

type taped struct{ pcm []int16 }

func (t *taped) Frame(_ media.Direction, f *media.Frame) {
	pcm, _ := f.PCM()
	t.pcm = append(t.pcm, pcm...)
}

// Seats come, go and are pulled from many threads at once.
func TestManyThreads(t *testing.T) {
	room := mixer.NewRoom(mixer.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			var f media.Frame
			for n := range 20 {
				s := room.Join(tone(400), 8000<<(i%2), mixer.State{})
				for range 20 {
					if err := s.ReadFrame(&f); err != nil {
						t.Error(err)
					}
				}
				s.Set(mixer.State{Muted: n%2 == 0})
				room.Play(tone(600))
				s.Leave()
			}
		})
	}
	wg.Wait()
	if n := room.Stats().Seats; n != 0 {
		t.Errorf("%d seats are left", n)
	}
}

// steady is a mic whose frame is made once.
type steady struct{ pcm []int16 }

func (s *steady) ReadFrame(f *media.Frame) error {
	if s.pcm == nil {
		f.SetSilence()
		return nil
	}
	f.SetPCM(8000, s.pcm)
	return nil
}

func BenchmarkMix(b *testing.B) {
	pcm := make([]int16, 160)
	for i := range pcm {
		pcm[i] = int16(3000 * math.Sin(2*math.Pi*400*float64(i)/8000))
	}
	for _, bench := range []struct{ seats, talkers int }{{3, 3}, {30, 3}, {300, 3}, {1000, 3}, {30, 30}, {300, 300}, {1000, 1000}} {
		b.Run(fmt.Sprintf("seats=%d/talkers=%d", bench.seats, bench.talkers), func(b *testing.B) {
			room := mixer.NewRoom(mixer.Options{})
			var seats []*mixer.Seat
			for i := range bench.seats {
				mic := &steady{}
				if i < bench.talkers {
					mic.pcm = pcm
				}
				seats = append(seats, room.Join(mic, 8000, mixer.State{}))
			}
			var f media.Frame
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range seats {
					if err := s.ReadFrame(&f); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*bench.seats), "ns/seat")
		})
	}
}
