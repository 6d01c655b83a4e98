package codec

import (
	"fmt"
	"math"
	"slices"

	"gopkg.in/hraban/opus.v2"
)

const (
	warmTime       = 60   // ms that a new encoder hears in advance: it then continues as if it had always run
	leastCELT      = 32e3 // bit/s from which CELT is as good as SILK for narrowband speech, at half its cost
	defaultFECLoss = 2    // percent
	calmReports    = 3    // of little loss, one after the other, that end the protection
)

// An opusEncoder runs libopus at the rate that its audio really has. Narrowband goes through CELT, which costs half of
// SILK and needs 40 kbit/s for telephone quality; SILK takes over when payloads get lost, since CELT carries no copies,
// and where the bit rate is limited or nothing is to be sent in silence. Other rates are SILK's. It costs 43 kB from its
// first frame on.
type opusEncoder struct {
	options OpusOptions
	wish    opusWish

	loss      float64 // percent, as last reported
	protected bool
	calm      int // reports of little loss so far, while protected

	encoder *opus.Encoder // nil until a frame comes
	now     opusProfile   // of encoder
	past    []int16       // warmTime of what it heard, and more
	nowhere []byte        // where payloads go that nobody gets
	silent  bool          // the far end has heard silence that encoder did not make
	resampleTo
}

// An opusProfile is how an encoder is set up. rate and speech need another encoder, the rest can change on the way.
type opusProfile struct {
	rate    int  // of its PCM
	speech  bool // SILK or both, else CELT alone
	bitrate int
	percent int // of loss that payloads are protected against; 0: none
}

func newOpusEncoder(o EncoderOptions) Encoder {
	e := &opusEncoder{options: o.Opus, wish: parseOpusWish(o.Fmtp)}
	e.options.Complexity = min(max(e.options.Complexity, 0), 10)
	if e.options.LossForFEC == 0 {
		e.options.LossForFEC = defaultFECLoss
	}
	return e
}

// Encode takes PCM of 48 kHz.
func (e *opusEncoder) Encode(dst []byte, pcm []int16) ([]byte, error) {
	return e.EncodeRate(dst, pcm, 48000)
}

// EncodeRate takes a packet time of 2.5, 5, 10, 20, 40 or 60 ms. A rate that libopus has is taken as it is; others are
// raised to the next one.
func (e *opusEncoder) EncodeRate(dst []byte, pcm []int16, rate int) ([]byte, error) {
	pcm, rate, err := e.native(pcm, rate)
	if err != nil {
		return dst, err
	}
	if e.silent {
		e.silent = false
		e.hear(rate, nil)
	}
	if err := e.prepare(rate); err != nil {
		return dst, err
	}
	dst, out := extend(dst, e.room(len(pcm)))
	n, err := e.encoder.Encode(pcm, slices.Clip(out))
	if err != nil {
		return dst[:len(dst)-len(out)], fmt.Errorf("encode %d samples at %d Hz in Opus: %w", len(pcm), rate, err)
	}
	e.remember(pcm)
	return dst[:len(dst)-len(out)+n], nil
}

// AdaptLoss turns protection on at OpusOptions.LossForFEC, and off again after three reports of less than half of it.
// Who does not want copies (useinbandfec, RFC 7587 6.1: a preference, every decoder takes them) gets them from twice
// the loss on.
func (e *opusEncoder) AdaptLoss(percent float64) {
	limit := e.options.LossForFEC
	if limit < 0 || math.IsNaN(percent) {
		return
	}
	e.loss = min(max(percent, 0), 100)
	if !e.wish.fec {
		limit *= 2
	}
	switch {
	case e.loss >= limit:
		e.protected, e.calm = true, 0
	case e.loss >= limit/2:
		e.calm = 0
	case e.protected:
		if e.calm++; e.calm == calmReports {
			e.protected, e.calm = false, 0
		}
	}
}

// Warm takes the last 60 ms of pcm.
func (e *opusEncoder) Warm(pcm []int16, rate int) {
	frame := rate / 50
	if frame <= 0 || len(pcm) < frame {
		return
	}
	frames := min(len(pcm)/frame, warmTime/20)
	pcm, rate, err := e.native(pcm[len(pcm)-frames*frame:], rate)
	if err != nil {
		return
	}
	e.silent = false
	e.hear(rate, pcm)
}

// EncodeSilence implements Silencer.
func (e *opusEncoder) EncodeSilence(dst []byte, ms int) []byte {
	e.silent = true
	return opusSilence(dst, ms)
}

// hear makes the encoder forget what it encoded and remember pcm instead, nil for silence.
func (e *opusEncoder) hear(rate int, pcm []int16) {
	if pcm == nil {
		e.past = slices.Grow(e.past[:0], rate*warmTime/1000)[:rate*warmTime/1000]
		clear(e.past)
	} else {
		e.past = append(e.past[:0], pcm...)
	}
	if e.encoder == nil || e.now.rate != rate {
		e.encoder, e.now.rate = nil, rate
		return // prepare warms the one that it makes
	}
	_ = e.encoder.Reset() // fails only without an encoder
	e.warm()
}

