package media_test

import (
	"bytes"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func row(tb testing.TB, name string) codec.Codec {
	tb.Helper()
	clock := 8000
	if name == "opus" {
		clock = 48_000
	}
	c, ok := codec.ByName(name, clock)
	if !ok {
		tb.Fatalf("no codec %q", name)
	}
	return c
}

// counting is an encoder and a decoder that counts what it is asked.
type counting struct {
	encoder          codec.Encoder
	decoder          codec.Decoder
	encoded, decoded int
}

func (c *counting) Encode(dst []byte, pcm []int16) ([]byte, error) {
	c.encoded++
	return c.encoder.Encode(dst, pcm)
}

func (*counting) Rate() int { return 8000 }

func (c *counting) Decode(dst []int16, payload []byte) ([]int16, error) {
	c.decoded++
	return c.decoder.Decode(dst, payload)
}

func counted(tb testing.TB, c codec.Codec) *counting {
	tb.Helper()
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	dec, err := c.NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	return &counting{encoder: enc, decoder: dec}
}

func payloadOf(tb testing.TB, c codec.Codec, pcm []int16) []byte {
	tb.Helper()
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	p, err := enc.Encode(nil, pcm)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestFramePassesTheSameCodecUntouched(t *testing.T) {
	pcmu := row(t, "PCMU")
	work := counted(t, pcmu)
	sent := []byte{1, 2, 3, 4}
	var f media.Frame
	f.SetPayload(pcmu, sent, work)
	got, err := f.Encode(pcmu, work)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%v, %v; want %v", got, err, sent)
	}
	if work.decoded+work.encoded != 0 {
		t.Errorf("decoded %d times, encoded %d times", work.decoded, work.encoded)
	}
	if !f.Codec().Same(pcmu) || !bytes.Equal(f.Payload(), sent) {
		t.Errorf("codec %v, payload %v", f.Codec(), f.Payload())
	}
	sent[0] = 99
	if f.Payload()[0] != 1 {
		t.Error("the frame shares its bytes with the packet")
	}
}

func TestFrameDecodesAndEncodesOnce(t *testing.T) {
	pcmu, pcma := row(t, "PCMU"), row(t, "PCMA")
	in, out := counted(t, pcmu), counted(t, pcma)
	var f media.Frame
	tone := mediatest.Sine(8000, 1000, -10, 20*time.Millisecond)
	for round := 1; round <= 3; round++ {
		f.SetPayload(pcmu, payloadOf(t, pcmu, tone), in)
		for range 5 { // hearers
			payload, err := f.Encode(pcma, out)
			if err != nil || len(payload) != 160 {
				t.Fatalf("%d bytes, %v", len(payload), err)
			}
			if pcm, rate := f.PCM(); len(pcm) != 160 || rate != 8000 {
				t.Fatalf("%d samples of %d Hz", len(pcm), rate)
			}
		}
		if in.decoded != round || out.encoded != round {
			t.Errorf("after %d frames: decoded %d times, encoded %d times", round, in.decoded, out.encoded)
		}
	}
}

func TestFrameTranscodes(t *testing.T) {
	want := mediatest.Sine(8000, 1000, -10, time.Second)
	for _, way := range [][2]string{{"PCMU", "PCMA"}, {"PCMA", "PCMU"}} {
		from, to := row(t, way[0]), row(t, way[1])
		dec, _ := to.NewDecoder()
		var f media.Frame
		var heard []int16
		for rest := want; len(rest) > 0; rest = rest[160:] {
			f.SetPayload(from, payloadOf(t, from, rest[:160]), nil)
			payload, err := f.Encode(to, nil)
			if err != nil {
				t.Fatal(err)
			}
			heard, _ = dec.Decode(heard, payload)
		}
		if snr := mediatest.SNR(want, heard); snr < 33 {
			t.Errorf("%s to %s: %.1f dB, want 33", way[0], way[1], snr)
		}
	}
}

// Several codecs in one frame keep apart, and a new frame forgets the old one.
func TestFrameKeepsEncodingsApart(t *testing.T) {
	pcmu, pcma := row(t, "PCMU"), row(t, "PCMA")
	var f media.Frame
	for _, hz := range []float64{500, 1500} {
		pcm := mediatest.Sine(8000, hz, -10, 20*time.Millisecond)
		f.SetPCM(8000, pcm)
		for range 2 {
			for _, c := range []codec.Codec{pcmu, pcma} {
				got, err := f.Encode(c, nil)
				if err != nil || !bytes.Equal(got, payloadOf(t, c, pcm)) {
					t.Errorf("%g Hz in %v is wrong (%v)", hz, c, err)
				}
			}
		}
	}
}

func TestFrameResamples(t *testing.T) {
	pcmu := row(t, "PCMU")
	dec, _ := pcmu.NewDecoder()
	for _, rate := range []int{16000, 48000} {
		for _, own := range []bool{true, false} {
			var enc codec.Encoder
			if !own {
				enc, _ = pcmu.NewEncoder()
			}
			var f media.Frame
			var heard []int16
			for pcm := mediatest.Sine(rate, 1000, -10, time.Second); len(pcm) > 0; pcm = pcm[rate/50:] {
				f.SetPCM(rate, pcm[:rate/50])
				payload, err := f.Encode(pcmu, enc)
				if err != nil {
					t.Fatal(err)
				}
				heard, _ = dec.Decode(heard, payload)
			}
			heard = heard[800:]
			if hz := mediatest.Frequency(heard, 8000); math.Abs(hz-1000) > 1 {
				t.Errorf("%d Hz: 1000 Hz is heard as %.1f", rate, hz)
			}
			if l := mediatest.ToneLevel(heard, 8000, 1000); math.Abs(l+10) > 0.3 {
				t.Errorf("%d Hz: −10 dBFS is heard as %.2f", rate, l)
			}
			if gap := mediatest.LongestGap(heard, 8000); gap > 0 {
				t.Errorf("%d Hz: a gap of %v", rate, gap)
			}
		}
	}
}

func TestFrameRefusesARateThatItsEncoderCannotTake(t *testing.T) {
	var f media.Frame
	f.SetPCM(16000, make([]int16, 320))
	if _, err := f.Encode(row(t, "PCMU"), counted(t, row(t, "PCMU"))); !errors.Is(err, codec.ErrRate) {
		t.Errorf("error %v", err)
	}
}

func TestFrameSilence(t *testing.T) {
	var f media.Frame
	check := func(when string) {
		t.Helper()
		if !f.Silent() || len(f.Payload()) != 0 || f.Codec() != (codec.Codec{}) {
			t.Errorf("%s: silent %v, codec %v, %d bytes", when, f.Silent(), f.Codec(), len(f.Payload()))
		}
		if pcm, _ := f.PCM(); len(pcm) != 0 {
			t.Errorf("%s: %d samples", when, len(pcm))
		}
		if p, err := f.Encode(row(t, "PCMA"), nil); len(p) != 0 || err != nil {
			t.Errorf("%s: encodes to %d bytes, %v", when, len(p), err)
		}
	}
	check("a new frame")
	f.SetPayload(row(t, "PCMU"), []byte{1, 2}, nil)
	if f.Silent() {
		t.Error("a payload is silent")
	}
	if _, err := f.Encode(row(t, "PCMA"), nil); err != nil {
		t.Fatal(err)
	}
	f.SetSilence()
	check("after a payload")
	f.SetPCM(8000, make([]int16, 160))
	f.SetSilence()
	check("after PCM")
}

// corrupt is a decoder that fails half way.
type corrupt struct{}

func (corrupt) Rate() int { return 8000 }

func (corrupt) Decode(dst []int16, _ []byte) ([]int16, error) {
	return append(dst, 1, 2, 3), errors.New("corrupt")
}

func TestFrameThatCannotBeDecodedIsSilence(t *testing.T) {
	for name, set := range map[string]func(*media.Frame){
		"corrupt":       func(f *media.Frame) { f.SetPayload(row(t, "PCMU"), []byte{1}, corrupt{}) },
		"no audio":      func(f *media.Frame) { f.SetPayload(row(t, "CN"), []byte{70}, nil) },
		"unknown codec": func(f *media.Frame) { f.SetPayload(codec.Codec{Name: "G729", ClockRate: 8000}, []byte{1}, nil) },
	} {
		var f media.Frame
		set(&f)
		if pcm, _ := f.PCM(); len(pcm) != 0 {
			t.Errorf("%s: %d samples", name, len(pcm))
		}
		if p, err := f.Encode(row(t, "PCMA"), nil); len(p) != 0 || err != nil {
			t.Errorf("%s: encodes to %v, %v", name, p, err)
		}
	}
}

func TestFrameForACodecWithoutEncoder(t *testing.T) {
	var f media.Frame
	f.SetPCM(8000, make([]int16, 160))
	if _, err := f.Encode(row(t, "telephone-event"), nil); !errors.Is(err, codec.ErrNotAudio) {
		t.Errorf("error %v", err)
	}
	if p, err := f.Encode(row(t, "PCMU"), nil); err != nil || len(p) != 160 {
		t.Errorf("afterwards: %d bytes, %v", len(p), err)
	}
}

func TestFrameDoesNotAllocate(t *testing.T) {
	pcmu, pcma := row(t, "PCMU"), row(t, "PCMA")
	enc, _ := pcma.NewEncoder()
	dec, _ := pcmu.NewDecoder()
	tone := mediatest.Sine(8000, 1000, -10, 20*time.Millisecond)
	payload := payloadOf(t, pcmu, tone)
	var f media.Frame
	for name, run := range map[string]func(){
		"relay":                     func() { f.SetPayload(pcmu, payload, dec); _, _ = f.Encode(pcmu, enc) },
		"transcode":                 func() { f.SetPayload(pcmu, payload, dec); _, _ = f.Encode(pcma, enc) },
		"transcode by the frame":    func() { f.SetPayload(pcmu, payload, nil); _, _ = f.Encode(pcma, nil) },
		"PCM in two codecs":         func() { f.SetPCM(8000, tone); _, _ = f.Encode(pcma, nil); _, _ = f.Encode(pcmu, nil) },
		"silence after all of them": func() { f.SetSilence(); _, _ = f.Encode(pcma, enc) },
	} {
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations per frame", name, n)
		}
	}
}

