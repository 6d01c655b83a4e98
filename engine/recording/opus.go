package recording

import (
	"fmt"

	"gopkg.in/hraban/opus.v2"
)

// At these bit rates, per channel, libopus uses CELT: 3 or 4 kB/s, tones within 0.3 dB, 21 to 27 µs per turn. SILK at
// 16 kbit/s is half the size, takes 60 to 100 µs, and is up to 5 dB off.
const (
	opusComplexity = 3
	opusNarrowband = 24_000
	opusWideband   = 32_000
	maxOpusPacket  = 1500
)

// opusRenderer encodes into an Ogg file.
type opusRenderer struct {
	mixdown
	*oggFile
	encoder *opusEncoder
	made    int64 // samples in the file
}

func newOpusRenderer(r *recorder, f blob) (*opusRenderer, error) {
	m := newMixdown(r)
	enc, err := newOpusEncoder(r.spec.Rate, m.channels())
	if err != nil {
		return nil, err
	}
	o, err := newOggFile(f, serialOf(r.spec.ID), m.channels(), r.spec.Rate)
	return &opusRenderer{mixdown: m, oggFile: o, encoder: enc}, err
}

func (o *opusRenderer) keep() error {
	p, err := o.encoder.encode(o.pcm)
	if err != nil {
		return err
	}
	o.made += samplesPerTurn48
	return o.packet(p, o.made)
}

func (o *opusRenderer) mostTurns() int { return 0 }

// end pushes out what the encoder still holds.
func (o *opusRenderer) end() error {
	whole := o.made
	o.pcm = append(o.pcm[:0], make([]int16, o.channels()*samplesPerTurn(o.rate()))...)
	if err := o.keep(); err != nil {
		return cutOgg(o.oggFile, err)
	}
	return o.last(whole + preSkip)
}

// cutOgg takes a page off the file that could be written in part only.
func cutOgg(o *oggFile, err error) error {
	_ = o.blob.Truncate(o.size) // a page that is cut off is passed over by players
	return err
}

// opusEncoder is libopus. In a stretch of silence it makes the same packet again.
type opusEncoder struct {
	*opus.Encoder
	packet []byte
	silent int // turns in a row
}

// settled is how many turns of silence an encoder needs until its packets do not change any more.
const settled = 25

func newOpusEncoder(rate, channels int) (*opusEncoder, error) {
	e, err := opus.NewEncoder(rate, channels, opus.AppAudio)
	if err != nil {
		return nil, fmt.Errorf("recording: encoder: %w", err)
	}
	bitrate := opusNarrowband
	if rate > 8000 {
		bitrate = opusWideband
	}
	for _, set := range []error{e.SetComplexity(opusComplexity), e.SetBitrate(bitrate * channels)} {
		if set != nil {
			return nil, fmt.Errorf("recording: encoder: %w", set)
		}
	}
	return &opusEncoder{Encoder: e, packet: make([]byte, maxOpusPacket)}, nil
}

// encode makes a packet of a turn. It is good until the next call.
func (e *opusEncoder) encode(pcm []int16) ([]byte, error) {
	if silence(pcm) {
		e.silent++
	} else {
		e.silent = 0
	}
	if e.silent > settled {
		return e.packet, nil
	}
	n, err := e.Encode(pcm, e.packet[:maxOpusPacket])
	if err != nil {
		return nil, fmt.Errorf("recording: encode: %w", err)
	}
	e.packet = e.packet[:n]
	return e.packet, nil
}

func silence(pcm []int16) bool {
	for _, s := range pcm {
		if s != 0 {
			return false
		}
	}
	return true
}

// opusRelay puts the packets of a line into an Ogg file as they came. Where none came it writes one that has the decoder
// conceal (RFC 7845 4.1), or, where the line said something else, one of its own.
type opusRelay struct {
	*oggFile
	input   *input
	encoder *opusEncoder // nil until it is needed
	piece   piece        // of the turn
	packet  []byte
	made    int64 // samples in the file
	due     int64 // samples that the turns so far last
	toc     byte  // of the last packet that came
}

func newOpusRelay(r *recorder, f blob) (*opusRelay, error) {
	o, err := newOggFile(f, serialOf(r.spec.ID), 1, 48_000)
	return &opusRelay{oggFile: o, input: newInputs(r)[0], toc: opusTOC20}, err
}

func (o *opusRelay) channels() int  { return 1 }
func (o *opusRelay) mostTurns() int { return 0 }

func (o *opusRelay) render(in, out *piece) bool {
	p := o.input.of(in, out)
	o.piece = *p
	o.piece.data = append(o.packet[:0], p.data...)
	o.packet = o.piece.data
	return p.kind != kindNone
}

// most is how far ahead of the time the packets may be: the longest last 120 ms.
const most = mostAhead * samplesPerTurn48

