package mediatest

import (
	"math"
	"time"
)

// Numbers is how many numbers numbered packets have: packet n sounds like packet n+Numbers.
const Numbers = 16

const (
	packetTime  = 20 * time.Millisecond
	numberStep  = 200 // Hz: whole periods in half a packet time, so that the tones do not disturb each other
	numberLevel = -12 // dBFS
)

func numberHz(n int) float64 { return float64(numberStep * (2 + n)) } // 400 … 3400 Hz

// NumberedPacket is 20 ms of audio that tell n modulo Numbers by a tone, which survives every codec.
func NumberedPacket(rate, n int) []int16 {
	return Sine(rate, numberHz(((n%Numbers)+Numbers)%Numbers), numberLevel, packetTime)
}

// ReadNumbers reads numbered packets back: for each 20 ms the number, or −1 where there is none. The packets need not
// begin with pcm: where they do is found out.
func ReadNumbers(pcm []int16, rate int) []int {
	frame := int(packetTime * time.Duration(rate) / time.Second)
	best, most := 0, -1.0
	for offset := 0; offset < frame; offset += frame / 20 {
		if clarity := clarity(pcm[min(offset, len(pcm)):], rate, frame); clarity > most*1.0001 {
			best, most = offset, clarity
		}
	}
	var numbers []int
	for rest := pcm[min(best, len(pcm)):]; len(rest) >= frame; rest = rest[frame:] {
		n, _ := readNumber(rest[:frame], rate)
		numbers = append(numbers, n)
	}
	return numbers
}

// clarity says how well packets that begin with pcm can be told apart, over its first half second of sound.
func clarity(pcm []int16, rate, frame int) float64 {
	sum := 0.0
	for read := 0; len(pcm) >= frame && read < Numbers*2; pcm = pcm[frame:] {
		n, share := readNumber(pcm[:frame], rate)
		if n >= 0 || share > 0 {
			sum += share
			read++
		}
	}
	return sum
}

// readNumber gives the number that a packet tells and the share of its power that is the number's tone.
func readNumber(pcm []int16, rate int) (number int, share float64) {
	level := Level(pcm)
	if level < gapLevel {
		return -1, 0
	}
	strongest := math.Inf(-1)
	for n := range Numbers {
		if l := binLevel(pcm, rate, numberHz(n)); l > strongest {
			number, strongest = n, l
		}
	}
	share = math.Pow(10, (strongest-level)/10)
	if share < 0.5 {
		return -1, share
	}
	return number, share
}

// binLevel is ToneLevel without a window: exact for whole periods.
func binLevel(pcm []int16, rate int, hz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hz/float64(rate))
	var a, b float64
	for _, s := range pcm {
		a, b = float64(s)+c*a-b, a
	}
	peak := 2 * math.Sqrt(max(0, a*a+b*b-c*a*b)) / float64(len(pcm))
	return 20*math.Log10(peak+1e-9) - 20*math.Log10(fullScale)
}

// Sequence says what became of numbered packets.
type Sequence struct {
	Heard    int // packets that could be read
	Lost     int // missing between two that were heard (up to Numbers/2−1 in a row)
	Repeated int // heard again at once
	Backward int // heard behind a later one
	Silent   int // packet times without a number between the first and the last
}

// Check judges what ReadNumbers read of packets that were sent in order.
func Check(numbers []int) Sequence {
	var s Sequence
	last, silent := -1, 0
	for _, n := range numbers {
		if n < 0 {
			silent++
			continue
		}
		s.Heard++
		if last >= 0 {
			s.Silent += silent
			switch ahead := (n - last + Numbers) % Numbers; {
			case ahead == 0:
				s.Repeated++
			case ahead <= Numbers/2:
				s.Lost += ahead - 1
			default:
				s.Backward++
			}
		}
		last, silent = n, 0
	}
	return s
}
