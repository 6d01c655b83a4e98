package recording

import (
	"encoding/binary"
	"math"

	"github.com/tipring/tipring/engine/codec"
)

// mostAhead bounds what a voice holds beyond the turn, in turns: the longest packets there are last 120 ms.
const mostAhead = 5

// A voice makes one direction into PCM of one rate. It holds the decoders and resamplers of whatever comes.
type voice struct {
	rate     int
	codecs   *[maxCodecs]codec.Codec // of the recorder: an entry is there before a piece names it
	decoders [maxCodecs]codec.Decoder
	broken   [maxCodecs]bool // there is no decoder for it
	resample *codec.Resampler
	from     int // that resample is for
	ahead    []int16
	pcm      []int16
}

// next gives the PCM of a turn in which p came; p may be of kind kindNone. It is silence where nothing is left to be
// heard. The slice is good until the next call.
func (v *voice) next(p *piece) []int16 {
	n := samplesPerTurn(v.rate)
	v.add(p)
	v.pcm = v.pcm[:0]
	have := min(n, len(v.ahead))
	v.pcm = append(v.pcm, v.ahead[:have]...)
	for len(v.pcm) < n {
		v.pcm = append(v.pcm, 0)
	}
	rest := v.ahead[have:]
	if extra := len(rest) - mostAhead*n; extra > 0 {
		rest = rest[extra:]
	}
	v.ahead = v.ahead[:copy(v.ahead, rest)]
	return v.pcm
}

// add decodes p behind what is there. What cannot be decoded is silence.
func (v *voice) add(p *piece) {
	switch p.kind {
	case kindPCM:
		v.pcm = v.pcm[:0]
		for i := 0; i+1 < len(p.data); i += 2 {
			v.pcm = append(v.pcm, int16(binary.LittleEndian.Uint16(p.data[i:])))
		}
		v.join(v.pcm, p.rate)
	case kindPayload:
		dec := v.decoder(p.codec)
		if dec == nil {
			return
		}
		pcm, err := dec.Decode(v.pcm[:0], p.data)
		if v.pcm = pcm[:0]; err == nil {
			v.join(pcm, dec.Rate())
		}
	case kindLost:
		dec, conceals := v.decoder(p.codec).(codec.Concealer)
		if !conceals || len(v.ahead) > 0 {
			return // a longer packet covers the turn
		}
		pcm, err := dec.Conceal(v.pcm[:0], int(turnTime.Milliseconds()), nil)
		if v.pcm = pcm[:0]; err == nil {
			v.join(pcm, dec.Rate())
		}
	default:
	}
}

// decoder is the one for a codec of the recorder, nil if there is none.
func (v *voice) decoder(i uint8) codec.Decoder {
	if int(i) >= maxCodecs || v.broken[i] {
		return nil
	}
	if v.decoders[i] == nil {
		dec, err := v.codecs[i].NewDecoderAt(v.rate)
		if err != nil {
			v.broken[i] = true
			return nil
		}
		v.decoders[i] = dec
	}
	return v.decoders[i]
}

// join adds PCM of any rate.
func (v *voice) join(pcm []int16, rate int) {
	if rate == v.rate {
		v.ahead = append(v.ahead, pcm...)
		return
	}
	if v.resample == nil || v.from != rate {
		r, err := codec.NewResampler(rate, v.rate)
		if err != nil {
			return
		}
		v.resample, v.from = r, rate
	}
	v.ahead = v.resample.Resample(v.ahead, pcm)
}

// mix adds b to a, which it changes, and holds the sum within 16 bits.
func mix(a, b []int16) {
	for i := range min(len(a), len(b)) {
		a[i] = int16(min(max(int32(a[i])+int32(b[i]), math.MinInt16), math.MaxInt16))
	}
}

// audible reports whether there is more in pcm than the noise of a line: −50 dBFS, as RMS.
func audible(pcm []int16) bool {
	const floor = 104 // 32768 · 10^(−50/20)
	var sum int64
	for _, s := range pcm {
		sum += int64(s) * int64(s)
	}
	return sum > floor*floor*int64(len(pcm))
}
