package mixer

import (
	"math"

	"github.com/tipring/tipring/engine/media"
)

// add adds a voice to a sum of the same length.
func add(sum []int32, voice []int16) {
	sum = sum[:len(voice)]
	for i, v := range voice {
		sum[i] += int32(v)
	}
}

const (
	knee    = 23_170 // −3 dBFS: below it the limiter does nothing
	ceiling = math.MaxInt16
)

// limit brings a sum into the range of a sample: as it is up to the knee, ever more pressed together above it, never
// beyond the ceiling. It is monotonic and has no memory, so that all who hear a sum hear the same.
func limit(v int32) int16 {
	if v <= knee && v >= -knee {
		return int16(v)
	}
	return pressed(v)
}

func pressed(v int32) int16 {
	const room = ceiling - knee
	sign := int64(1)
	over := int64(v)
	if over < 0 {
		sign, over = -1, -over
	}
	over -= knee
	// room·over/(over+room): slope 1 at the knee, and room far above it
	return int16(sign * (knee + room*over/(over+room)))
}

// amplify makes pcm louder or softer, within the range of samples.
func amplify(pcm []int16, gain float64) {
	g := int64(gain * (1 << 16))
	for i, v := range pcm {
		pcm[i] = int16(max(math.MinInt16, min(math.MaxInt16, int64(v)*g>>16)))
	}
}

func fadeIn(pcm []int16) {
	for i, v := range pcm {
		pcm[i] = int16(int(v) * i / len(pcm))
	}
}

func fadeOut(pcm []int16) {
	for i, v := range pcm {
		pcm[i] = int16(int(v) * (len(pcm) - 1 - i) / len(pcm))
	}
}

func grow(pcm []int16, n int) []int16 {
	if cap(pcm) < n {
		return make([]int16, n)
	}
	return pcm[:n]
}

// mute reports whether f says nothing, without decoding it: no audio at all, a payload too short for any, or digital
// silence of a codec of one byte per sample.
func mute(f *media.Frame) bool {
	if f.Lost() {
		return false
	}
	p := f.Payload()
	switch {
	case len(p) == 0:
		return f.Silent()
	case len(p) <= 2: // discontinuous transmission
		return true
	case !f.Codec().Bytewise():
		return false
	}
	for _, b := range p[1:] {
		if b != p[0] {
			return false
		}
	}
	return true
}

// level is the mean square of a packet time.
func level(pcm []int16) float64 {
	if len(pcm) == 0 {
		return 0
	}
	var sum int64
	for _, v := range pcm {
		sum += int64(v) * int64(v)
	}
	return float64(sum) / float64(len(pcm))
}

// A detector tells talk from background. What is louder than loudest is talk whatever came before, so that music, a fax
// or a long tone is not taken for noise.
type detector struct {
	floor    float64 // of the background, as a mean square
	hang     int     // packet times until a pause is a pause
	streak   int     // of talk; negative: of pauses
	talking  bool    // in the mix
	speaking bool    // as it is told
	told     bool
}

// Levels are mean squares of samples; full scale is 2³⁰.
const (
	quietest = 4000   // −54 dBFS: nothing softer is talk
	loudest  = 40_000 // −44 dBFS: nothing louder is background
	above    = 4      // 6 dB: how far talk stands out of the background
	rise     = 1.01   // per packet time, of the background
	hangOver = 20     // packet times: 400 ms
	begin    = 3      // packet times of talk until it is told
	end      = 30     // of pause
)

func (d *detector) reset() { *d = detector{floor: quietest / above} }

// hear takes the level of the next packet time and reports whether it belongs into the mix.
func (d *detector) hear(level float64) bool {
	if level < d.floor {
		d.floor = max(1, (d.floor+level)/2)
	} else {
		d.floor = min(d.floor*rise, loudest/above)
	}
	loud := level >= max(quietest, min(d.floor*above, loudest))
	switch {
	case loud:
		d.hang, d.streak = hangOver, max(d.streak, 0)+1
	default:
		d.hang, d.streak = max(0, d.hang-1), min(d.streak, 0)-1
	}
	d.talking = d.hang > 0
	switch {
	case d.streak >= begin:
		d.speaking = true
	case -d.streak >= end:
		d.speaking = false
	}
	return d.talking
}

// last reports whether the next packet time, if it is a pause, is not in the mix any more.
func (d *detector) last() bool { return d.hang == 1 }
