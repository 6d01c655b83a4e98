package codec_test

import (
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// through16 sends PCM of a rate through G.722, frame by frame, and gives what its decoder makes of it at 16 kHz.
func through16(tb testing.TB, pcm []int16, rate int) []int16 {
	tb.Helper()
	c, ok := codec.ByName("G722", 8000)
	if !ok {
		tb.Fatal("no G.722")
	}
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	dec := concealer(tb, "G722", 8000, 16000)
	if dec.Rate() != 16000 {
		tb.Fatalf("the decoder gives %d Hz", dec.Rate())
	}
	var out []int16
	for frame := rate / 50; len(pcm) >= frame; pcm = pcm[frame:] {
		payload, err := enc.(codec.RateEncoder).EncodeRate(nil, pcm[:frame], rate)
		if err != nil || len(payload) != 160 || c.Duration(payload) != 20*time.Millisecond {
			tb.Fatalf("%d bytes for 20 ms, %v", len(payload), err)
		}
		if out, err = dec.Decode(out, payload); err != nil {
			tb.Fatal(err)
		}
	}
	return out
}

// Tones of both bands come out with their frequency and level, from PCM of any rate.
func TestG722KeepsATone(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		for _, hz := range []float64{300, 1000, 3000, 6000} {
			if hz > float64(rate)*0.42 {
				continue
			}
			got := through16(t, mediatest.Sine(rate, hz, -12, time.Second), rate)[4800:]
			if f := mediatest.Frequency(got, 16000); math.Abs(f-hz) > hz/100 {
				t.Errorf("%.0f Hz at %d: %.1f Hz", hz, rate, f)
			}
			if l := mediatest.ToneLevel(got, 16000, hz); math.Abs(l+12) > 1 {
				t.Errorf("%.0f Hz at %d: %.1f dBFS of -12", hz, rate, l)
			}
			if s := mediatest.SINAD(got, 16000, hz); s < 18 {
				t.Errorf("%.0f Hz at %d: SINAD %.1f dB", hz, rate, s)
			}
		}
	}
}

// Speech keeps its sound, and stays nearer to itself when lost packets are concealed than with holes.
func TestG722Speech(t *testing.T) {
	said := mediatest.Speech(16000, 8*time.Second)
	whole := through16(t, said, 16000)
	a, b, _ := mediatest.Align(said, whole, 800)
	if d := mediatest.SpectralDistance(a, b, 16000); d > 1.5 {
		t.Errorf("speech is %.1f dB off", d)
	}
	c, _ := codec.ByName("G722", 8000)
	lost := lossy(len(said)/320, 0.05)
	heard := func(conceal bool) []int16 {
		enc, err := c.NewEncoder()
		if err != nil {
			t.Fatal(err)
		}
		dec := concealer(t, "G722", 8000, 16000)
		var out []int16
		for i := range lost {
			payload, _ := enc.Encode(nil, said[i*320:(i+1)*320])
			switch {
			case !lost[i]:
				out, err = dec.Decode(out, payload)
			case conceal:
				out, err = dec.Conceal(out, 20, nil)
			default:
				out = append(out, make([]int16, 320)...)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	with := mediatest.SpectralDistance(whole, heard(true), 16000)
	without := mediatest.SpectralDistance(whole, heard(false), 16000)
	t.Logf("%.2f dB with concealment, %.2f without", with, without)
	if with > without*0.8 {
		t.Errorf("%.2f dB with concealment, %.2f without", with, without)
	}
}

// Silence that passes the encoder, and silence that it makes itself, are silent at the far end; sound comes back whole.
func TestG722Silence(t *testing.T) {
	c, _ := codec.ByName("G722", 8000)
	enc, err := c.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	dec := concealer(t, "G722", 8000, 16000)
	tone := mediatest.Sine(16000, 700, -12, time.Second)
	say := func(from, n int, silent func(dst []byte) []byte) (out []int16) {
		for i := range n {
			var payload []byte
			if silent != nil {
				payload = silent(nil)
			} else {
				payload, _ = enc.Encode(nil, tone[(from+i)*320:(from+i+1)*320])
			}
			if out, err = dec.Decode(out, payload); err != nil || len(payload) != 160 {
				t.Fatal(len(payload), err)
			}
		}
		return out
	}
	say(0, 20, nil)
	for name, silent := range map[string]func([]byte) []byte{
		"of the table":   func(dst []byte) []byte { return c.AppendSilence(dst, 20) },
		"of the encoder": func(dst []byte) []byte { return enc.(codec.Silencer).EncodeSilence(dst, 20) },
	} {
		if l := mediatest.Level(say(0, 20, silent)[1600:]); l > -55 {
			t.Errorf("silence %s has %.1f dBFS", name, l)
		}
	}
	enc.(codec.Warmer).Warm(tone[:1600], 16000)
	if l := mediatest.Level(say(20, 20, nil)[1600:]); math.Abs(l+12) > 1 {
		t.Errorf("the tone comes back with %.1f dBFS", l)
	}
}

func TestG722DoesNotAllocate(t *testing.T) {
	c, _ := codec.ByName("G722", 8000)
	enc, _ := c.NewEncoder()
	dec := concealer(t, "G722", 8000, 16000)
	pcm, payload, out := mediatest.Sine(16000, 700, -12, 20*time.Millisecond), make([]byte, 0, 160), make([]int16, 0, 640)
	if n := testing.AllocsPerRun(100, func() {
		payload, _ = enc.Encode(payload[:0], pcm)
		out, _ = dec.Decode(out[:0], payload)
		out, _ = dec.Conceal(out[:0], 20, nil)
	}); n > 0 {
		t.Errorf("%.0f allocations per frame", n)
	}
}

func BenchmarkG722(b *testing.B) {
	c, _ := codec.ByName("G722", 8000)
	enc, _ := c.NewEncoder()
	dec, _ := c.NewDecoderAt(16000)
	pcm, payload, out := mediatest.Speech(16000, 20*time.Millisecond), make([]byte, 0, 160), make([]int16, 0, 640)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			payload, _ = enc.Encode(payload[:0], pcm)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			out, _ = dec.Decode(out[:0], payload)
		}
	})
}

// Whatever comes, the decoder gives two samples for each byte.
func FuzzG722Decode(f *testing.F) {
	f.Add([]byte{0xfa, 0xfa})
	f.Add([]byte{0, 255, 1, 254})
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, _ := codec.ByName("G722", 8000)
		dec, err := c.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := dec.Decode(nil, payload); err != nil || len(out) != 2*len(payload) {
			t.Errorf("%d samples of %d bytes, %v", len(out), len(payload), err)
		}
	})
}
