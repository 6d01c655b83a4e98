package rtp

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	pion "github.com/pion/rtp"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func opusCodec(tb testing.TB) codec.Codec {
	tb.Helper()
	c, ok := codec.ByName("opus", 48_000)
	if !ok {
		tb.Fatal("no Opus")
	}
	return c
}

// A path is a bridge in virtual time: audio at 8 kHz goes in at one phone in its codec, through a network, and comes out at
// the other one as that decodes it.
type path struct {
	from, to codec.Codec
	// transit is how long packet n is on its way to us; negative: it is lost.
	transit func(n int) time.Duration
	bare    bool    // nothing is concealed on our side
	off     float64 // dB that speech may be off, if not 1
	protect bool    // the sender protects its packets against loss, if its codec can
}

func (w path) hear(t *testing.T, pcm []int16) []int16 {
	t.Helper()
	e, sh := handEngine(t)
	a, b, pa, pb := bridge(t, e, w.from, w.to)
	a.Set(eventless(pa.params()))
	b.Set(eventless(pb.params()))
	sh.drain(t)
	packets := w.packets(t, pcm)
	to := netip.AddrPortFrom(netip.MustParseAddr(engineIP), uint16(a.Port()))
	for at, turns := time.Duration(0), len(pcm)/160+25; at < time.Duration(turns)*packetTime; at += slotTime {
		due := 0
		for ; len(packets) > 0 && packets[0].at <= at; packets = packets[1:] {
			if _, err := pa.rtp.WriteToUDPAddrPort(packets[0].raw, to); err != nil {
				t.Fatal(err)
			}
			due++
		}
		sh.expect(t, due)
		if w.bare {
			a.in.lostInRow = maxConcealed
		}
		sh.pass(slotTime)
		pb.waitCount(int(b.out.packets) - 100) // its socket holds no more than 250
	}
	last := b.out.next - 1
	h := pb.wait("the last packet", func(h []heard) bool { return len(h) > 0 && h[len(h)-1].SequenceNumber == last })
	return w.decode(t, h)
}

func eventless(p Params) Params {
	p.Events = false
	return p
}

type timed struct {
	at  time.Duration
	raw []byte
}

// packets are the sender's, in the order in which they arrive.
func (w path) packets(t *testing.T, pcm []int16) []timed {
	t.Helper()
	enc, err := w.from.NewEncoderFor(codec.EncoderOptions{Fmtp: "useinbandfec=1"})
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := enc.(codec.LossAdapter); ok && w.protect {
		l.AdaptLoss(20)
	}
	var out []timed
	for n := range len(pcm) / 160 {
		frame := pcm[n*160 : (n+1)*160]
		var payload []byte
		if r, ok := enc.(codec.RateEncoder); ok {
			payload, err = r.EncodeRate(nil, frame, 8000)
		} else {
			payload, err = enc.Encode(nil, frame)
		}
		if err != nil {
			t.Fatal(err)
		}
		late := w.transit(n)
		if late < 0 {
			continue
		}
		p := &pion.Packet{Header: pion.Header{
			Version: 2, PayloadType: w.from.PayloadType, SequenceNumber: uint16(n), SSRC: 7,
			Timestamp: uint32(n) * ticks(packetTime, w.from.ClockRate),
		}, Payload: payload}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, timed{time.Duration(n)*packetTime + late, raw})
	}
	slices.SortStableFunc(out, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	return out
}

