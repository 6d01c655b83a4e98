package codec_test

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func opusRow(tb testing.TB) codec.Codec {
	tb.Helper()
	c, ok := codec.ByName("OPUS", 48000)
	if !ok {
		tb.Fatal("no Opus")
	}
	return c
}

func opusEncoder(tb testing.TB, o codec.EncoderOptions) codec.RateEncoder {
	tb.Helper()
	enc, err := opusRow(tb).NewEncoderFor(o)
	if err != nil {
		tb.Fatal(err)
	}
	return enc.(codec.RateEncoder)
}

// encode gives the payloads of pcm, ms milliseconds each.
func encode(tb testing.TB, enc codec.RateEncoder, pcm []int16, rate, ms int) [][]byte {
	tb.Helper()
	var payloads [][]byte
	for n := rate * ms / 1000; len(pcm) >= n; pcm = pcm[n:] {
		p, err := enc.EncodeRate(nil, pcm[:n], rate)
		if err != nil {
			tb.Fatal(err)
		}
		payloads = append(payloads, p)
	}
	return payloads
}

func decodeAll(tb testing.TB, dec codec.Decoder, payloads [][]byte) []int16 {
	tb.Helper()
	var pcm []int16
	for _, p := range payloads {
		var err error
		if pcm, err = dec.Decode(pcm, p); err != nil {
			tb.Fatal(err)
		}
	}
	return pcm
}

// mode is what made a payload, and its bandwidth in kHz of sampling (RFC 6716 3.1).
func mode(payload []byte) (name string, khz int) {
	config := int(payload[0] >> 3)
	switch {
	case config < 12:
		return "SILK", []int{8, 12, 16}[config/4]
	case config < 16:
		return "hybrid", []int{24, 48}[(config-12)/2]
	}
	return "CELT", []int{8, 16, 24, 48}[(config-16)/4]
}

// Every rate in, every packet time, every rate out: a tone keeps its frequency and its level, without a gap.
func TestOpusKeepsATone(t *testing.T) {
	for _, in := range []int{8000, 12000, 16000, 24000, 32000, 44100, 48000} {
		for _, ms := range []int{10, 20, 40, 60} {
			for _, out := range []int{8000, 16000, 48000} {
				pcm := mediatest.Sine(in, 500, -12, 1200*time.Millisecond)
				payloads := encode(t, opusEncoder(t, codec.EncoderOptions{}), pcm, in, ms)
				dec := concealer(t, "opus", 48000, out)
				if dec.Rate() != out {
					t.Fatalf("decoder of %d Hz instead of %d", dec.Rate(), out)
				}
				got := decodeAll(t, dec, payloads)
				if want := len(payloads) * ms * out / 1000; len(got) != want {
					t.Fatalf("%d→%d, %d ms: %d samples, want %d", in, out, ms, len(got), want)
				}
				got = got[len(got)/4:]
				if hz := mediatest.Frequency(got, out); math.Abs(hz-500) > 2.5 {
					t.Errorf("%d→%d, %d ms: 500 Hz came out as %.1f", in, out, ms, hz)
				}
				if l := mediatest.Level(got) + 12; math.Abs(l) > 1 {
					t.Errorf("%d→%d, %d ms: %.2f dB louder", in, out, ms, l)
				}
				if gap := mediatest.LongestGap(got, out); gap > 5*time.Millisecond {
					t.Errorf("%d→%d, %d ms: a gap of %v", in, out, ms, gap)
				}
				for _, p := range payloads {
					if d := opusRow(t).Duration(p); d != time.Duration(ms)*time.Millisecond {
						t.Fatalf("%d ms: Duration says %v", ms, d)
					}
				}
			}
		}
	}
}

func TestOpusDecoderTakesTheNearestRate(t *testing.T) {
	for want, got := range map[int]int{0: 48000, 7000: 8000, 8000: 8000, 11025: 12000, 16000: 16000, 22050: 24000, 44100: 48000, 96000: 48000} {
		if rate := concealer(t, "opus", 48000, want).Rate(); rate != got {
			t.Errorf("%d Hz wanted, %d given, want %d", want, rate, got)
		}
	}
}

