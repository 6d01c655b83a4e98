package media

import (
	"fmt"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// PacketTime is what one ReadFrame of a source covers.
const PacketTime = 20 * time.Millisecond

// A Frame is one packet time of audio, as payload, as PCM, or as silence. It carries a payload as it came and decodes
// it once, only if someone asks; born as PCM, it is encoded by whoever sends it. It is reused: what a getter returns
// is valid until the next Set or ReadFrame. It is used by one goroutine at a time.
type Frame struct {
	codec    codec.Codec // of payload
	payload  []byte
	decoder  codec.Decoder
	undecode bool // payload is there, pcm not yet
	pcm      []int16
	rate     int // of pcm, in Hz
	encoded  []encoded
	fresh    int // of encoded: those of the audio at hand
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
	f.codec, f.payload, f.decoder, f.undecode = codec.Codec{}, f.payload[:0], nil, false
	f.pcm, f.rate, f.fresh = f.pcm[:0], 0, 0
}

// Silent reports whether f holds no audio.
func (f *Frame) Silent() bool { return len(f.payload) == 0 && len(f.pcm) == 0 }

// SetPayload copies p, encoded in c, into f. dec decodes it when PCM is asked for; nil stands for a decoder without
// state.
func (f *Frame) SetPayload(c codec.Codec, p []byte, dec codec.Decoder) {
	f.SetSilence()
	f.codec, f.decoder, f.undecode = c, dec, true
	f.payload = append(f.payload, p...)
}

// SetPCM copies samples of the given rate in Hz into f.
func (f *Frame) SetPCM(rate int, samples []int16) {
	f.SetSilence()
	f.rate = rate
	f.pcm = append(f.pcm, samples...)
}

// Codec is what the payload of f is encoded in; the zero Codec if f is silent or born as PCM.
func (f *Frame) Codec() codec.Codec { return f.codec }

// Payload is the payload as it came, empty if f is silent or born as PCM.
func (f *Frame) Payload() []byte { return f.payload }

// PCM is the audio of f and its rate in Hz. It is empty if f is silent or if its payload cannot be decoded.
func (f *Frame) PCM() (samples []int16, rate int) {
	if f.undecode {
		f.undecode = false
		f.decode()
	}
	return f.pcm, f.rate
}

func (f *Frame) decode() {
	if len(f.payload) == 0 {
		return
	}
	if f.decoder == nil {
		dec, err := f.codec.NewDecoder()
		if err != nil {
			return
		}
		f.decoder = dec
	}
	pcm, err := f.decoder.Decode(f.pcm[:0], f.payload)
	if err != nil {
		f.pcm = pcm[:0]
		return
	}
	f.pcm, f.rate = pcm, f.codec.SampleRate
}

// Encode is the payload of f in c: as it came if its codec is the Same, else decoded and encoded, once per codec
// however many ask. enc is the encoder of the stream that goes out, of whatever rate the audio is if it is a
// codec.RateEncoder; nil stands for an encoder that f keeps, which then belongs to the stream that f carries. The
// result is empty if f is silent: the sender decides what silence is.
func (f *Frame) Encode(c codec.Codec, enc codec.Encoder) ([]byte, error) {
	if len(f.payload) > 0 && f.codec.Same(c) {
		return f.payload, nil
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
	if f.fresh == len(f.encoded) {
		f.encoded = append(f.encoded, encoded{})
	}
	e := &f.encoded[f.fresh]
	if enc == nil {
		var err error
		if enc, err = e.own(c); err != nil {
			return nil, fmt.Errorf("encode frame: %w", err)
		}
	}
	payload, err := encode(e.payload[:0], c, enc, pcm, rate)
	if err != nil {
		return nil, fmt.Errorf("encode frame in %s: %w", c, err)
	}
	e.codec, e.payload = c, payload
	f.fresh++
	return payload, nil
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
