package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// wav is a file to be written, lies included.
type wav struct {
	tag      uint16
	channels uint16
	rate     uint32
	bits     uint16
	align    uint16 // 0: what fits
	sub      uint16 // of an extensible format
	before   []byte // chunks between format and samples
	data     []byte
	size     uint32 // that the header tells of data; 0: the truth
}

func (w wav) bytes() []byte {
	le := binary.LittleEndian
	if w.align == 0 {
		w.align = w.channels * w.bits / 8
	}
	f := le.AppendUint16(nil, w.tag)
	f = le.AppendUint16(f, w.channels)
	f = le.AppendUint32(f, w.rate)
	f = le.AppendUint32(f, w.rate*uint32(w.align))
	f = le.AppendUint16(f, w.align)
	f = le.AppendUint16(f, w.bits)
	if w.tag == 0xFFFE {
		f = append(f, 22, 0, byte(w.bits), 0, 3, 0, 0, 0)
		f = le.AppendUint16(f, w.sub)
		f = append(f, "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"...)
	}
	b := append([]byte("RIFF\xff\xff\xff\xffWAVE"), chunk("fmt ", f)...)
	b = append(b, w.before...)
	data := chunk("data", w.data)
	if w.size != 0 {
		le.PutUint32(data[4:], w.size)
	}
	return append(b, data...)
}