// What the encoder makes of a source is as wide as the source, and by the cheaper half of Opus where that is as good.
func TestOpusProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		rate    int
		options codec.EncoderOptions
		loss    float64
		mode    string
		khz     int
	}{
		"narrowband":                       {8000, codec.EncoderOptions{}, 0, "CELT", 8},
		"narrowband with loss":             {8000, codec.EncoderOptions{Fmtp: "useinbandfec=1"}, 3, "SILK", 8},
		"a little loss":                    {8000, codec.EncoderOptions{Fmtp: "useinbandfec=1"}, 1.5, "CELT", 8},
		"no copies wanted, some loss":      {8000, codec.EncoderOptions{}, 3, "CELT", 8},
		"no copies wanted, much loss":      {8000, codec.EncoderOptions{Fmtp: "useinbandfec=0"}, 4, "SILK", 8},
		"never protect":                    {8000, codec.EncoderOptions{Fmtp: "useinbandfec=1", Opus: codec.OpusOptions{LossForFEC: -1}}, 30, "CELT", 8},
		"protect late":                     {8000, codec.EncoderOptions{Fmtp: "useinbandfec=1", Opus: codec.OpusOptions{LossForFEC: 10}}, 9, "CELT", 8},
		"the far end limits the bit rate":  {8000, codec.EncoderOptions{Fmtp: "maxaveragebitrate=20000"}, 0, "SILK", 8},
		"the operator limits the bit rate": {8000, codec.EncoderOptions{Opus: codec.OpusOptions{Bitrate: 16000}}, 0, "SILK", 8},
		"silence is left out":              {8000, codec.EncoderOptions{Fmtp: "usedtx=1", Opus: codec.OpusOptions{DTX: true}}, 0, "SILK", 8},
		"only one side wants DTX":          {8000, codec.EncoderOptions{Opus: codec.OpusOptions{DTX: true}}, 0, "CELT", 8},
		"wideband":                         {16000, codec.EncoderOptions{}, 0, "SILK", 16},
		"wideband to a narrowband player":  {16000, codec.EncoderOptions{Fmtp: "maxplaybackrate=8000; stereo=0"}, 0, "SILK", 8},
		"wideband with loss":               {16000, codec.EncoderOptions{Fmtp: "useinbandfec=1"}, 5, "SILK", 16},
		"fullband to a wideband player":    {48000, codec.EncoderOptions{Fmtp: "MaxPlaybackRate = 16000;x;=;y=z"}, 0, "SILK", 16},
		"fullband":                         {48000, codec.EncoderOptions{}, 0, "hybrid", 48},
	} {
		t.Run(name, func(t *testing.T) {
			enc := opusEncoder(t, c.options)
			enc.(codec.LossAdapter).AdaptLoss(c.loss)
			payloads := encode(t, enc, mediatest.Speech(c.rate, time.Second), c.rate, 20)
			if mode, khz := mode(payloads[len(payloads)-5]); mode != c.mode || khz != c.khz {
				t.Errorf("%s of %d kHz, want %s of %d", mode, khz, c.mode, c.khz)
			}
		})
	}
}

func TestOpusKeepsToTheBitRate(t *testing.T) {
	for _, c := range []struct {
		rate    int
		options codec.EncoderOptions
		most    int
	}{
		{8000, codec.EncoderOptions{}, 40_000},
		{8000, codec.EncoderOptions{Fmtp: "maxaveragebitrate=16000"}, 16_000},
		{16000, codec.EncoderOptions{Fmtp: "maxaveragebitrate=16000"}, 16_000},
		{48000, codec.EncoderOptions{Opus: codec.OpusOptions{Bitrate: 20_000}}, 20_000},
	} {
		total := 0
		payloads := encode(t, opusEncoder(t, c.options), mediatest.Speech(c.rate, 10*time.Second), c.rate, 20)
		for _, p := range payloads {
			total += len(p)
		}
		if got := total * 8 / 10; got > c.most*11/10 || got < c.most/4 {
			t.Errorf("%d Hz, %+v: %d bit/s, want at most %d", c.rate, c.options, got, c.most)
		}
	}
}

// Protection begins at once and ends after three reports of little loss; between the two limits nothing changes.
func TestOpusProtectionHasHysteresis(t *testing.T) {
	enc := opusEncoder(t, codec.EncoderOptions{Fmtp: "useinbandfec=1"})
	said := mediatest.Speech(8000, time.Second)
	now := func() string {
		p, err := enc.EncodeRate(nil, said[3200:3360], 8000)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := mode(p)
		return name
	}
	for i, step := range []struct {
		report float64
		want   string
	}{
		{0, "CELT"},
		{1.9, "CELT"},
		{2, "SILK"},
		{1.2, "SILK"},
		{1.2, "SILK"},
		{1.2, "SILK"},
		{0.5, "SILK"},
		{0, "SILK"},
		{1.5, "SILK"},
		{0, "SILK"},
		{0, "SILK"},
		{0, "CELT"},
		{0, "CELT"},
		{math.NaN(), "CELT"},
		{-3, "CELT"},
		{900, "SILK"},
	} {
		enc.(codec.LossAdapter).AdaptLoss(step.report)
		if got := now(); got != step.want {
			t.Errorf("step %d, %.1f %%: %s, want %s", i, step.report, got, step.want)
		}
	}
}

