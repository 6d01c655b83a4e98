package recording

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gopkg.in/hraban/opus.v2"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// packetsOf are the packets of audio in an Ogg file, whose pages must be in order and sound.
func packetsOf(tb testing.TB, b []byte) [][]byte {
	tb.Helper()
	var packets [][]byte
	var packet []byte
	buf := make([]byte, oggMaxPage)
	sequence := uint32(0)
	for at := int64(0); at < int64(len(b)); sequence++ {
		p, ok := readOggPage(bytes.NewReader(b), at, buf)
		if !ok {
			tb.Fatalf("no sound page at %d", at)
		}
		last := p.at+p.size == int64(len(b))
		if (p.flags&oggLast != 0) != last || (p.flags&oggFirst != 0) != (at == 0) {
			tb.Fatalf("page %d has flags %x, last %v", sequence, p.flags, last)
		}
		body := p.body
		for _, n := range buf[oggHead : oggHead+int(buf[26])] {
			packet, body = append(packet, body[:n]...), body[n:]
			if n < 255 {
				packets, packet = append(packets, packet), nil
			}
		}
		at += p.size
	}
	return packets[2:]
}

// TestOpusStaysAsItIs: the packets of the line are in the file, bit by bit; silence, loss and other audio have packets of
// their own, and the time is right.
func TestOpusStaysAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, Options{})
		r := start(t, d, engine.RecordingSpec{
			Codec: opusCodec(), Rate: 16_000, Options: engine.RecordingOptions{Format: "ogg", Tracks: "in"},
		})
		packets := encodeOpus(t, tone(48_000, 440, 6*time.Second), 20)
		want := map[string]int{}
		for i := range 300 {
			f := payload(opusCodec(), packets[i])
			switch {
			case i >= 100 && i < 150: // the far end is muted
				f = silent()
			case i%20 == 7: // loss
				f = lost(opusCodec())
			case i >= 200 && i < 250: // it hears something that was born here
				f = pcmFrame(8000, mediatest.Sine(8000, 1000, -12, turnTime))
			default:
				want[string(packets[i])]++
			}
			turn(r, f, payload(pcmu(), make([]byte, 160)))
		}
		r.Stop("stopped")
		if res := result(t, r); res.Err != nil || res.Duration != 6*time.Second || res.Channels != 1 {
			t.Fatalf("got %+v", res)
		}
		b := content(t, d, "ogg")
		for _, p := range packetsOf(t, b) {
			want[string(p)]--
		}
		for p, n := range want {
			if n > 0 && len(p) > 1 {
				t.Fatalf("a packet of %d bytes is missing", len(p))
			}
		}
		a := decodeOgg(t, b)
		near(t, "duration of the file", a.duration(), 6*time.Second, 0)
		pcm := a.channels[0]
		at := func(s float64) []int16 { return pcm[int(s*48_000) : int(s*48_000)+4800] }
		if l := mediatest.Level(at(2.5)); l > -60 {
			t.Errorf("silence has %.1f dBFS", l)
		}
		for s, hz := range map[float64]float64{1: 440, 4.5: 1000, 5.5: 440} {
			if l := mediatest.ToneLevel(at(s), 48_000, hz); l < -15 || l > -10 {
				t.Errorf("at %.1f s %.0f Hz has %.1f dBFS", s, hz, l)
			}
		}
	})
}

// TestOpusPacketsOfOtherLengths: packets of 10 to 60 ms keep the time.
func TestOpusPacketsOfOtherLengths(t *testing.T) {
	for _, ms := range []int{10, 20, 40, 60} {
		t.Run(fmt.Sprint(ms), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, Options{})
				r := start(t, d, engine.RecordingSpec{
					Codec: opusCodec(), Rate: 16_000, Options: engine.RecordingOptions{Format: "ogg", Tracks: "in"},
				})
				packets := encodeOpus(t, tone(48_000, 440, 6*time.Second), ms)
				for i := range 300 {
					f := silent()
					if i*20%ms == 0 {
						f = payload(opusCodec(), packets[i*20/ms])
					}
					turn(r, f, nil)
				}
				r.Stop("stopped")
				res := result(t, r)
				a := decodeOgg(t, content(t, d, "ogg"))
				near(t, "duration", a.duration(), res.Duration, 0)
				if res.Duration != 6*time.Second {
					t.Errorf("%v, want 6 s", res.Duration)
				}
				if ms > 10 { // of 10 ms every other packet is missing
					tones(t, "tone", a, 440)
				}
			})
		})
	}
}

