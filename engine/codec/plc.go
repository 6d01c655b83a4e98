package codec

import "math"

// Lengths of the concealment, in samples at lawRate.
const (
	plcPast   = lawRate * 40 / 1000 // that is kept
	minPeriod = 40                  // of a voice, 200 Hz; higher ones are found by a multiple of theirs
	maxPeriod = 120                 // 66 Hz
	plcWindow = 160                 // over which periods are compared
	plcSeam   = 32                  // over which the repeated piece is led into its own beginning
	plcLead   = 16                  // over which the step from real to repeated sound is spread
	plcHold   = 80                  // of full level …
	plcFade   = 400                 // … and from there to silence, 60 ms into the gap
	maxBlend  = 80                  // over which real sound comes back
	voiced    = 0.5                 // likeness of two periods from which sound counts as voice
)

// A lawDecoder decodes G.711 and conceals what did not come: it repeats the last two periods of the voice, faded to
// silence within 60 ms, and leads them over into the sound that comes back.
type lawDecoder struct {
	*law
	past [plcPast]int16 // what it gave last, a ring
	at   int            // of the oldest sample in past
	gap  *gap           // nil until the first loss
}

// Decode decodes as the law does and remembers the result.
func (d *lawDecoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	from := len(dst)
	dst, err := d.law.Decode(dst, payload)
	if err != nil {
		return dst, err
	}
	if d.gap != nil && d.gap.made > 0 {
		d.gap.leave(dst[from:])
	}
	d.remember(dst[from:])
	return dst, nil
}

// Conceal makes up for a payload of ms milliseconds; G.711 has no use for the next one.
func (d *lawDecoder) Conceal(dst []int16, ms int, _ []byte) ([]int16, error) {
	if d.gap == nil {
		d.gap = new(gap)
	}
	if d.gap.made == 0 {
		d.gap.enter(d.history())
	}
	dst, out := extend(dst, max(ms, 0)*lawRate/1000)
	for i := range out {
		out[i] = saturate(d.gap.sample())
	}
	d.remember(out)
	return dst, nil
}

func (d *lawDecoder) remember(pcm []int16) {
	pcm = pcm[max(len(pcm)-plcPast, 0):]
	n := copy(d.past[d.at:], pcm)
	copy(d.past[:], pcm[n:])
	if d.at += len(pcm); d.at >= plcPast {
		d.at -= plcPast
	}
}

// history is past in its order.
func (d *lawDecoder) history() *[plcPast]float32 {
	h := new([plcPast]float32)
	for i := range h {
		h[i] = float32(d.past[(d.at+i)%plcPast])
	}
	return h
}

// A gap is the sound made up since the last payload that came.
type gap struct {
	cycle [2 * maxPeriod]float32 // the last two periods, so that the end leads into the beginning
	size  int                    // of cycle in use
	next  int                    // of cycle
	step  float32                // by how much the real sound ended above the repeated one
	made  int                    // samples so far; 0: no gap
}

// enter takes the last two periods out of the sound before the gap.
func (g *gap) enter(past *[plcPast]float32) {
	period := findPeriod(past)
	g.size, g.next = 2*period, period
	begin := plcPast - g.size
	copy(g.cycle[:g.size], past[begin:])
	for i := range plcSeam {
		w := float32(i+1) / (plcSeam + 1)
		at := g.size - plcSeam + i
		g.cycle[at] = g.cycle[at]*(1-w) + past[begin-plcSeam+i]*w
	}
	g.step = past[plcPast-1] - past[plcPast-1-period]
}

// sample is the next one that is made up.
func (g *gap) sample() float32 {
	level := 1 - float32(g.made-plcHold)/plcFade
	if level <= 0 {
		return 0 // and made stays, however long the gap
	}
	s := g.cycle[g.next]
	if g.made < plcLead {
		s += g.step * (1 - float32(g.made+1)/(plcLead+1))
	}
	if g.next++; g.next == g.size {
		g.next = 0
	}
	g.made++
	return s * min(level, 1)
}

// leave ends the gap: pcm, which came behind it, begins with what was made up. The longer the gap, the less both have
// in common and the slower the change.
func (g *gap) leave(pcm []int16) {
	n := min(plcSeam+g.made/10, maxBlend, len(pcm))
	for i := range n {
		w := float32(i+1) / float32(n+1)
		pcm[i] = saturate(g.sample()*(1-w) + float32(pcm[i])*w)
	}
	g.made = 0
}

// findPeriod is the lag at which the end of past is most like itself: on every second sample first, then exactly.
func findPeriod(past *[plcPast]float32) int {
	best, like := maxPeriod, float32(0)
	for lag := minPeriod; lag <= maxPeriod; lag += 2 {
		if l := likeness(past, lag, 2); l > like {
			best, like = lag, l
		}
	}
	if like < voiced*voiced {
		return maxPeriod // no voice: a long piece hums least
	}
	middle := best
	like = 0
	for lag := max(middle-1, minPeriod); lag <= min(middle+1, maxPeriod); lag++ {
		if l := likeness(past, lag, 1); l > like {
			best, like = lag, l
		}
	}
	return best
}

// likeness is the square of the normalised correlation of the end of past with itself, lag samples earlier; 0 if they
// are opposed.
func likeness(past *[plcPast]float32, lag, stride int) float32 {
	var both, here, there float32
	for i := plcPast - plcWindow; i < plcPast; i += stride {
		a, b := past[i], past[i-lag]
		both += a * b
		here += a * a
		there += b * b
	}
	if both <= 0 || here == 0 || there == 0 {
		return 0
	}
	return both / float32(math.Max(float64(here), 1)) * both / there
}
