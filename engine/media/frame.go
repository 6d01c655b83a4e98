package media

import (
	"fmt"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// PacketTime is what one ReadFrame of a source covers.
const PacketTime = 20 * time.Millisecond

// A Frame is one packet time of audio, as payload, as PCM, as both, or as silence. It carries a payload as it came and
// decodes it once, only if someone asks; born as PCM, it is encoded by whoever sends it. It is reused: what a getter
// returns is valid until the next Set or ReadFrame. It is used by one goroutine at a time.
type Frame struct {
	// Asker is who pulls, and at which rate it wants PCM. It survives every Set.
	Asker Asker
	// Shared says that several streams send this frame: it is encoded by encoders of its own, whose stream it is, and
	// not by those of the senders. It survives every Set.
	Shared bool

	content
	alias   *Frame // whose audio this is
	encoded []encoded
	fresh   int // of encoded: those of the audio at hand
}

// An Asker tells a source who pulls it. Sources that pull other sources pass it on.
type Asker struct {
	Thread any // of media: a source at home on the same thread gives its audio without a detour; nil: unknown
	Rate   int // of the PCM that is wanted, in Hz; a hint: 0 is no wish
}

// content is the audio of a frame.
type content struct {
	codec    codec.Codec // of payload
	payload  []byte
	tape     *tape // whose packet time turn this is; nil: nobody's
	turn     int
	decoder  codec.Decoder
	undecode bool // PCM is to be had from payload, or in its place, and is not there yet
	lost     bool
	pcm      []int16
	rate     int // of pcm, in Hz
	before   []int16
}

// encoded is the audio of a frame in one more codec.
type encoded struct {
	codec   codec.Codec
	payload []byte
	encoder codec.Encoder // the frame's own, for who brings none
	made    codec.Codec   // that encoder is for
}

// SetSilence makes f one packet time of nothing.
func (f *Frame) SetSilence() {
	c := &f.content
	c.codec, c.payload, c.tape, c.decoder = codec.Codec{}, c.payload[:0], nil, nil
	c.undecode, c.lost = false, false
	c.pcm, c.rate, c.before = c.pcm[:0], 0, nil
	f.alias, f.fresh = nil, 0
}

// Silent reports whether f holds no audio.
func (f *Frame) Silent() bool {
	f = f.origin()
	return len(f.Payload()) == 0 && len(f.pcm) == 0 && !f.lost
}

// Lost reports whether f stands for a payload that did not come. It has PCM if its codec can conceal.
func (f *Frame) Lost() bool { return f.origin().lost }

// SetPayload copies p, encoded in c, into f. dec decodes it when PCM is asked for; nil stands for a decoder without
// state.
func (f *Frame) SetPayload(c codec.Codec, p []byte, dec codec.Decoder) {
	f.SetSilence()
	f.codec, f.decoder, f.undecode = c, dec, true
	f.payload = append(f.payload, p...)
}

// SetLost makes f stand for a payload that did not come. dec conceals it when PCM is asked for, if it is a
// codec.Concealer; next is the payload behind it if that is there.
func (f *Frame) SetLost(c codec.Codec, next []byte, dec codec.Decoder) {
	f.SetSilence()
	f.codec, f.decoder, f.undecode, f.lost = c, dec, true, true
	f.payload = append(f.payload, next...)
}

// SetPCM copies samples of the given rate in Hz into f.
func (f *Frame) SetPCM(rate int, samples []int16) {
	f.SetSilence()
	f.rate = rate
	f.pcm = append(f.pcm, samples...)
}

// SetAlias makes f stand for the audio of another frame, which is decoded and encoded there, once for all. It holds
// until src is set anew.
func (f *Frame) SetAlias(src *Frame) {
	f.SetSilence()
	f.alias = src.origin()
}

// After notes what the far end heard just before, PCM of f's rate, from somebody else's encoder: an encoder with memory is
// warmed with it. pcm is kept, not copied.
func (f *Frame) After(pcm []int16) { f.before = pcm }

// origin is the frame whose audio f holds.
func (f *Frame) origin() *Frame {
	if f.alias != nil {
		return f.alias
	}
	return f
}

// Codec is what the payload of f is encoded in; the zero Codec if f is silent or born as PCM.
func (f *Frame) Codec() codec.Codec { return f.origin().codec }

// Payload is the payload as it came, empty if f is silent, lost or born as PCM.
func (f *Frame) Payload() []byte {
	f = f.origin()
	if f.lost {
		return nil
	}
	return f.payload
}

// PCM is the audio of f and its rate in Hz. It is empty if f is silent or if its payload cannot be decoded.
func (f *Frame) PCM() (samples []int16, rate int) {
	f = f.origin()
	if f.undecode {
		f.undecode = false
		f.decode()
	}
	return f.pcm, f.rate
}

func (f *Frame) decode() {
	if f.decoder == nil && !f.lost {
		dec, err := f.codec.NewDecoder()
		if err != nil {
			return
		}
		f.decoder = dec
	}
	var err error
	f.pcm = f.pcm[:0]
	switch dec, conceals := f.decoder.(codec.Concealer); {
	case !f.lost && len(f.payload) > 0:
		f.pcm, err = f.decoder.Decode(f.pcm, f.payload)
	case f.lost && conceals:
		f.pcm, err = dec.Conceal(f.pcm, int(PacketTime/time.Millisecond), f.payload)
	default:
		return
	}
	if err != nil {
		f.pcm = f.pcm[:0]
		return
	}
	f.rate = f.decoder.Rate()
}

// Encode is the payload of f in c: as it came if its codec is the Same, else as its clip was encoded for all, else decoded
// and encoded, once per codec however many ask. enc is the encoder of the stream that goes out, of whatever rate the audio is if it is a
// codec.RateEncoder; nil stands for an encoder that f keeps, which then belongs to the stream that f carries. A Shared
// frame uses its own in any case. The result is empty if f is silent, or lost and cannot be concealed: the sender
// decides what to send then.
func (f *Frame) Encode(c codec.Codec, enc codec.Encoder) ([]byte, error) {
	f = f.origin()
	if p := f.Payload(); len(p) > 0 && f.codec.Same(c) {
		return p, nil
	}
	for i := range f.encoded[:f.fresh] {
		if f.encoded[i].codec.Same(c) {
			return f.encoded[i].payload, nil
		}
	}
	pcm, rate := f.PCM()
	if len(pcm) == 0 {
		return nil, nil
	}
	if f.tape != nil {
		if p := f.tape.packet(f, c, f.turn, pcm, rate); p != nil {
			return p, nil
		}
	}
	e := f.place(c)
	var err error
	if enc == nil || f.Shared {
		if enc, err = e.own(c); err != nil {
			return nil, fmt.Errorf("encode frame: %w", err)
		}
	}
	if w, ok := enc.(codec.Warmer); ok && len(f.before) > 0 && !f.Shared {
		w.Warm(f.before, rate)
	}
	payload, err := encode(e.payload[:0], c, enc, pcm, rate)
	if err != nil {
		return nil, fmt.Errorf("encode frame in %s: %w", c, err)
	}
	e.codec, e.payload = c, payload
	f.fresh++
	return payload, nil
}

// place is where the encoding in c is to lie, the one with an encoder for c first: with several codecs in turn each
// keeps its own.
func (f *Frame) place(c codec.Codec) *encoded {
	for i := f.fresh; i < len(f.encoded); i++ {
		if f.encoded[i].made.Same(c) {
			f.encoded[f.fresh], f.encoded[i] = f.encoded[i], f.encoded[f.fresh]
			return &f.encoded[f.fresh]
		}
	}
	if f.fresh < len(f.encoded) && f.encoded[f.fresh].encoder == nil {
		return &f.encoded[f.fresh]
	}
	f.encoded = append(f.encoded, encoded{})
	last := len(f.encoded) - 1
	f.encoded[f.fresh], f.encoded[last] = f.encoded[last], f.encoded[f.fresh]
	return &f.encoded[f.fresh]
}

// own is the encoder for c that the frame keeps.
func (e *encoded) own(c codec.Codec) (codec.Encoder, error) {
	if e.encoder == nil || !e.made.Same(c) {
		enc, err := c.NewEncoder()
		if err != nil {
			return nil, err
		}
		e.encoder, e.made = enc, c
	}
	return e.encoder, nil
}

func encode(dst []byte, c codec.Codec, enc codec.Encoder, pcm []int16, rate int) ([]byte, error) {
	if r, ok := enc.(codec.RateEncoder); ok {
		return r.EncodeRate(dst, pcm, rate)
	}
	if rate != c.SampleRate {
		return dst, fmt.Errorf("%w: %d Hz, the encoder takes %d", codec.ErrRate, rate, c.SampleRate)
	}
	return enc.Encode(dst, pcm)
}
