package codec_test

import (
	"math"
	"testing"
	"time"

	"github.com/zaf/g711"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func open(tb testing.TB, name string) (codec.Encoder, codec.Decoder) {
	tb.Helper()
	c, ok := codec.ByName(name, 8000)
	if !ok {
		tb.Fatalf("no codec %q", name)
	}
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	dec, err := c.NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	return enc, dec
}

// Every sample and every byte: the tables are exactly the functions that they were made of.
func TestG711IsBitExact(t *testing.T) {
	for _, c := range []struct {
		name   string
		encode func(int16) uint8
		decode func(uint8) int16
	}{
		{"PCMU", g711.EncodeUlawFrame, g711.DecodeUlawFrame},
		{"PCMA", g711.EncodeAlawFrame, g711.DecodeAlawFrame},
	} {
		enc, dec := open(t, c.name)
		pcm := make([]int16, 0, 1<<16)
		for s := math.MinInt16; s <= math.MaxInt16; s++ {
			pcm = append(pcm, int16(s))
		}
		payload, err := enc.Encode(nil, pcm)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range pcm {
			if want := c.encode(s); payload[i] != want {
				t.Fatalf("%s encodes %d as %#x, want %#x", c.name, s, payload[i], want)
			}
		}
		all := make([]byte, 256)
		for i := range all {
			all[i] = byte(i)
		}
		back, err := dec.Decode(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range all {
			if want := c.decode(b); back[i] != want {
				t.Fatalf("%s decodes %#x as %d, want %d", c.name, b, back[i], want)
			}
		}
	}
}

func TestG711KeepsATone(t *testing.T) {
	want := mediatest.Sine(8000, 1000, -10, 500*time.Millisecond)
	for _, name := range []string{"PCMU", "PCMA"} {
		enc, dec := open(t, name)
		payload, _ := enc.Encode(nil, want)
		got, _ := dec.Decode(nil, payload)
		if snr := mediatest.SNR(want, got); snr < 35 {
			t.Errorf("%s: %.1f dB between the tone and its coding noise, want 35", name, snr)
		}
		if hz := mediatest.Frequency(got, 8000); math.Abs(hz-1000) > 1 {
			t.Errorf("%s: 1000 Hz came out as %.1f", name, hz)
		}
	}
}

func TestG711Appends(t *testing.T) {
	for _, name := range []string{"PCMU", "PCMA"} {
		enc, dec := open(t, name)
		payload, _ := enc.Encode([]byte{7, 8}, []int16{0, 1000})
		if len(payload) != 4 || payload[0] != 7 || payload[1] != 8 {
			t.Errorf("%s: encoding behind two bytes gives %v", name, payload)
		}
		pcm, _ := dec.Decode([]int16{5}, payload[2:])
		if len(pcm) != 3 || pcm[0] != 5 || pcm[2] < 900 || pcm[2] > 1100 {
			t.Errorf("%s: decoding behind a sample gives %v", name, pcm)
		}
		if payload, err := enc.Encode(nil, nil); err != nil || len(payload) != 0 {
			t.Errorf("%s: nothing encodes to %v, %v", name, payload, err)
		}
	}
}

func TestG711DoesNotAllocate(t *testing.T) {
	pcm := mediatest.Sine(8000, 440, -10, 20*time.Millisecond)
	for _, name := range []string{"PCMU", "PCMA"} {
		enc, dec := open(t, name)
		payload, samples := make([]byte, 0, 160), make([]int16, 0, 160)
		if n := testing.AllocsPerRun(100, func() {
			payload, _ = enc.Encode(payload[:0], pcm)
			samples, _ = dec.Decode(samples[:0], payload)
		}); n != 0 {
			t.Errorf("%s: %v allocations per frame", name, n)
		}
	}
}

func BenchmarkG711Encode(b *testing.B) {
	pcm := mediatest.Sine(8000, 440, -10, 20*time.Millisecond)
	for _, name := range []string{"PCMU", "PCMA"} {
		b.Run(name, func(b *testing.B) {
			enc, _ := open(b, name)
			payload := make([]byte, 0, 160)
			b.ReportAllocs()
			for b.Loop() {
				payload, _ = enc.Encode(payload[:0], pcm)
			}
		})
	}
}

func BenchmarkG711Decode(b *testing.B) {
	pcm := mediatest.Sine(8000, 440, -10, 20*time.Millisecond)
	for _, name := range []string{"PCMU", "PCMA"} {
		b.Run(name, func(b *testing.B) {
			enc, dec := open(b, name)
			payload, _ := enc.Encode(nil, pcm)
			samples := make([]int16, 0, 160)
			b.ReportAllocs()
			for b.Loop() {
				samples, _ = dec.Decode(samples[:0], payload)
			}
		})
	}
}
