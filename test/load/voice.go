package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/zaf/g711"
	"gopkg.in/hraban/opus.v2"
)

// A voice is two seconds of audio, over and over: 1.5 s that fill the telephone band as speech does, 0.3 s of silence,
// 0.2 s of a tone of its own. Where the tone begins is found again in what the other side hears.
type voice struct {
	hz  float64
	pcm []int16 // at 8 kHz
}

const (
	voiceRate   = 8000
	voiceLength = 2 * voiceRate
	toneAt      = voiceLength - voiceRate/5
	toneLevel   = 10_000
	frameSize   = voiceRate / 50
	voiceFrames = voiceLength / frameSize
)

// tones of the voices, in Hz: apart by more than the resolution of 10 ms, and none a multiple of another.
func tones() []float64 { return []float64{500, 700, 900, 1100, 1300, 1700, 1900, 2300} }

func newVoice(hz float64) *voice {
	r := rand.New(rand.NewPCG(uint64(hz), 1))
	v := &voice{hz: hz, pcm: make([]int16, voiceLength)}
	type partial struct{ hz, phase, beat float64 }
	var partials []partial
	for f := 210.0; f < 3400; f *= 1.19 {
		partials = append(partials, partial{f, 2 * math.Pi * r.Float64(), 2 + 4*r.Float64()})
	}
	for i := range v.pcm[:voiceRate*3/2] {
		t, sum := float64(i)/voiceRate, 0.0
		for _, p := range partials {
			sum += math.Sin(2*math.Pi*p.hz*t+p.phase) * (1 + math.Sin(2*math.Pi*p.beat*t+p.phase)) * math.Sqrt(210/p.hz)
		}
		v.pcm[i] = int16(500 * sum)
	}
	for i := toneAt; i < voiceLength; i++ {
		v.pcm[i] = int16(toneLevel * math.Sin(2*math.Pi*hz*float64(i)/voiceRate))
	}
	return v
}

// A stream is a voice as payloads of 20 ms.
type stream struct {
	voice   *voice // nil: silence
	pt      byte
	step    uint32 // of timestamps
	packets [][]byte
}

func (v *voice) pcmu() *stream {
	s := &stream{voice: v, step: 160}
	for i := range voiceFrames {
		p := make([]byte, frameSize)
		for k := range p {
			p[k] = g711.EncodeUlawFrame(v.pcm[i*frameSize+k])
		}
		s.packets = append(s.packets, p)
	}
	return s
}

// silentPCMU is what a phone sends whose owner says nothing.
func silentPCMU() *stream {
	p := make([]byte, frameSize)
	for i := range p {
		p[i] = 0xff
	}
	return &stream{step: 160, packets: [][]byte{p}}
}

// opusPT is the payload type that the called side answers with; the server offers that number.
const opusPT = 111

func (v *voice) opus() (*stream, error) {
	e, err := opus.NewEncoder(voiceRate, 1, opus.AppVoIP)
	if err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	if err := e.SetBitrate(24_000); err != nil {
		return nil, fmt.Errorf("opus: %w", err)
	}
	s := &stream{voice: v, pt: opusPT, step: 960}
	for range 2 { // the second time it continues itself
		s.packets = s.packets[:0]
		for i := range voiceFrames {
			buf := make([]byte, 1000)
			n, err := e.Encode(v.pcm[i*frameSize:(i+1)*frameSize], buf)
			if err != nil {
				return nil, fmt.Errorf("opus: %w", err)
			}
			s.packets = append(s.packets, buf[:n])
		}
	}
	return s, nil
}

// power of hz in 10 ms from each millisecond on, 1 for the tone of a voice at its own level.
func power(pcm []int16, hz float64) []float64 {
	const window, hop = voiceRate / 100, voiceRate / 1000
	k := 2 * math.Cos(2*math.Pi*hz/voiceRate)
	var out []float64
	for at := 0; at+window <= len(pcm); at += hop {
		var s1, s2 float64
		for _, x := range pcm[at : at+window] {
			s1, s2 = float64(x)+k*s1-s2, s1
		}
		p := (s1*s1 + s2*s2 - k*s1*s2) / (window * window / 4)
		out = append(out, p/(toneLevel*toneLevel))
	}
	return out
}

// onsets are the samples where the tone of hz begins after at least 150 ms without it, and lasts.
func onsets(pcm []int16, hz float64) []int {
	p := power(pcm, hz)
	var out []int
	quiet := 0
	for i, v := range p {
		if v < 0.25 { // half the amplitude: the window is half in the tone
			if v < 0.1 {
				quiet++
			}
			continue
		}
		if quiet >= 150 && i+100 < len(p) && p[i+20] > 0.4 && p[i+100] > 0.4 {
			out = append(out, i*voiceRate/1000+voiceRate/200)
		}
		quiet = 0
	}
	return out
}

// present reports whether there is a tone of hz for 100 ms anywhere, at most 14 dB under a voice's level: what others say
// has less than that there.
func present(pcm []int16, hz float64) bool {
	row := 0
	for _, v := range power(pcm, hz) {
		if v < 0.04 {
			row = 0
		} else if row++; row >= 100 {
			return true
		}
	}
	return false
}