func chunk(id string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(id), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// stored writes samples as a file of that format does, each channel the same.
func stored(tb testing.TB, tag uint16, bits, channels int, pcm []int16) []byte {
	tb.Helper()
	le := binary.LittleEndian
	var b []byte
	for _, s := range pcm {
		for range channels {
			switch {
			case tag == 3:
				b = le.AppendUint32(b, math.Float32bits(float32(s)/(1<<15)))
			case tag == 6:
				b = append(b, payloadOf(tb, row(tb, "PCMA"), []int16{s})...)
			case tag == 7:
				b = append(b, payloadOf(tb, row(tb, "PCMU"), []int16{s})...)
			case bits == 8:
				b = append(b, byte(int(s)>>8+128))
			case bits == 24:
				b = append(b, 0, byte(s), byte(s>>8))
			case bits == 32:
				b = le.AppendUint32(b, uint32(int32(s)<<16))
			default:
				b = le.AppendUint16(b, uint16(s))
			}
		}
	}
	return b
}

func TestDecodeWAVFormats(t *testing.T) {
	for _, c := range []struct {
		name      string
		tag       uint16
		bits      int
		least     float64 // SNR in dB
		extension bool
	}{
		{"PCM 8", 1, 8, 35, false},
		{"PCM 16", 1, 16, 70, false},
		{"PCM 24", 1, 24, 70, false},
		{"PCM 32", 1, 32, 70, false},
		{"float", 3, 32, 70, false},
		{"A-law", 6, 8, 32, false},
		{"µ-law", 7, 8, 32, false},
		{"extensible PCM 16", 1, 16, 70, true},
		{"extensible float", 3, 32, 70, true},
	} {
		for _, channels := range []int{1, 2} {
			want := mediatest.Sine(8000, 1000, -6, 333*time.Millisecond)
			w := wav{tag: c.tag, channels: uint16(channels), rate: 8000, bits: uint16(c.bits)}
			w.data = stored(t, c.tag, c.bits, channels, want)
			if c.extension {
				w.tag, w.sub = 0xFFFE, c.tag
			}
			clip, err := media.DecodeWAV(bytes.NewReader(w.bytes()), media.WAVOptions{})
			if err != nil {
				t.Errorf("%s, %d channels: %v", c.name, channels, err)
				continue
			}
			if clip.Rate() != 8000 || len(clip.PCM()) != len(want) {
				t.Errorf("%s, %d channels: %d samples of %d Hz, want %d", c.name, channels, len(clip.PCM()), clip.Rate(), len(want))
			}
			if snr := mediatest.SNR(want, clip.PCM()); snr < c.least {
				t.Errorf("%s, %d channels: %.1f dB, want %g", c.name, channels, snr, c.least)
			}
		}
	}
}

// Files of every usual rate come out at the rate asked for, as long as they were, with the tone where it was.
func TestDecodeWAVRates(t *testing.T) {
	for _, from := range []int{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 12345} {
		for _, to := range []int{8000, 16000} {
			w := wav{tag: 1, channels: 1, rate: uint32(from), bits: 16}
			w.data = stored(t, 1, 16, 1, mediatest.Sine(from, 1000, -6, time.Second))
			clip, err := media.DecodeWAV(bytes.NewReader(w.bytes()), media.WAVOptions{Rate: to})
			if err != nil {
				t.Errorf("%d→%d: %v", from, to, err)
				continue
			}
			if clip.Rate() != to || clip.Duration() != time.Second {
				t.Errorf("%d→%d: %v at %d Hz", from, to, clip.Duration(), clip.Rate())
			}
			got := clip.PCM()[200 : to-200]
			if sinad := mediatest.SINAD(got, to, 1000); sinad < 55 {
				t.Errorf("%d→%d: the tone is %.1f dB above what was not in the file, want 55", from, to, sinad)
			}
			// in its place to half a sample: 1000 Hz turns by 2π·1000/to in one
			late := math.Pow(2*math.Sin(math.Pi*0.5*1000/float64(to)), 2)
			want := mediatest.Sine(to, 1000, -6, time.Second)[200:]
			if snr := mediatest.SNR(want, got); snr < -10*math.Log10(late)-0.1 {
				t.Errorf("%d→%d: the tone is not where it was: %.1f dB", from, to, snr)
			}
		}
	}
}

func TestDecodeWAVMixesDown(t *testing.T) {
	le := binary.LittleEndian
	var data []byte
	for range 100 {
		data = le.AppendUint16(data, 1000)
		data = le.AppendUint16(data, uint16(0x10000-3000))
	}
	data = append(data, 0xff, 0x7f, 0xff, 0x7f) // both full: no overflow
	clip, err := media.DecodeWAV(bytes.NewReader(wav{tag: 1, channels: 2, rate: 8000, bits: 16, data: data}.bytes()), media.WAVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if pcm := clip.PCM(); len(pcm) != 101 || pcm[0] != -1000 || pcm[100] != math.MaxInt16 {
		t.Errorf("%d samples, first %d, last %d", len(pcm), pcm[0], pcm[len(pcm)-1])
	}
}

func TestDecodeWAVFloatsOutOfRange(t *testing.T) {
	var data []byte
	for _, v := range []float64{2, -2, math.NaN(), math.Inf(1), 0.99999} {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
	}
	clip, err := media.DecodeWAV(bytes.NewReader(wav{tag: 3, channels: 1, rate: 8000, bits: 32, data: data}.bytes()), media.WAVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []int16{math.MaxInt16, math.MinInt16, 0, math.MaxInt16, math.MaxInt16}
	for i, s := range clip.PCM() {
		if s != want[i] {
			t.Errorf("sample %d is %d, want %d", i, s, want[i])
		}
	}
}

func TestDecodeWAVTakesOddFiles(t *testing.T) {
	data := stored(t, 1, 16, 1, mediatest.Sine(8000, 440, -6, 100*time.Millisecond))
	good := wav{tag: 1, channels: 1, rate: 8000, bits: 16, data: data}
	for name, change := range map[string]func(*wav){
		"chunks of odd size between": func(w *wav) {
			w.before = append(chunk("LIST", []byte("abc")), chunk("id3 ", make([]byte, 70_001))...)
		},
		"size 4 GB, as written to a pipe": func(w *wav) { w.size = math.MaxUint32 },
		"size 2 GB, as written to a pipe": func(w *wav) { w.size = math.MaxInt32 },
		"half a sample at the end":        func(w *wav) { w.data = append(bytes.Clone(w.data), 1) },
		"half a sample at an open end": func(w *wav) {
			w.data, w.size = append(bytes.Clone(w.data), 1), math.MaxUint32
		},
	} {
		w := good
		change(&w)
		file := w.bytes()
		if len(w.data)%2 == 1 && w.size != 0 {
			file = file[:len(file)-1] // no pad byte
		}
		clip, err := media.DecodeWAV(iotest.OneByteReader(bytes.NewReader(file)), media.WAVOptions{})
		if err != nil || len(clip.PCM()) != len(data)/2 {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := append(good.bytes(), chunk("LIST", []byte("what follows does not matter"))...)
	if clip, err := media.DecodeWAV(bytes.NewReader(file), media.WAVOptions{}); err != nil || len(clip.PCM()) != len(data)/2 {
		t.Errorf("a chunk behind the samples: %v", err)
	}
}

func TestDecodeWAVRefuses(t *testing.T) {
	data := make([]byte, 1600)
	good := wav{tag: 1, channels: 1, rate: 8000, bits: 16, data: data}
	for _, c := range []struct {
		name   string
		change func(*wav)
		says   string
	}{
		{"0 Hz", func(w *wav) { w.rate = 0 }, "0 Hz"},
		{"4 GHz", func(w *wav) { w.rate = math.MaxUint32 }, "Hz"},
		{"no channel", func(w *wav) { w.channels, w.align = 0, 2 }, "0 channels"},
		{"six channels", func(w *wav) { w.channels = 6 }, "6 channels"},
		{"12 bits", func(w *wav) { w.bits, w.align = 12, 2 }, "12 bits"},
		{"0 bits", func(w *wav) { w.bits, w.align = 0, 2 }, "0 bits"},
		{"MP3 inside", func(w *wav) { w.tag = 0x55 }, "format 85"},
		{"float of 64 bits", func(w *wav) { w.tag, w.bits = 3, 64 }, "64 bits"},
		{"extensible of ADPCM", func(w *wav) { w.tag, w.sub = 0xFFFE, 2 }, "format 2"},
		{"blocks that do not fit", func(w *wav) { w.align = 7 }, "blocks of 7"},
		{"no samples", func(w *wav) { w.data = nil }, "no samples"},
		{"more promised than there is", func(w *wav) { w.size = 10_000 }, "bytes of 10000 are missing"},
		{"16 MB of pictures", func(w *wav) { w.before = chunk("id3 ", make([]byte, 17<<20)) }, "more than 16 MiB"},
		{"a chunk of 4 GB", func(w *wav) {
			w.before = []byte("LIST\xff\xff\xff\xff")
		}, "more than 16 MiB"},
	} {
		w := good
		c.change(&w)
		_, err := media.DecodeWAV(bytes.NewReader(w.bytes()), media.WAVOptions{})
		if !errors.Is(err, media.ErrBadAudio) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want it to say %q", c.name, err, c.says)
		}
	}
	file := good.bytes()
	for n := range len(file) {
		if _, err := media.DecodeWAV(bytes.NewReader(file[:n]), media.WAVOptions{}); !errors.Is(err, media.ErrBadAudio) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(file), err)
		}
	}
	for name, file := range map[string]string{
		"text":          "<html><body>404 not found</body></html>",
		"RF64":          "RF64\xff\xff\xff\xffWAVEds64",
		"an AVI":        "RIFF\x00\x00\x00\x00AVI LIST",
		"samples first": "RIFF\x00\x00\x00\x00WAVE" + string(chunk("data", data)),
		"tiny format":   "RIFF\x00\x00\x00\x00WAVE" + string(chunk("fmt ", data[:14])),
		"huge format":   "RIFF\x00\x00\x00\x00WAVE" + string(chunk("fmt ", data)),
		"extensible, too short": "RIFF\x00\x00\x00\x00WAVE" +
			string(chunk("fmt ", append([]byte{0xfe, 0xff}, data[:14]...))),
	} {
		if _, err := media.DecodeWAV(strings.NewReader(file), media.WAVOptions{}); !errors.Is(err, media.ErrBadAudio) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestDecodeWAVIsBounded(t *testing.T) {
	second := wav{tag: 1, channels: 2, rate: 48000, bits: 16, data: make([]byte, 4*48000)}
	if _, err := media.DecodeWAV(bytes.NewReader(second.bytes()), media.WAVOptions{MaxDuration: time.Second}); err != nil {
		t.Errorf("exactly as long as allowed: %v", err)
	}
	second.data = make([]byte, 4*48001)
	_, err := media.DecodeWAV(bytes.NewReader(second.bytes()), media.WAVOptions{MaxDuration: time.Second})
	if !errors.Is(err, media.ErrTooLong) {
		t.Errorf("a sample too long: %v", err)
	}
	second.size = math.MaxUint32
	_, err = media.DecodeWAV(io.MultiReader(bytes.NewReader(second.bytes()), endless{}), media.WAVOptions{MaxDuration: 2 * time.Second})
	if !errors.Is(err, media.ErrTooLong) {
		t.Errorf("a file that never ends: %v", err)
	}
}

func TestDecodeWAVPassesTheReadersError(t *testing.T) {
	broken := errors.New("connection reset")
	file := wav{tag: 1, channels: 1, rate: 8000, bits: 16, data: make([]byte, 1600)}.bytes()
	for _, n := range []int{0, 5, 15, 30, 44, 100} {
		r := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken))
		_, err := media.DecodeWAV(r, media.WAVOptions{})
		if !errors.Is(err, broken) || errors.Is(err, media.ErrBadAudio) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}

func TestEncodeWAV(t *testing.T) {
	for _, rate := range []int{8000, 16000} {
		want := clipOf(t, rate, mediatest.Sine(rate, 440, -6, time.Second))
		var b bytes.Buffer
		if err := media.EncodeWAV(&b, want); err != nil {
			t.Fatal(err)
		}
		got, err := media.DecodeWAV(&b, media.WAVOptions{Rate: rate})
		if err != nil {
			t.Fatal(err)
		}
		if got.Rate() != rate || !math.IsInf(mediatest.SNR(want.PCM(), got.PCM()), 1) {
			t.Errorf("%d Hz: another clip came back", rate)
		}
	}
	full := errors.New("disk full")
	if err := media.EncodeWAV(failing{full}, clipOf(t, 8000, make([]int16, 8))); !errors.Is(err, full) {
		t.Errorf("error of the writer: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzWAV(f *testing.F) {
	tone := mediatest.Sine(8000, 440, -6, 10*time.Millisecond)
	for _, w := range []wav{
		{tag: 1, channels: 1, rate: 8000, bits: 16, data: stored(f, 1, 16, 1, tone)},
		{tag: 1, channels: 2, rate: 44100, bits: 24, data: stored(f, 1, 24, 2, tone)},
		{tag: 3, channels: 1, rate: 48000, bits: 32, data: stored(f, 3, 32, 1, tone), size: math.MaxUint32},
		{tag: 6, channels: 1, rate: 8000, bits: 8, data: stored(f, 6, 8, 1, tone), before: chunk("LIST", []byte("x"))},
		{tag: 0xFFFE, sub: 1, channels: 1, rate: 11025, bits: 8, data: stored(f, 1, 8, 1, tone)},
		{tag: 1, channels: 1, rate: 0, bits: 16, data: []byte{1, 2}},
	} {
		f.Add(w.bytes())
	}
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEdata\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		clip, err := media.DecodeWAV(bytes.NewReader(file), media.WAVOptions{MaxDuration: time.Second})
		if err != nil {
			if clip != nil {
				t.Error("a clip and an error")
			}
			return
		}
		if d := clip.Duration(); d <= 0 && len(clip.PCM()) > 0 || d > time.Second+time.Millisecond {
			t.Errorf("a clip of %v", d)
		}
		if len(clip.PCM()) > 8*len(file) {
			t.Errorf("%d samples of %d bytes", len(clip.PCM()), len(file))
		}
	})
}
