package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/tipring/tipring/engine/codec"
)

// Errors of audio files. What the reader itself returns is passed on, wrapped.
var (
	ErrBadAudio = errors.New("not audio that can be played")
	ErrTooLong  = errors.New("audio is too long")
)

// WAVOptions bound and shape what DecodeWAV makes.
type WAVOptions struct {
	MaxDuration time.Duration // of the audio; 0: 10 minutes
	Rate        int           // of the clip in Hz; 0: 16000 if the file has as much, else 8000
}

// rate is that of the clip of a file of the given one.
func (o *WAVOptions) rate(file int) int {
	switch {
	case o.Rate != 0:
		return o.Rate
	case file >= wideband:
		return wideband
	}
	return narrowband
}

const (
	defaultMaxDuration = 10 * time.Minute
	narrowband         = 8000     // Hz
	wideband           = 16000    //
	maxSkipped         = 16 << 20 // bytes of other chunks before the audio: cover pictures, text
	maxFormat          = 1 << 10  // bytes of a fmt chunk
	// unknownSize begins the sizes that writers to pipes put into headers that they cannot go back to: 0x7FFF…, 0xFFFFFFFF.
	unknownSize = 0x7FFF0000
)

// DecodeWAV reads a RIFF WAVE file: PCM of 8, 16, 24 or 32 bits, float of 32, µ-law or A-law, mono or stereo (mixed
// down), 8 to 48 kHz, converted to the rate of o. It trusts no size in the file: memory grows with what really arrives,
// up to MaxDuration. It returns ErrBadAudio for what it cannot read and ErrTooLong, or the error of r.
func DecodeWAV(r io.Reader, o WAVOptions) (*Clip, error) {
	if o.MaxDuration <= 0 {
		o.MaxDuration = defaultMaxDuration
	}
	var riff [12]byte
	if err := readFull(r, riff[:], "the header"); err != nil {
		return nil, err
	}
	if string(riff[:4]) != "RIFF" || string(riff[8:]) != "WAVE" {
		return nil, fmt.Errorf("%w: it is no RIFF WAVE file", ErrBadAudio)
	}
	format, size, err := readChunks(r)
	if err != nil {
		return nil, err
	}
	o.Rate = o.rate(format.rate)
	pcm, err := readSamples(r, format, size, o)
	if err != nil {
		return nil, err
	}
	return NewClip(o.Rate, pcm)
}

// readChunks reads up to the samples and returns their format and their size in bytes, math.MaxInt64 if that is
// "until the end".
func readChunks(r io.Reader) (f wavFormat, size int64, err error) {
	known := false
	for skipped := int64(0); ; {
		var head [8]byte
		if err = readFull(r, head[:], "a chunk"); err != nil {
			return f, 0, err
		}
		size = int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			if f, err = readFormat(r, size); err != nil {
				return f, 0, err
			}
			known = true
			size &= 1 // its pad byte
		case "data":
			if !known {
				return f, 0, fmt.Errorf("%w: its samples come before their format", ErrBadAudio)
			}
			if size >= unknownSize {
				size = math.MaxInt64
			}
			return f, size, nil
		default:
			size += size & 1
		}
		if skipped += size; skipped > maxSkipped {
			return f, 0, fmt.Errorf("%w: more than %d MiB before the samples", ErrBadAudio, maxSkipped>>20)
		}
		if _, err = io.CopyN(io.Discard, r, size); err != nil {
			return f, 0, cut(err, fmt.Sprintf("chunk %q", head[:4]))
		}
	}
}

// readSamples converts size bytes of samples block by block.
func readSamples(r io.Reader, f wavFormat, size int64, o WAVOptions) ([]int16, error) {
	resampler, err := codec.NewResampler(f.rate, o.Rate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadAudio, err)
	}
	limit := int64(o.MaxDuration) * int64(f.rate) / int64(time.Second) // of samples, at the rate of the file
	frame := int64(f.channels * f.bytes())
	var (
		raw  = make([]byte, 4096*frame)
		mono = make([]int16, 0, 4096)
		sig  = signal{resampler: resampler, from: f.rate, to: o.Rate}
	)
	for left := size / frame * frame; left > 0; {
		n, err := io.ReadFull(r, raw[:min(left, int64(len(raw)))])
		open := size == math.MaxInt64
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			if !open {
				return nil, cut(err, fmt.Sprintf("its samples (%d bytes of %d are missing)", left-int64(n), size))
			}
			left = 0
		case err != nil:
			return nil, fmt.Errorf("read audio: %w", err)
		case !open:
			left -= int64(n)
		}
		mono = f.convert(mono[:0], raw[:int64(n)/frame*frame])
		if sig.in+int64(len(mono)) > limit {
			return nil, fmt.Errorf("%w: more than %v", ErrTooLong, o.MaxDuration)
		}
		sig.add(mono)
	}
	if sig.in == 0 {
		return nil, fmt.Errorf("%w: there are no samples in it", ErrBadAudio)
	}
	return sig.end(), nil
}

// signal resamples a whole signal in pieces and takes the filter's delay out.
type signal struct {
	resampler *codec.Resampler
	from, to  int
	in        int64
	out       []int16
}

func (s *signal) add(pcm []int16) {
	s.in += int64(len(pcm))
	s.out = s.resampler.Resample(s.out, pcm)
}

func (s *signal) end() []int16 {
	if s.from == s.to {
		return s.out
	}
	want := int((s.in*int64(s.to) + int64(s.from)/2) / int64(s.from))
	skip := int((s.resampler.Delay()*time.Duration(s.to) + time.Second/2) / time.Second) // rounded
	silence := make([]int16, 64)
	for len(s.out) < want+skip {
		s.out = s.resampler.Resample(s.out, silence)
	}
	return s.out[skip : want+skip : want+skip]
}

func readFull(r io.Reader, b []byte, what string) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return cut(err, what)
	}
	return nil
}

// cut says where the file ends too early; other errors are the reader's.
func cut(err error, where string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within %s", ErrBadAudio, where)
	}
	return fmt.Errorf("read audio: %w", err)
}

// EncodeWAV writes c as PCM of 16 bits.
func EncodeWAV(w io.Writer, c *Clip) error {
	size := 2 * len(c.pcm)
	if size > unknownSize-36 {
		return fmt.Errorf("write audio: %w: %v", ErrTooLong, c.Duration())
	}
	le := binary.LittleEndian
	b := make([]byte, 0, 44+size)
	b = le.AppendUint32(append(b, "RIFF"...), uint32(36+size))
	b = le.AppendUint32(append(b, "WAVEfmt "...), 16)
	b = le.AppendUint16(b, formatPCM)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(c.rate))
	b = le.AppendUint32(b, uint32(2*c.rate))
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = le.AppendUint32(append(b, "data"...), uint32(size))
	for _, s := range c.pcm {
		b = le.AppendUint16(b, uint16(s))
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write audio: %w", err)
	}
	return nil
}
