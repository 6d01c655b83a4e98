package codec

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNotAudio is what NewEncoder and NewDecoder return for a row that carries no audio, and for a Codec that is not in
// the table.
var ErrNotAudio = errors.New("no audio codec")

// A row is a codec and all that sets it apart from others. Rows that carry no audio have no functions.
type row struct {
	Codec
	packetTimes   []int // in ms, that the encoder can make, ascending
	encoder       func(EncoderOptions) Encoder
	plain         func() (Decoder, error)         // the cheapest decoder of one stream
	decoder       func(rate int) (Decoder, error) // one that gives rate, or the nearest, and conceals
	duration      func(payload []byte) time.Duration
	discontinuous func(payload []byte) bool // nil: no payload is
	silence       func(dst []byte, ms int) []byte
	idle          func() byte // of one sample of silence; nil: payloads cannot be cut
}

// rows is the table, in the order in which codecs are offered unless told otherwise. G.711 comes first: it is what the
// telephone network speaks, so a call that it leads through is not converted, while an offer that begins with Opus has
// every call from there to a phone converted.
//
//nolint:gochecknoglobals // a table that nobody changes
var rows = [...]row{
	{
		Codec:       Codec{Name: "PCMU", PayloadType: 0, ClockRate: 8000, Channels: 1, SampleRate: 8000},
		packetTimes: []int{10, 20, 30, 40, 60},
		encoder:     newMulawEncoder, plain: plainMulaw, decoder: newMulawDecoder,
		duration: lawDuration, silence: mulawSilence, idle: mulawIdle,
	},
	{
		Codec:       Codec{Name: "PCMA", PayloadType: 8, ClockRate: 8000, Channels: 1, SampleRate: 8000},
		packetTimes: []int{10, 20, 30, 40, 60},
		encoder:     newAlawEncoder, plain: plainAlaw, decoder: newAlawDecoder,
		duration: lawDuration, silence: alawSilence, idle: alawIdle,
	},
	{
		Codec:       Codec{Name: "opus", PayloadType: 111, ClockRate: 48000, Channels: 2, SampleRate: 48000, Fmtp: opusFmtp},
		packetTimes: []int{10, 20, 40, 60},
		encoder:     newOpusEncoder, plain: plainOpus, decoder: newOpusDecoder,
		duration: opusDuration, discontinuous: opusDiscontinuous, silence: opusSilence,
	},
	{
		Codec:       Codec{Name: "G722", PayloadType: 9, ClockRate: 8000, Channels: 1, SampleRate: g722Rate},
		packetTimes: []int{10, 20, 30, 40, 60},
		encoder:     newG722Encoder, plain: plainG722, decoder: newG722Decoder,
		duration: g722Duration, silence: g722Silence,
	},
	{Codec: Codec{Name: "CN", PayloadType: 13, ClockRate: 8000, Channels: 1}},
	{Codec: Codec{Name: "telephone-event", PayloadType: 101, ClockRate: 8000, Channels: 1, Fmtp: "0-16"}},
	{Codec: Codec{Name: "telephone-event", PayloadType: 102, ClockRate: 48000, Channels: 1, Fmtp: "0-16"}},
}

// row is that of c, nil if c is not in the table.
func (c Codec) row() *row {
	for i := range rows {
		if r := &rows[i]; r.Name == c.Name && r.ClockRate == c.ClockRate {
			return r
		}
	}
	return nil
}

// Table is every codec that Tipring knows, in the order in which it is offered unless told otherwise. Rows that carry
// no audio (telephone-event, RFC 4733; comfort noise, RFC 3389) have no SampleRate. The slice is the caller's.
func Table() []Codec {
	table := make([]Codec, len(rows))
	for i := range rows {
		table[i] = rows[i].Codec
	}
	return table
}