// A change of encoder or of its rate in the middle of a tone is no click and no gap.
func TestOpusSwitchesWithoutASeam(t *testing.T) {
	for name, rates := range map[string][2]int{"to protection": {8000, 8000}, "to wideband": {8000, 16000}, "to narrowband": {16000, 8000}} {
		enc := opusEncoder(t, codec.EncoderOptions{Fmtp: "useinbandfec=1"})
		var payloads [][]byte
		for k, rate := range rates {
			tone := mediatest.Sine(rate, 400, -12, 2*time.Second)
			payloads = append(payloads, encode(t, enc, tone[:rate], rate, 20)...)
			if k == 0 && rates[1] == rate {
				enc.(codec.LossAdapter).AdaptLoss(5)
			}
		}
		got := decodeAll(t, concealer(t, "opus", 48000, 8000), payloads)[4000:]
		if gap := mediatest.LongestGap(got, 8000); gap > 5*time.Millisecond {
			t.Errorf("%s: a gap of %v", name, gap)
		}
		dips := 0
		for at := 0; at+160 <= len(got); at += 160 {
			l := mediatest.Level(got[at:at+160]) + 12
			if math.Abs(l) > 3 {
				dips++
			}
			if math.Abs(l) > 12 {
				t.Errorf("%s: %d ms before the end the level is off by %.1f dB", name, (len(got)-at)/8, l)
			}
		}
		if dips > 1 { // CELT is 4 ms ahead of SILK, and that is all that may be heard
			t.Errorf("%s: %d frames are off by more than 3 dB", name, dips)
		}
	}
}

// An encoder that was warmed with what the far end heard from another one continues it better than a fresh one.
func TestOpusWarm(t *testing.T) {
	said := mediatest.Speech(8000, 2*time.Second)
	distance := func(warm bool) float64 {
		var want, got []int16
		for at := 8000; at+1600 <= len(said); at += 160 {
			other := opusEncoder(t, codec.EncoderOptions{})
			dec := concealer(t, "opus", 48000, 8000)
			_ = decodeAll(t, dec, encode(t, other, said[at-3200:at], 8000, 20))
			own := opusEncoder(t, codec.EncoderOptions{})
			if warm {
				own.(codec.Warmer).Warm(said[at-600:at], 8000)
			}
			got = append(got, decodeAll(t, dec, encode(t, own, said[at:at+160], 8000, 20))...)
			want = append(want, said[at-20:at+140]...) // CELT is 2.5 ms late
		}
		return mediatest.SegmentSNR(want, got, 8000)
	}
	fresh, warm := distance(false), distance(true)
	t.Logf("first payload of an encoder: %.1f dB fresh, %.1f dB warmed", fresh, warm)
	if warm < fresh+3 {
		t.Errorf("segment SNR of the first payload: %.1f dB fresh, %.1f dB warmed", fresh, warm)
	}
}

func TestOpusWarmTakesAnything(t *testing.T) {
	enc := opusEncoder(t, codec.EncoderOptions{})
	for _, rate := range []int{0, -1, 50, 8000, 16000, 16000, 8000, 44100, 1 << 30} {
		for _, n := range []int{0, 1, 160, 5000} {
			enc.(codec.Warmer).Warm(make([]int16, n), rate)
			if _, err := enc.EncodeRate(nil, make([]int16, 320), 16000); err != nil {
				t.Errorf("after %d samples of %d Hz: %v", n, rate, err)
			}
		}
	}
}

