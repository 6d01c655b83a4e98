package media

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/tipring/tipring/engine/codec"
)

// Format tags of a WAVE file (RFC 2361 and Microsoft's mmreg.h).
const (
	formatPCM        = 0x0001
	formatFloat      = 0x0003
	formatALaw       = 0x0006
	formatMuLaw      = 0x0007
	formatExtensible = 0xFFFE
)

// extensibleGUID is what follows the format tag in the sub-format of WAVE_FORMAT_EXTENSIBLE.
const extensibleGUID = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

// wavFormat is what a fmt chunk says of the samples.
type wavFormat struct {
	tag      uint16
	channels int
	rate     int
	bits     int // of a sample and channel, as stored
	law      codec.Decoder
}

func (f wavFormat) bytes() int { return f.bits / 8 }

// readFormat reads a fmt chunk and refuses what cannot be converted.
func readFormat(r io.Reader, size int64) (wavFormat, error) {
	if size < 16 || size > maxFormat {
		return wavFormat{}, fmt.Errorf("%w: its format chunk has %d bytes", ErrBadAudio, size)
	}
	b := make([]byte, size)
	if err := readFull(r, b, "the format chunk"); err != nil {
		return wavFormat{}, err
	}
	le := binary.LittleEndian
	f := wavFormat{
		tag:      le.Uint16(b),
		channels: int(le.Uint16(b[2:])),
		rate:     int(le.Uint32(b[4:])),
		bits:     int(le.Uint16(b[14:])),
	}
	if f.tag == formatExtensible {
		if size < 40 || string(b[26:40]) != extensibleGUID {
			return f, fmt.Errorf("%w: unknown extensible format", ErrBadAudio)
		}
		f.tag = le.Uint16(b[24:])
	}
	if f.channels != 1 && f.channels != 2 {
		return f, fmt.Errorf("%w: %d channels (mono and stereo can be played)", ErrBadAudio, f.channels)
	}
	if f.rate < codec.MinRate || f.rate > codec.MaxRate {
		return f, fmt.Errorf("%w: %d Hz (%d to %d can be played)", ErrBadAudio, f.rate, codec.MinRate, codec.MaxRate)
	}
	if err := f.checkBits(); err != nil {
		return f, err
	}
	if align := int(le.Uint16(b[12:])); align != f.channels*f.bytes() {
		return f, fmt.Errorf("%w: blocks of %d bytes do not fit %d channels of %d bits", ErrBadAudio, align, f.channels, f.bits)
	}
	return f, f.openLaw()
}

func (f wavFormat) checkBits() error {
	var ok bool
	switch f.tag {
	case formatPCM:
		ok = f.bits == 8 || f.bits == 16 || f.bits == 24 || f.bits == 32
	case formatFloat:
		ok = f.bits == 32
	case formatALaw, formatMuLaw:
		ok = f.bits == 8
	default:
		return fmt.Errorf("%w: format %d (PCM, float, A-law and µ-law can be played)", ErrBadAudio, f.tag)
	}
	if !ok {
		return fmt.Errorf("%w: samples of %d bits in format %d", ErrBadAudio, f.bits, f.tag)
	}
	return nil
}

func (f *wavFormat) openLaw() error {
	var name string
	switch f.tag {
	case formatALaw:
		name = "PCMA"
	case formatMuLaw:
		name = "PCMU"
	default:
		return nil
	}
	c, _ := codec.ByName(name, 8000)
	law, err := c.NewDecoder()
	if err != nil {
		return fmt.Errorf("decode WAV: %w", err)
	}
	f.law = law
	return nil
}

// convert appends whole frames of raw to dst as mono samples.
func (f wavFormat) convert(dst []int16, raw []byte) []int16 {
	start := len(dst)
	dst = f.samples(dst, raw)
	if f.channels == 1 {
		return dst
	}
	out := dst[:start]
	for in := dst[start:]; len(in) >= 2; in = in[2:] {
		out = append(out, int16((int32(in[0])+int32(in[1]))/2))
	}
	return out
}

// samples appends the samples of raw, channels interleaved.
func (f wavFormat) samples(dst []int16, raw []byte) []int16 {
	if f.law != nil {
		dst, _ = f.law.Decode(dst, raw) // G.711 decodes every byte
		return dst
	}
	le := binary.LittleEndian
	size := f.bytes()
	for ; len(raw) >= size; raw = raw[size:] {
		var s int16
		switch {
		case f.tag == formatFloat:
			s = fromFloat(math.Float32frombits(le.Uint32(raw)))
		case f.bits == 8: // unsigned
			s = int16(int(raw[0])-128) << 8
		case f.bits == 16:
			s = int16(le.Uint16(raw))
		case f.bits == 24:
			s = fromInt32(int32(uint32(raw[0])<<8 | uint32(raw[1])<<16 | uint32(raw[2])<<24))
		default:
			s = fromInt32(int32(le.Uint32(raw)))
		}
		dst = append(dst, s)
	}
	return dst
}

// fromInt32 rounds to the upper 16 bits.
func fromInt32(v int32) int16 {
	return int16(min((int64(v)+1<<15)>>16, math.MaxInt16))
}

// fromFloat takes −1…1; what lies outside is clipped, what is no number is silence.
func fromFloat(v float32) int16 {
	switch {
	case v != v:
		return 0
	case v >= 1:
		return math.MaxInt16
	case v <= -1:
		return math.MinInt16
	}
	return int16(min(math.Round(float64(v)*(1<<15)), math.MaxInt16))
}
