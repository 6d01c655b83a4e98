package media

import (
	"fmt"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// A Clip is decoded mono audio: a prompt, a tone, music. It never changes, so one is shared by all who play it. What it is
// encoded in for them it keeps: see track.
type Clip struct {
	rate   int
	pcm    []int16
	tracks tracks
}

// NewClip makes a clip of pcm at rate Hz (8 000 to 48 000, a whole number of samples per packet time). It keeps pcm,
// which must not be changed any more.
func NewClip(rate int, pcm []int16) (*Clip, error) {
	if rate < codec.MinRate || rate > codec.MaxRate || rate%int(time.Second/PacketTime) != 0 {
		return nil, fmt.Errorf("%w: %d Hz", codec.ErrRate, rate)
	}
	return &Clip{rate: rate, pcm: pcm}, nil
}

// Rate is the sample rate in Hz.
func (c *Clip) Rate() int { return c.rate }

// Size is the memory in bytes that the clip takes: its audio, and half as much again for what it is encoded in.
func (c *Clip) Size() int { return 3 * len(c.pcm) }

// frameSize is the samples of a packet time.
func (c *Clip) frameSize() int { return c.rate * int(PacketTime/time.Millisecond) / 1000 }

// PCM is the audio. It must not be changed.
func (c *Clip) PCM() []int16 { return c.pcm }

// Duration is how long the clip sounds.
func (c *Clip) Duration() time.Duration { return samplesToTime(len(c.pcm), c.rate) }

func samplesToTime(n, rate int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(rate)
}
