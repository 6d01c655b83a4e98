package recording

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gopkg.in/hraban/opus.v2"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func pcmu() codec.Codec { c, _ := codec.ByName("PCMU", 8000); return c }
func pcma() codec.Codec { c, _ := codec.ByName("PCMA", 8000); return c }

func opusCodec() codec.Codec {
	return codec.Codec{Name: "opus", PayloadType: 111, ClockRate: 48_000, Channels: 2, SampleRate: 48_000}
}

func newDisk(tb testing.TB, o Options) *Disk {
	tb.Helper()
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	d, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

func start(tb testing.TB, d *Disk, spec engine.RecordingSpec) *recorder {
	tb.Helper()
	if spec.ID == "" {
		spec.ID = "rec_1"
	}
	if spec.ProjectID == "" {
		spec.ProjectID = "prj_1"
	}
	r, err := d.Start(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return r.(*recorder)
}

// result is what became of a recording, told once.
func result(tb testing.TB, r engine.Recorder) engine.RecordingResult {
	tb.Helper()
	res, ok := <-r.Done()
	if !ok {
		tb.Fatal("Done was closed without a result")
	}
	if _, again := <-r.Done(); again {
		tb.Fatal("a second result")
	}
	return res
}

func content(tb testing.TB, d *Disk, format string) []byte {
	tb.Helper()
	f, size, changed, err := d.Open("prj_1", "rec_1", format)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(f)
	if err != nil || int64(len(b)) != size || changed.IsZero() {
		tb.Fatalf("%d bytes of %d (%v), changed %v", len(b), size, err, changed)
	}
	return b
}

func payload(c codec.Codec, p []byte) *media.Frame {
	f := new(media.Frame)
	f.SetPayload(c, p, nil)
	return f
}

func pcmFrame(rate int, pcm []int16) *media.Frame {
	f := new(media.Frame)
	f.SetPCM(rate, pcm)
	return f
}

func silent() *media.Frame { return new(media.Frame) }

func lost(c codec.Codec) *media.Frame {
	f := new(media.Frame)
	f.SetLost(c, nil, nil)
	return f
}

// tone is a signal cut into turns.
func tone(rate int, hz float64, d time.Duration) [][]int16 {
	pcm := mediatest.Sine(rate, hz, -12, d)
	n := samplesPerTurn(rate)
	var turns [][]int16
	for ; len(pcm) >= n; pcm = pcm[n:] {
		turns = append(turns, pcm[:n])
	}
	return turns
}

func encode(tb testing.TB, c codec.Codec, turns [][]int16) [][]byte {
	tb.Helper()
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for _, pcm := range turns {
		p, err := enc.Encode(nil, pcm)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// encodeOpus encodes turns of 48 kHz into packets of ms milliseconds.
func encodeOpus(tb testing.TB, turns [][]int16, ms int) [][]byte {
	tb.Helper()
	enc, err := opus.NewEncoder(48_000, 1, opus.AppVoIP)
	if err != nil {
		tb.Fatal(err)
	}
	var pcm []int16
	for _, t := range turns {
		pcm = append(pcm, t...)
	}
	var out [][]byte
	for n := 48 * ms; len(pcm) >= n; pcm = pcm[n:] {
		b := make([]byte, 4000)
		size, err := enc.Encode(pcm[:n], b)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b[:size])
	}
	return out
}

// audio is what a player makes of a file: one slice of samples per channel.
type audio struct {
	format, rate int
	channels     [][]int16
}

func (a audio) duration() time.Duration {
	return time.Duration(len(a.channels[0])) * time.Second / time.Duration(a.rate)
}

func decode(tb testing.TB, format string, b []byte) audio {
	tb.Helper()
	if format == formatOgg {
		return decodeOgg(tb, b)
	}
	return decodeWAV(tb, b)
}

// decodeWAV trusts the header and nothing else, as a player does.
func decodeWAV(tb testing.TB, b []byte) audio {
	tb.Helper()
	le := binary.LittleEndian
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		tb.Fatalf("no WAV: %q", b[:min(len(b), 44)])
	}
	if riff := int(le.Uint32(b[4:])) + 8; riff > len(b) {
		tb.Fatalf("the header promises %d bytes, there are %d", riff, len(b))
	}
	a := audio{}
	bits := 0
	for at := 12; at+8 <= len(b); {
		size := int(le.Uint32(b[at+4:]))
		body := b[at+8:]
		if size > len(body) {
			tb.Fatalf("chunk %q promises %d bytes, there are %d", b[at:at+4], size, len(body))
		}
		switch string(b[at : at+4]) {
		case "fmt ":
			a.format, a.rate, bits = int(le.Uint16(body)), int(le.Uint32(body[4:])), int(le.Uint16(body[14:]))
			a.channels = make([][]int16, le.Uint16(body[2:]))
		case "data":
			a.fill(tb, body[:size], bits)
			return a
		}
		at += 8 + size
	}
	tb.Fatal("no samples")
	return a
}

func (a *audio) fill(tb testing.TB, b []byte, bits int) {
	tb.Helper()
	var all []int16
	switch a.format {
	case wavPCM:
		for i := 0; i+1 < len(b); i += 2 {
			all = append(all, int16(binary.LittleEndian.Uint16(b[i:])))
		}
	case wavMulaw, wavAlaw:
		c := pcmu()
		if a.format == wavAlaw {
			c = pcma()
		}
		dec, err := c.NewDecoder()
		if err != nil {
			tb.Fatal(err)
		}
		if all, err = dec.Decode(nil, b); err != nil {
			tb.Fatal(err)
		}
	default:
		tb.Fatalf("format %d of %d bits", a.format, bits)
	}
	for i, s := range all {
		a.channels[i%len(a.channels)] = append(a.channels[i%len(a.channels)], s)
	}
}

// decodeOgg is libopusfile.
func decodeOgg(tb testing.TB, b []byte) audio {
	tb.Helper()
	a, err := readOgg(b)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func readOgg(b []byte) (audio, error) {
	s, err := opus.NewStream(bytes.NewReader(b))
	if err != nil {
		return audio{}, err
	}
	defer func() { _ = s.Close() }()
	channels := int(b[oggHead+1+9])
	a := audio{rate: 48_000, channels: make([][]int16, channels)}
	buf := make([]int16, 5760*channels)
	for {
		n, err := s.Read(buf)
		for i, v := range buf[:n*channels] {
			a.channels[i%channels] = append(a.channels[i%channels], v)
		}
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return a, err
		}
	}
}

func tones(tb testing.TB, name string, a audio, hz ...float64) {
	tb.Helper()
	if len(a.channels) != len(hz) {
		tb.Fatalf("%s: %d channels, want %d", name, len(a.channels), len(hz))
	}
	for i, want := range hz {
		pcm := a.channels[i]
		pcm = pcm[len(pcm)/4 : len(pcm)*3/4]
		if want == 0 {
			if l := mediatest.Level(pcm); l > -60 {
				tb.Errorf("%s: channel %d has %.1f dBFS, want silence", name, i, l)
			}
			continue
		}
		if got := mediatest.Frequency(pcm, a.rate); got < want*0.99 || got > want*1.01 {
			tb.Errorf("%s: channel %d has %.1f Hz, want %.0f", name, i, got, want)
		}
		if l := mediatest.ToneLevel(pcm, a.rate, want); l < -13.5 || l > -10.5 {
			tb.Errorf("%s: channel %d has %.0f Hz at %.1f dBFS, want -12", name, i, want, l)
		}
	}
}

func near(tb testing.TB, what string, got, want, by time.Duration) {
	tb.Helper()
	if got < want-by || got > want+by {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}

func partPath(d *Disk, format string) string {
	return filepath.Join(d.o.Dir, "prj_1", "rec_1.part."+format)
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }
