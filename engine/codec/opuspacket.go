package codec

import "time"

// opusFmtp is what we ask the far end for (RFC 7587 6.1), in offers and answers. Wideband is what our rooms mix at and
// what speech is worth; above it decoding costs a third more and nobody hears it. 32 kbit/s leave room for the copies
// that forward error correction puts into payloads. Discontinuous transmission spares packets and their decoding.
const opusFmtp = "maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=32000;useinbandfec=1;usedtx=1;stereo=0"

const (
	maxOpusFrame    = 1275                   // bytes (RFC 6716 3.2.1)
	maxOpusDuration = 120 * time.Millisecond // of a payload (RFC 6716 3.2.5)
)

// opusDuration reads how long a payload lasts from its first bytes; 0 if it breaks a rule of RFC 6716 3.4.
func opusDuration(payload []byte) time.Duration {
	if len(payload) == 0 {
		return 0
	}
	frame := opusFrameTime(payload[0])
	body := payload[1:]
	switch payload[0] & 3 {
	case 0:
		if len(body) > maxOpusFrame {
			return 0
		}
		return frame
	case 1: // two frames of one size
		if len(body)%2 != 0 || len(body)/2 > maxOpusFrame {
			return 0
		}
		return 2 * frame
	case 2: // two frames, the size of the first before them
		size, n := opusFrameSize(body)
		if n == 0 || size > len(body)-n || len(body)-n-size > maxOpusFrame {
			return 0
		}
		return 2 * frame
	}
	return opusManyDuration(frame, body)
}

// opusManyDuration is opusDuration of a payload with any number of frames (RFC 6716 3.2.5); body begins behind its
// first byte.
func opusManyDuration(frame time.Duration, body []byte) time.Duration {
	if len(body) == 0 {
		return 0
	}
	head, body := body[0], body[1:]
	frames := int(head & 0x3F)
	total := time.Duration(frames) * frame
	if frames == 0 || total > maxOpusDuration {
		return 0
	}
	if head&0x40 != 0 { // padding
		var ok bool
		if body, ok = opusUnpad(body); !ok {
			return 0
		}
	}
	if head&0x80 == 0 { // frames of one size
		if len(body)%frames != 0 || len(body)/frames > maxOpusFrame {
			return 0
		}
		return total
	}
	left := len(body)
	for range frames - 1 {
		size, n := opusFrameSize(body)
		if n == 0 {
			return 0
		}
		body = body[n:]
		left -= n + size
	}
	if left < 0 || left > maxOpusFrame {
		return 0
	}
	return total
}

// opusUnpad takes the sizes of the padding off the front of body and the padding off its end.
func opusUnpad(body []byte) ([]byte, bool) {
	for padding := 0; ; {
		if len(body) == 0 {
			return nil, false
		}
		b := int(body[0])
		body = body[1:]
		if b == 255 {
			padding += 254
			continue
		}
		padding += b
		if padding > len(body) {
			return nil, false
		}
		return body[:len(body)-padding], true
	}
}

// opusFrameSize reads the size of a frame and of how many bytes it is written in (RFC 6716 3.2.1); n is 0 if they are
// not there.
func opusFrameSize(b []byte) (size, n int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 252:
		return int(b[0]), 1
	case len(b) == 1:
		return 0, 0
	}
	return int(b[0]) + 4*int(b[1]), 2
}

// opusFrameTime is how long each frame lasts, by the configuration in the first byte of a payload (RFC 6716 3.1).
func opusFrameTime(toc byte) time.Duration {
	config := toc >> 3
	switch {
	case config < 12: // SILK
		return [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond, 40 * time.Millisecond, 60 * time.Millisecond}[config&3]
	case config < 16: // hybrid
		return [...]time.Duration{10 * time.Millisecond, 20 * time.Millisecond}[config&1]
	}
	return 2500 * time.Microsecond << (config & 3) // CELT
}

// opusDiscontinuous: libopus gives a payload without a frame when nothing is to be sent.
func opusDiscontinuous(payload []byte) bool { return len(payload) <= 2 }

// opusSilence is made of CELT frames that carry nothing but the mark of silence, which a decoder leads into without a
// click, whatever came before.
func opusSilence(dst []byte, ms int) []byte {
	const (
		ms10, ms20 = 0xF0, 0xF8 // configurations 30 and 31, mono, one frame
		many       = 3
	)
	frames := max(ms/20, 1)
	switch {
	case ms == 10:
		return append(dst, ms10, 0xFF, 0xFE)
	case frames == 1:
		return append(dst, ms20, 0xFF, 0xFE)
	}
	dst = append(dst, ms20|many, byte(frames))
	for range frames {
		dst = append(dst, 0xFF, 0xFE)
	}
	return dst
}