func (o *opusRelay) keep() error {
	o.due += samplesPerTurn48
	p := &o.piece
	if p.kind == kindPayload && isOpus(o.input.codecs[p.codec]) {
		if samples, ok := opusSamples(p.data); ok {
			if o.made+int64(samples) <= o.due+most {
				o.toc = p.data[0]
				if err := o.put(p.data, samples); err != nil {
					return err
				}
			}
		} else {
			p.kind = kindLost
		}
	}
	for o.due-o.made >= samplesPerTurn48 {
		if err := o.fill(); err != nil {
			return err
		}
	}
	return nil
}

// fill makes up for 20 ms that no packet covers.
func (o *opusRelay) fill() error {
	p := &o.piece
	if p.kind == kindLost || p.kind == kindPayload && isOpus(o.input.codecs[p.codec]) {
		return o.put([]byte{concealing(o.toc)}, samplesPerTurn48)
	}
	if o.encoder == nil {
		enc, err := newOpusEncoder(o.input.rate, 1)
		if err != nil {
			return err
		}
		o.encoder = enc
	}
	packet, err := o.encoder.encode(o.input.next(p))
	if err != nil {
		return err
	}
	return o.put(packet, samplesPerTurn48)
}

func (o *opusRelay) put(p []byte, samples int) error {
	o.made += int64(samples)
	return o.oggFile.packet(p, o.made)
}

func (o *opusRelay) end() error {
	whole := o.due
	if err := o.put([]byte{concealing(o.toc)}, samplesPerTurn48); err != nil {
		return cutOgg(o.oggFile, err)
	}
	return o.last(min(whole+preSkip, o.made))
}

// opusTOC20 is the first byte of a packet of 20 ms of narrowband SILK, mono (RFC 6716 3.1).
const opusTOC20 = 1 << 3

// concealing is a packet without audio, of 20 ms, that the decoder fills in the mode of the packet of toc.
func concealing(toc byte) byte {
	config, channels := toc>>3, toc&4
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		config = config&^3 | 1
	case config < 16: // both: 10, 20 ms
		config |= 1
	default: // CELT: 2.5, 5, 10, 20 ms
		config |= 3
	}
	return config<<3 | channels
}

// opusSamples is how long a packet lasts, in samples of 48 kHz; false if it is malformed (RFC 6716 3.4).
func opusSamples(p []byte) (int, bool) {
	if len(p) == 0 || len(p) > maxPacket {
		return 0, false
	}
	frames, ok := opusFrames(p)
	n := frames * opusFrameSamples(p[0]>>3)
	return n, ok && n <= 5760
}

// opusFrameSamples is how long a frame of a configuration lasts.
func opusFrameSamples(config byte) int {
	switch {
	case config < 12:
		return [...]int{480, 960, 1920, 2880}[config&3]
	case config < 16:
		return [...]int{480, 960}[config&1]
	}
	return [...]int{120, 240, 480, 960}[config&3]
}

// opusFrames counts the frames of a packet and checks its framing.
func opusFrames(p []byte) (int, bool) {
	const longest = 1275
	rest := p[1:]
	switch p[0] & 3 {
	case 0:
		return 1, len(rest) <= longest
	case 1:
		return 2, len(rest)%2 == 0 && len(rest)/2 <= longest
	case 2:
		n, w := opusLength(rest)
		return 2, w > 0 && n <= len(rest)-w && len(rest)-w-n <= longest
	}
	if len(rest) == 0 {
		return 0, false
	}
	head := rest[0]
	count := int(head & 63)
	rest, ok := opusUnpad(rest[1:], head&64 != 0)
	if !ok || count == 0 {
		return 0, false
	}
	if head&128 == 0 { // all of one size
		return count, len(rest)%count == 0 && len(rest)/count <= longest
	}
	for range count - 1 {
		n, w := opusLength(rest)
		if w == 0 || n > len(rest)-w {
			return 0, false
		}
		// The lengths stand together before the frames: what they promise is taken from the end.
		rest = rest[w : len(rest)-n]
	}
	return count, len(rest) <= longest
}

// opusUnpad takes the padding off, with its length in front.
func opusUnpad(b []byte, padded bool) ([]byte, bool) {
	for padded {
		if len(b) == 0 {
			return nil, false
		}
		n := int(b[0])
		b = b[1:]
		if n == 255 {
			n = 254
		} else {
			padded = false
		}
		if n > len(b) {
			return nil, false
		}
		b = b[:len(b)-n]
	}
	return b, true
}

// opusLength reads the length of a frame and how many bytes say it; 0 if they are not there.
func opusLength(b []byte) (n, width int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 252:
		return int(b[0]), 1
	case len(b) < 2:
		return 0, 0
	}
	return int(b[0]) + 4*int(b[1]), 2
}

// serialOf makes the serial number of a stream from the recording's id.
func serialOf(id string) uint32 { return oggChecksum([]byte(id)) }
