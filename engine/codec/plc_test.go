package codec_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func concealer(tb testing.TB, name string, clock, rate int) codec.Concealer {
	tb.Helper()
	c, ok := codec.ByName(name, clock)
	if !ok {
		tb.Fatalf("no codec %q", name)
	}
	dec, err := c.NewDecoderAt(rate)
	if err != nil {
		tb.Fatal(err)
	}
	conceals, ok := dec.(codec.Concealer)
	if !ok {
		tb.Fatalf("the decoder of %v does not conceal", c)
	}
	return conceals
}

// throughLoss sends pcm at 8 kHz through G.711; what gets lost is concealed, or silence.
func throughLoss(tb testing.TB, name string, pcm []int16, lost []bool, conceal bool) []int16 {
	tb.Helper()
	enc, _ := open(tb, name)
	dec := concealer(tb, name, 8000, 8000)
	var out []int16
	var err error
	for i := range lost {
		payload, _ := enc.Encode(nil, pcm[i*160:(i+1)*160])
		switch {
		case !lost[i]:
			out, err = dec.Decode(out, payload)
		case conceal:
			out, err = dec.Conceal(out, 20, nil)
		default:
			out = append(out, make([]int16, 160)...)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// At 5 % loss, speech is nearer to itself with concealment than with silence in the gaps.
func TestG711ConcealmentBeatsSilence(t *testing.T) {
	said := mediatest.Speech(8000, 10*time.Second)
	lost := lossy(len(said)/160, 0.05)
	for _, name := range []string{"PCMU", "PCMA"} {
		whole := throughLoss(t, name, said, make([]bool, len(lost)), true)
		with := throughLoss(t, name, said, lost, true)
		without := throughLoss(t, name, said, lost, false)
		a, b := mediatest.SpectralDistance(whole, with, 8000), mediatest.SpectralDistance(whole, without, 8000)
		t.Logf("%s: spectral distance %.2f dB with concealment, %.2f with silence; segment SNR %.1f and %.1f dB", name, a, b,
			mediatest.SegmentSNR(whole, with, 8000), mediatest.SegmentSNR(whole, without, 8000))
		if a > b*0.6 {
			t.Errorf("%s: spectral distance %.2f dB with concealment, %.2f with silence", name, a, b)
		}
	}
}

// A tone goes on through one lost payload: no gap, no click, its level kept.
func TestG711ConcealmentContinuesATone(t *testing.T) {
	for _, hz := range []float64{100, 150, 200, 437, 1000} {
		pcm := mediatest.Sine(8000, hz, -10, 400*time.Millisecond)
		lost := make([]bool, 20)
		lost[10] = true
		out := throughLoss(t, "PCMU", pcm, lost, true)
		gap := out[10*160 : 11*160]
		if l := mediatest.Level(gap) - mediatest.Level(out[5*160:10*160]); l < -3 || l > 1 {
			t.Errorf("%.0f Hz: the gap is %.1f dB louder", hz, l)
		}
		limit := 1.6 * 10362 * 2 * math.Pi * hz / 8000 // of the slope of the tone
		for i := 9 * 160; i < 12*160; i++ {
			if d := math.Abs(float64(out[i]) - float64(out[i-1])); d > limit+600 {
				t.Errorf("%.0f Hz: a click of %.0f at sample %d, the tone has %.0f", hz, d, i-10*160, limit/1.6)
				break
			}
		}
	}
}

func TestG711ConcealmentFadesToSilence(t *testing.T) {
	dec := concealer(t, "PCMA", 8000, 8000)
	enc, _ := open(t, "PCMA")
	payload, _ := enc.Encode(nil, mediatest.Sine(8000, 150, -10, 40*time.Millisecond))
	before, _ := dec.Decode(nil, payload)
	levels := []float64{mediatest.Level(before)}
	for range 5 {
		pcm, err := dec.Conceal(nil, 20, nil)
		if err != nil || len(pcm) != 160 {
			t.Fatalf("%d samples, %v", len(pcm), err)
		}
		levels = append(levels, mediatest.Level(pcm))
	}
	for i := 1; i < 4; i++ {
		if levels[i] >= levels[i-1] {
			t.Errorf("no fade: %.1f dB", levels)
		}
	}
	if levels[4] > -80 || levels[5] > -80 {
		t.Errorf("after 60 ms there is sound: %.1f dB", levels)
	}
	after, _ := dec.Decode(nil, payload)
	if first := math.Abs(float64(after[0])); first > 1000 {
		t.Errorf("sound comes back with a click of %.0f", first)
	}
}

// Before anything was heard, and for odd times, concealment is sound in form.
func TestG711ConcealmentAtTheEdges(t *testing.T) {
	for _, ms := range []int{-1, 0, 1, 10, 20, 30, 200} {
		dec := concealer(t, "PCMU", 8000, 16000)
		if dec.Rate() != 8000 {
			t.Fatalf("rate %d", dec.Rate())
		}
		pcm, err := dec.Conceal([]int16{7}, ms, []byte{1})
		if err != nil || len(pcm) != 1+max(ms, 0)*8 || pcm[0] != 7 {
			t.Errorf("%d ms: %d samples, %v", ms, len(pcm), err)
		}
		if l := mediatest.Level(pcm[1:]); l > -90 {
			t.Errorf("%d ms of nothing are at %.1f dB", ms, l)
		}
		if pcm, err = dec.Decode(nil, make([]byte, 1000)); err != nil || len(pcm) != 1000 {
			t.Errorf("a long payload gives %d samples, %v", len(pcm), err)
		}
		if pcm, err = dec.Decode(nil, nil); err != nil || len(pcm) != 0 {
			t.Errorf("an empty payload gives %d samples, %v", len(pcm), err)
		}
	}
}

func TestConcealingG711DecoderDoesNotAllocate(t *testing.T) {
	dec := concealer(t, "PCMU", 8000, 8000)
	payload, pcm := make([]byte, 160), make([]int16, 0, 160)
	pcm, _ = dec.Conceal(pcm, 20, nil)
	if n := testing.AllocsPerRun(100, func() {
		pcm, _ = dec.Decode(pcm[:0], payload)
		pcm, _ = dec.Conceal(pcm[:0], 20, nil)
	}); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func FuzzG711Conceal(f *testing.F) {
	f.Add([]byte{160, 1, 255, 0, 20}, []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, steps, sound []byte) {
		dec := concealer(t, "PCMU", 8000, 8000)
		var pcm []int16
		for i, s := range steps[:min(len(steps), 100)] {
			var err error
			want := int(s%100) * 8
			if i%2 == 0 {
				pcm, err = dec.Conceal(pcm[:0], int(s%100), sound)
			} else {
				payload := sound[:min(len(sound), int(s))]
				want = len(payload)
				pcm, err = dec.Decode(pcm[:0], payload)
			}
			if err != nil || len(pcm) != want {
				t.Fatalf("%d samples, want %d: %v", len(pcm), want, err)
			}
		}
	})
}

func BenchmarkG711ConcealingDecode(b *testing.B) {
	dec := concealer(b, "PCMU", 8000, 8000)
	payload, pcm := make([]byte, 160), make([]int16, 0, 160)
	b.ReportAllocs()
	for b.Loop() {
		pcm, _ = dec.Decode(pcm[:0], payload)
	}
}

func BenchmarkConceal(b *testing.B) {
	for _, c := range []struct {
		name        string
		clock, rate int
	}{{"PCMU", 8000, 8000}, {"opus", 48000, 8000}, {"opus", 48000, 16000}} {
		b.Run(fmt.Sprintf("%s-%d", c.name, c.rate), func(b *testing.B) {
			row, _ := codec.ByName(c.name, c.clock)
			enc, _ := row.NewEncoder()
			said := mediatest.Speech(c.rate, time.Second)
			var payloads [][]byte
			for ; len(said) >= c.rate/50; said = said[c.rate/50:] {
				p, err := enc.(codec.RateEncoder).EncodeRate(nil, said[:c.rate/50], c.rate)
				if err != nil {
					b.Fatal(err)
				}
				payloads = append(payloads, p)
			}
			dec, pcm, i := concealer(b, c.name, c.clock, c.rate), make([]int16, 0, 960), 0
			b.ReportAllocs()
			for b.Loop() { // a payload that came and one that did not, in turn
				pcm, _ = dec.Decode(pcm[:0], payloads[i%len(payloads)])
				pcm, _ = dec.Conceal(pcm[:0], 20, nil)
				i++
			}
		})
	}
}
