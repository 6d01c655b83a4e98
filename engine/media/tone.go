package media

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrTone is what ParseTone returns, wrapped with what is wrong and what is allowed.
var ErrTone = errors.New("not a tone")

// TonePrefix begins the URL of a tone.
const TonePrefix = "tone:"

// Limits of a tone.
const (
	minHz, maxHz   = 20, 3900
	maxFrequencies = 4
	maxSegments    = 64
	maxCycleMS     = 60_000
	maxRepeats     = 1000
	minLevel       = -50.0 // dBm0, of each frequency
	maxLevel       = 0.0
	defaultLevel   = -10.0
)

// A Tone is a sequence of sounds and silences made of sines.
type Tone struct {
	segments   []segment
	loop       int // as NewPlayer takes it
	continuous bool
	level      float64 // dBm0, of each frequency
}

// segment is a time in which the same frequencies sound; none is silence.
type segment struct {
	hz []int
	ms int
}

// ParseTone reads the URL of a tone; its prefix "tone:" may be missing.
//
//	tone:440/1000             440 Hz for 1000 ms
//	tone:440+480/2000,0/4000* two frequencies, then silence, repeated for ever; "*3": three times
//	tone:440                  440 Hz for ever
//	tone:busy, tone:busy/us   a call-progress tone of a country (eu unless told otherwise: ETSI; us, uk, fr)
//	tone:dtmf/123#            keys, 100 ms each with 60 ms between them; w pauses
//
// "?level=-20" behind any of them sets the level of each frequency in dBm0 (−10 by default).
func ParseTone(spec string) (*Tone, error) {
	text := strings.TrimPrefix(spec, TonePrefix)
	text, options, _ := strings.Cut(text, "?")
	t := &Tone{level: defaultLevel, loop: 1}
	if err := t.parseOptions(options); err != nil {
		return nil, err
	}
	if digits, ok := strings.CutPrefix(text, "dtmf/"); ok {
		segments, err := dtmfSegments(digits)
		if err != nil {
			return nil, err
		}
		t.segments = segments
	} else {
		sequence, err := progressTone(text)
		if err != nil {
			return nil, err
		}
		if err := t.parseSequence(sequence); err != nil {
			return nil, err
		}
	}
	return t, t.checkLevel()
}

func (t *Tone) parseOptions(options string) error {
	for option := range strings.SplitSeq(options, "&") {
		if option == "" {
			continue
		}
		value, ok := strings.CutPrefix(option, "level=")
		if !ok {
			return fmt.Errorf("%w: unknown option %q (there is level)", ErrTone, option)
		}
		level, err := strconv.ParseFloat(value, 64)
		if err != nil || !(level >= minLevel && level <= maxLevel) {
			return fmt.Errorf("%w: level %q is not between %g and %g dBm0", ErrTone, value, minLevel, maxLevel)
		}
		t.level = level
	}
	return nil
}

// parseSequence reads "440+480/2000,0/4000*3".
func (t *Tone) parseSequence(text string) error {
	body, repeats, repeated := strings.Cut(text, "*")
	switch {
	case repeated && repeats == "":
		t.loop = LoopForever
	case repeated:
		n, err := strconv.Atoi(repeats)
		if err != nil || n < 1 || n > maxRepeats {
			return fmt.Errorf("%w: %q repetitions (1 to %d, or none for ever)", ErrTone, repeats, maxRepeats)
		}
		t.loop = n
	}
	total := 0
	parts := strings.Split(body, ",")
	if len(parts) > maxSegments {
		return fmt.Errorf("%w: more than %d parts", ErrTone, maxSegments)
	}
	for _, part := range parts {
		s, err := parseSegment(part, len(parts) == 1 && !repeated)
		if err != nil {
			return err
		}
		if total += s.ms; total > maxCycleMS {
			return fmt.Errorf("%w: longer than %d ms before it repeats", ErrTone, maxCycleMS)
		}
		t.add(s)
	}
	if len(t.segments) == 1 && (t.segments[0].ms == 0 || t.loop == LoopForever) {
		t.continuous, t.loop = true, LoopForever
	}
	return nil
}

// add appends a segment; one of the frequencies of the segment before lengthens that.
func (t *Tone) add(s segment) {
	if n := len(t.segments); n > 0 && sameFrequencies(t.segments[n-1].hz, s.hz) {
		t.segments[n-1].ms += s.ms
		return
	}
	t.segments = append(t.segments, s)
}

func sameFrequencies(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// parseSegment reads "440+480/2000"; the duration may be missing if endless.
func parseSegment(text string, endless bool) (segment, error) {
	var s segment
	frequencies, duration, timed := strings.Cut(strings.TrimSpace(text), "/")
	if frequencies != "0" {
		for f := range strings.SplitSeq(frequencies, "+") {
			hz, err := strconv.Atoi(f)
			if err != nil || hz < minHz || hz > maxHz {
				return s, fmt.Errorf("%w: %q is neither a name (%s) nor a frequency (%d to %d Hz, 0 for silence)",
					ErrTone, f, toneNames, minHz, maxHz)
			}
			s.hz = append(s.hz, hz)
		}
	}
	if len(s.hz) > maxFrequencies {
		return s, fmt.Errorf("%w: %d frequencies at once (up to %d)", ErrTone, len(s.hz), maxFrequencies)
	}
	if !timed && endless {
		return s, nil
	}
	ms, err := strconv.Atoi(duration)
	if err != nil || ms < 1 || ms > maxCycleMS {
		return s, fmt.Errorf("%w: %q needs a duration of 1 to %d ms, as in 440/1000", ErrTone, text, maxCycleMS)
	}
	s.ms = ms
	return s, nil
}

// checkLevel refuses sines that together would clip.
func (t *Tone) checkLevel() error {
	most := 0
	for _, s := range t.segments {
		most = max(most, len(s.hz))
	}
	if float64(most)*amplitude(t.level) > math.MaxInt16 {
		return fmt.Errorf("%w: %d frequencies of %g dBm0 each are too loud together", ErrTone, most, t.level)
	}
	return nil
}
