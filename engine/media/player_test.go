package media_test

import (
	"errors"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

var _ media.Source = (*media.Player)(nil)

func clipOf(tb testing.TB, rate int, pcm []int16) *media.Clip {
	tb.Helper()
	c, err := media.NewClip(rate, pcm)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// pull reads up to limit frames and returns what is heard; ended says that the source is over.
func pull(tb testing.TB, s media.Source, limit int) (pcm []int16, rate int, ended bool) {
	tb.Helper()
	var f media.Frame
	for range limit {
		err := s.ReadFrame(&f)
		if errors.Is(err, io.EOF) {
			if !f.Silent() {
				tb.Error("a source that is over gives audio")
			}
			return pcm, rate, true
		}
		if err != nil {
			tb.Fatal(err)
		}
		var samples []int16
		samples, rate = f.PCM()
		if len(samples) != rate/50 {
			tb.Fatalf("a frame of %d samples at %d Hz", len(samples), rate)
		}
		pcm = append(pcm, samples...)
	}
	return pcm, rate, false
}

func isDone(p *media.Player) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

func ramp(n int) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(i + 1)
	}
	return pcm
}

func TestPlayer(t *testing.T) {
	for _, c := range []struct {
		name    string
		rate    int
		samples int
		loop    int
		frames  int
	}{
		{"whole frames", 8000, 480, 0, 3},
		{"once is once", 8000, 480, 1, 3},
		{"last frame filled up", 8000, 481, 0, 4},
		{"shorter than a frame", 8000, 1, 0, 1},
		{"twice, joined", 8000, 240, 2, 3},
		{"many short ones in a frame", 8000, 7, 50, 3}, // 350 samples
		{"wideband", 16000, 640, 0, 2},
		{"empty", 8000, 0, 0, 0},
		{"empty for ever", 8000, 0, media.LoopForever, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := media.NewPlayer(clipOf(t, c.rate, ramp(c.samples)), c.loop)
			got, rate, ended := pull(t, p, c.frames)
			if ended || c.frames > 0 && rate != c.rate {
				t.Fatalf("ended %v at %d Hz", ended, rate)
			}
			if isDone(p) {
				t.Error("done before its last frame was heard")
			}
			if _, _, ended := pull(t, p, 2); !ended {
				t.Errorf("not over after %d frames", c.frames)
			}
			if !isDone(p) {
				t.Error("over, but not done")
			}
			want := slices.Repeat(ramp(c.samples), max(1, c.loop))
			if at := p.Position(); at != time.Duration(len(want))*time.Second/time.Duration(c.rate) {
				t.Errorf("position %v after %d samples", at, len(want))
			}
			want = append(want, make([]int16, len(got)-len(want))...)
			if !slices.Equal(got, want) {
				t.Errorf("heard %d samples, not the ones of the clip", len(got))
			}
			if _, _, ended := pull(t, p, 1); !ended {
				t.Error("goes on after its end")
			}
		})
	}
}

func TestPlayerLoopsWithoutASeam(t *testing.T) {
	clip := clipOf(t, 8000, mediatest.Sine(8000, 1000, -10, 33*time.Millisecond)) // whole periods, no whole frames
	p := media.NewPlayer(clip, media.LoopForever)
	heard, _, ended := pull(t, p, 500)
	if ended {
		t.Fatal("for ever is over")
	}
	if snr := mediatest.SNR(mediatest.Sine(8000, 1000, -10, 10*time.Second), heard); snr < 70 {
		t.Errorf("the loop is not one tone: %.1f dB", snr)
	}
	if p.Position() != 10*time.Second {
		t.Errorf("position %v", p.Position())
	}
}

func TestPlayersShareAClip(t *testing.T) {
	clip := clipOf(t, 8000, ramp(1600))
	a, b := media.NewPlayer(clip, 0), media.NewPlayer(clip, 0)
	first, _, _ := pull(t, a, 5)
	all, _, _ := pull(t, b, 10)
	rest, _, _ := pull(t, a, 5)
	if !slices.Equal(append(first, rest...), all) {
		t.Error("two players of one clip disturb each other")
	}
}

func TestPlayerPositionFromElsewhere(t *testing.T) {
	p := media.NewPlayer(clipOf(t, 8000, ramp(16000)), 0)
	watched := make(chan time.Duration)
	go func() {
		last := time.Duration(0)
		for !isDone(p) {
			if now := p.Position(); now >= last {
				last = now
			}
		}
		watched <- last
	}()
	pull(t, p, 101)
	<-watched
	if p.Position() != 2*time.Second {
		t.Errorf("position %v", p.Position())
	}
}

func TestPlayerDoesNotAllocate(t *testing.T) {
	p := media.NewPlayer(clipOf(t, 8000, ramp(1234)), media.LoopForever)
	enc, _ := row(t, "PCMU").NewEncoder()
	var f media.Frame
	run := func() {
		_ = p.ReadFrame(&f)
		_, _ = f.Encode(row(t, "PCMU"), enc)
	}
	run()
	if n := testing.AllocsPerRun(200, run); n > 0 {
		t.Errorf("%v allocations per frame", n)
	}
}

func TestNewClipRefusesRates(t *testing.T) {
	for _, rate := range []int{0, -8000, 4000, 11025, 96000, math.MaxInt} {
		if _, err := media.NewClip(rate, nil); !errors.Is(err, codec.ErrRate) {
			t.Errorf("%d Hz: %v", rate, err)
		}
	}
}

func TestClip(t *testing.T) {
	c := clipOf(t, 16000, make([]int16, 24000))
	if c.Rate() != 16000 || c.Duration() != 1500*time.Millisecond || len(c.PCM()) != 24000 {
		t.Errorf("%d Hz, %v, %d samples", c.Rate(), c.Duration(), len(c.PCM()))
	}
}

func BenchmarkPlayer(b *testing.B) {
	p := media.NewPlayer(clipOf(b, 8000, ramp(8000)), media.LoopForever)
	pcmu := row(b, "PCMU")
	enc, _ := pcmu.NewEncoder()
	var f media.Frame
	b.ReportAllocs()
	for b.Loop() {
		_ = p.ReadFrame(&f)
		_, _ = f.Encode(pcmu, enc)
	}
}