// decode is what the far end hears: it conceals what it sees missing.
func (w path) decode(t *testing.T, h []heard) []int16 {
	t.Helper()
	dec, err := w.to.NewDecoderAt(8000)
	if err != nil {
		t.Fatal(err)
	}
	var pcm []int16
	for i, p := range h {
		for missing := h[max(0, i-1)].SequenceNumber + 1; i > 0 && missing != p.SequenceNumber; missing++ {
			if c, ok := dec.(codec.Concealer); ok {
				pcm, err = c.Conceal(pcm, 20, p.Payload)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if pcm, err = dec.Decode(pcm, p.Payload); err != nil {
			t.Fatal(err)
		}
	}
	return pcm
}

func onTime(int) time.Duration { return 3 * time.Millisecond }

// bad is a network that loses 5 of 100 packets and delays the others by up to 30 ms.
func bad() func(int) time.Duration {
	r := rand.New(rand.NewPCG(3, 4))
	return func(n int) time.Duration {
		if n > 50 && r.IntN(20) == 0 {
			return -1
		}
		return time.Duration(r.IntN(int(30 * time.Millisecond)))
	}
}

func paths(t *testing.T) map[string]path {
	pcmu, pcma, opus := codecNamed(t, "PCMU"), codecNamed(t, "PCMA"), opusCodec(t)
	return map[string]path{
		"PCMU to PCMU": {from: pcmu, to: pcmu}, "PCMU to PCMA": {from: pcmu, to: pcma}, "PCMU to Opus": {from: pcmu, to: opus},
		"Opus to PCMU": {from: opus, to: pcmu}, "Opus to Opus": {from: opus, to: opus}, "G722 to PCMU": {from: codecNamed(t, "G722"), to: pcmu, off: 2}, // resampled twice
	}
}

// Through every path a tone keeps its frequency within 0.5 % and its level within 1 dB, and so does each band of the
// telephone; nothing is missing.
func TestQualityOfPaths(t *testing.T) {
	bands := []float64{300, 700, 1300, 2300, 3100}
	mixed := make([]int16, 4*8000)
	for _, hz := range bands {
		for i, v := range mediatest.Sine(8000, hz, -26, 4*time.Second) {
			mixed[i] += v
		}
	}
	for name, w := range paths(t) {
		t.Run(name, func(t *testing.T) {
			w.transit = onTime
			got := w.hear(t, mediatest.Sine(8000, 1000, -12, 4*time.Second))
			middle := got[8000:24_000]
			if hz := mediatest.Frequency(middle, 8000); math.Abs(hz-1000) > 5 {
				t.Errorf("%.1f Hz are heard of 1000", hz)
			}
			if l := mediatest.Level(middle); math.Abs(l+12) > 1 {
				t.Errorf("%.1f dBFS are heard of -12", l)
			}
			if gap := mediatest.LongestGap(middle, 8000); gap > 20*time.Millisecond {
				t.Errorf("a gap of %v", gap)
			}
			said := mediatest.Speech(8000, 7*time.Second)
			a, b, _ := mediatest.Align(said[24_000:], w.hear(t, said)[24_000:], 800) // when the delay has settled
			d := mediatest.SpectralDistance(a, b, 8000)
			t.Logf("speech is %.1f dB off", d)
			if d > max(w.off, 1) {
				t.Errorf("speech is %.1f dB off", d)
			}
			got = w.hear(t, mixed)
			for _, hz := range bands {
				if l := mediatest.ToneLevel(got[8000:24_000], 8000, hz); math.Abs(l+26) > 1.5 {
					t.Errorf("%.0f Hz are heard with %.1f dBFS of -26", hz, l)
				}
			}
		})
	}
}

// On a bad network what is made up for losses is heard: without it there are holes.
func TestConcealmentOfPaths(t *testing.T) {
	for name, w := range paths(t) {
		if w.from.Same(w.to) {
			continue // relayed: the far end conceals
		}
		t.Run(name, func(t *testing.T) {
			tone := mediatest.Sine(8000, 500, -12, 10*time.Second)
			w.transit = bad()
			with := w.hear(t, tone)[16_000:72_000]
			w.transit, w.bare = bad(), true
			without := w.hear(t, tone)[16_000:72_000]
			a, b := mediatest.SINAD(with, 8000, 500), mediatest.SINAD(without, 8000, 500)
			t.Logf("%.1f dB with concealment, %.1f without", a, b)
			if a < b+3 {
				t.Errorf("SINAD %.1f dB with concealment, %.1f without", a, b)
			}
			if gap := mediatest.LongestGap(with, 8000); gap > 20*time.Millisecond {
				t.Errorf("a gap of %v with concealment", gap)
			}
			if gap := mediatest.LongestGap(without, 8000); gap < 15*time.Millisecond {
				t.Errorf("no hole without concealment: the longest gap is %v", gap)
			}
		})
	}
}

// What a lost packet carried is in the one behind it, if its sender protects it: then it is heard as it was, and not as a
// guess.
func TestErrorCorrectionOfPaths(t *testing.T) {
	pcm := mediatest.Speech(8000, 10*time.Second)
	w := path{from: opusCodec(t), to: codecNamed(t, "PCMU")}
	every7th := func(n int) time.Duration {
		if n > 50 && n%7 == 0 {
			return -1
		}
		return onTime(n)
	}
	// distance is how far what is heard is from what is heard without loss.
	distance := func(protect bool) float64 {
		w.protect, w.transit = protect, onTime
		want := w.hear(t, pcm)
		w.transit = every7th
		a, b, _ := mediatest.Align(want[16_000:], w.hear(t, pcm)[16_000:], 800) // after the delay has grown
		return mediatest.SpectralDistance(a, b, 8000)
	}
	with, without := distance(true), distance(false)
	t.Logf("%.2f dB with protection, %.2f without", with, without)
	if with > without*0.8 {
		t.Errorf("what is heard is %.2f dB off with protection, %.2f without", with, without)
	}
}