func TestOpusDTX(t *testing.T) {
	c := opusRow(t)
	sent := func(o codec.EncoderOptions) (payloads, left int) {
		enc := opusEncoder(t, o)
		said := append(mediatest.Speech(8000, 400*time.Millisecond), make([]int16, 16000)...)
		for _, p := range encode(t, enc, said, 8000, 20) {
			payloads++
			if c.Discontinuous(p) {
				left++
			}
		}
		return payloads, left
	}
	dtx := codec.OpusOptions{DTX: true}
	if n, left := sent(codec.EncoderOptions{Fmtp: "usedtx=1", Opus: dtx}); left < n/2 {
		t.Errorf("two seconds of silence: %d of %d payloads are to be left out", left, n)
	}
	for _, o := range []codec.EncoderOptions{{Fmtp: "usedtx=1"}, {Opus: dtx}, {Fmtp: "usedtx=0", Opus: dtx}} {
		if n, left := sent(o); left != 0 {
			t.Errorf("%+v: %d of %d payloads are to be left out", o, left, n)
		}
	}
	pcmu, _ := codec.ByName("PCMU", 8000)
	if pcmu.Discontinuous(nil) || pcmu.Discontinuous([]byte{1}) {
		t.Error("PCMU has no discontinuous transmission")
	}
}

func TestOpusSilence(t *testing.T) {
	c := opusRow(t)
	for _, ms := range []int{10, 20, 40, 60, 100, 120} {
		payload := c.AppendSilence([]byte{9}, ms)
		if payload[0] != 9 || c.Duration(payload[1:]) != time.Duration(ms)*time.Millisecond {
			t.Errorf("%d ms: %x lasts %v", ms, payload[1:], c.Duration(payload[1:]))
		}
		if c.Discontinuous(payload[1:]) {
			t.Errorf("%d ms: the payload of silence looks like none", ms)
		}
		for name, rate := range map[string]int{"at the start": 0, "after narrowband": 8000, "after wideband": 16000, "after fullband": 48000} {
			dec := concealer(t, "opus", 48000, 8000)
			if rate > 0 {
				_ = decodeAll(t, dec, encode(t, opusEncoder(t, codec.EncoderOptions{}), mediatest.Speech(rate, 500*time.Millisecond), rate, 20))
			}
			var pcm []int16
			for range 3 {
				pcm = decodeAll(t, dec, [][]byte{payload[1:]})
			}
			if l := mediatest.Level(pcm); l > -80 {
				t.Errorf("%d ms %s: silence is at %.1f dB", ms, name, l)
			}
		}
	}
	if c.Bytewise() || c.Silence() != 0 {
		t.Error("Opus is not bytewise")
	}
}

// Sound that comes back after payloads of silence is right from its first frame on if the encoder knows of them.
func TestOpusComesBackFromSilence(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		distance := func(told bool) float64 {
			said, n := mediatest.Speech(rate, 4*time.Second), rate/50
			enc, dec := opusEncoder(t, codec.EncoderOptions{}), concealer(t, "opus", 48000, rate)
			var want, got []int16
			for i := 0; len(said) >= n; i++ {
				var payload []byte
				if i%8 < 3 {
					payload = encode(t, enc, said[:n], rate, 20)[0]
					want, said = append(want, said[:n]...), said[n:]
				} else {
					want = append(want, make([]int16, n)...)
					if payload = opusRow(t).AppendSilence(nil, 20); told {
						payload = enc.(codec.Silencer).EncodeSilence(nil, 20)
					}
				}
				got = append(got, decodeAll(t, dec, [][]byte{payload})...)
			}
			a, b, _ := mediatest.Align(want, got, rate*15/1000)
			return mediatest.SpectralDistance(a, b, rate)
		}
		told, untold := distance(true), distance(false)
		t.Logf("%d Hz: spectral distance %.2f dB, %.2f if the encoder does not know", rate, told, untold)
		if told > 2 || told > untold/2 {
			t.Errorf("%d Hz: spectral distance %.2f dB, %.2f if the encoder does not know", rate, told, untold)
		}
	}
}

// An encoder and a decoder of a stream in which nothing happens cost next to nothing.
func TestOpusIsLazy(t *testing.T) {
	c := opusRow(t)
	if r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			enc, _ := c.NewEncoder()
			dec, _ := c.NewDecoderAt(8000)
			enc.(codec.LossAdapter).AdaptLoss(5)
			enc.(codec.Warmer).Warm(make([]int16, 480), 8000)
			if dec.Rate() != 8000 {
				b.Fatal("wrong rate")
			}
		}
	}); r.AllocedBytesPerOp() > 3000 {
		t.Errorf("%d bytes", r.AllocedBytesPerOp())
	}
}

