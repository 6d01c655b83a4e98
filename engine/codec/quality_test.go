package codec_test

import (
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// through sends PCM of rate Hz from codec to codec and gives what comes out at the end at the same rate.
func through(tb testing.TB, pcm []int16, rate int, path ...string) []int16 {
	tb.Helper()
	at := rate
	for _, name := range path {
		clock := 8000
		if name == "opus" {
			clock = 48000
		}
		c, _ := codec.ByName(name, clock)
		enc, err := c.NewEncoder()
		if err != nil {
			tb.Fatal(err)
		}
		payloads := encode(tb, enc.(codec.RateEncoder), pcm, at, 20)
		dec := concealer(tb, name, clock, rate)
		pcm, at = decodeAll(tb, dec, payloads), dec.Rate()
	}
	if at != rate {
		pcm = resampler(tb, at, rate).Resample(nil, pcm)
	}
	return pcm
}

// Speech and tones through every path that a call can take.
func TestQualityOfPaths(t *testing.T) {
	for _, c := range []struct {
		rate     int
		path     []string
		distance float64 // dB between the bands, at most
		snr      float64 // dB by segments, at least
	}{
		{8000, []string{"PCMU"}, 0.5, 30},
		{8000, []string{"PCMU", "PCMA"}, 0.7, 28},
		{8000, []string{"opus"}, 0.4, 16},
		{8000, []string{"PCMU", "opus"}, 0.7, 16},
		{8000, []string{"PCMU", "opus", "PCMA"}, 0.8, 16},
		{8000, []string{"PCMA", "opus", "PCMU", "opus"}, 0.9, 15},
		{16000, []string{"opus"}, 1.8, 7},
		{16000, []string{"opus", "PCMU"}, 1.8, 7},
		{48000, []string{"opus"}, 1.8, 7},
	} {
		said := mediatest.Speech(c.rate, 4*time.Second)
		heard := through(t, said, c.rate, c.path...)
		a, b, late := mediatest.Align(said, heard, c.rate*15/1000)
		distance, snr := mediatest.SpectralDistance(a, b, c.rate), mediatest.SegmentSNR(a, b, c.rate)
		t.Logf("%d Hz %v: %.2f dB between the bands, segment SNR %.1f dB, %.2f ms late", c.rate, c.path, distance, snr,
			1000*float64(late)/float64(c.rate))
		if distance > c.distance || snr < c.snr {
			t.Errorf("%d Hz %v: %.2f dB between the bands, at most %.2f; segment SNR %.1f dB, at least %.1f", c.rate, c.path,
				distance, c.distance, snr, c.snr)
		}
		if l := mediatest.Level(b) - mediatest.Level(a); math.Abs(l) > 1 {
			t.Errorf("%d Hz %v: speech is %.2f dB louder", c.rate, c.path, l)
		}
		for _, hz := range []float64{350, 1000, 3000} {
			got := through(t, mediatest.Sine(c.rate, hz, -12, time.Second), c.rate, c.path...)
			got = settled(got)
			if f := mediatest.Frequency(got, c.rate); math.Abs(f-hz) > hz*0.005 {
				t.Errorf("%d Hz %v: %.0f Hz came out as %.1f", c.rate, c.path, hz, f)
			}
			if l := mediatest.Level(got) + 12; math.Abs(l) > 1 {
				t.Errorf("%d Hz %v: %.0f Hz came out %.2f dB louder", c.rate, c.path, hz, l)
			}
			if gap := mediatest.LongestGap(got, c.rate); gap > 5*time.Millisecond {
				t.Errorf("%d Hz %v: a gap of %v in a tone", c.rate, c.path, gap)
			}
		}
	}
}

// opusThroughLoss is what is heard of payloads. Without conceal, what got lost is silence; without fec, the copies in
// the payloads behind it are not used.
func opusThroughLoss(tb testing.TB, payloads [][]byte, lost []bool, conceal, fec bool) []int16 {
	tb.Helper()
	dec := concealer(tb, "opus", 48000, 8000)
	var out []int16
	var err error
	for i, p := range payloads {
		var next []byte
		if fec && i+1 < len(payloads) && !lost[i+1] {
			next = payloads[i+1]
		}
		switch {
		case !lost[i]:
			out, err = dec.Decode(out, p)
		case conceal:
			out, err = dec.Conceal(out, 20, next)
		default:
			out = append(out, make([]int16, 160)...)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// At 5 % random loss, concealment is better than silence, and copies are better than concealment.
func TestOpusAtLoss(t *testing.T) {
	said := mediatest.Speech(8000, 10*time.Second)
	lost := lossy(len(said)/160, 0.05)
	run := func(fmtp string, report float64) (whole []int16, payloads [][]byte) {
		enc := opusEncoder(t, codec.EncoderOptions{Fmtp: fmtp})
		enc.(codec.LossAdapter).AdaptLoss(report)
		payloads = encode(t, enc, said, 8000, 20)
		return opusThroughLoss(t, payloads, make([]bool, len(payloads)), true, false), payloads
	}
	whole, payloads := run("useinbandfec=1", 0)
	silent := mediatest.SpectralDistance(whole, opusThroughLoss(t, payloads, lost, false, false), 8000)
	concealed := mediatest.SpectralDistance(whole, opusThroughLoss(t, payloads, lost, true, true), 8000)
	wholeFEC, protected := run("useinbandfec=1", 5)
	unused := opusThroughLoss(t, protected, lost, true, false)
	used := opusThroughLoss(t, protected, lost, true, true)
	extrapolated, repaired := mediatest.SpectralDistance(wholeFEC, unused, 8000), mediatest.SpectralDistance(wholeFEC, used, 8000)
	t.Logf("CELT: %.2f dB of spectral distance with silence, %.2f concealed. SILK: %.2f dB concealed, %.2f from copies; segment SNR %.1f and %.1f dB",
		silent, concealed, extrapolated, repaired, mediatest.SegmentSNR(wholeFEC, unused, 8000), mediatest.SegmentSNR(wholeFEC, used, 8000))
	if concealed > silent*0.8 {
		t.Errorf("concealment: %.2f dB, silence %.2f", concealed, silent)
	}
	if repaired > extrapolated*0.6 {
		t.Errorf("copies: %.2f dB, concealment %.2f", repaired, extrapolated)
	}
}
