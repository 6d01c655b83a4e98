package codec

import (
	"sync"
	"time"

	"github.com/zaf/g711"
)

// The tables of G.711 are built once, at first use, and never change.
//
//nolint:gochecknoglobals // immutable: 33 KiB that every stream shares instead of owning
var (
	mulaw = sync.OnceValue(func() *law { return newLaw(g711.EncodeUlawFrame, g711.DecodeUlawFrame) })
	alaw  = sync.OnceValue(func() *law { return newLaw(g711.EncodeAlawFrame, g711.DecodeAlawFrame) })
)

func newMulawEncoder(EncoderOptions) Encoder { return newLawEncoder(mulaw()) }
func newAlawEncoder(EncoderOptions) Encoder  { return newLawEncoder(alaw()) }

// newLawEncoder: the tables are shared, the resampler is the stream's.
func newLawEncoder(l *law) Encoder { return &resamplingEncoder{Encoder: l, rate: lawRate} }

func plainMulaw() (Decoder, error) { return mulaw(), nil }
func plainAlaw() (Decoder, error)  { return alaw(), nil }

func newMulawDecoder(int) (Decoder, error) { return newConcealing(mulaw()), nil }
func newAlawDecoder(int) (Decoder, error)  { return newConcealing(alaw()), nil }

func lawDuration(payload []byte) time.Duration {
	return time.Duration(len(payload)) * time.Second / lawRate
}

func mulawIdle() byte { return mulaw().encode[0] }
func alawIdle() byte  { return alaw().encode[0] }

func mulawSilence(dst []byte, ms int) []byte { return fill(dst, mulawIdle(), ms*lawRate/1000) }
func alawSilence(dst []byte, ms int) []byte  { return fill(dst, alawIdle(), ms*lawRate/1000) }

func fill(dst []byte, b byte, n int) []byte {
	for range n {
		dst = append(dst, b)
	}
	return dst
}

// lawRate is the sample rate of G.711 and its clock.
const lawRate = 8000

// law is a companding law of ITU-T G.711, both directions, without state. encode is indexed by the upper 14 bits of a
// sample, which are all that either law looks at.
type law struct {
	encode [1 << 14]byte
	decode [1 << 8]int16
}

func newLaw(encode func(int16) uint8, decode func(uint8) int16) *law {
	l := new(law)
	for i := range l.encode {
		l.encode[i] = encode(int16(uint16(i) << 2))
	}
	for i := range l.decode {
		l.decode[i] = decode(byte(i))
	}
	return l
}

// Rate is that of G.711.
func (*law) Rate() int { return lawRate }

// Encode takes eight samples at a time: that is a third faster than one by one, and does not depend on where the linker
// puts the loop.
func (l *law) Encode(dst []byte, pcm []int16) ([]byte, error) {
	dst, out := extend(dst, len(pcm))
	for len(pcm) >= 8 && len(out) >= 8 {
		s, b := (*[8]int16)(pcm), (*[8]byte)(out)
		b[0] = l.encode[uint16(s[0])>>2]
		b[1] = l.encode[uint16(s[1])>>2]
		b[2] = l.encode[uint16(s[2])>>2]
		b[3] = l.encode[uint16(s[3])>>2]
		b[4] = l.encode[uint16(s[4])>>2]
		b[5] = l.encode[uint16(s[5])>>2]
		b[6] = l.encode[uint16(s[6])>>2]
		b[7] = l.encode[uint16(s[7])>>2]
		pcm, out = pcm[8:], out[8:]
	}
	for i, s := range pcm {
		out[i] = l.encode[uint16(s)>>2]
	}
	return dst, nil
}

// Decode takes eight samples at a time, as Encode does.
func (l *law) Decode(dst []int16, payload []byte) ([]int16, error) {
	dst, out := extend(dst, len(payload))
	for len(payload) >= 8 && len(out) >= 8 {
		b, s := (*[8]byte)(payload), (*[8]int16)(out)
		s[0] = l.decode[b[0]]
		s[1] = l.decode[b[1]]
		s[2] = l.decode[b[2]]
		s[3] = l.decode[b[3]]
		s[4] = l.decode[b[4]]
		s[5] = l.decode[b[5]]
		s[6] = l.decode[b[6]]
		s[7] = l.decode[b[7]]
		payload, out = payload[8:], out[8:]
	}
	for i, b := range payload {
		out[i] = l.decode[b]
	}
	return dst, nil
}

// extend lengthens dst by n elements, to be overwritten, and gives them as a slice of their own.
func extend[E any](dst []E, n int) (all, added []E) {
	l := len(dst)
	if cap(dst)-l < n {
		dst = append(dst, make([]E, n)...)
	}
	dst = dst[:l+n]
	return dst, dst[l:]
}
