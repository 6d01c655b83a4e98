package recording

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// turn plays what a line does in 20 ms. A nil frame does not come.
func turn(r *recorder, in, out *media.Frame) {
	if out != nil {
		r.Frame(media.Out, out)
	}
	if in != nil {
		r.Frame(media.In, in)
	}
	time.Sleep(turnTime)
}

// TestLawStaysAsItIs: stereo of a G.711 line is the payloads, byte by byte, far end left.
func TestLawStaysAsItIs(t *testing.T) {
	for _, c := range []codec.Codec{pcmu(), pcma()} {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, Options{})
				r := start(t, d, engine.RecordingSpec{Codec: c, Rate: 8000, Options: engine.RecordingOptions{Tracks: "stereo"}})
				in := encode(t, c, tone(8000, 440, 3*time.Second))
				out := encode(t, c, tone(8000, 1000, 3*time.Second))
				var want []byte
				for i := range in {
					turn(r, payload(c, in[i]), payload(c, out[i]))
					for j := range in[i] {
						want = append(want, in[i][j], out[i][j])
					}
				}
				r.Stop("stopped")
				res := result(t, r)
				b := content(t, d, "wav")
				a := decodeWAV(t, b)
				if !bytes.HasSuffix(b, want) || len(b) != len(want)+58 {
					t.Fatalf("the file has %d bytes and not just the %d of the payloads", len(b), len(want))
				}
				tones(t, "stereo", a, 440, 1000)
				sum := sha256.Sum256(b)
				wanted := engine.RecordingResult{
					Reason: "stopped", Duration: 3 * time.Second, Size: int64(len(b)), SHA256: hex.EncodeToString(sum[:]), Channels: 2,
				}
				if res != wanted {
					t.Errorf("got  %+v\nwant %+v", res, wanted)
				}
				if exists(partPath(d, "wav")) {
					t.Error("the incomplete file is still there")
				}
			})
		})
	}
}

// TestTracks: what is asked for is in the file, in every format, whatever the frames are born as.
func TestTracks(t *testing.T) {
	const inHz, outHz = 440, 1000
	births := map[string]func(tb testing.TB, hz float64) []*media.Frame{
		"PCMU": func(tb testing.TB, hz float64) (f []*media.Frame) {
			for _, p := range encode(tb, pcmu(), tone(8000, hz, 2*time.Second)) {
				f = append(f, payload(pcmu(), p))
			}
			return f
		},
		"PCMA, another law than the line's": func(tb testing.TB, hz float64) (f []*media.Frame) {
			for _, p := range encode(tb, pcma(), tone(8000, hz, 2*time.Second)) {
				f = append(f, payload(pcma(), p))
			}
			return f
		},
		"PCM of 48 kHz": func(_ testing.TB, hz float64) (f []*media.Frame) {
			for _, pcm := range tone(48_000, hz, 2*time.Second) {
				f = append(f, pcmFrame(48_000, pcm))
			}
			return f
		},
	}
	for birth, make := range births {
		for _, format := range []string{"wav", "ogg"} {
			for _, rate := range []int{8000, 16_000} {
				for tracks, want := range map[string][]float64{
					"in": {inHz}, "out": {outHz}, "stereo": {inHz, outHz}, "both": nil,
				} {
					t.Run(fmt.Sprintf("%s to %s of %d Hz, %s", birth, format, rate, tracks), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							d := newDisk(t, Options{})
							r := start(t, d, engine.RecordingSpec{
								Codec: pcmu(), Rate: rate, Options: engine.RecordingOptions{Format: format, Tracks: tracks},
							})
							in, out := make(t, inHz), make(t, outHz)
							for i := range in {
								turn(r, in[i], out[i])
							}
							r.Stop("stopped")
							res := result(t, r)
							if res.Err != nil || res.Duration != 2*time.Second || res.Dropped != 0 {
								t.Fatalf("got %+v", res)
							}
							a := decode(t, format, content(t, d, format))
							near(t, "duration of the file", a.duration(), 2*time.Second, 0)
							if res.Channels != len(a.channels) {
								t.Errorf("%d channels, the result says %d", len(a.channels), res.Channels)
							}
							if want != nil {
								tones(t, "tracks", a, want...)
								return
							}
							for _, hz := range []float64{inHz, outHz} {
								if l := mediatest.ToneLevel(a.channels[0], a.rate, hz); l < -13.5 || l > -10.5 {
									t.Errorf("%.0f Hz in the mix at %.1f dBFS, want -12", hz, l)
								}
							}
						})
					})
				}
			}
		}
	}
}

