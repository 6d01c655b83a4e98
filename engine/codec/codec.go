// Package codec turns PCM into payload and back. The table describes every codec as data; a codec is added by a
// row and one file.
package codec

import "strconv"

// A Codec is one row of the table. The zero Codec is no codec.
type Codec struct {
	Name        string // as in SDP's rtpmap: "PCMU"
	PayloadType uint8  // the static number of RFC 3551, or the number that we propose
	ClockRate   int    // of RTP timestamps, in Hz
	Channels    int
	SampleRate  int    // of the PCM that the decoder gives and the encoder takes, in Hz
	Fmtp        string // that we offer
}

// Same reports whether payloads of c and d can be exchanged without conversion. Payload numbers do not matter:
// they are per direction and rewritten by whoever sends.
func (c Codec) Same(d Codec) bool {
	return c.Name == d.Name && c.ClockRate == d.ClockRate && c.Channels == d.Channels
}

// Samples is the number of PCM samples per channel in a packet time of ms milliseconds.
func (c Codec) Samples(ms int) int { return c.SampleRate * ms / 1000 }

// String shows the codec as SDP writes it: "PCMU/8000", "opus/48000/2".
func (c Codec) String() string {
	if c.Name == "" {
		return "none"
	}
	s := c.Name + "/" + strconv.Itoa(c.ClockRate)
	if c.Channels > 1 {
		s += "/" + strconv.Itoa(c.Channels)
	}
	return s
}

// An Encoder makes one packet time of PCM into payload. It may keep state between calls and is used by one
// goroutine at a time.
type Encoder interface {
	// Encode appends the payload of pcm to dst and returns the result. It keeps neither slice.
	Encode(dst []byte, pcm []int16) ([]byte, error)
}

// A Decoder makes payload into PCM. It may keep state between calls and is used by one goroutine at a time.
type Decoder interface {
	// Decode appends the samples of payload to dst and returns the result. It keeps neither slice.
	Decode(dst []int16, payload []byte) ([]int16, error)
}
