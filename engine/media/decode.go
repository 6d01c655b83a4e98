package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/hajimehoshi/go-mp3"
	"gopkg.in/hraban/opus.v2"

	"github.com/tipring/tipring/engine/codec"
)

// Decode reads an audio file of any format that is known by its first bytes: WAV (see DecodeWAV), MP3, Ogg/Opus; stereo is
// mixed down. It trusts no size in the file. It returns ErrBadAudio for what it cannot read, and ErrTooLong.
func Decode(data []byte, o WAVOptions) (*Clip, error) {
	if o.MaxDuration <= 0 {
		o.MaxDuration = defaultMaxDuration
	}
	switch {
	case bytes.HasPrefix(data, []byte("RIFF")):
		return DecodeWAV(bytes.NewReader(data), o)
	case bytes.HasPrefix(data, []byte("OggS")):
		return decodeOgg(data, o)
	case isMP3(data):
		return decodeMP3(data, o)
	case len(data) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrBadAudio)
	case looksLikeText(data):
		return nil, fmt.Errorf("%w: it is text, perhaps a web page: %.40q", ErrBadAudio, data)
	}
	return nil, fmt.Errorf("%w: it is none of WAV, MP3 and Ogg/Opus", ErrBadAudio)
}

// isMP3 reports whether data begins as MPEG audio does: with tags, or with the sync word of layer III.
func isMP3(data []byte) bool {
	if bytes.HasPrefix(data, []byte("ID3")) {
		return true
	}
	return len(data) > 4 && data[0] == 0xff && data[1]&0xe0 == 0xe0 && data[1]&0x06 == 0x02 && data[2]>>4 != 0xf && data[2]&0x0c != 0x0c
}

func looksLikeText(data []byte) bool {
	head := data[:min(len(data), 256)]
	for len(head) > 0 && !utf8.Valid(head) && len(head) > len(data)-4 && len(head) > 252 {
		head = head[:len(head)-1] // a character may be cut
	}
	for _, b := range head {
		if b < ' ' && b != '\n' && b != '\r' && b != '\t' {
			return false
		}
	}
	return utf8.Valid(head)
}

// collector gathers mono samples at the rate of the clip.
type collector struct {
	resampler *codec.Resampler
	limit     int
	rate      int
	pcm       []int16
}

func newCollector(from int, o WAVOptions) (*collector, error) {
	rate := o.rate(from)
	r, err := codec.NewResampler(from, rate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadAudio, err)
	}
	return &collector{resampler: r, rate: rate, limit: int(o.MaxDuration * time.Duration(rate) / time.Second)}, nil
}

func (c *collector) add(mono []int16) error {
	c.pcm = c.resampler.Resample(c.pcm, mono)
	if len(c.pcm) > c.limit {
		return ErrTooLong
	}
	return nil
}

const readBlock = 8192 // bytes, or samples, at a time

// decodeMP3 reads MPEG audio. The decoder always gives stereo of 16 bits.
func decodeMP3(data []byte, o WAVOptions) (clip *Clip, err error) {
	defer func() { // the decoder has panicked on corrupt files
		if fault := recover(); fault != nil {
			clip, err = nil, fmt.Errorf("%w: the MP3 is corrupt: %v", ErrBadAudio, fault)
		}
	}()
	d, err := mp3.NewDecoder(io.MultiReader(bytes.NewReader(data))) // no Seeker: it would read all of it first
	if err != nil {
		return nil, fmt.Errorf("%w: MP3: %w", ErrBadAudio, err)
	}
	c, err := newCollector(d.SampleRate(), o)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, readBlock)
	var mono []int16
	for {
		n, err := io.ReadFull(d, buf)
		mono = mono[:0]
		for b := buf[:n]; len(b) >= 4; b = b[4:] {
			left, right := int16(binary.LittleEndian.Uint16(b)), int16(binary.LittleEndian.Uint16(b[2:]))
			mono = append(mono, int16((int(left)+int(right))/2))
		}
		if err := c.add(mono); err != nil {
			return nil, err
		}
		if err != nil {
			break // io.EOF, or what is corrupt: what was read until then is played
		}
	}
	if len(c.pcm) == 0 {
		return nil, fmt.Errorf("%w: the MP3 has no audio", ErrBadAudio)
	}
	return NewClip(c.rate, c.pcm)
}

const (
	opusRate     = 48_000 // of what libopusfile gives
	opusHead     = "OpusHead"
	opusChannels = 9 // offset of the channel count in OpusHead (RFC 7845 5.1)
)

// decodeOgg reads Ogg/Opus by libopusfile, which gives 48 kHz and as many channels as the header names.
func decodeOgg(data []byte, o WAVOptions) (*Clip, error) {
	at := bytes.Index(data[:min(len(data), 512)], []byte(opusHead))
	if at < 0 || at+opusChannels >= len(data) {
		return nil, fmt.Errorf("%w: the Ogg file holds no Opus", ErrBadAudio)
	}
	channels := int(data[at+opusChannels])
	if channels < 1 || channels > 8 {
		return nil, fmt.Errorf("%w: the Opus header names %d channels", ErrBadAudio, channels)
	}
	s, err := opus.NewStream(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: Ogg/Opus: %w", ErrBadAudio, err)
	}
	defer s.Close()
	c, err := newCollector(opusRate, o)
	if err != nil {
		return nil, err
	}
	buf := make([]int16, readBlock*channels)
	mono := make([]int16, 0, readBlock)
	for {
		n, err := s.Read(buf) // samples per channel
		if n > 0 {
			mono = mixDown(mono[:0], buf[:min(n*channels, len(buf))], channels)
			if err := c.add(mono); err != nil {
				return nil, err
			}
		}
		switch {
		case errors.Is(err, io.EOF), err == nil && n == 0:
			if len(c.pcm) == 0 {
				return nil, fmt.Errorf("%w: the Ogg file has no audio", ErrBadAudio)
			}
			return NewClip(c.rate, c.pcm)
		case err != nil:
			return nil, fmt.Errorf("%w: Ogg/Opus: %w", ErrBadAudio, err)
		}
	}
}

func mixDown(dst, pcm []int16, channels int) []int16 {
	for ; len(pcm) >= channels; pcm = pcm[channels:] {
		sum := 0
		for _, v := range pcm[:channels] {
			sum += int(v)
		}
		dst = append(dst, int16(sum/channels))
	}
	return dst
}
