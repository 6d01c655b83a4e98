package phone

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Heard is what arrived at a phone, in the order of RTP sequence numbers: the judge of the tests.
type Heard struct {
	Packets []Packet // audio
	Keys    []Key    // RFC 4733 events
	Reports [][]byte // RTCP
	codec   string
}

// Heard is a copy of all that arrived so far.
func (c *Call) Heard() Heard { return c.HeardSince(time.Time{}) }

// HeardSince is what arrived since then.
func (c *Call) HeardSince(since time.Time) Heard {
	a := c.audio
	a.mu.Lock()
	defer a.mu.Unlock()
	h := Heard{codec: a.codec.Name, Reports: slices.Clone(a.reports)}
	i, _ := slices.BinarySearchFunc(a.packets, since, func(p Packet, t time.Time) int { return p.At.Compare(t) })
	recent := a.packets[i:]
	h.Keys = keysOf(recent, a.eventIn)
	for _, p := range recent {
		if p.PT != a.eventIn || a.eventIn == 0 {
			h.Packets = append(h.Packets, p)
		}
	}
	slices.SortStableFunc(h.Packets, func(a, b Packet) int {
		if a.SSRC != b.SSRC {
			return a.At.Compare(b.At)
		}
		return int(int16(a.Seq - b.Seq))
	})
	return h
}

// PCM is the audio at 8 kHz, packet after packet.
func (h Heard) PCM() []int16 {
	var out []int16
	for _, p := range h.Packets {
		codec := h.codec
		switch p.PT { // the static numbers say more than what was agreed: the far end may switch
		case 0:
			codec = "PCMU"
		case 8:
			codec = "PCMA"
		}
		out = append(out, decode(p.Payload, codec)...)
	}
	return out
}

// Onsets are the times at which a packet with sound came behind one of silence.
func (h Heard) Onsets() (out []time.Time) {
	quiet := false
	for i := range h.Packets {
		loud := Heard{Packets: h.Packets[i : i+1], codec: h.codec}.Level() > -40
		if loud && quiet {
			out = append(out, h.Packets[i].At)
		}
		quiet = !loud
	}
	return out
}

// Level is the RMS in dBFS, -120 for nothing.
func (h Heard) Level() float64 { return level(h.PCM()) }

func level(pcm []int16) float64 {
	if len(pcm) == 0 {
		return -120
	}
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return max(-120, 10*math.Log10(sum/float64(len(pcm))/(32768*32768)+1e-12))
}

// Share is how much of the energy lies at the frequencies given, 0 to 1: near 1 for a clean tone.
func (h Heard) Share(hz ...float64) float64 { return share(h.PCM(), hz...) }

func share(pcm []int16, hz ...float64) float64 {
	total := 0.0
	for _, v := range pcm {
		total += float64(v) * float64(v)
	}
	if total == 0 {
		return 0
	}
	part := 0.0
	for _, f := range hz {
		re, im := 0.0, 0.0
		for i, v := range pcm {
			s, c := math.Sincos(2 * math.Pi * f * float64(i) / rate)
			re += float64(v) * c
			im += float64(v) * s
		}
		part += 2 * (re*re + im*im) / float64(len(pcm))
	}
	return min(1, part/total)
}

// hears reports whether the audio is these tones, and loud enough to be called one.
func (h Heard) hears(hz ...float64) bool {
	pcm := h.PCM()
	return len(pcm) >= rate/10 && level(pcm) > -40 && share(pcm, hz...) > 0.85
}

// Has reports whether these tones, and nothing else, were heard for at least 60 ms somewhere.
func (h Heard) Has(hz ...float64) bool {
	const stretch, step = rate * 60 / 1000, rate / 100
	pcm := h.PCM()
	for i := 0; i+stretch <= len(pcm); i += step {
		if part := pcm[i : i+stretch]; level(part) > -40 && share(part, hz...) > 0.85 {
			return true
		}
	}
	return false
}

// Missing is how many sequence numbers are absent between the first and the last packet of each SSRC, lost events not
// counted. Keys take sequence numbers too, so judge it where none were pressed.
func (h Heard) Missing() int {
	missing := 0
	for _, s := range h.SSRCs() {
		var seqs []uint16
		for _, p := range h.Packets {
			if p.SSRC == s {
				seqs = append(seqs, p.Seq)
			}
		}
		seqs = slices.Compact(seqs)
		missing += int(seqs[len(seqs)-1]-seqs[0]) + 1 - len(seqs)
	}
	return missing
}

// SSRCs are the sources heard, in the order of their first packet.
func (h Heard) SSRCs() []uint32 {
	var out []uint32
	for _, p := range h.Packets {
		if !slices.Contains(out, p.SSRC) {
			out = append(out, p.SSRC)
		}
	}
	return out
}

// Gap is the longest time between two packets on arrival.
func (h Heard) Gap() time.Duration {
	var gap time.Duration
	for i := 1; i < len(h.Packets); i++ {
		gap = max(gap, h.Packets[i].At.Sub(h.Packets[i-1].At))
	}
	return gap
}

// Numbers are the numbers of the far end's Numbered packets.
func (h Heard) Numbers() []uint32 {
	var out []uint32
	for _, p := range h.Packets {
		if n, ok := number(p.Payload); ok {
			out = append(out, n)
		}
	}
	return out
}

// Digits are the keys as text.
func (h Heard) Digits() string {
	b := make([]byte, 0, len(h.Keys))
	for _, k := range h.Keys {
		b = append(b, k.Key)
	}
	return string(b)
}

// window is how much audio a judgement about now looks at.
const window = 300 * time.Millisecond

// WaitTone waits until the phone hears these frequencies and nothing else.
func (c *Call) WaitTone(hz ...float64) {
	c.phone.t.Helper()
	c.phone.await(fmt.Sprintf("%s hears %v Hz", c.phone.user, hz), func() bool {
		return c.HeardSince(time.Now().Add(-window)).hears(hz...)
	}, func() string {
		h := c.HeardSince(time.Now().Add(-window))
		return fmt.Sprintf("last %v: %d packets, %.0f dBFS, share of %v: %.2f", window, len(h.Packets), h.Level(), hz, h.Share(hz...))
	})
}

// WaitQuiet waits until packets come and hold silence.
func (c *Call) WaitQuiet() {
	c.phone.t.Helper()
	c.phone.await(c.phone.user+" hears silence", func() bool {
		h := c.HeardSince(time.Now().Add(-window))
		return len(h.Packets) >= 5 && h.Level() < -60
	}, func() string {
		h := c.HeardSince(time.Now().Add(-window))
		return fmt.Sprintf("last %v: %d packets, %.0f dBFS", window, len(h.Packets), h.Level())
	})
}

// WaitDigits waits until these keys, and only these, were heard as RFC 4733 events since the call began.
func (c *Call) WaitDigits(digits string) {
	c.phone.t.Helper()
	c.phone.await(fmt.Sprintf("%s hears the keys %s", c.phone.user, digits), func() bool {
		h := c.Heard()
		return h.Digits() == digits && h.Keys[len(h.Keys)-1].Ends > 0
	}, func() string { return "heard " + c.Heard().Digits() })
}

// WaitPackets waits until n audio packets came since then.
func (c *Call) WaitPackets(n int, since time.Time) Heard {
	c.phone.t.Helper()
	c.phone.await(fmt.Sprintf("%s hears %d packets", c.phone.user, n), func() bool {
		return len(c.HeardSince(since).Packets) >= n
	}, func() string { return fmt.Sprintf("heard %d", len(c.HeardSince(since).Packets)) })
	return c.HeardSince(since)
}
