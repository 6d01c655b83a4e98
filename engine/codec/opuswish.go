package codec

import (
	"strconv"
	"strings"
)

// opusWish is what the far end wants to get (RFC 7587 6.1). Its other parameters say what it sends, or are for it to
// keep: mono is always allowed, and so is a bit rate that varies (libopus's binding has no switch for cbr).
type opusWish struct {
	rate    int  // that it plays at most, in Hz
	bitrate int  // at most, in bit/s; 0: no limit
	fec     bool // payloads may carry copies of those before
	dtx     bool // payloads may be left out
}

// parseOpusWish reads format parameters. What it cannot read it takes for absent.
func parseOpusWish(fmtp string) opusWish {
	w := opusWish{rate: 48000}
	for p := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "maxplaybackrate":
			if n >= 8000 && n <= 48000 {
				w.rate = n
			}
		case "maxaveragebitrate":
			if n >= minOpusBitrate && n <= 510_000 {
				w.bitrate = n
			}
		case "useinbandfec":
			w.fec = n == 1
		case "usedtx":
			w.dtx = n == 1
		}
	}
	return w
}

// minOpusBitrate is the lowest that Opus knows (RFC 7587 3.1.1), in bit/s.
const minOpusBitrate = 6000