// native is pcm at a rate of libopus.
func (e *opusEncoder) native(pcm []int16, rate int) ([]int16, int, error) {
	if rate < MinRate || rate > MaxRate {
		return nil, 0, fmt.Errorf("%w: %d Hz", ErrRate, rate)
	}
	to := opusRate(rate)
	pcm, err := e.resample(pcm, rate, to)
	return pcm, to, err
}

// profile is what audio of rate Hz takes now.
func (e *opusEncoder) profile(rate int) opusProfile {
	p := opusProfile{rate: rate, speech: true}
	if e.protected {
		// Below 5 % the copies are too coarse to help.
		p.percent = int(min(max(math.Ceil(e.loss), 5), 25))
	}
	dtx := e.options.DTX && e.wish.dtx
	switch top := min(rate, e.wish.rate); {
	case top < 12000:
		p.bitrate = e.limited(40_000)
		p.speech = rate > 8000 || p.bitrate < leastCELT || p.percent > 0 || dtx
		if p.speech && p.percent == 0 {
			p.bitrate = e.limited(24_000)
		}
	case top < 24000:
		p.bitrate = e.limited(28_000)
		if p.percent > 0 {
			p.bitrate = e.limited(40_000)
		}
	default:
		p.bitrate = e.limited(48_000)
		if p.percent > 0 {
			p.bitrate = e.limited(56_000)
		}
	}
	return p
}

func (e *opusEncoder) limited(bitrate int) int {
	for _, limit := range [...]int{e.options.Bitrate, e.wish.bitrate} {
		if limit > 0 {
			bitrate = min(bitrate, limit)
		}
	}
	return max(bitrate, minOpusBitrate)
}

// prepare makes the encoder what the next frame needs.
func (e *opusEncoder) prepare(rate int) error {
	p := e.profile(rate)
	if e.encoder != nil && p == e.now {
		return nil
	}
	if e.encoder == nil || p.rate != e.now.rate || p.speech != e.now.speech {
		return e.replace(p)
	}
	e.now = p
	return e.set()
}

// replace makes a new encoder and lets it hear what the far end heard last.
func (e *opusEncoder) replace(p opusProfile) error {
	application := opus.AppRestrictedLowdelay
	if p.speech {
		application = opus.AppVoIP
	}
	encoder, err := opus.NewEncoder(p.rate, 1, application)
	if err != nil {
		return fmt.Errorf("open Opus encoder: %w", err)
	}
	if len(e.past) > 0 && e.now.rate != p.rate {
		if e.past, err = e.convert(e.past, e.now.rate, p.rate); err != nil {
			return err
		}
	}
	e.encoder, e.now = encoder, p
	if err := e.set(); err != nil {
		return err
	}
	e.warm()
	return nil
}

// convert gives the end of past at another rate.
func (e *opusEncoder) convert(past []int16, from, to int) ([]int16, error) {
	r, err := NewResampler(from, to)
	if err != nil {
		return nil, err
	}
	past = past[max(len(past)-from*warmTime/1000, 0):]
	return r.Resample(nil, past), nil
}

// set tells libopus the profile.
func (e *opusEncoder) set() error {
	width := opus.Fullband
	switch rate := e.wish.rate; {
	case rate < 12000:
		width = opus.Narrowband
	case rate < 16000:
		width = opus.Mediumband
	case rate < 24000:
		width = opus.Wideband
	case rate < 48000:
		width = opus.SuperWideband
	}
	for _, err := range [...]error{
		e.encoder.SetComplexity(e.options.Complexity),
		e.encoder.SetBitrate(e.now.bitrate),
		e.encoder.SetMaxBandwidth(width),
		e.encoder.SetInBandFEC(e.now.percent > 0),
		e.encoder.SetPacketLossPerc(e.now.percent),
		e.encoder.SetDTX(e.options.DTX && e.wish.dtx),
	} {
		if err != nil {
			return fmt.Errorf("set Opus encoder: %w", err)
		}
	}
	return nil
}

// warm encodes the end of past for nobody.
func (e *opusEncoder) warm() {
	frame := e.now.rate / 50
	past := e.past[max(len(e.past)-warmTime/20*frame, 0):]
	past = past[len(past)%frame:]
	var nowhere []byte
	e.nowhere, nowhere = extend(e.nowhere[:0], e.room(frame))
	for ; len(past) >= frame; past = past[frame:] {
		if _, err := e.encoder.Encode(past[:frame], slices.Clip(nowhere)); err != nil {
			return // the next real frame meets the same error and reports it
		}
	}
}

// remember keeps warmTime of what was encoded, and lets twice that pile up so as to move it seldom.
func (e *opusEncoder) remember(pcm []int16) {
	keep := e.now.rate * warmTime / 1000
	if len(e.past)+len(pcm) > cap(e.past) {
		tail := e.past[max(len(e.past)-keep, 0):]
		if cap(e.past) < 2*keep || cap(e.past) < len(tail)+len(pcm) {
			e.past = append(make([]int16, 0, max(2*keep, len(tail)+len(pcm))), tail...)
		} else {
			e.past = e.past[:copy(e.past[:cap(e.past)], tail)]
		}
	}
	e.past = append(e.past, pcm...)
}

// room is how many bytes a payload of n samples may take: four times what the bit rate gives on average.
func (e *opusEncoder) room(n int) int {
	return min(4*e.now.bitrate/8*n/e.now.rate+64, maxOpusFrame)
}
