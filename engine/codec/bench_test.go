package codec_test

import (
	"fmt"
	"testing"
	"time"

	"gopkg.in/hraban/opus.v2"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func BenchmarkOpusEncode(b *testing.B) {
	for _, c := range []struct {
		name string
		rate int
		loss float64
	}{{"CELT", 8000, 0}, {"SILK with copies", 8000, 5}, {"SILK", 16000, 0}, {"SILK with copies", 16000, 5}, {"hybrid", 48000, 0}} {
		b.Run(fmt.Sprintf("%s %d", c.name, c.rate), func(b *testing.B) {
			enc := opusEncoder(b, codec.EncoderOptions{Fmtp: "useinbandfec=1"})
			enc.(codec.LossAdapter).AdaptLoss(c.loss)
			said, n, at := mediatest.Speech(c.rate, 2*time.Second), c.rate/50, 0
			payload := make([]byte, 0, 1500)
			b.ReportAllocs()
			for b.Loop() {
				payload, _ = enc.EncodeRate(payload[:0], said[at:at+n], c.rate)
				at = (at + n) % (100 * n)
			}
		})
	}
}

func BenchmarkOpusDecode(b *testing.B) {
	for _, c := range [][2]int{{8000, 8000}, {16000, 8000}, {16000, 16000}, {48000, 8000}, {48000, 48000}} {
		b.Run(fmt.Sprintf("%d-%d", c[0], c[1]), func(b *testing.B) {
			payloads := encode(b, opusEncoder(b, codec.EncoderOptions{}), mediatest.Speech(c[0], 2*time.Second), c[0], 20)
			dec, pcm, i := concealer(b, "opus", 48000, c[1]), make([]int16, 0, 960), 0
			b.ReportAllocs()
			for b.Loop() {
				pcm, _ = dec.Decode(pcm[:0], payloads[i%100])
				i++
			}
		})
	}
}

// BenchmarkCall is 20 ms of a call between PCMU and Opus, both directions, and what of it libopus takes with nothing
// around it, on the same frames in the same run. "x-bare" is how many times the latter the former is.
func BenchmarkCall(b *testing.B) {
	pcmu, _ := codec.ByName("PCMU", 8000)
	said := mediatest.Speech(8000, 2*time.Second)
	fromPhone := encode(b, mustRate(b, pcmu), said, 8000, 20)
	fromBrowser := encode(b, opusEncoder(b, codec.EncoderOptions{}), said, 8000, 20)

	toBrowser, toPhone := opusEncoder(b, codec.EncoderOptions{}), mustRate(b, pcmu)
	phone, browser := concealer(b, "PCMU", 8000, 8000), concealer(b, "opus", 48000, 8000)
	payload, pcm := make([]byte, 0, 1500), make([]int16, 0, 160)
	call := func(i int) {
		pcm, _ = phone.Decode(pcm[:0], fromPhone[i])
		payload, _ = toBrowser.EncodeRate(payload[:0], pcm, 8000)
		pcm, _ = browser.Decode(pcm[:0], fromBrowser[i])
		payload, _ = toPhone.EncodeRate(payload[:0], pcm, browser.Rate())
	}

	enc, err := opus.NewEncoder(8000, 1, opus.AppRestrictedLowdelay)
	if err != nil {
		b.Fatal(err)
	}
	dec, err := opus.NewDecoder(8000, 1)
	if err != nil {
		b.Fatal(err)
	}
	if err := enc.SetComplexity(0); err != nil {
		b.Fatal(err)
	}
	if err := enc.SetBitrate(40_000); err != nil {
		b.Fatal(err)
	}
	heard := through(b, said, 8000, "PCMU")
	out, data := make([]int16, 160), make([]byte, 1500)
	bare := func(i int) {
		_, _ = enc.Encode(heard[i*160:(i+1)*160], data)
		_, _ = dec.Decode(fromBrowser[i], out[:160:160])
	}

	var ours, theirs time.Duration
	i := 0
	b.ReportAllocs()
	for b.Loop() { // by turns, so that whatever else the machine does hits both
		start := time.Now()
		for range 25 {
			call(i)
			i = (i + 1) % 100
		}
		middle := time.Now()
		for range 25 {
			i = (i + 99) % 100
			bare(i)
		}
		ours += middle.Sub(start)
		theirs += time.Since(middle)
		i = (i + 25) % 100
	}
	b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N)/25, "ns/call")
	b.ReportMetric(float64(theirs.Nanoseconds())/float64(b.N)/25, "ns/bare")
	b.ReportMetric(float64(ours)/float64(theirs), "x-bare")
}

func mustRate(tb testing.TB, c codec.Codec) codec.RateEncoder {
	tb.Helper()
	enc, err := c.NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	return enc.(codec.RateEncoder)
}
