package media_test

import (
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// A listener hears a source in a codec as a leg does: with an encoder of its own, behind a packet of silence.
type listener struct {
	tb       testing.TB
	codec    codec.Codec
	own      codec.Encoder
	payloads [][]byte
}

func newListener(tb testing.TB, name string) *listener {
	tb.Helper()
	l := &listener{tb: tb, codec: row(tb, name)}
	var err error
	if l.own, err = l.codec.NewEncoder(); err != nil {
		tb.Fatal(err)
	}
	l.payloads = append(l.payloads, l.codec.AppendSilence(nil, 20))
	return l
}

// hear takes n packets and returns them.
func (l *listener) hear(s media.Source, n int) [][]byte {
	l.tb.Helper()
	var f media.Frame
	from := len(l.payloads)
	for range n {
		if err := s.ReadFrame(&f); err != nil {
			l.tb.Fatal(err)
		}
		p, err := f.Encode(l.codec, l.own)
		if err != nil || len(p) == 0 {
			l.tb.Fatalf("%d bytes, %v", len(p), err)
		}
		l.payloads = append(l.payloads, append(p[:0:0], p...))
	}
	return l.payloads[from:]
}

// pcm is what was heard, at 8 kHz.
func (l *listener) pcm() []int16 {
	l.tb.Helper()
	d, err := l.codec.NewDecoderAt(8000)
	if err != nil {
		l.tb.Fatal(err)
	}
	var out []int16
	for _, p := range l.payloads {
		if out, err = d.Decode(out, p); err != nil {
			l.tb.Fatal(err)
		}
	}
	return out
}

// levels checks that pcm is a tone of the level in each fifth of a second.
func levels(t *testing.T, pcm []int16, level float64) {
	t.Helper()
	for at := 800; at+1600 <= len(pcm); at += 1600 {
		if l := mediatest.Level(pcm[at : at+1600]); math.Abs(l-level) > 1 {
			t.Errorf("%.1f dBFS at %d ms", l, at/8)
		}
	}
}

// A prompt is encoded once in Opus, whoever plays it and when; it is right for each, also when it is repeated.
func TestAPromptIsEncodedOnce(t *testing.T) {
	clip := clipOf(t, 8000, mediatest.Sine(8000, 500, -12, time.Second))
	first, second := newListener(t, "opus"), newListener(t, "opus")
	a, b := media.NewPlayer(clip, media.LoopForever), media.NewPlayer(clip, media.LoopForever)
	var fa, fb media.Frame
	for i := range 170 { // more than three times through; the second follows at first, then overtakes
		if i >= 20 {
			samePacket(t, i-20, second, b, &fb, first)
		}
		first.hearInto(a, &fa)
	}
	levels(t, first.pcm(), -12)
	levels(t, second.pcm(), -12)
	if own := testing.AllocsPerRun(20, func() {
		_ = b.ReadFrame(&fb)
		_, _ = fb.Encode(second.codec, second.own)
	}); own != 0 {
		t.Errorf("%v allocations for a packet that is there", own)
	}
}

func (l *listener) hearInto(s media.Source, f *media.Frame) []byte {
	l.tb.Helper()
	if err := s.ReadFrame(f); err != nil {
		l.tb.Fatal(err)
	}
	p, err := f.Encode(l.codec, l.own)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.payloads = append(l.payloads, p) // a track's do not change
	return p
}

// samePacket says that what l hears next is not only equal to what the other one heard at n, but the same memory.
func samePacket(t *testing.T, n int, l *listener, s media.Source, f *media.Frame, other *listener) {
	t.Helper()
	p := l.hearInto(s, f)
	if q := other.payloads[n+1]; len(p) == 0 || &p[0] != &q[0] {
		t.Fatalf("packet %d was encoded again", n)
	}
}

// Who does not hear a prompt from its beginning in a row, or not as it is, gets it encoded for him, and as loud as it should
// be.
func TestAPromptThatIsSteeredIsEncodedAnew(t *testing.T) {
	clip := clipOf(t, 8000, mediatest.Sine(8000, 500, -12, 3*time.Second))
	whole := newListener(t, "opus")
	var f media.Frame
	for p := media.NewPlayer(clip, 1); len(whole.payloads) <= 150; {
		whole.hearInto(p, &f)
	}
	for name, steer := range map[string]func(*media.Player){
		"seek":   func(p *media.Player) { p.Seek(time.Second) },
		"volume": func(p *media.Player) { p.SetVolume(-6); p.SetVolume(-0.0001) },
	} {
		l, p := newListener(t, "opus"), media.NewPlayer(clip, 1)
		l.hear(p, 25)
		steer(p)
		l.hear(p, 50)
		levels(t, l.pcm(), -12)
		if &l.payloads[60][0] == &whole.payloads[60][0] {
			t.Errorf("%s: a packet of the track was given", name)
		}
	}
	// Another codec in the middle: its track begins at the beginning only.
	l, p := newListener(t, "PCMU"), media.NewPlayer(clip, 1)
	l.hear(p, 25)
	o := newListener(t, "opus")
	o.hear(p, 50)
	levels(t, o.pcm(), -12)
}

// G.711 is had from 8 kHz as cheaply as from memory; from 16 kHz it is encoded once too.
func TestAWidebandPromptInG711(t *testing.T) {
	clip := clipOf(t, 16000, mediatest.Sine(16000, 500, -12, time.Second))
	first, second := newListener(t, "PCMU"), newListener(t, "PCMU")
	var f media.Frame
	for p := media.NewPlayer(clip, 1); len(first.payloads) <= 50; {
		first.hearInto(p, &f)
	}
	for i, p := 0, media.NewPlayer(clip, 1); i < 50; i++ {
		samePacket(t, i, second, p, &f, first)
	}
	levels(t, second.pcm(), -12)
}

// BenchmarkPlayToOpusLegs is what a packet time of a prompt costs for each Opus leg that plays it.
func BenchmarkPlayToOpusLegs(b *testing.B) {
	clip := clipOf(b, 8000, mediatest.Sine(8000, 500, -12, 10*time.Second))
	for name, steer := range map[string]func(*media.Player){
		"shared": func(*media.Player) {},
		"own":    func(p *media.Player) { p.SetVolume(-1) },
	} {
		b.Run(name, func(b *testing.B) {
			l, p := newListener(b, "opus"), media.NewPlayer(clip, media.LoopForever)
			steer(p)
			var f media.Frame
			b.ReportAllocs()
			for b.Loop() {
				_ = p.ReadFrame(&f)
				_, _ = f.Encode(l.codec, l.own)
			}
		})
	}
}