// ByName finds a row by the name and the clock of an rtpmap. Names are case-insensitive (RFC 4855 3).
func ByName(name string, clock int) (Codec, bool) {
	for i := range rows {
		if c := rows[i].Codec; strings.EqualFold(c.Name, name) && c.ClockRate == clock {
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
	for i := range rows {
		if c := rows[i].Codec; c.PayloadType == pt {
			return c, true
		}
	}
	return Codec{}, false
}

// firstDynamic begins the payload types that mean what an rtpmap says (RFC 3551 6).
const firstDynamic = 96

// Audio reports whether c carries audio.
func (c Codec) Audio() bool { return c.SampleRate > 0 }

// NewEncoder makes an encoder for one stream, with the defaults. It is a RateEncoder.
func (c Codec) NewEncoder() (Encoder, error) { return c.NewEncoderFor(EncoderOptions{}) }

// NewEncoderFor is NewEncoder with options. What an encoder needs much memory for, it makes at its first frame.
func (c Codec) NewEncoderFor(o EncoderOptions) (Encoder, error) {
	r := c.row()
	if r == nil || r.encoder == nil {
		return nil, fmt.Errorf("encoder for %s: %w", c, ErrNotAudio)
	}
	return r.encoder(o), nil
}

// NewDecoder makes a decoder for one stream that gives the codec's SampleRate. That of a codec without memory costs
// nothing, and does not conceal.
func (c Codec) NewDecoder() (Decoder, error) {
	r := c.row()
	if r == nil || r.plain == nil {
		return nil, fmt.Errorf("decoder for %s: %w", c, ErrNotAudio)
	}
	return r.plain()
}

// NewDecoderAt makes a decoder that gives the rate in Hz which is wanted, or the nearest that the codec can give without
// a resampler: its Rate says which. It is a Concealer.
func (c Codec) NewDecoderAt(rate int) (Decoder, error) {
	r := c.row()
	if r == nil || r.decoder == nil {
		return nil, fmt.Errorf("decoder for %s: %w", c, ErrNotAudio)
	}
	return r.decoder(rate)
}

// PacketTime is how long payloads to a far end are, in ms, that named a ptime and a maxptime (RFC 8866 6.4), 0 if it did
// not: the longest that c makes within both, 20 without a ptime.
func (c Codec) PacketTime(wanted, most int) int {
	if wanted <= 0 {
		wanted = 20
	}
	if most > 0 {
		wanted = min(wanted, most)
	}
	r := c.row()
	if r == nil || len(r.packetTimes) == 0 {
		return 20
	}
	best := r.packetTimes[0]
	for _, t := range r.packetTimes {
		if t <= wanted {
			best = t
		}
	}
	return best
}

// Duration is how long a payload of c lasts; 0 if it is malformed or c carries no audio.
func (c Codec) Duration(payload []byte) time.Duration {
	if r := c.row(); r != nil && r.duration != nil {
		return r.duration(payload)
	}
	return 0
}

// Discontinuous reports whether payload, which an encoder of c gave, says only that nothing is said: it need not be
// sent, and a gap in the stream takes its place (discontinuous transmission).
func (c Codec) Discontinuous(payload []byte) bool {
	r := c.row()
	return r != nil && r.discontinuous != nil && r.discontinuous(payload)
}

// Bytewise reports whether a payload of c has one byte per unit of the clock, so that it can be cut anywhere.
func (c Codec) Bytewise() bool {
	r := c.row()
	return r != nil && r.idle != nil
}

// Silence is the payload byte of silence in a codec that is Bytewise, 0 in others.
func (c Codec) Silence() byte {
	if r := c.row(); r != nil && r.idle != nil {
		return r.idle()
	}
	return 0
}

// AppendSilence appends a payload of ms milliseconds of silence to dst; nothing if c carries no audio. ms is a packet
// time: 10, or 20 and its multiples to 120. An encoder with memory has to know of it: see Silencer.
func (c Codec) AppendSilence(dst []byte, ms int) []byte {
	if r := c.row(); r != nil && r.silence != nil {
		return r.silence(dst, ms)
	}
	return dst
}
