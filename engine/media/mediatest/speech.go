package mediatest

import (
	"math"
	"math/rand/v2"
	"time"
)

// Speech is voice-like sound: pulses of a gliding pitch through three formants, with breath and pauses, every few
// hundred milliseconds another vowel.
func Speech(rate int, d time.Duration) []int16 {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: the same noise each time is what is wanted
	vowels := [][3]float64{{700, 1220, 2600}, {300, 870, 2240}, {270, 2290, 3010}, {530, 1840, 2480}, {400, 1900, 2550}}
	n := int(d.Seconds() * float64(rate))
	out := make([]int16, n)
	var state [3][2]float64
	phase := 0.0
	for i := range n {
		t := float64(i) / float64(rate)
		syllable := int(t / 0.24)
		within := math.Mod(t, 0.24) / 0.24
		pitch := 110 + 25*math.Sin(2*math.Pi*0.7*t) + 12*math.Sin(2*math.Pi*2.3*t)
		source := 0.03 * random.NormFloat64()
		if phase += pitch / float64(rate); phase >= 1 {
			phase--
			source += math.Sqrt(float64(rate) / 8000)
		}
		if syllable%7 == 6 { // a hiss
			source = 0.25 * random.NormFloat64()
		}
		level := math.Sin(math.Pi * within)
		if syllable%9 == 8 {
			level = 0 // a pause
		}
		x, v := source*level, vowels[syllable%len(vowels)]
		var y float64
		for k, hz := range v {
			r := math.Exp(-math.Pi * (60 + 40*float64(k)) / float64(rate))
			s := x + 2*r*math.Cos(2*math.Pi*hz/float64(rate))*state[k][0] - r*r*state[k][1]
			state[k][1], state[k][0] = state[k][0], s
			y += s * (1 - r) / float64(k+1)
		}
		out[i] = int16(max(min(y*42000, 32000), -32000))
	}
	return out
}

// Align gives the two without what the second one is late, which is at most most samples.
func Align(want, got []int16, most int) (a, b []int16, late int) {
	best := math.Inf(-1)
	for lag := 0; lag <= most; lag++ {
		var sum float64
		for i := 0; i < min(len(got)-most, len(want), 40*most); i++ {
			sum += float64(want[i]) * float64(got[i+lag])
		}
		if sum > best {
			best, late = sum, lag
		}
	}
	n := min(len(want), len(got)-late)
	return want[:n], got[late : late+n], late
}

// SpectralDistance is by how many dB the bands of 200 Hz up to 3400 Hz differ, in the mean over all frames of 20 ms in
// which something is said.
func SpectralDistance(want, got []int16, rate int) float64 {
	frame, sum, count := rate/50, 0.0, 0
	for at := 0; at+frame <= min(len(want), len(got)); at += frame {
		a, b := bands(want[at:at+frame], rate), bands(got[at:at+frame], rate)
		var loud float64
		for _, e := range a {
			loud = max(loud, e)
		}
		if loud < 1e5 {
			continue
		}
		for k := range a {
			if a[k] < loud/1e4 {
				continue
			}
			d := 10 * math.Log10((a[k]+loud/1e4)/(b[k]+loud/1e4))
			sum += d * d
			count++
		}
	}
	return math.Sqrt(sum / float64(max(count, 1)))
}

func bands(pcm []int16, rate int) [16]float64 {
	var out [16]float64
	windowed := make([]float64, len(pcm))
	for i, s := range pcm {
		windowed[i] = float64(s) * (0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(len(pcm))))
	}
	for k := range out {
		for _, hz := range [4]float64{25, 75, 125, 175} {
			w := 2 * math.Pi * (200 + 200*float64(k) + hz) / float64(rate)
			c := 2 * math.Cos(w)
			var a, b float64
			for _, s := range windowed {
				a, b = s+c*a-b, a
			}
			out[k] += (a*a + b*b - c*a*b) / float64(len(pcm))
		}
	}
	return out
}

// SegmentSNR is the signal-to-noise ratio in dB, the mean over the frames of 20 ms in which something is said, each bounded to −10…35 dB.
func SegmentSNR(want, got []int16, rate int) float64 {
	frame, sum, count := rate/50, 0.0, 0
	for at := 0; at+frame <= min(len(want), len(got)); at += frame {
		var signal, noise float64
		for i := at; i < at+frame; i++ {
			d := float64(want[i]) - float64(got[i])
			signal += float64(want[i]) * float64(want[i])
			noise += d * d
		}
		if signal/float64(frame) < 1e4 {
			continue
		}
		sum += max(min(10*math.Log10(signal/(noise+1)), 35), -10)
		count++
	}
	return sum / float64(max(count, 1))
}
