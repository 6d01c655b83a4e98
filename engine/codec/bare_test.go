package codec_test

import (
	"testing"

	"gopkg.in/hraban/opus.v2"
)

// bareStereo is what a browser that sends music makes of interleaved PCM at 48 kHz.
func bareStereo(tb testing.TB, pcm []int16) [][]byte {
	tb.Helper()
	enc, err := opus.NewEncoder(48000, 2, opus.AppAudio)
	if err != nil {
		tb.Fatal(err)
	}
	var payloads [][]byte
	for ; len(pcm) >= 1920; pcm = pcm[1920:] {
		b := make([]byte, 1500)
		n, err := enc.Encode(pcm[:1920], b)
		if err != nil {
			tb.Fatal(err)
		}
		payloads = append(payloads, b[:n])
	}
	return payloads
}
