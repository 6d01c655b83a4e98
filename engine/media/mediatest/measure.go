// Package mediatest measures audio that a far end heard: tones, levels, gaps, keys and numbered packets. It is for tests.
package mediatest

import (
	"math"
	"math/cmplx"
	"time"
)

// Level is the power of pcm in dBFS: 0 is a sine of full scale. It is −Inf for digital silence.
func Level(pcm []int16) float64 {
	var sum float64
	for _, s := range pcm {
		sum += float64(s) * float64(s)
	}
	if sum == 0 {
		return math.Inf(-1)
	}
	return 10*math.Log10(sum/float64(len(pcm))) - 10*math.Log10(fullScale*fullScale/2)
}

const fullScale = 1 << 15

// dBm0 of a sine of full scale (ITU-T G.711).
const fullScaleDBm0 = 3.14

// DBm0 is a level in dBFS on the telephone's scale.
func DBm0(dBFS float64) float64 { return dBFS + fullScaleDBm0 }

// ToneLevel is the power of the sine of hz in pcm, in dBFS (Goertzel's algorithm behind a Hann window). Use 40 ms or
// more: its resolution is about 4/duration.
func ToneLevel(pcm []int16, rate int, hz float64) float64 {
	n := len(pcm)
	if n == 0 {
		return math.Inf(-1)
	}
	w := 2 * math.Pi * hz / float64(rate)
	c := 2 * math.Cos(w)
	var a, b, gain float64
	for i, s := range pcm {
		h := hann(i, n)
		gain += h
		a, b = float64(s)*h+c*a-b, a
	}
	peak := 2 * math.Sqrt(max(0, a*a+b*b-c*a*b)) / gain
	return 20 * math.Log10(peak/fullScale)
}

func hann(i, n int) float64 {
	return 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(n))
}

// Frequency is the strongest frequency in pcm in Hz, to about a thousandth; 0 if pcm is silent.
func Frequency(pcm []int16, rate int) float64 {
	if len(pcm) < 16 || math.IsInf(Level(pcm), -1) {
		return 0
	}
	n := 4
	for n < 2*len(pcm) { // twice as long as the signal: a finer peak
		n *= 2
	}
	x := make([]complex128, n)
	for i, s := range pcm {
		x[i] = complex(float64(s)*hann(i, len(pcm)), 0)
	}
	fft(x)
	peak := 1
	for i := 1; i < n/2; i++ {
		if power(x[i]) > power(x[peak]) {
			peak = i
		}
	}
	// the peak lies where a parabola through the logarithms of three bins has its top
	l, m, r := logAbs(x[peak-1]), logAbs(x[peak]), logAbs(x[peak+1])
	at := float64(peak)
	if d := l - 2*m + r; d != 0 {
		at += (l - r) / (2 * d)
	}
	return at * float64(rate) / float64(n)
}

func power(x complex128) float64 { return real(x)*real(x) + imag(x)*imag(x) }

func logAbs(x complex128) float64 { return math.Log(power(x)+1e-9) / 2 }

// fft transforms x in place; its length is a power of two.
func fft(x []complex128) {
	n := len(x)
	for i, j := 1, 0; i < n; i++ {
		bit := n >> 1
		for ; j&bit != 0; bit >>= 1 {
			j ^= bit
		}
		if j ^= bit; i < j {
			x[i], x[j] = x[j], x[i]
		}
	}
	for size := 2; size <= n; size *= 2 {
		step := cmplx.Exp(complex(0, -2*math.Pi/float64(size)))
		for start := 0; start < n; start += size {
			w := complex(1, 0)
			for k := start; k < start+size/2; k++ {
				a, b := x[k], x[k+size/2]*w
				x[k], x[k+size/2] = a+b, a-b
				w *= step
			}
		}
	}
}

// A Gap is a stretch of silence.
type Gap struct{ At, Duration time.Duration }

const (
	gapBlock = time.Millisecond
	gapLevel = -50.0 // dBFS: what is under it is silence
)

// Gaps finds silences of at least shortest between the first and the last sound of pcm, to the millisecond. Silence is
// what stays under −50 dBFS.
func Gaps(pcm []int16, rate int, shortest time.Duration) []Gap {
	limit := math.Pow(10, gapLevel/20) * fullScale
	block := int(gapBlock * time.Duration(rate) / time.Second)
	var gaps []Gap
	quiet, sounded := 0, false
	for i := 0; i+block <= len(pcm); i += block {
		if peak(pcm[i:i+block]) < limit {
			quiet++
			continue
		}
		if d := time.Duration(quiet) * gapBlock; sounded && quiet > 0 && d >= shortest {
			gaps = append(gaps, Gap{At: time.Duration(i/block)*gapBlock - d, Duration: d})
		}
		quiet, sounded = 0, true
	}
	return gaps
}

func peak(pcm []int16) float64 {
	most := 0
	for _, s := range pcm {
		most = max(most, int(s), -int(s))
	}
	return float64(most)
}

// LongestGap is the longest silence between the first and the last sound.
func LongestGap(pcm []int16, rate int) time.Duration {
	var longest time.Duration
	for _, g := range Gaps(pcm, rate, 0) {
		longest = max(longest, g.Duration)
	}
	return longest
}

// SNR is by how many dB want is above its difference from got, sample by sample over what both have. It is +Inf if
// they are the same.
func SNR(want, got []int16) float64 {
	var signal, noise float64
	for i := range min(len(want), len(got)) {
		d := float64(want[i]) - float64(got[i])
		signal += float64(want[i]) * float64(want[i])
		noise += d * d
	}
	return 10 * math.Log10(signal/noise)
}

// SINAD is by how many dB the sine of hz is above all else in pcm, whatever its phase.
func SINAD(pcm []int16, rate int, hz float64) float64 {
	var cc, ss, cs, xc, xs, all float64 // sums of products, for a least-squares fit of cosine and sine
	for i, v := range pcm {
		s, c := math.Sincos(2 * math.Pi * hz * float64(i) / float64(rate))
		x := float64(v)
		cc, ss, cs = cc+c*c, ss+s*s, cs+c*s
		xc, xs, all = xc+x*c, xs+x*s, all+x*x
	}
	det := cc*ss - cs*cs
	a, b := (xc*ss-xs*cs)/det, (xs*cc-xc*cs)/det
	tone := a*xc + b*xs
	return 10 * math.Log10(tone/max(all-tone, 1e-9))
}

// Sine makes d of a sine of hz, level in dBFS.
func Sine(rate int, hz, level float64, d time.Duration) []int16 {
	peak := (fullScale - 1) * math.Pow(10, level/20)
	pcm := make([]int16, int(d*time.Duration(rate)/time.Second))
	for i := range pcm {
		pcm[i] = int16(math.Round(peak * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}
