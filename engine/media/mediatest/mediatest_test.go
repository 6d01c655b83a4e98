package mediatest_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/media/mediatest"
)

func TestLevelAndFrequency(t *testing.T) {
	for _, rate := range []int{8000, 16000, 48000} {
		for _, hz := range []float64{100, 425, 440, 1004, 3400} {
			for _, level := range []float64{0, -10, -40} {
				pcm := mediatest.Sine(rate, hz, level, 200*time.Millisecond)
				if got := mediatest.Level(pcm); math.Abs(got-level) > 0.2 {
					t.Errorf("%d Hz: level of %g Hz at %g dBFS is %.2f", rate, hz, level, got)
				}
				if got := mediatest.ToneLevel(pcm, rate, hz); math.Abs(got-level) > 0.2 {
					t.Errorf("%d Hz: tone level of %g Hz at %g dBFS is %.2f", rate, hz, level, got)
				}
				if got := mediatest.Frequency(pcm, rate); math.Abs(got-hz) > hz*0.003 {
					t.Errorf("%d Hz: frequency of %g Hz is %.2f", rate, hz, got)
				}
				if got := mediatest.ToneLevel(pcm, rate, hz+300); got > level-50 {
					t.Errorf("%d Hz: %g Hz at %g dBFS seems to have %.2f at %g Hz", rate, hz, level, got, hz+300)
				}
			}
		}
	}
	if got := mediatest.Level(make([]int16, 100)); !math.IsInf(got, -1) {
		t.Errorf("silence has %g dBFS", got)
	}
	if got := mediatest.Frequency(make([]int16, 100), 8000); got != 0 {
		t.Errorf("silence has %g Hz", got)
	}
}

func TestGaps(t *testing.T) {
	sound := mediatest.Sine(8000, 1000, -10, 100*time.Millisecond)
	pcm := slices.Concat(make([]int16, 800), sound, make([]int16, 320), sound, make([]int16, 80), sound, make([]int16, 4000))
	gaps := mediatest.Gaps(pcm, 8000, 20*time.Millisecond)
	if len(gaps) != 1 || gaps[0].Duration != 40*time.Millisecond || gaps[0].At != 200*time.Millisecond {
		t.Errorf("gaps of 20 ms and more: %v", gaps)
	}
	if got := mediatest.Gaps(pcm, 8000, 5*time.Millisecond); len(got) != 2 {
		t.Errorf("gaps of 5 ms and more: %v", got)
	}
	if got := mediatest.LongestGap(pcm, 8000); got != 40*time.Millisecond {
		t.Errorf("longest gap: %v", got)
	}
	if got := mediatest.LongestGap(sound, 8000); got != 0 {
		t.Errorf("a tone has a gap of %v", got)
	}
}

func TestSNR(t *testing.T) {
	pcm := mediatest.Sine(8000, 1000, -10, 100*time.Millisecond)
	if got := mediatest.SNR(pcm, pcm); !math.IsInf(got, 1) {
		t.Errorf("of the same: %g", got)
	}
	half := slices.Clone(pcm)
	for i := range half {
		half[i] -= half[i] / 10
	}
	if got := mediatest.SNR(pcm, half); math.Abs(got-20) > 0.1 {
		t.Errorf("a tenth off: %.2f dB, want 20", got)
	}
}

func TestSINAD(t *testing.T) {
	pcm := mediatest.Sine(8000, 1004, -10, 123*time.Millisecond)
	if got := mediatest.SINAD(pcm[3:], 8000, 1004); got < 70 {
		t.Errorf("a clean tone has %.1f dB", got)
	}
	for i, s := range mediatest.Sine(8000, 2345, -30, 123*time.Millisecond) {
		pcm[i] += s
	}
	if got := mediatest.SINAD(pcm, 8000, 1004); math.Abs(got-20) > 0.5 {
		t.Errorf("a tone 20 dB above another has %.1f dB", got)
	}
}

func numbered(rate int, numbers ...int) []int16 {
	var pcm []int16
	for _, n := range numbers {
		if n < 0 {
			pcm = append(pcm, make([]int16, rate/50)...)
			continue
		}
		pcm = append(pcm, mediatest.NumberedPacket(rate, n)...)
	}
	return pcm
}

func count(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

func TestNumberedPackets(t *testing.T) {
	for _, c := range []struct {
		name string
		sent []int
		want mediatest.Sequence
	}{
		{"whole", count(50), mediatest.Sequence{Heard: 50}},
		{"two lost", slices.Delete(count(50), 20, 22), mediatest.Sequence{Heard: 48, Lost: 2}},
		{"one lost and its time silent", []int{0, 1, -1, 3, 4}, mediatest.Sequence{Heard: 4, Lost: 1, Silent: 1}},
		{"repeated", []int{0, 1, 1, 2}, mediatest.Sequence{Heard: 4, Repeated: 1}},
		{"swapped", []int{0, 2, 1, 3}, mediatest.Sequence{Heard: 4, Lost: 2, Backward: 1}},
		{"silence around", []int{-1, -1, 5, 6, -1}, mediatest.Sequence{Heard: 2}},
		{"nothing", []int{-1, -1}, mediatest.Sequence{}},
	} {
		for _, rate := range []int{8000, 16000} {
			got := mediatest.Check(mediatest.ReadNumbers(numbered(rate, c.sent...), rate))
			if got != c.want {
				t.Errorf("%s at %d Hz: %+v, want %+v", c.name, rate, got, c.want)
			}
		}
	}
}

func TestNumberedPacketsThatDoNotBeginAtOnce(t *testing.T) {
	for _, late := range []int{1, 8, 40, 79, 80, 133, 159} {
		pcm := append(make([]int16, late), numbered(8000, count(40)...)...)
		got := mediatest.Check(mediatest.ReadNumbers(pcm, 8000))
		if got.Lost+got.Repeated+got.Backward > 0 || got.Heard < 39 {
			t.Errorf("%d samples late: %+v", late, got)
		}
	}
}

func TestKeysNeedsBothTones(t *testing.T) {
	if got := mediatest.Keys(mediatest.Sine(8000, 697, -10, 200*time.Millisecond), 8000); got != "" {
		t.Errorf("one tone alone is read as %q", got)
	}
	if got := mediatest.Keys(make([]int16, 8000), 8000); got != "" {
		t.Errorf("silence is read as %q", got)
	}
}
