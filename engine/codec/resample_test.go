package codec_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func resampler(tb testing.TB, from, to int) *codec.Resampler {
	tb.Helper()
	r, err := codec.NewResampler(from, to)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// settled is the second half of a resampled tone: no edges in it.
func settled(pcm []int16) []int16 { return pcm[len(pcm)/2:] }

func TestResamplerKeepsTheBand(t *testing.T) {
	for _, c := range []struct{ from, to int }{
		{8000, 16000},
		{16000, 8000},
		{16000, 48000},
		{48000, 16000},
		{8000, 48000},
		{48000, 8000},
		{44100, 8000},
		{22050, 8000},
		{11025, 8000},
		{8000, 24000},
		{24000, 8000},
		{12345, 8000},
	} {
		top := 0.425 * float64(min(c.from, c.to)) // 3400 Hz of 8000
		for _, hz := range []float64{100, 300, 1000, top * 0.88, top} {
			got := resampler(t, c.from, c.to).Resample(nil, mediatest.Sine(c.from, hz, -6, 400*time.Millisecond))
			got = settled(got)
			if f := mediatest.Frequency(got, c.to); math.Abs(f-hz) > hz*0.003+0.5 {
				t.Errorf("%d→%d: %.0f Hz came out as %.1f", c.from, c.to, hz, f)
			}
			if l := mediatest.Level(got) + 6; math.Abs(l) > 0.15 {
				t.Errorf("%d→%d: %.0f Hz came out %.2f dB louder", c.from, c.to, hz, l)
			}
		}
	}
}

func TestResamplerRejectsAliases(t *testing.T) {
	for _, c := range []struct{ from, to int }{{16000, 8000}, {48000, 16000}, {48000, 8000}, {44100, 8000}} {
		for _, share := range []float64{0.56, 0.6, 0.75, 0.9} { // of the new rate: above its half
			hz := share * float64(c.to)
			got := resampler(t, c.from, c.to).Resample(nil, mediatest.Sine(c.from, hz, -1, 400*time.Millisecond))
			if l := mediatest.Level(settled(got)) + 1; l > -60 {
				t.Errorf("%d→%d: %.0f Hz comes through at %.1f dB, want −60", c.from, c.to, hz, l)
			}
		}
	}
}

func TestResamplerRejectsImages(t *testing.T) {
	for _, c := range []struct{ from, to int }{{8000, 16000}, {16000, 48000}, {8000, 48000}} {
		for _, hz := range []float64{300, 1000, 3000, 0.425 * float64(c.from)} {
			got := settled(resampler(t, c.from, c.to).Resample(nil, mediatest.Sine(c.from, hz, -1, 400*time.Millisecond)))
			image := float64(c.from) - hz
			if l := mediatest.ToneLevel(got, c.to, image) + 1; l > -65 {
				t.Errorf("%d→%d: %.0f Hz has an image of %.1f dB at %.0f", c.from, c.to, hz, l, image)
			}
		}
	}
}

// There and back again: what is left is the filter's ripple and rounding.
func TestResamplerRoundTripSNR(t *testing.T) {
	for _, rate := range []int{16000, 24000, 48000} {
		for _, hz := range []float64{200, 1000, 3000} {
			want := mediatest.Sine(8000, hz, -6, time.Second)
			up, down := resampler(t, 8000, rate), resampler(t, rate, 8000)
			got := down.Resample(nil, up.Resample(nil, want))
			late := int((up.Delay() + down.Delay()) * 8000 / time.Second)
			if snr := mediatest.SNR(want[100:7000], got[100+late:7000+late]); snr < 55 {
				t.Errorf("%.0f Hz via %d: %.1f dB, want 55", hz, rate, snr)
			}
		}
	}
}

// However a stream is cut into frames, the same comes out.
func TestResamplerHasNoSeams(t *testing.T) {
	in := mediatest.Sine(8000, 437, -3, 300*time.Millisecond)
	for _, to := range []int{16000, 48000, 11025} {
		whole := resampler(t, 8000, to).Resample(nil, in)
		for _, size := range []int{1, 7, 160, 161, 1000} {
			r := resampler(t, 8000, to)
			var pieces []int16
			for rest := in; len(rest) > 0; {
				n := min(size, len(rest))
				pieces = r.Resample(pieces, rest[:n])
				rest = rest[n:]
			}
			if len(pieces) != len(whole) {
				t.Fatalf("8000→%d by %d: %d samples, want %d", to, size, len(pieces), len(whole))
			}
			for i := range whole {
				if pieces[i] != whole[i] {
					t.Fatalf("8000→%d by %d: sample %d is %d, want %d", to, size, i, pieces[i], whole[i])
				}
			}
		}
	}
}

func TestResamplerGivesWholeFrames(t *testing.T) {
	rates := []int{8000, 16000, 24000, 32000, 48000}
	for _, from := range rates {
		for _, to := range rates {
			r := resampler(t, from, to)
			frame := make([]int16, from/50)
			for range 10 {
				if got := len(r.Resample(nil, frame)); got != to/50 {
					t.Errorf("%d→%d: a frame of %d samples, want %d", from, to, got, to/50)
				}
			}
			if d := r.Delay(); from != to && d > 2500*time.Microsecond {
				t.Errorf("%d→%d: delay %v", from, to, d)
			}
		}
	}
}

// A click comes out where Delay says.
func TestResamplerDelay(t *testing.T) {
	for _, c := range []struct{ from, to int }{{8000, 48000}, {48000, 8000}, {16000, 8000}, {8000, 16000}} {
		r := resampler(t, c.from, c.to)
		in := make([]int16, c.from/10)
		at := len(in) / 2
		for i := range c.from / 4000 { // wide enough for the lower rate
			in[at+i] = 20000
		}
		out := r.Resample(nil, in)
		peak := 0
		for i := range out {
			if out[i] > out[peak] {
				peak = i
			}
		}
		middle := float64(at) + float64(c.from/4000-1)/2
		got := float64(peak)/float64(c.to) - middle/float64(c.from)
		if d := r.Delay().Seconds(); math.Abs(got-d) > 1/float64(min(c.from, c.to)) {
			t.Errorf("%d→%d: delayed by %.3f ms, Delay says %.3f", c.from, c.to, got*1e3, d*1e3)
		}
	}
}

func TestResamplerSaturates(t *testing.T) {
	in := make([]int16, 800)
	for i := range in { // a full square wave overshoots in every filter
		in[i] = math.MaxInt16
		if i/8%2 == 1 {
			in[i] = math.MinInt16
		}
	}
	out := resampler(t, 8000, 16000).Resample(nil, in)
	for i := 100; i+1 < len(out)-100; i++ {
		if int(out[i])-int(out[i+1]) > 60000 || int(out[i+1])-int(out[i]) > 60000 {
			t.Fatalf("sample %d wraps: %d, then %d", i, out[i], out[i+1])
		}
	}
}

func TestResamplerRefusesRates(t *testing.T) {
	for _, c := range [][2]int{{0, 8000}, {8000, 0}, {-8000, 8000}, {7999, 8000}, {8000, 48001}, {1 << 30, 8000}} {
		if _, err := codec.NewResampler(c[0], c[1]); !errors.Is(err, codec.ErrRate) {
			t.Errorf("NewResampler(%d, %d): %v", c[0], c[1], err)
		}
	}
}

func TestResamplerDoesNotAllocate(t *testing.T) {
	in := mediatest.Sine(8000, 440, -10, 20*time.Millisecond)
	r := resampler(t, 8000, 48000)
	out := r.Resample(make([]int16, 0, 960), in)
	if n := testing.AllocsPerRun(100, func() { out = r.Resample(out[:0], in) }); n != 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func TestEncodersTakeAnyRate(t *testing.T) {
	enc, dec := open(t, "PCMU")
	rated, ok := enc.(codec.RateEncoder)
	if !ok {
		t.Fatal("the encoder takes only its own rate")
	}
	for _, rate := range []int{8000, 16000, 48000} {
		pcm := mediatest.Sine(rate, 1000, -10, time.Second)
		var payload []byte
		for ; len(pcm) > 0; pcm = pcm[rate/50:] {
			var err error
			if payload, err = rated.EncodeRate(payload, pcm[:rate/50], rate); err != nil {
				t.Fatal(err)
			}
		}
		got, _ := dec.Decode(nil, payload)
		if len(got) != 8000 {
			t.Errorf("%d Hz: %d samples", rate, len(got))
		}
		if hz := mediatest.Frequency(settled(got), 8000); math.Abs(hz-1000) > 1 {
			t.Errorf("%d Hz: 1000 Hz came out as %.1f", rate, hz)
		}
	}
	if _, err := rated.EncodeRate(nil, []int16{1}, 0); !errors.Is(err, codec.ErrRate) {
		t.Errorf("0 Hz: %v", err)
	}
}

func BenchmarkResample(b *testing.B) {
	for _, c := range [][2]int{{8000, 16000}, {16000, 8000}, {16000, 48000}, {48000, 16000}, {8000, 48000}, {48000, 8000}} {
		b.Run(fmt.Sprintf("%d-%d", c[0], c[1]), func(b *testing.B) {
			r := resampler(b, c[0], c[1])
			in := mediatest.Sine(c[0], 440, -10, 20*time.Millisecond)
			out := make([]int16, 0, c[1]/50)
			b.ReportAllocs()
			for b.Loop() {
				out = r.Resample(out[:0], in)
			}
		})
	}
}
