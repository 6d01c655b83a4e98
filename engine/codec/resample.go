package codec

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Rates of PCM that a Resampler takes, in Hz.
const (
	MinRate = 8000
	MaxRate = 48000
)

// ErrRate says that PCM has a rate outside MinRate…MaxRate.
var ErrRate = errors.New("unsupported sample rate")

// The filter: a windowed sinc, tapsPerSide samples of the lower rate on either side of the middle. That is a delay of
// 2 ms at 8 kHz, flat to 3.4 kHz, images and aliases under −70 dB from 4.4 kHz on.
const (
	tapsPerSide = 16
	cutoff      = 0.48 // of the lower rate
	kaiserBeta  = 6.5
	block       = 960 // input samples that are filtered at a time: bounds the history buffer
)

// A Resampler changes the sample rate of one stream of mono PCM. It is a polyphase FIR of linear phase; it keeps the
// stream's past, so frames join without a seam. It allocates only while its buffer or dst grows.
type Resampler struct {
	from, to int
	step     int       // whole input samples from one output sample to the next …
	rest     int       // … and phases
	phases   int       // output positions between two input samples
	taps     int       // input samples per output sample
	filter   []float32 // phases × taps, each phase in the order of the input
	past     []float32 // taps−1 samples of the past, then the block at hand
	next     int       // input sample of the next block at which the next output falls
	phase    int
}

// NewResampler makes a Resampler between two rates in Hz, MinRate to MaxRate each. Between unusual rates, such as 44 100
// and 8 000, its filter is large (tens of kilobytes): make those once per file, not per call.
func NewResampler(from, to int) (*Resampler, error) {
	for _, rate := range [...]int{from, to} {
		if rate < MinRate || rate > MaxRate {
			return nil, fmt.Errorf("%w: %d Hz", ErrRate, rate)
		}
	}
	g := gcd(from, to)
	up, down := to/g, from/g
	r := &Resampler{from: from, to: to, step: down / up, rest: down % up, phases: up}
	r.taps = 2 * tapsPerSide
	if from > to {
		r.taps = 2 * ((tapsPerSide*from + to - 1) / to)
	}
	r.filter = polyphase(r.phases, r.taps, min(1, float64(to)/float64(from)))
	r.past = make([]float32, r.taps-1, r.taps-1+block/4)
	return r, nil
}

// From is the rate of what goes in, in Hz.
func (r *Resampler) From() int { return r.from }

// Delay is by how much what comes out is behind what goes in: a whole number of input samples.
func (r *Resampler) Delay() time.Duration {
	return time.Duration(r.taps/2) * time.Second / time.Duration(r.from)
}

// Resample appends src at the new rate to dst and returns the result. Frames of a whole number of periods of both rates
// (20 ms of the usual ones) always give the same number of samples.
func (r *Resampler) Resample(dst, src []int16) []int16 {
	if r.from == r.to {
		return append(dst, src...)
	}
	for len(src) > 0 {
		n := min(len(src), block)
		dst = r.resample(dst, src[:n])
		src = src[n:]
	}
	return dst
}

func (r *Resampler) resample(dst, src []int16) []int16 {
	past := r.past[:r.taps-1]
	for _, s := range src {
		past = append(past, float32(s))
	}
	i, phase := r.next, r.phase
	for i < len(src) {
		sum := dot(past[i:i+r.taps], r.filter[phase*r.taps:(phase+1)*r.taps])
		dst = append(dst, saturate(sum))
		i += r.step
		if phase += r.rest; phase >= r.phases {
			phase -= r.phases
			i++
		}
	}
	r.next, r.phase = i-len(src), phase
	copy(past, past[len(src):])
	r.past = past[:r.taps-1]
	return dst
}

// dot is the scalar product; a and b have one length. Four sums hide the latency of the additions, arrays spare the
// checks of bounds.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 8 && len(b) >= 8 {
		x, y := (*[8]float32)(a), (*[8]float32)(b)
		s0 += x[0]*y[0] + x[4]*y[4]
		s1 += x[1]*y[1] + x[5]*y[5]
		s2 += x[2]*y[2] + x[6]*y[6]
		s3 += x[3]*y[3] + x[7]*y[7]
		a, b = a[8:], b[8:]
	}
	for i := range min(len(a), len(b)) {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

// saturate rounds to the nearest sample.
func saturate(v float32) int16 {
	switch {
	case v >= math.MaxInt16:
		return math.MaxInt16
	case v <= math.MinInt16:
		return math.MinInt16
	}
	return int16(int32(v+(1<<15)+0.5) - 1<<15)
}

// polyphase designs the low-pass and deals its coefficients out to the phases. ratio is the lower rate by the input
// rate.
func polyphase(phases, taps int, ratio float64) []float32 {
	n := phases * taps
	h := make([]float64, n)
	middle := float64(n) / 2
	for i := 1; i < n; i++ { // h[0] has no mirror image and stays zero: the phase is linear
		x := (float64(i) - middle) / float64(phases) * ratio // in samples of the lower rate
		w := (float64(i) - middle) / middle
		h[i] = sinc(2*cutoff*x) * bessel0(kaiserBeta*math.Sqrt(1-w*w))
	}
	filter := make([]float32, n)
	for p := range phases {
		var sum float64
		for t := range taps {
			sum += h[t*phases+p]
		}
		for t := range taps { // each phase passes a constant unchanged
			filter[p*taps+taps-1-t] = float32(h[t*phases+p] / sum)
		}
	}
	return filter
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel0 is the modified Bessel function of the first kind and order zero, of which the Kaiser window is made.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// A RateEncoder encodes PCM of any rate from MinRate to MaxRate: it keeps the resampler of its stream.
type RateEncoder interface {
	Encoder
	// EncodeRate is Encode for pcm of the given rate in Hz.
	EncodeRate(dst []byte, pcm []int16, rate int) ([]byte, error)
}

// resampleTo changes the rate of one stream, whose rates may change on the way.
type resampleTo struct {
	resampler *Resampler // nil until it is needed
	pcm       []int16
}

// resample gives pcm at another rate. The result is valid until the next call.
func (r *resampleTo) resample(pcm []int16, from, to int) ([]int16, error) {
	if from == to {
		return pcm, nil
	}
	if r.resampler == nil || r.resampler.from != from || r.resampler.to != to {
		resampler, err := NewResampler(from, to)
		if err != nil {
			return nil, err
		}
		r.resampler = resampler
	}
	r.pcm = r.resampler.Resample(r.pcm[:0], pcm)
	return r.pcm, nil
}

// resamplingEncoder puts a resampler in front of an encoder of one rate.
type resamplingEncoder struct {
	Encoder
	rate int
	resampleTo
}

func (e *resamplingEncoder) EncodeRate(dst []byte, pcm []int16, rate int) ([]byte, error) {
	pcm, err := e.resample(pcm, rate, e.rate)
	if err != nil {
		return dst, err
	}
	return e.Encode(dst, pcm)
}
