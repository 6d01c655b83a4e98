package codec

import (
	"time"

	"github.com/gotranspile/g722"
)

// G.722 samples at 16 kHz, but its clock is 8 kHz, by a mistake that RFC 3551 4.5.2 keeps. A payload has one byte for two
// samples.
const g722Rate = 16000

func newG722Encoder(EncoderOptions) Encoder {
	return &g722Encoder{resamplingEncoder{Encoder: &g722Coder{}, rate: g722Rate}}
}

func plainG722() (Decoder, error)         { return &g722Decoder{}, nil }
func newG722Decoder(int) (Decoder, error) { return newConcealing(&g722Decoder{}), nil }

// g722Silence repeats the code of the smallest step in both bands: a decoder falls silent by it within 100 ms.
func g722Silence(dst []byte, ms int) []byte { return fill(dst, 0xff, ms*lawRate/1000) }

// g722Encoder is an encoder with memory, for PCM of any rate.
type g722Encoder struct{ resamplingEncoder }

// Warm implements Warmer.
func (e *g722Encoder) Warm(pcm []int16, rate int) {
	_, _ = e.EncodeRate(nil, pcm, rate) // a rate that it cannot take, it hears nothing of
}

// EncodeSilence implements Silencer.
func (e *g722Encoder) EncodeSilence(dst []byte, ms int) []byte {
	var silence [g722Rate / 1000 * 20]int16
	for ; ms > 0; ms -= 20 {
		dst, _ = e.Encode(dst, silence[:min(ms, 20)*g722Rate/1000]) // never fails
	}
	return dst
}

// g722Coder encodes at 16 kHz. It makes the library's encoder at its first frame.
type g722Coder struct{ encoder *g722.Encoder }

func (c *g722Coder) Encode(dst []byte, pcm []int16) ([]byte, error) {
	if c.encoder == nil {
		c.encoder = g722.NewEncoder(g722.Rate64000, 0)
	}
	pcm = pcm[:len(pcm)&^1] // the library takes pairs
	dst, out := extend(dst, len(pcm)/2)
	c.encoder.Encode(out, pcm)
	return dst, nil
}

// g722Decoder makes the library's decoder at its first payload.
type g722Decoder struct{ decoder *g722.Decoder }

// Rate is 16 kHz.
func (*g722Decoder) Rate() int { return g722Rate }

func (d *g722Decoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	if d.decoder == nil {
		d.decoder = g722.NewDecoder(g722.Rate64000, 0)
	}
	dst, out := extend(dst, 2*len(payload))
	d.decoder.Decode(out, payload)
	return dst, nil
}

func g722Duration(payload []byte) time.Duration { return lawDuration(payload) }
