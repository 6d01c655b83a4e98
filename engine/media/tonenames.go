package media

import (
	"fmt"
	"strings"
)

// What an error says of names.
const (
	toneNames     = "dial, ringback, busy, congestion, waiting, sit, beep, dtmf/…"
	toneCountries = "eu, us, uk, fr"
)

// progressTone gives the sequence of a named tone, "busy" or "busy/us", and text itself if it names none. The figures
// are those of ITU-T E.180 supplement 2; eu is the set that ETSI recommends.
func progressTone(text string) (string, error) {
	name, country, _ := strings.Cut(text, "/")
	switch name {
	case "beep":
		return "1000/300", nil
	case "sit": // special information tone, E.180 6: the same everywhere
		return "950/330,1400/330,1800/330", nil
	case "dial", "ringback", "busy", "congestion", "waiting":
	default:
		return text, nil
	}
	switch country {
	case "", "eu", "de":
		return europeanTone(name), nil
	case "us":
		return americanTone(name), nil
	case "uk":
		return britishTone(name), nil
	case "fr":
		return frenchTone(name), nil
	}
	return "", fmt.Errorf("%w: no tones of country %q (there are %s)", ErrTone, country, toneCountries)
}

func europeanTone(name string) string {
	switch name {
	case "dial":
		return "425"
	case "ringback":
		return "425/1000,0/4000*"
	case "busy":
		return "425/480,0/480*"
	case "congestion":
		return "425/240,0/240*"
	}
	return "425/200,0/600,425/200,0/3000*"
}

func americanTone(name string) string {
	switch name {
	case "dial":
		return "350+440"
	case "ringback":
		return "440+480/2000,0/4000*"
	case "busy":
		return "480+620/500,0/500*"
	case "congestion":
		return "480+620/250,0/250*"
	}
	return "440/300,0/9700*"
}

func britishTone(name string) string {
	switch name {
	case "dial":
		return "350+440"
	case "ringback":
		return "400+450/400,0/200,400+450/400,0/2000*"
	case "busy":
		return "400/375,0/375*"
	case "congestion":
		return "400/400,0/350,400/225,0/525*"
	}
	return "400/100,0/3000*"
}

func frenchTone(name string) string {
	switch name {
	case "dial":
		return "440"
	case "ringback":
		return "440/1500,0/3500*"
	case "busy":
		return "440/500,0/500*"
	case "congestion":
		return "440/250,0/250*"
	}
	return "440/300,0/10000*"
}

// How keys sound as tones (ITU-T Q.23, Q.24).
const (
	dtmfOnMS    = 100
	dtmfOffMS   = 60
	dtmfPauseMS = 500
	dtmfKeys    = "123A456B789C*0#D" // as they lie on the keypad, row by row
)

// dtmfSegments makes the dual tones of keys.
func dtmfSegments(digits string) ([]segment, error) {
	rows := [...]int{697, 770, 852, 941}
	columns := [...]int{1209, 1336, 1477, 1633}
	if digits == "" || len(digits) > maxSegments {
		return nil, fmt.Errorf("%w: %d keys (1 to %d)", ErrTone, len(digits), maxSegments)
	}
	var segments []segment
	for _, key := range strings.ToUpper(digits) {
		if key == 'W' {
			segments = append(segments, segment{ms: dtmfPauseMS})
			continue
		}
		i := strings.IndexRune(dtmfKeys, key)
		if i < 0 {
			return nil, fmt.Errorf("%w: %q is no key (0-9 * # A-D, and w for a pause)", ErrTone, key)
		}
		segments = append(segments,
			segment{hz: []int{rows[i/4], columns[i%4]}, ms: dtmfOnMS}, segment{ms: dtmfOffMS})
	}
	return segments, nil
}
