package phone

import (
	"encoding/binary"
	"math"

	"github.com/zaf/g711"
)

// rate of all that a phone plays and hears.
const rate = 8000

// A Sound is what a phone says, packet by packet.
type Sound interface {
	// payload of packet n in a codec; nil sends nothing.
	payload(n int, codec string) []byte
}

type tones []float64

// Tone is a sum of sines, -12 dBFS each, without a break between packets.
func Tone(hz ...float64) Sound { return tones(hz) }

func (t tones) payload(n int, codec string) []byte {
	pcm := make([]int16, rate/50)
	for i := range pcm {
		x := 0.0
		for _, hz := range t {
			x += 8192 * math.Sin(2*math.Pi*hz*float64(n*len(pcm)+i)/rate)
		}
		pcm[i] = int16(max(-32768, min(32767, x)))
	}
	return encode(pcm, codec)
}

// Silence sends packets of silence.
func Silence() Sound { return tones(nil) }

type nothing struct{}

// Nothing sends no packets at all.
func Nothing() Sound { return nothing{} }

func (nothing) payload(int, string) []byte { return nil }

type numbered struct{}

// Numbered sends packets that carry their number, from 0, for Heard.Numbers at the far end. They survive a relay, not
// a conversion.
func Numbered() Sound { return numbered{} }

const numberMark = "tipring#"

func (numbered) payload(n int, _ string) []byte {
	b := make([]byte, rate/50)
	copy(b, numberMark)
	binary.BigEndian.PutUint32(b[len(numberMark):], uint32(n))
	return b
}

// number is what a packet of Numbered carries.
func number(payload []byte) (uint32, bool) {
	if len(payload) < len(numberMark)+4 || string(payload[:len(numberMark)]) != numberMark {
		return 0, false
	}
	return binary.BigEndian.Uint32(payload[len(numberMark):]), true
}

func encode(pcm []int16, codec string) []byte {
	out := make([]byte, len(pcm))
	for i, v := range pcm {
		if codec == "PCMA" {
			out[i] = g711.EncodeAlawFrame(v)
		} else {
			out[i] = g711.EncodeUlawFrame(v)
		}
	}
	return out
}

func decode(payload []byte, codec string) []int16 {
	out := make([]int16, len(payload))
	for i, v := range payload {
		if codec == "PCMA" {
			out[i] = g711.DecodeAlawFrame(v)
		} else {
			out[i] = g711.DecodeUlawFrame(v)
		}
	}
	return out
}
