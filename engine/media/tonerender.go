package media

import (
	"math"
	"time"
)

const (
	fullScaleDBm0 = 3.14 // a sine of full scale (ITU-T G.711, A-law)
	rampMS        = 3    // in which a sound begins and ends: no click
	secondMS      = 1000
)

// Clip renders one cycle of t at 8 kHz and says how often a Player is to play it: LoopForever for a cadence and for a
// tone without end.
func (t *Tone) Clip() (clip *Clip, loop int) {
	segments := t.segments
	if t.continuous { // a second holds whole periods of every frequency, so the loop has no seam
		segments = []segment{{hz: t.segments[0].hz, ms: secondMS}}
	}
	var pcm []int16
	for _, s := range segments {
		pcm = t.render(pcm, s)
	}
	return &Clip{rate: narrowband, pcm: pcm}, t.loop
}

// Duration is how long t sounds in all; false if it has no end.
func (t *Tone) Duration() (time.Duration, bool) {
	if t.loop == LoopForever {
		return 0, false
	}
	ms := 0
	for _, s := range t.segments {
		ms += s.ms
	}
	return time.Duration(ms*t.loop) * time.Millisecond, true
}

// render appends a segment. The phase of a frequency is that of a sine which began with the cycle.
func (t *Tone) render(pcm []int16, s segment) []int16 {
	n := s.ms * narrowband / secondMS
	ramp := 0
	if !t.continuous {
		ramp = min(rampMS*narrowband/secondMS, n/2)
	}
	level := amplitude(t.level)
	start := len(pcm)
	for i := range n {
		var v float64
		for _, hz := range s.hz {
			// whole periods are taken off first: exact at any time
			v += math.Sin(2 * math.Pi * float64((start+i)*hz%narrowband) / narrowband)
		}
		pcm = append(pcm, int16(math.Round(v*level*fade(min(i+1, n-i), ramp))))
	}
	return pcm
}

// fade is a raised cosine over ramp samples, i samples into it; 1 behind it.
func fade(i, ramp int) float64 {
	if i > ramp {
		return 1
	}
	return (1 - math.Cos(math.Pi*float64(i)/float64(ramp+1))) / 2
}

// amplitude is the peak of a sine of level dBm0.
func amplitude(level float64) float64 {
	return math.MaxInt16 * math.Pow(10, (level-fullScaleDBm0)/20)
}
