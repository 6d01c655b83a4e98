package codec

import "math"

// Lengths of the concealment, in samples at lawRate; at twice the rate all are twice as long.
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

// concealing is a decoder of waveforms, of lawRate or twice that, that conceals what did not come: it repeats the last two
// periods of the voice, faded to silence within 60 ms, and leads them over into the sound that comes back.
type concealing struct {
	Decoder
	scale int     // of lengths
	past  []int16 // what it gave last, a ring
	at    int     // of the oldest sample in past
	gap   *gap    // nil until the first loss
}

func newConcealing(d Decoder) *concealing {
	scale := d.Rate() / lawRate
	return &concealing{Decoder: d, scale: scale, past: make([]int16, plcPast*scale)}
}

// Decode decodes as the decoder does and remembers the result.
func (d *concealing) Decode(dst []int16, payload []byte) ([]int16, error) {
	from := len(dst)
	dst, err := d.Decoder.Decode(dst, payload)
	if err != nil {
		return dst, err
	}
	if d.gap != nil && d.gap.made > 0 {
		d.gap.leave(dst[from:])
	}
	d.remember(dst[from:])
	return dst, nil
}

// Conceal makes up for a payload of ms milliseconds; waveforms have no use for the next one.
func (d *concealing) Conceal(dst []int16, ms int, _ []byte) ([]int16, error) {
	if d.gap == nil {
		d.gap = newGap(d.scale)
	}
	if d.gap.made == 0 {
		d.gap.enter(d.history(d.gap.past))
	}
	dst, out := extend(dst, max(ms, 0)*lawRate/1000*d.scale)
	for i := range out {
		out[i] = saturate(d.gap.sample())
	}
	d.remember(out)
	return dst, nil
}

func (d *concealing) remember(pcm []int16) {
	pcm = pcm[max(len(pcm)-len(d.past), 0):]
	n := copy(d.past[d.at:], pcm)
	copy(d.past, pcm[n:])
	if d.at += len(pcm); d.at >= len(d.past) {
		d.at -= len(d.past)
	}
}

// history writes past into h in its order.
func (d *concealing) history(h []float32) []float32 {
	for i := range h {
		h[i] = float32(d.past[(d.at+i)%len(d.past)])
	}
	return h
}

// A gap is the sound made up since the last payload that came.
type gap struct {
	scale int       // of lengths
	cycle []float32 // the last two periods, so that the end leads into the beginning
	size  int       // of cycle in use
	next  int       // of cycle
	step  float32   // by how much the real sound ended above the repeated one
	made  int       // samples so far; 0: no gap
	past  []float32 // room for what was before it
}

func newGap(scale int) *gap {
	return &gap{scale: scale, cycle: make([]float32, 2*maxPeriod*scale), past: make([]float32, plcPast*scale)}
}

// enter takes the last two periods out of the sound before the gap.
func (g *gap) enter(past []float32) {
	period := findPeriod(past, g.scale)
	g.size, g.next = 2*period, period
	begin, seam := len(past)-g.size, plcSeam*g.scale
	copy(g.cycle[:g.size], past[begin:])
	for i := range seam {
		w := float32(i+1) / float32(seam+1)
		at := g.size - seam + i
		g.cycle[at] = g.cycle[at]*(1-w) + past[begin-seam+i]*w
	}
	g.step = past[len(past)-1] - past[len(past)-1-period]
}

// sample is the next one that is made up.
func (g *gap) sample() float32 {
	level := 1 - float32(g.made-plcHold*g.scale)/float32(plcFade*g.scale)
	if level <= 0 {
		return 0 // and made stays, however long the gap
	}
	s := g.cycle[g.next]
	if lead := plcLead * g.scale; g.made < lead {
		s += g.step * (1 - float32(g.made+1)/float32(lead+1))
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
	n := min(plcSeam*g.scale+g.made/10, maxBlend*g.scale, len(pcm))
	for i := range n {
		w := float32(i+1) / float32(n+1)
		pcm[i] = saturate(g.sample()*(1-w) + float32(pcm[i])*w)
	}
	g.made = 0
}

// findPeriod is the lag at which the end of past is most like itself: on every second sample of lawRate first, then exactly.
func findPeriod(past []float32, scale int) int {
	shortest, longest, coarse := minPeriod*scale, maxPeriod*scale, 2*scale
	best, like := longest, float32(0)
	for lag := shortest; lag <= longest; lag += coarse {
		if l := likeness(past, plcWindow*scale, lag, coarse); l > like {
			best, like = lag, l
		}
	}
	if like < voiced*voiced {
		return longest // no voice: a long piece hums least
	}
	middle := best
	like = 0
	for lag := max(middle-coarse+1, shortest); lag <= min(middle+coarse-1, longest); lag++ {
		if l := likeness(past, plcWindow*scale, lag, 1); l > like {
			best, like = lag, l
		}
	}
	return best
}

// likeness is the square of the normalised correlation of the last window of past with itself, lag samples earlier; 0 if they
// are opposed.
func likeness(past []float32, window, lag, stride int) float32 {
	var both, here, there float32
	for i := len(past) - window; i < len(past); i += stride {
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
