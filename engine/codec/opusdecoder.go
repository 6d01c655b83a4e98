package codec

import (
	"errors"
	"fmt"
	"time"

	"gopkg.in/hraban/opus.v2"
)

// errOpusPayload is a payload that breaks RFC 6716 3.4.
var errOpusPayload = errors.New("malformed Opus payload")

// An opusDecoder decodes Opus (RFC 6716) to mono of one rate; stereo is mixed down. It costs 18 kB from its first
// payload on.
type opusDecoder struct {
	decoder *opus.Decoder
	rate    int
}

func plainOpus() (Decoder, error) { return newOpusDecoder(0) }

// newOpusDecoder: libopus gives each of its rates for the same price, so no resampler follows.
func newOpusDecoder(rate int) (Decoder, error) { return &opusDecoder{rate: opusRate(rate)}, nil }

// opusRate is the lowest rate of libopus that is no less than rate; the highest if there is none or no wish.
func opusRate(rate int) int {
	if rate > 0 {
		for _, r := range [...]int{8000, 12000, 16000, 24000} {
			if rate <= r {
				return r
			}
		}
	}
	return 48000
}

// Rate is what the decoder was made for.
func (d *opusDecoder) Rate() int { return d.rate }

// Decode takes payloads of 2.5 to 120 ms. An empty one stands for 20 ms in which nothing came, as while the far end
// sends nothing because nothing is said.
func (d *opusDecoder) Decode(dst []int16, payload []byte) ([]int16, error) {
	if len(payload) == 0 {
		return d.Conceal(dst, 20, nil)
	}
	n := d.samples(opusDuration(payload))
	if n == 0 {
		return dst, errOpusPayload
	}
	if err := d.open(); err != nil {
		return dst, err
	}
	// The decoder goes by the capacity of what it is given, so that must be exact.
	dst, out := extend(dst, n)
	got, err := d.decoder.Decode(payload, out[:n:n])
	if err != nil || got != n {
		return dst[:len(dst)-n], fmt.Errorf("decode %d bytes of Opus: %w", len(payload), errors.Join(errOpusPayload, err))
	}
	return dst, nil
}

// Conceal takes the copy of the lost payload that next carries (forward error correction), if it does; else libopus
// extrapolates, and goes on with comfort noise where the far end had stopped sending.
func (d *opusDecoder) Conceal(dst []int16, ms int, next []byte) ([]int16, error) {
	if ms <= 0 {
		return dst, nil
	}
	if err := d.open(); err != nil {
		return dst, err
	}
	from, n := len(dst), d.samples(time.Duration(ms)*time.Millisecond)
	if opusDuration(next) == 0 {
		next = nil
	}
	for left := n; left > 0; {
		part := min(left, d.samples(maxOpusDuration))
		var err error
		if dst, err = d.conceal(dst, part, next, left == part); err != nil {
			return dst[:from], err
		}
		left -= part
	}
	return dst[:from+n], nil
}

// conceal makes up n samples, rounded up to what libopus takes. last says that next follows on them.
func (d *opusDecoder) conceal(dst []int16, n int, next []byte, last bool) ([]int16, error) {
	unit := d.rate / 400 // 2.5 ms
	n = (n + unit - 1) / unit * unit
	dst, out := extend(dst, n)
	out = out[:n:n]
	if last && len(next) > 0 && d.decoder.DecodeFEC(next, out) == nil {
		return dst, nil
	}
	if err := d.decoder.DecodePLC(out); err != nil {
		return dst, fmt.Errorf("conceal Opus: %w", err)
	}
	return dst, nil
}

func (d *opusDecoder) samples(t time.Duration) int {
	return int(t * time.Duration(d.rate) / time.Second)
}

func (d *opusDecoder) open() error {
	if d.decoder != nil {
		return nil
	}
	decoder, err := opus.NewDecoder(d.rate, 1)
	if err != nil {
		return fmt.Errorf("open Opus decoder: %w", err)
	}
	d.decoder = decoder
	return nil
}
