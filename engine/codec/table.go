package codec

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNotAudio is what NewEncoder and NewDecoder return for a row that carries no audio, and for a Codec that is not in
// the table.
var ErrNotAudio = errors.New("no audio codec")

// Table is every codec that Tipring knows, in the order in which it is offered unless told otherwise. Rows that carry
// no audio (telephone-event, RFC 4733; comfort noise, RFC 3389) have no SampleRate. The slice is the caller's.
func Table() []Codec {
	return []Codec{
		{Name: "PCMU", PayloadType: 0, ClockRate: 8000, Channels: 1, SampleRate: 8000},
		{Name: "PCMA", PayloadType: 8, ClockRate: 8000, Channels: 1, SampleRate: 8000},
		{Name: "CN", PayloadType: 13, ClockRate: 8000, Channels: 1},
		{Name: "telephone-event", PayloadType: 101, ClockRate: 8000, Channels: 1, Fmtp: "0-16"},
	}
}

// ByName finds a row by the name and the clock of an rtpmap. Names are case-insensitive (RFC 4855 3).
func ByName(name string, clock int) (Codec, bool) {
	for _, c := range Table() {
		if strings.EqualFold(c.Name, name) && c.ClockRate == clock {
			return c, true
		}
	}
	return Codec{}, false
}

// ByPayloadType finds a row by a static payload type (RFC 3551 6), which needs no rtpmap.
func ByPayloadType(pt uint8) (Codec, bool) {
	if pt >= firstDynamic {
		return Codec{}, false
	}
	for _, c := range Table() {
		if c.PayloadType == pt {
			return c, true
		}
	}
	return Codec{}, false
}

// firstDynamic begins the payload types that mean what an rtpmap says (RFC 3551 6).
const firstDynamic = 96

// Audio reports whether c carries audio.
func (c Codec) Audio() bool { return c.SampleRate > 0 }

// NewEncoder makes an encoder for one stream. It is a RateEncoder. Encoders of stateless codecs share their tables.
func (c Codec) NewEncoder() (Encoder, error) {
	if l := c.law(); l != nil {
		return &resamplingEncoder{Encoder: l, rate: c.ClockRate}, nil
	}
	return nil, fmt.Errorf("encoder for %s: %w", c, ErrNotAudio)
}

// NewDecoder makes a decoder for one stream. Decoders of stateless codecs cost nothing.
func (c Codec) NewDecoder() (Decoder, error) {
	if l := c.law(); l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("decoder for %s: %w", c, ErrNotAudio)
}

// law is the codec itself if it is one of G.711, else nil.
func (c Codec) law() *law {
	switch {
	case c.ClockRate != 8000:
		return nil
	case c.Name == "PCMU":
		return mulaw()
	case c.Name == "PCMA":
		return alaw()
	}
	return nil
}

// Silence is the payload byte of silence in a codec of one byte per sample, 0 in others.
func (c Codec) Silence() byte {
	if l := c.law(); l != nil {
		return l.encode[0]
	}
	return 0
}

// AppendSilence appends the payload of ms milliseconds of silence to dst; nothing if c carries no audio.
func (c Codec) AppendSilence(dst []byte, ms int) []byte {
	b := c.Silence()
	for range c.Samples(ms) {
		dst = append(dst, b)
	}
	return dst
}