// A stereo sender is heard in mono, both channels.
func TestOpusDecodesStereo(t *testing.T) {
	const rate = 48000
	left, right := mediatest.Sine(rate, 500, -12, time.Second), mediatest.Sine(rate, 1200, -12, time.Second)
	both := make([]int16, 0, 2*rate)
	for i := range left {
		both = append(both, left[i], right[i])
	}
	dec := concealer(t, "opus", 48000, 16000)
	got := decodeAll(t, dec, bareStereo(t, both))
	if len(got) != 16000 {
		t.Fatalf("%d samples", len(got))
	}
	for _, hz := range []float64{500, 1200} {
		if l := mediatest.ToneLevel(got[8000:], 16000, hz) + 12; l > -4 || l < -8 {
			t.Errorf("%.0f Hz of one channel: %.1f dB, want −6", hz, l)
		}
	}
}

func TestOpusRefusesNonsense(t *testing.T) {
	enc := opusEncoder(t, codec.EncoderOptions{})
	for _, c := range []struct{ n, rate int }{{0, 8000}, {1, 8000}, {161, 8000}, {10000, 8000}, {160, 0}, {160, 96000}} {
		p, err := enc.EncodeRate([]byte{1}, make([]int16, c.n), c.rate)
		if err == nil || !bytes.Equal(p, []byte{1}) {
			t.Errorf("%d samples at %d Hz: %v, %v", c.n, c.rate, p, err)
		}
	}
	dec := concealer(t, "opus", 48000, 8000)
	for _, p := range [][]byte{{0xFF}, {0xFF, 0}, {0x0B, 0x3F}, {0xFA, 0xFF}, bytes.Repeat([]byte{1}, 2000), {0x19, 1, 2}} {
		pcm, err := dec.Decode([]int16{5}, p)
		if len(p) > 0 && (err == nil) != (opusRow(t).Duration(p) > 0) {
			t.Errorf("%x: error %v, but Duration %v", p[:min(len(p), 8)], err, opusRow(t).Duration(p))
		}
		if pcm[0] != 5 || err != nil && len(pcm) != 1 {
			t.Errorf("%x: %d samples, %v", p[:min(len(p), 8)], len(pcm), err)
		}
	}
	if pcm, err := dec.Decode(nil, nil); err != nil || len(pcm) != 160 {
		t.Errorf("an empty payload gives %d samples, %v", len(pcm), err)
	}
}

func TestOpusDoesNotAllocate(t *testing.T) {
	for _, rate := range []int{8000, 16000, 44100, 48000} {
		enc, dec := opusEncoder(t, codec.EncoderOptions{Fmtp: "useinbandfec=1"}), concealer(t, "opus", 48000, rate)
		said := mediatest.Speech(rate, time.Second)
		payload, pcm, at, n := []byte(nil), []int16(nil), 0, rate/50
		frame := func() {
			payload, _ = enc.EncodeRate(payload[:0], said[at:at+n], rate)
			pcm, _ = dec.Decode(pcm[:0], payload)
			pcm, _ = dec.Conceal(pcm[:0], 20, payload)
			payload = enc.(codec.Silencer).EncodeSilence(payload[:0], 20)
			at = (at + n) % (40 * n)
		}
		for range 20 {
			frame()
		}
		if allocs := testing.AllocsPerRun(200, frame); allocs != 0 {
			t.Errorf("%d Hz: %v allocations per frame", rate, allocs)
		}
	}
}

// Whatever comes, the decoder gives samples or an error, and Duration is how many.
func FuzzOpusDecode(f *testing.F) {
	c := opusRow(f)
	for _, rate := range []int{8000, 16000, 48000} {
		for _, p := range encode(f, opusEncoder(f, codec.EncoderOptions{}), mediatest.Speech(rate, 100*time.Millisecond), rate, 20) {
			f.Add(p, []byte{})
		}
	}
	f.Add(c.AppendSilence(nil, 60), []byte{0xFB, 0x43, 0x02, 1, 2, 3, 4, 5})
	f.Add([]byte{0x1A, 252, 0, 7}, []byte{0xFF})
	f.Fuzz(func(t *testing.T, payload, next []byte) {
		dec := concealer(t, "opus", 48000, 8000)
		for _, p := range [][]byte{payload, next, payload} {
			pcm, err := dec.Decode(nil, p)
			want := int(c.Duration(p) * 8000 / time.Second)
			if len(p) == 0 {
				want = 160
			}
			if len(pcm) != want || (err == nil) != (want > 0) {
				t.Fatalf("%x: %d samples, want %d; %v", p, len(pcm), want, err)
			}
			for _, ms := range []int{20, 1, 130} {
				if pcm, err = dec.Conceal(nil, ms, next); err != nil || len(pcm) != 8*ms {
					t.Fatalf("%d ms concealed before %x: %d samples, %v", ms, next, len(pcm), err)
				}
			}
		}
	})
}
