package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// testdata/tone.mp3 is a second of 440 Hz at -12 dBFS, stereo of 44.1 kHz (sox, lame -b 64); tone.opus one of 600 Hz at
// -12 dBFS, mono (libopus at 32 kbit/s, in Ogg by package recording).
func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestDecodeMP3AndOgg(t *testing.T) {
	for name, hz := range map[string]float64{"tone.mp3": 440, "tone.opus": 600} {
		for _, rate := range []int{0, 8000, 16000} {
			clip, err := media.Decode(testdata(t, name), media.WAVOptions{Rate: rate})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if rate == 0 {
				rate = 16_000 // both have more
			}
			if clip.Rate() != rate {
				t.Errorf("%s: %d Hz", name, clip.Rate())
			}
			if d := clip.Duration(); d < 980*time.Millisecond || d > 1080*time.Millisecond { // encoders pad
				t.Errorf("%s: %v long", name, d)
			}
			middle := clip.PCM()[rate/4 : rate*3/4]
			if f := mediatest.Frequency(middle, rate); math.Abs(f-hz) > hz/200 {
				t.Errorf("%s: %.1f Hz", name, f)
			}
			if l := mediatest.Level(middle); math.Abs(l+12) > 1 {
				t.Errorf("%s: %.1f dBFS", name, l)
			}
		}
	}
}

// Files that lie or are broken: a clear error, or what can be read of them; never a panic, never much memory.
func TestDecodeRefuses(t *testing.T) {
	ogg, mp3 := testdata(t, "tone.opus"), testdata(t, "tone.mp3")
	patched := func(b []byte, at int, with ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], with)
		return b
	}
	head := bytes.Index(ogg, []byte("OpusHead"))
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                {nil, media.ErrBadAudio},
		"a web page":             {[]byte("<!doctype html><title>not found</title>"), media.ErrBadAudio},
		"noise":                  {bytes.Repeat([]byte{7, 0, 200, 13}, 1000), media.ErrBadAudio},
		"Ogg of something else":  {patched(ogg, head, 'V', 'o', 'r', 'b'), media.ErrBadAudio},
		"Opus of no channel":     {patched(ogg, head+9, 0), media.ErrBadAudio},
		"Opus of 255 channels":   {patched(ogg, head+9, 255), media.ErrBadAudio},
		"Ogg without its middle": {ogg[:head+19], media.ErrBadAudio},
		"an empty ID3":           {[]byte("ID3\x04\x00\x00\x00\x00\x00\x00"), media.ErrBadAudio},
		"an ID3 of 256 MB":       {append([]byte("ID3\x04\x00\x00\x7f\x7f\x7f\x7f"), mp3...), media.ErrBadAudio},
		"an MP3 of one header":   {mp3[:4], media.ErrBadAudio},
	} {
		if _, err := media.Decode(tt.data, media.WAVOptions{}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	for _, data := range [][]byte{ogg, mp3} {
		if _, err := media.Decode(data, media.WAVOptions{MaxDuration: 500 * time.Millisecond}); !errors.Is(err, media.ErrTooLong) {
			t.Errorf("half a second is allowed: %v", err)
		}
	}
	// A file that ends early plays until there.
	clip, err := media.Decode(mp3[:len(mp3)/2], media.WAVOptions{})
	if err != nil || clip.Duration() < 300*time.Millisecond {
		t.Errorf("half an MP3: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(testdata(f, "tone.opus"))
	f.Add(testdata(f, "tone.mp3")[:2000])
	wav := append([]byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\xff\xff\xff\xff"),
		make([]byte, 640)...)
	f.Add(wav)
	f.Add(binary.LittleEndian.AppendUint32([]byte("OggS"), 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		clip, err := media.Decode(data, media.WAVOptions{MaxDuration: 2 * time.Second})
		switch {
		case err != nil && !errors.Is(err, media.ErrBadAudio) && !errors.Is(err, media.ErrTooLong):
			t.Fatalf("%v", err)
		case err == nil && (clip.Duration() == 0 || clip.Duration() > 2*time.Second):
			t.Fatalf("%v", clip.Duration())
		}
	})
}
