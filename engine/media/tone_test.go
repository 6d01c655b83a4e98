package media_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

func parse(tb testing.TB, spec string) *media.Tone {
	tb.Helper()
	tone, err := media.ParseTone(spec)
	if err != nil {
		tb.Fatal(err)
	}
	return tone
}

// heardOf plays a tone as a call would, for at most d.
func heardOf(tb testing.TB, spec string, d time.Duration) []int16 {
	tb.Helper()
	clip, loop := parse(tb, spec).Clip()
	pcm, _, _ := pull(tb, media.NewPlayer(clip, loop), int(d/media.PacketTime))
	return pcm
}

// part is what sounds from one millisecond to another.
func part(pcm []int16, from, to int) []int16 { return pcm[from*8 : to*8] }

type sound struct {
	from, to int // ms
	hz       []float64
}

func TestToneSoundsAsItSays(t *testing.T) {
	for _, c := range []struct {
		spec   string
		sounds []sound // in order; between them is silence
		ends   int     // ms; 0: it does not
	}{
		{"tone:440/1000", []sound{{0, 1000, []float64{440}}}, 1000},
		{"440/1000", []sound{{0, 1000, []float64{440}}}, 1000},
		{"tone:440+480/300", []sound{{0, 300, []float64{440, 480}}}, 300},
		{"tone:440/200,0/100,880/200", []sound{{0, 200, []float64{440}}, {300, 500, []float64{880}}}, 500},
		{"tone:440/200,0/100*2", []sound{{0, 200, []float64{440}}, {300, 500, []float64{440}}}, 600},
		{"tone:440/100,0/100*", []sound{{0, 100, []float64{440}}, {200, 300, []float64{440}}, {5000, 5100, []float64{440}}}, 0},
		{"tone:440", []sound{{0, 6000, []float64{440}}}, 0},
		{"tone:dial", []sound{{0, 6000, []float64{425}}}, 0},
		{"tone:dial/us", []sound{{0, 6000, []float64{350, 440}}}, 0},
		{"tone:ringback", []sound{{0, 1000, []float64{425}}, {5000, 6000, []float64{425}}}, 0},
		{"tone:ringback/us", []sound{{0, 2000, []float64{440, 480}}}, 0},
		{"tone:ringback/uk", []sound{{0, 400, []float64{400, 450}}, {600, 1000, []float64{400, 450}}, {3000, 3400, []float64{400, 450}}}, 0},
		{"tone:ringback/fr", []sound{{0, 1500, []float64{440}}, {5000, 6000, []float64{440}}}, 0},
		{"tone:busy", []sound{{0, 480, []float64{425}}, {960, 1440, []float64{425}}}, 0},
		{"tone:busy/eu", []sound{{0, 480, []float64{425}}}, 0},
		{"tone:busy/us", []sound{{0, 500, []float64{480, 620}}, {1000, 1500, []float64{480, 620}}}, 0},
		{"tone:congestion", []sound{{0, 240, []float64{425}}, {480, 720, []float64{425}}}, 0},
		{"tone:congestion/uk", []sound{{0, 400, []float64{400}}, {750, 975, []float64{400}}, {1500, 1900, []float64{400}}}, 0},
		{"tone:waiting", []sound{{0, 200, []float64{425}}, {800, 1000, []float64{425}}, {4000, 4200, []float64{425}}}, 0},
		{"tone:sit", []sound{{0, 330, []float64{950}}, {330, 660, []float64{1400}}, {660, 990, []float64{1800}}}, 990},
		{"tone:beep", []sound{{0, 300, []float64{1000}}}, 300},
	} {
		pcm := heardOf(t, c.spec, 6*time.Second)
		if want := (c.ends + 19) / 20 * 160; c.ends > 0 && len(pcm) != want || c.ends == 0 && len(pcm) != 48000 {
			t.Errorf("%s: lasts %d ms, want %d", c.spec, len(pcm)/8, c.ends)
			continue
		}
		for i, s := range c.sounds {
			inner := part(pcm, s.from+10, s.to-10)
			for _, hz := range s.hz {
				if l := mediatest.DBm0(mediatest.ToneLevel(inner, 8000, hz)); math.Abs(l+10) > 1.2 {
					t.Errorf("%s: %g Hz from %d ms on has %.1f dBm0, want −10", c.spec, hz, s.from, l)
				}
			}
			if i > 0 && s.from-c.sounds[i-1].to > 10 {
				before := part(pcm, s.from-10, s.from)
				if l := mediatest.Level(before); l > -90 {
					t.Errorf("%s: %.1f dBFS before %d ms", c.spec, l, s.from)
				}
			}
		}
		if d, ok := parse(t, c.spec).Duration(); ok != (c.ends > 0) || ok && d != time.Duration(c.ends)*time.Millisecond {
			t.Errorf("%s: Duration %v, %v", c.spec, d, ok)
		}
	}
}

func TestToneFrequencyIsExact(t *testing.T) {
	for _, hz := range []string{"20", "425", "1004", "3899"} {
		pcm := heardOf(t, "tone:"+hz, 3*time.Second)
		var want float64
		for _, d := range hz {
			want = 10*want + float64(d-'0')
		}
		// one sine over three seconds: the loop has no seam
		if sinad := mediatest.SINAD(pcm, 8000, want); sinad < 60 {
			t.Errorf("%s Hz: %.1f dB", hz, sinad)
		}
	}
}

