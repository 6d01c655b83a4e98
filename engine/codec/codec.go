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
	// Rate is the sample rate of what it gives, in Hz.
	Rate() int
}

// A Concealer is a Decoder that makes up for payload that did not come.
type Concealer interface {
	Decoder
	// Conceal appends ms milliseconds in the place of a lost payload to dst. next is the payload behind the lost one if
	// it is there, else nil: some codecs carry a coarse copy of the payload before (forward error correction).
	Conceal(dst []int16, ms int, next []byte) ([]int16, error)
}

// A LossAdapter is an Encoder that can protect its payloads: it is told what share of them the far end loses, in
// percent, whenever a report comes.
type LossAdapter interface{ AdaptLoss(percent float64) }

// A Warmer is an Encoder whose state depends on what it encoded before. Warm feeds it the PCM that the far end has heard
// from another encoder of the codec just before, so that its first payload continues that.
type Warmer interface{ Warm(pcm []int16, rate int) }

// A Silencer is an Encoder whose state depends on what it encoded before, and which has a cheap payload for silence. Who
// sends Codec.AppendSilence past it gets a few wrong frames when sound comes back: the far end's decoder has heard
// silence, the encoder has not.
type Silencer interface {
	// EncodeSilence is Codec.AppendSilence, noted by the encoder.
	EncodeSilence(dst []byte, ms int) []byte
}

// EncoderOptions shape an encoder. The zero value has the measured defaults.
type EncoderOptions struct {
	Fmtp string // format parameters of the far end's description: what it wants to get
	Opus OpusOptions
}

// OpusOptions are the operator's choices for Opus.
type OpusOptions struct {
	Complexity int  // 0…10 of libopus; 0 is the default, since more costs much and brings little
	Bitrate    int  // bit/s at most, whatever the bandwidth; 0: by bandwidth
	DTX        bool // send nothing while nothing is said, if the far end takes it
	// LossForFEC is the loss in percent, as the far end reports it, from which payloads are protected; 0: 2; negative:
	// never.
	LossForFEC float64
}