// TestOggPages: a second of audio per page at most, so that a crash loses no more.
func TestOggPages(t *testing.T) {
	f := &memory{}
	o, err := newOggFile(f, 7, 1, 8000)
	if err != nil {
		t.Fatal(err)
	}
	heads := o.size
	for i := range 1000 {
		if err := o.packet(bytes.Repeat([]byte{byte(i)}, 1+i%700), int64(i+1)*960); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.last(1000 * 960); err != nil {
		t.Fatal(err)
	}
	packets := packetsOf(t, f.b)
	if len(packets) != 1000 {
		t.Fatalf("%d packets", len(packets))
	}
	for i, p := range packets {
		if !bytes.Equal(p, bytes.Repeat([]byte{byte(i)}, 1+i%700)) {
			t.Fatalf("packet %d differs", i)
		}
	}
	buf := make([]byte, oggMaxPage)
	before := int64(0)
	for at := heads; at < o.size; {
		p, _ := readOggPage(bytes.NewReader(f.b), at, buf)
		if p.granule-before > 48_000 {
			t.Fatalf("a page of %d samples", p.granule-before)
		}
		at, before = at+p.size, p.granule
	}
}

// TestOggChecksum: polynomial 04c11db7, begun with zero (RFC 3533 6).
func TestOggChecksum(t *testing.T) {
	if got := oggChecksum([]byte("123456789")); got != 0x89A1897F {
		t.Errorf("got %08x, want the check value of this CRC, 89a1897f", got)
	}
	if got := oggChecksum(bytes.Repeat([]byte("123456789"), 100)); got != slowChecksum(bytes.Repeat([]byte("123456789"), 100)) {
		t.Errorf("got %08x over several blocks", got)
	}
}

// slowChecksum is the definition, bit by bit.
func slowChecksum(b []byte) (crc uint32) {
	for _, v := range b {
		crc ^= uint32(v) << 24
		for range 8 {
			if crc&(1<<31) != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func TestConcealingPackets(t *testing.T) {
	dec, err := opus.NewDecoder(48_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	for toc := range 256 {
		p := []byte{concealing(byte(toc))}
		if n, ok := opusSamples(p); n != 960 || !ok {
			t.Fatalf("toc %02x conceals %d samples", toc, n)
		}
		if p[0]&4 != byte(toc)&4 {
			t.Fatalf("toc %02x: the channels differ", toc)
		}
		if n, err := dec.Decode(p, make([]int16, 2*5760)); n != 960 || err != nil {
			t.Fatalf("toc %02x: libopus makes %d samples of it, %v", toc, n, err)
		}
	}
}

// FuzzOpusPacket: what we take for a packet libopus takes for one of the same length.
func FuzzOpusPacket(f *testing.F) {
	for _, ms := range []int{10, 20, 40, 60} {
		f.Add(encodeOpus(f, tone(48_000, 440, 120*time.Millisecond), ms)[0])
	}
	f.Add([]byte{0x0b, 0x83, 2, 1, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{0x0b, 0x43, 255, 3, 1, 2, 3, 4, 5, 6})
	f.Add([]byte{0xff, 0xff})
	f.Add([]byte{0x7a, 252, 1, 3})
	dec, err := opus.NewDecoder(48_000, 2)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		want, ok := opusSamples(p)
		if len(p) == 0 {
			return
		}
		n, err := dec.Decode(slices.Clone(p), make([]int16, 2*5760))
		if ok && (err != nil || n != want) {
			t.Fatalf("%x: %d samples, libopus says %d, %v", p, want, n, err)
		}
	})
}

// FuzzPackets: whatever a line gives as packets, the file is whole and lasts as long as the recording.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{0x0b, 0x83, 2, 1, 1, 2, 3, 4, 5, 6}, uint8(3), true)
	f.Add([]byte{0x18}, uint8(20), false)
	f.Add(bytes.Repeat([]byte{0xfc, 3}, 700), uint8(1), true)
	f.Fuzz(func(t *testing.T, p []byte, size uint8, relay bool) {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk(t, Options{})
			o := engine.RecordingOptions{Format: "ogg", Tracks: "in"}
			if !relay {
				o = engine.RecordingOptions{Format: "wav", Tracks: "stereo"}
			}
			c := opusCodec()
			r := start(t, d, engine.RecordingSpec{Codec: c, Rate: 8000, Options: o})
			turns := 0
			for ; len(p) > 0 && turns < 50; turns++ {
				n := min(int(size)+1, len(p))
				turn(r, payload(c, p[:n]), payload(pcmu(), p[:n]))
				p = p[n:]
			}
			r.Stop("stopped")
			res := result(t, r)
			if res.Err != nil || res.Duration != time.Duration(turns)*turnTime {
				t.Fatalf("%+v of %d turns", res, turns)
			}
			b := content(t, d, o.Format)
			if !relay {
				near(t, "duration", decodeWAV(t, b).duration(), res.Duration, 0)
				return
			}
			var samples int
			for _, packet := range packetsOf(t, b) {
				n, ok := opusSamples(packet)
				if !ok {
					t.Fatalf("a malformed packet is in the file: %x", packet)
				}
				samples += n
			}
			if samples < turns*960 {
				t.Fatalf("%d samples for %d turns", samples, turns)
			}
		})
	})
}

// memory is a file.
type memory struct {
	b    []byte
	room int // bytes that fit; 0: any number
	err  error
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	n := len(p)
	if m.room > 0 && int(at)+n > m.room {
		n = max(m.room-int(at), 0)
	}
	if end := int(at) + n; end > len(m.b) {
		m.b = append(m.b, make([]byte, end-len(m.b))...)
	}
	copy(m.b[at:], p[:n])
	if n < len(p) {
		return n, m.err
	}
	return n, nil
}

func (m *memory) Truncate(size int64) error {
	if int(size) <= len(m.b) {
		m.b = m.b[:size]
	}
	return nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return bytes.NewReader(m.b).ReadAt(p, at) }

var _ media.Tap = (*recorder)(nil)