func TestMixIsHeldWithinBounds(t *testing.T) {
	a := []int16{30_000, -30_000, 100, 32_767}
	mix(a, []int16{30_000, -30_000, -50, -32_768})
	if want := []int16{32_767, -32_768, 50, -1}; !slices.Equal(a, want) {
		t.Errorf("got %v, want %v", a, want)
	}
}

// TestDirectionsStayAligned: numbered packets of both directions lie side by side, although either direction, or the end
// of a turn, is missing at times.
func TestDirectionsStayAligned(t *testing.T) {
	for _, format := range []string{"wav", "ogg"} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, Options{})
				r := start(t, d, engine.RecordingSpec{
					Codec: pcmu(), Rate: 8000, Options: engine.RecordingOptions{Format: format, Tracks: "stereo"},
				})
				const turns = 300
				for i := range turns {
					f := pcmFrame(8000, mediatest.Sine(8000, 500, -12, turnTime))
					in, out := silent(), silent()
					if i%50 >= 40 { // both sound at the same time …
						in, out = f, f
					}
					switch { // … and one does not even come while the other does
					case i >= 100 && i < 135:
						in = nil
					case i >= 200 && i < 235:
						out = nil
					}
					turn(r, in, out)
				}
				r.Stop("stopped")
				res := result(t, r)
				if res.Duration != turns*turnTime {
					t.Fatalf("%v, want %v", res.Duration, turns*turnTime)
				}
				a := decode(t, format, content(t, d, format))
				n := samplesPerTurn(a.rate)
				for i := range turns {
					if i%50 == 0 || i%50 == 40 || i%50 == 39 || i%50 == 41 || i%50 == 1 {
						continue // where sounds begin and end an encoder is a little off
					}
					for c, pcm := range a.channels {
						loud := mediatest.Level(pcm[i*n:(i+1)*n]) > -30
						if loud != (i%50 >= 40) {
							t.Fatalf("turn %d, channel %d: sound %v", i, c, loud)
						}
					}
				}
			})
		})
	}
}

func TestPause(t *testing.T) {
	for _, test := range []struct {
		fill bool
		want time.Duration
	}{{true, 3 * time.Second}, {false, 2 * time.Second}} {
		t.Run(fmt.Sprintf("fill %v", test.fill), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, Options{})
				r := start(t, d, engine.RecordingSpec{Codec: pcmu(), Rate: 8000})
				hz := []float64{400, 1300, 700}
				for second, f := range hz {
					if second == 1 {
						r.Pause(test.fill)
					} else {
						r.Resume()
					}
					for _, pcm := range tone(8000, f, time.Second) {
						turn(r, pcmFrame(8000, pcm), silent())
					}
				}
				r.Stop("stopped")
				r.Resume() // too late
				res := result(t, r)
				if res.Duration != test.want || res.Dropped != 0 {
					t.Fatalf("got %+v, want %v", res, test.want)
				}
				pcm := decodeWAV(t, content(t, d, "wav")).channels[0]
				if l := mediatest.ToneLevel(pcm, 8000, 1300); l > -60 {
					t.Errorf("what was said in the pause is there, at %.1f dBFS", l)
				}
				if got := mediatest.Frequency(pcm[len(pcm)-7000:], 8000); got < 690 || got > 710 {
					t.Errorf("at the end there are %.0f Hz, want 700", got)
				}
			})
		})
	}
}

func TestMaxDuration(t *testing.T) {
	for _, format := range []string{"wav", "ogg"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDisk(t, Options{})
			r := start(t, d, engine.RecordingSpec{
				Codec: pcmu(), Rate: 8000, MaxDuration: 1500 * time.Millisecond, Options: engine.RecordingOptions{Format: format},
			})
			for _, pcm := range tone(8000, 500, 3*time.Second) {
				turn(r, pcmFrame(8000, pcm), nil)
			}
			res := result(t, r) // without Stop
			if res.Err != nil || res.Reason != ReasonMaxDuration || res.Duration != 1500*time.Millisecond {
				t.Fatalf("got %+v", res)
			}
			r.Stop("stopped") // does no harm
			r.Frame(media.In, silent())
			near(t, "duration of the file", decode(t, format, content(t, d, format)).duration(), 1500*time.Millisecond, 0)
		})
	}
}