func BenchmarkFrame(b *testing.B) {
	pcmu, pcma := row(b, "PCMU"), row(b, "PCMA")
	enc, _ := pcma.NewEncoder()
	dec, _ := pcmu.NewDecoder()
	tone := mediatest.Sine(8000, 1000, -10, 20*time.Millisecond)
	wide := mediatest.Sine(16000, 1000, -10, 20*time.Millisecond)
	payload := payloadOf(b, pcmu, tone)
	for name, frame := range map[string]func(*media.Frame){
		"relay":            func(f *media.Frame) { f.SetPayload(pcmu, payload, dec); _, _ = f.Encode(pcmu, enc) },
		"PCMU to PCMA":     func(f *media.Frame) { f.SetPayload(pcmu, payload, dec); _, _ = f.Encode(pcma, enc) },
		"PCM to PCMA":      func(f *media.Frame) { f.SetPCM(8000, tone); _, _ = f.Encode(pcma, enc) },
		"16 kHz to PCMA":   func(f *media.Frame) { f.SetPCM(16000, wide); _, _ = f.Encode(pcma, enc) },
		"silence":          func(f *media.Frame) { f.SetSilence(); _, _ = f.Encode(pcma, enc) },
		"100 hearers PCMA": func(f *media.Frame) { f.SetPayload(pcmu, payload, dec); hear(f, pcma, enc, 100) },
	} {
		b.Run(name, func(b *testing.B) {
			var f media.Frame
			b.ReportAllocs()
			for b.Loop() {
				frame(&f)
			}
		})
	}
}

func hear(f *media.Frame, c codec.Codec, enc codec.Encoder, times int) {
	for range times {
		_, _ = f.Encode(c, enc)
	}
}
