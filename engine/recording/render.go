package recording

import (
	"encoding/binary"
	"fmt"

	"github.com/tipring/tipring/engine/codec"
)

// A renderer makes the turns of a recording into what stands in its file.
type renderer interface {
	// render takes what came in a turn. audible is right only where silence is to be left out.
	render(in, out *piece) (audible bool)
	// keep adds the turn that was rendered last to the file.
	keep() error
	// flush makes the file playable up to here.
	flush() error
	// end completes the file after its last turn.
	end() error
	channels() int
	// mostTurns is how many turns the format can hold; 0: any number.
	mostTurns() int
}

// An input is a direction that is recorded, as the renderers see it.
type input struct {
	voice
	out bool
}

func newInputs(r *recorder) []*input {
	var list []*input
	for _, out := range [...]bool{false, true} {
		if out && r.out || !out && r.in {
			list = append(list, &input{voice: voice{rate: r.spec.Rate, codecs: &r.codecs}, out: out})
		}
	}
	return list
}

func (i *input) of(in, out *piece) *piece {
	if i.out {
		return out
	}
	return in
}

// A mixdown renders to PCM: one direction, both mixed, or side by side with the far end left.
type mixdown struct {
	inputs []*input
	wide   bool // stereo
	pcm    []int16
}

func newMixdown(r *recorder) mixdown {
	return mixdown{inputs: newInputs(r), wide: r.spec.Options.Tracks == tracksStereo}
}

func (m *mixdown) channels() int {
	if m.wide {
		return 2
	}
	return 1
}

func (m *mixdown) rate() int { return m.inputs[0].rate }

func (m *mixdown) render(in, out *piece) bool {
	first := m.inputs[0].next(m.inputs[0].of(in, out))
	m.pcm = m.pcm[:0]
	switch {
	case len(m.inputs) == 1:
		m.pcm = append(m.pcm, first...)
	case m.wide:
		for i, s := range m.inputs[1].next(out) {
			m.pcm = append(m.pcm, first[i], s)
		}
	default:
		m.pcm = append(m.pcm, first...)
		mix(m.pcm, m.inputs[1].next(out))
	}
	return audible(m.pcm)
}

// pcmRenderer writes 16-bit PCM into a WAV file.
type pcmRenderer struct {
	mixdown
	*wavFile
	bytes []byte
}

func newPCMRenderer(r *recorder, f blob) (*pcmRenderer, error) {
	m := newMixdown(r)
	w, err := newWAVFile(f, wavHeader{format: wavPCM, channels: m.channels(), rate: r.spec.Rate, bits: 16})
	return &pcmRenderer{mixdown: m, wavFile: w}, err
}

func (p *pcmRenderer) keep() error {
	p.bytes = p.bytes[:0]
	for _, s := range p.pcm {
		p.bytes = binary.LittleEndian.AppendUint16(p.bytes, uint16(s))
	}
	return p.write(p.bytes)
}

func (p *pcmRenderer) mostTurns() int { return p.capacity(2 * p.channels() * samplesPerTurn(p.rate())) }

// lawRenderer writes G.711 into a WAV file as it came.
type lawRenderer struct {
	*wavFile
	codec  codec.Codec
	tracks []*lawTrack
	bytes  []byte
	trim   bool
}

type lawTrack struct {
	*input
	encoder codec.Encoder
	payload []byte
}

func newLawRenderer(r *recorder, f blob) (*lawRenderer, error) {
	c := r.spec.Codec
	l := &lawRenderer{codec: c, trim: r.spec.Options.TrimSilence}
	for _, in := range newInputs(r) {
		enc, err := c.NewEncoder()
		if err != nil {
			return nil, fmt.Errorf("record %s: %w", c, err)
		}
		in.rate = c.SampleRate
		l.tracks = append(l.tracks, &lawTrack{input: in, encoder: enc})
	}
	format := wavMulaw
	if c.Name == "PCMA" {
		format = wavAlaw
	}
	var err error
	l.wavFile, err = newWAVFile(f, wavHeader{format: format, channels: len(l.tracks), rate: c.SampleRate, bits: 8})
	return l, err
}

func (l *lawRenderer) channels() int { return len(l.tracks) }
func (l *lawRenderer) mostTurns() int {
	return l.capacity(len(l.tracks) * samplesPerTurn(l.codec.SampleRate))
}

func (l *lawRenderer) render(in, out *piece) (heard bool) {
	for _, t := range l.tracks {
		heard = t.render(l.codec, t.of(in, out), l.trim) || heard
	}
	l.bytes = l.bytes[:0]
	if len(l.tracks) == 1 {
		l.bytes = append(l.bytes, l.tracks[0].payload...)
		return heard
	}
	left, right := l.tracks[0].payload, l.tracks[1].payload
	for i := range left {
		l.bytes = append(l.bytes, left[i], right[i])
	}
	return heard
}

func (l *lawRenderer) keep() error { return l.write(l.bytes) }

// render makes one packet time of payload: p's own where it is just that.
func (t *lawTrack) render(c codec.Codec, p *piece, listen bool) (heard bool) {
	same := p.kind == kindPayload && t.codecs[p.codec].Same(c) && len(p.data) == c.Samples(int(turnTime.Milliseconds()))
	if len(t.ahead) == 0 && !listen {
		switch {
		case same:
			t.payload = append(t.payload[:0], p.data...)
			return true
		case p.kind == kindNone:
			t.payload = c.AppendSilence(t.payload[:0], int(turnTime.Milliseconds()))
			return false
		}
	}
	pcm := t.next(p)
	payload, err := t.encoder.Encode(t.payload[:0], pcm)
	if err != nil { // G.711 takes any PCM
		payload = c.AppendSilence(payload[:0], int(turnTime.Milliseconds()))
	}
	t.payload = payload
	return audible(pcm)
}