// TestTrimSilence: of 10 s of silence 2 s stay, and shorter ones as they are.
func TestTrimSilence(t *testing.T) {
	for _, o := range []engine.RecordingOptions{
		{Format: "wav"}, {Format: "wav", Tracks: "stereo"}, {Format: "wav", Tracks: "in"}, {Format: "ogg"}, {Format: "ogg", Tracks: "in"},
	} {
		for _, c := range []codec.Codec{pcmu(), opusCodec()} {
			t.Run(fmt.Sprintf("%s %s, %s", o.Format, o.Tracks, c.Name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDisk(t, Options{})
					o.TrimSilence = true
					r := start(t, d, engine.RecordingSpec{Codec: c, Rate: 8000, Options: o})
					hiss := mediatest.Sine(8000, 300, -70, turnTime)
					for _, part := range []struct {
						d    time.Duration
						loud bool
					}{{time.Second, true}, {10 * time.Second, false}, {time.Second, true}, {time.Second, false}, {time.Second, true}} {
						for range turnsIn(part.d) {
							f := pcmFrame(8000, hiss)
							if part.loud {
								f = pcmFrame(8000, mediatest.Sine(8000, 500, -12, turnTime))
							}
							turn(r, f, silent())
						}
					}
					r.Stop("stopped")
					if res := result(t, r); res.Err != nil || res.Duration != 6*time.Second {
						t.Fatalf("got %+v, want 6 s", res)
					}
					near(t, "duration of the file", decode(t, o.Format, content(t, d, o.Format)).duration(), 6*time.Second, 0)
				})
			})
		}
	}
}

// TestSlowDisk: what finds no room is silence, counted, and the time is right.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, Options{Queue: time.Second})
		r := start(t, d, engine.RecordingSpec{Codec: pcmu(), Rate: 8000, Options: engine.RecordingOptions{Tracks: "in"}})
		pcm := tone(8000, 500, turnTime)[0]
		synctest.Wait() // the writer has begun the file
		// No time passes, so the writer does not come: a second fits, and the rest does not.
		for range 200 {
			r.Frame(media.Out, silent())
			r.Frame(media.In, pcmFrame(8000, pcm))
		}
		time.Sleep(time.Second)
		for range 50 {
			turn(r, pcmFrame(8000, pcm), silent())
		}
		r.Stop("stopped")
		res := result(t, r)
		if res.Err != nil || res.Duration != 5*time.Second {
			t.Fatalf("got %+v, want 5 s", res)
		}
		if got := d.Stats(); res.Dropped < 2800*time.Millisecond || res.Dropped > 3*time.Second ||
			got.Dropped != uint64(res.Dropped/turnTime) {
			t.Fatalf("%v dropped, want 3 s; stats %+v", res.Dropped, got)
		}
		a := decodeWAV(t, content(t, d, "wav"))
		at := func(s float64) []int16 { return a.channels[0][int(s*8000) : int(s*8000)+800] }
		for s, loud := range map[float64]bool{0.1: true, 0.8: true, 1.3: false, 2.5: false, 3.8: false, 4.1: true, 4.8: true} {
			if got := mediatest.Level(at(s)) > -30; got != loud {
				t.Errorf("at %.1f s: sound %v, want %v", s, got, loud)
			}
		}
	})
}

func TestCloseCompletesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, Options{Writers: 3})
		var all []*recorder
		for i := range 20 {
			all = append(all, start(t, d, engine.RecordingSpec{
				ID: fmt.Sprintf("rec_%d", i), Codec: pcmu(), Rate: 8000,
				Options: engine.RecordingOptions{Format: []string{"wav", "ogg"}[i%2]},
			}))
		}
		if got := d.Stats().Running; got != 20 {
			t.Errorf("%d are running", got)
		}
		for _, pcm := range tone(8000, 500, time.Second) {
			for _, r := range all {
				r.Frame(media.Out, silent())
				r.Frame(media.In, pcmFrame(8000, pcm))
			}
			time.Sleep(turnTime)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if res := result(t, r); res.Err != nil || res.Reason != ReasonShutdown || res.Duration != time.Second {
				t.Fatalf("got %+v", res)
			}
			r.Frame(media.In, silent())
		}
		if _, err := d.Start(engine.RecordingSpec{ID: "x", ProjectID: "p"}); engine.ErrorCode(err) != engine.CodeDraining {
			t.Errorf("start after close: %v", err)
		}
		if got := d.Stats(); got.Running != 0 || got.Saved != 20 || got.Bytes == 0 {
			t.Errorf("stats %+v", got)
		}
		left, _ := filepath.Glob(filepath.Join(d.o.Dir, "*", "*.part.*"))
		whole, _ := filepath.Glob(filepath.Join(d.o.Dir, "*", "rec_*"))
		if len(left) != 0 || len(whole) != 20 {
			t.Errorf("left %v, whole %d", left, len(whole))
		}
	})
}

func TestFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, Options{})
		for _, id := range []string{"rec_1", "rec_2"} {
			r := start(t, d, engine.RecordingSpec{ID: id, Codec: pcmu(), Rate: 8000})
			turn(r, silent(), silent())
			if _, _, _, err := d.Open("prj_1", id, "wav"); !os.IsNotExist(unwrap(err)) {
				t.Errorf("open while it runs: %v", err)
			}
			r.Stop("stopped")
			result(t, r)
		}
		if _, err := d.Start(engine.RecordingSpec{ID: "rec_1", ProjectID: "prj_1"}); err == nil {
			t.Error("a recording was begun over another")
		}
		running := start(t, d, engine.RecordingSpec{ID: "rec_3", Codec: pcmu(), Rate: 8000})
		if err := os.Chtimes(filepath.Join(d.o.Dir, "prj_1", "rec_2.wav"), time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n, err := d.Prune(time.Now().Add(-24 * time.Hour)); n != 1 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if _, _, _, err := d.Open("prj_1", "rec_2", "wav"); !os.IsNotExist(unwrap(err)) {
			t.Errorf("open what was pruned: %v", err)
		}
		content(t, d, "wav")
		for range 2 {
			if err := d.Delete("prj_1", "rec_1", "wav"); err != nil {
				t.Error(err)
			}
		}
		if _, _, _, err := d.Open("prj_1", "rec_1", "wav"); !os.IsNotExist(unwrap(err)) {
			t.Errorf("open what was deleted: %v", err)
		}
		running.Stop("stopped")
		if res := result(t, running); res.Err != nil || res.Duration != 0 || res.Size != 44 {
			t.Errorf("a recording of nothing: %+v", res)
		}
	})
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// TestNames: only ids name files, and links do not lead out of the folder.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.wav")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDisk(t, Options{Dir: filepath.Join(dir, "recordings")})
	if err := os.MkdirAll(filepath.Join(d.o.Dir, "prj_1"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"prj_2", "prj_1/rec_l.wav"} {
		target := dir
		if filepath.Ext(link) != "" {
			target = secret
		}
		if err := os.Symlink(target, filepath.Join(d.o.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []struct{ project, id, format string }{
		{"..", "secret", "wav"},
		{"prj_1", "../../secret", "wav"},
		{"prj_1", "..", "wav"},
		{"", "secret", "wav"},
		{"prj_1", "", "wav"},
		{"prj_1", "a/b", "wav"},
		{"prj_1", "a\x00b", "wav"},
		{"prj_1", "rec_1", "../x"},
		{"prj_1", "rec_1", ""},
		{".", "rec_1", "wav"},
		{"prj_1", "rec_1.part", "wav"},
		{"prj_1", "réc", "wav"},
		{"prj_2", "secret", "wav"},
		{"prj_1", "rec_l", "wav"},
		{"prj_1", string(make([]byte, 300)), "wav"},
	} {
		if bad.format == "wav" {
			if _, err := d.Start(engine.RecordingSpec{ProjectID: bad.project, ID: bad.id}); err == nil {
				t.Errorf("start %q was allowed", bad)
			}
		}
		if f, _, _, err := d.Open(bad.project, bad.id, bad.format); err == nil {
			_ = f.Close()
			t.Errorf("open %q was allowed", bad)
		}
		_ = d.Delete(bad.project, bad.id, bad.format)
	}
	if !exists(secret) {
		t.Error("a file outside was deleted")
	}
}