func TestToneOfTwoPartsAlikeIsOne(t *testing.T) {
	pcm := heardOf(t, "tone:440/123,440/177", time.Second)
	if sinad := mediatest.SINAD(part(pcm, 10, 290), 8000, 440); sinad < 60 {
		t.Errorf("a seam: %.1f dB", sinad)
	}
}

func TestToneBeginsAndEndsSoftly(t *testing.T) {
	pcm := heardOf(t, "tone:1000/100,0/100", time.Second)
	for _, edge := range [][]int16{pcm[:4], pcm[796:804]} {
		for _, s := range edge {
			if s > 800 || s < -800 { // a tenth of the peak
				t.Errorf("a step at an edge: %v", edge)
			}
		}
	}
	if pcm[100*8-1] == 0 && pcm[100*8-2] == 0 {
		t.Error("the sound ends early")
	}
}

func TestToneLevels(t *testing.T) {
	for spec, want := range map[string]float64{
		"tone:1000/500?level=-3":       -3,
		"tone:1000/500?level=0":        0,
		"tone:1000/500?level=-40.5":    -40.5,
		"tone:beep?level=-20":          -20,
		"tone:1000+500/300?level=-6.5": -6.5,
	} {
		pcm := part(heardOf(t, spec, time.Second), 10, 290)
		if l := mediatest.DBm0(mediatest.ToneLevel(pcm, 8000, 1000)); math.Abs(l-want) > 0.3 {
			t.Errorf("%s: %.2f dBm0", spec, l)
		}
	}
}

func TestToneKeys(t *testing.T) {
	for spec, want := range map[string]string{
		"tone:dtmf/123#":                 "123#",
		"tone:dtmf/0123456789*#ABCD":     "0123456789*#ABCD",
		"tone:dtmf/abcd":                 "ABCD",
		"tone:dtmf/1w2":                  "12",
		"tone:dtmf/5555?level=-16":       "5555",
		"dtmf/" + strings.Repeat("7", 8): "77777777",
	} {
		pcm := heardOf(t, spec, 20*time.Second)
		if got := mediatest.Keys(pcm, 8000); got != want {
			t.Errorf("%s is heard as %q", spec, got)
		}
	}
	if d, _ := parse(t, "tone:dtmf/1w2").Duration(); d != 820*time.Millisecond {
		t.Errorf("two keys and a pause last %v", d)
	}
}

func TestToneRefuses(t *testing.T) {
	for spec, says := range map[string]string{
		"tone:":                                "ringback",
		"tone:ringbak":                         "ringback",
		"tone:busy/mars":                       "eu, us, uk, fr",
		"tone:19/100":                          "20 to 3900",
		"tone:4000/100":                        "20 to 3900",
		"tone:-440/100":                        "20 to 3900",
		"tone:440/0":                           "1 to 60000 ms",
		"tone:440/1e3":                         "1 to 60000 ms",
		"tone:440/60001":                       "1 to 60000 ms",
		"tone:440/":                            "1 to 60000 ms",
		"tone:440*":                            "duration",
		"tone:440,480":                         "duration",
		"tone:440/40000,0/30000":               "longer than 60000 ms",
		"tone:440/100,":                        "frequency",
		"tone:440/100*0":                       "repetitions",
		"tone:440/100*1001":                    "repetitions",
		"tone:440/100**":                       "repetitions",
		"tone:1+2/100":                         "20 to 3900",
		"tone:400+500+600+700+800/100":         "up to 4",
		"tone:400+500+600/100?level=0":         "too loud",
		"tone:440/100?level=6":                 "-50 and 0",
		"tone:440/100?level=NaN":               "-50 and 0",
		"tone:440/100?volume=3":                "unknown option",
		"tone:dtmf/":                           "1 to 64",
		"tone:dtmf/12x":                        "no key",
		"tone:dtmf/" + strings.Repeat("1", 65): "1 to 64",
		"tone:440/1" + strings.Repeat(",0/1", 99): "more than 64 parts",
	} {
		tone, err := media.ParseTone(spec)
		if !errors.Is(err, media.ErrTone) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v, %v; want an error that says %q", spec, tone, err, says)
		}
	}
}

func FuzzTone(f *testing.F) {
	for _, s := range []string{
		"tone:440/1000", "tone:440+480/2000,0/4000*", "tone:busy/us", "tone:dtmf/123#*", "tone:440?level=-3",
		"tone:0/100*3", "tone:0", "tone:1+2+3/4,5", "sit", "tone:440/100*999?level=-50&level=0",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		tone, err := media.ParseTone(spec)
		if err != nil {
			if !errors.Is(err, media.ErrTone) {
				t.Errorf("%q: %v", spec, err)
			}
			return
		}
		clip, loop := tone.Clip()
		if loop != media.LoopForever && loop < 1 || len(clip.PCM()) == 0 || clip.Duration() > 65*time.Second {
			t.Errorf("%q: %v, %d times", spec, clip.Duration(), loop)
		}
		if m := slices.Max(clip.PCM()); m == math.MaxInt16 && slices.Min(clip.PCM()) == math.MinInt16 {
			t.Errorf("%q clips", spec)
		}
	})
}
