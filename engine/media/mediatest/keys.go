package mediatest

import (
	"math"
	"strings"
	"time"
)

// keypad is the telephone's keys, row by row.
const keypad = "123A456B789C*0#D"

const (
	keyLevel  = -40.0 // dBFS that each of the two tones needs
	keyMargin = 3.0   // dB by which all power may be above that of the two tones
	keyBlock  = 20 * time.Millisecond
	keyBlocks = 2 // blocks in a row that tell the same key
)

// Keys reads keys that were sent as dual tones within the audio (ITU-T Q.23), each at least 50 ms long.
func Keys(pcm []int16, rate int) string {
	var keys strings.Builder
	block := int(keyBlock * time.Duration(rate) / time.Second)
	last, times := byte(0), 0
	for i := 0; i+block <= len(pcm); i += block {
		key := keyIn(pcm[i:i+block], rate)
		if key != last {
			last, times = key, 0
		}
		if times++; key != 0 && times == keyBlocks {
			keys.WriteByte(key)
		}
	}
	return keys.String()
}

// keyIn is the key that sounds in pcm, 0 if none.
func keyIn(pcm []int16, rate int) byte {
	row, rowLevel := loudest(pcm, rate, [...]float64{697, 770, 852, 941})
	column, columnLevel := loudest(pcm, rate, [...]float64{1209, 1336, 1477, 1633})
	if min(rowLevel, columnLevel) < keyLevel {
		return 0
	}
	both := 10 * math.Log10(math.Pow(10, rowLevel/10)+math.Pow(10, columnLevel/10))
	if Level(pcm)-both > keyMargin {
		return 0
	}
	return keypad[4*row+column]
}

func loudest(pcm []int16, rate int, of [4]float64) (index int, level float64) {
	level = math.Inf(-1)
	for i, hz := range of {
		if l := binLevel(pcm, rate, hz); l > level {
			index, level = i, l
		}
	}
	return index, level
}
