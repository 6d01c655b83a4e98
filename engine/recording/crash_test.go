package recording

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// crashDir tells a test binary that it is the process to be killed.
const crashDir = "TIPRING_TEST_RECORDING_DIR"

// cases are the ways of writing a file.
func cases() map[string]engine.RecordingSpec {
	spec := func(id, format, tracks string) engine.RecordingSpec {
		return engine.RecordingSpec{
			ID: id, ProjectID: "prj_1", Codec: pcmu(), Rate: 8000,
			Options: engine.RecordingOptions{Format: format, Tracks: tracks},
		}
	}
	relay := spec("rec_relay", formatOgg, tracksIn)
	relay.Codec = opusCodec()
	return map[string]engine.RecordingSpec{
		"law": spec("rec_law", formatWAV, tracksStereo), "pcm": spec("rec_pcm", formatWAV, tracksBoth),
		"opus": spec("rec_opus", formatOgg, tracksStereo), "relay": relay,
	}
}

// TestKilledProcess: what a process wrote that was killed can be played at once, and is whole again when the next one
// has looked at it.
func TestKilledProcess(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		recordUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "written") {
	}
	if err := cmd.Process.Kill(); err != nil { // SIGKILL
		t.Fatal(err)
	}
	_ = cmd.Wait()

	for name, spec := range cases() {
		b, err := os.ReadFile(filepath.Join(dir, "prj_1", spec.ID+".part."+spec.Options.Format))
		if err != nil {
			t.Fatal(err)
		}
		a := decode(t, spec.Options.Format, b)
		if a.duration() < 2*time.Second {
			t.Errorf("%s: only %v can be played before the repair", name, a.duration())
		}
		if f := mediatest.Frequency(a.channels[0][len(a.channels[0])/2:], a.rate); f < 435 || f > 445 {
			t.Errorf("%s: %.0f Hz, want 440", name, f)
		}
	}
	d := newDisk(t, Options{Dir: dir})
	if n := len(d.Recovered()); n != len(cases()) {
		t.Fatalf("%d recordings were recovered", n)
	}
	for _, r := range d.Recovered() {
		if r.Err != nil || r.Reason != ReasonNodeLost || r.Duration < 2*time.Second || r.ProjectID != "prj_1" {
			t.Errorf("recovered %+v", r)
		}
		f, size, _, err := d.Open(r.ProjectID, r.ID, r.Format)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		if _, err := f.Read(b); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		a := decode(t, r.Format, b)
		near(t, r.ID+": duration of the file", a.duration(), r.Duration, time.Millisecond)
		if r.Size != size || r.Channels != len(a.channels) || len(r.SHA256) != 64 {
			t.Errorf("recovered %+v, the file has %d bytes and %d channels", r, size, len(a.channels))
		}
	}
	if again := newDisk(t, Options{Dir: dir}).Recovered(); len(again) != 0 {
		t.Errorf("again %d were recovered", len(again))
	}
}

// recordUntilKilled records in real time and says when each file has two seconds in it.
func recordUntilKilled(t *testing.T, dir string) {
	t.Helper()
	d, err := New(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	pcm := mediatest.Sine(8000, 440, -12, 10*time.Second)
	packets := encodeOpus(t, tone(48_000, 440, 10*time.Second), 20)
	recorders := map[string]engine.Recorder{}
	for name, spec := range cases() {
		if recorders[name], err = d.Start(spec); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; ; i++ {
		f := pcmFrame(8000, pcm[i%500*160:][:160])
		for name, r := range recorders {
			r.Frame(media.Out, f)
			if name == "relay" {
				r.Frame(media.In, payload(opusCodec(), packets[i%500]))
			} else {
				r.Frame(media.In, f)
			}
		}
		time.Sleep(turnTime)
		if i%10 == 0 && written(dir) {
			fmt.Println("written")
		}
	}
}

// written reports whether all files have 3 s of audio in them, as their sizes say.
func written(dir string) bool {
	for id, least := range map[string]int64{
		"rec_law.part.wav": 48_000, "rec_pcm.part.wav": 48_000, "rec_opus.part.ogg": 15_000, "rec_relay.part.ogg": 6000,
	} {
		if info, err := os.Stat(filepath.Join(dir, "prj_1", id)); err != nil || info.Size() < least {
			return false
		}
	}
	return true
}

// whole makes a file of each kind, with 3 s of audio, as it lies there under way.
func whole(t *testing.T, spec engine.RecordingSpec) []byte {
	t.Helper()
	var b []byte
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t, Options{})
		r := start(t, d, spec)
		packets := encodeOpus(t, tone(48_000, 440, 3*time.Second), 20)
		for i, pcm := range tone(8000, 440, 3*time.Second) {
			in := pcmFrame(8000, pcm)
			if isOpus(spec.Codec) {
				in = payload(opusCodec(), packets[i])
			}
			turn(r, in, pcmFrame(8000, pcm))
		}
		b = readFile(t, filepath.Join(d.o.Dir, "prj_1", spec.ID+".part."+spec.Options.Format))
	})
	return b
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// leave puts an incomplete file into a new folder.
func leave(tb testing.TB, format string, b []byte) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "prj_1"), 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prj_1", "rec_1.part."+format), b, 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// TestFilesUnderWayCanBePlayed, whenever somebody looks: no more than a second is not there yet.
func TestFilesUnderWayCanBePlayed(t *testing.T) {
	for name, spec := range cases() {
		a := decode(t, spec.Options.Format, whole(t, spec))
		if a.duration() < 2*time.Second-flushEvery/10 {
			t.Errorf("%s: of 3 s only %v can be played", name, a.duration())
		}
	}
}

// TestRecoverCutFiles: wherever a file is cut off, what is before can be saved, and if it is nothing, that is said.
func TestRecoverCutFiles(t *testing.T) {
	for name, spec := range cases() {
		b := whole(t, spec)
		format := spec.Options.Format
		for _, n := range []int{0, 1, 27, 43, 44, 57, 58, 59, 61, 100, 150, 1000, 4096, len(b) / 2, len(b)/2 + 1, len(b) - 1, len(b)} {
			if n > len(b) {
				continue
			}
			d := newDisk(t, Options{Dir: leave(t, format, b[:n])})
			got := d.Recovered()
			if len(got) != 1 || got[0].ID != "rec_1" || got[0].Format != format {
				t.Fatalf("%s, %d bytes: recovered %+v", name, n, got)
			}
			if r := got[0]; r.Err != nil {
				if n > 200 || exists(partPath(d, format)) {
					t.Errorf("%s, %d bytes: %v", name, n, r.Err)
				}
				continue
			}
			f := content(t, d, format)
			if got[0].Duration == 0 && format == formatOgg {
				continue // its head alone
			}
			near(t, fmt.Sprintf("%s, %d bytes", name, n), decode(t, format, f).duration(), got[0].Duration, time.Millisecond)
		}
	}
}

// FuzzRecover: whatever lies in the folder, the disk opens, and what it says it recovered can be played.
func FuzzRecover(f *testing.F) {
	wav := wavHeader{format: wavMulaw, channels: 2, rate: 8000, bits: 8}
	f.Add(append(wav.append(nil, 320), make([]byte, 400)...), false)
	wav = wavHeader{format: wavPCM, channels: 1, rate: 16_000, bits: 16}
	f.Add(append(wav.append(nil, 1<<31), make([]byte, 641)...), false)
	m := &memory{}
	o, err := newOggFile(m, 1, 2, 8000)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 120 {
		if err := o.packet([]byte{opusTOC20, 1, 2}, int64(i+1)*960); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(bytes.Clone(m.b), true)
	f.Fuzz(func(t *testing.T, b []byte, ogg bool) {
		format := formatWAV
		if ogg {
			format = formatOgg
		}
		d := newDisk(t, Options{Dir: leave(t, format, b)})
		r := d.Recovered()
		if len(r) != 1 {
			t.Fatalf("%d recovered", len(r))
		}
		if r[0].Err != nil {
			return
		}
		got := content(t, d, format)
		if r[0].Size != int64(len(got)) || len(got) > max(len(b), 58) {
			t.Fatalf("%d bytes were made of %d, the result says %d", len(got), len(b), r[0].Size)
		}
		if !ogg {
			near(t, "duration", decodeWAV(t, got).duration(), r[0].Duration, time.Millisecond)
		}
	})
}

// TestWriteFails: whatever the disk takes of a file can be played.
func TestWriteFails(t *testing.T) {
	for room := 200; room < 40_000; room += 977 {
		m := &memory{room: room, err: unix.ENOSPC}
		w, err := newWAVFile(m, wavHeader{format: wavPCM, channels: 2, rate: 8000, bits: 16})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; err == nil; i++ {
			if err = w.write(bytes.Repeat([]byte{1, 2, 3, 4}, 160)); err == nil && i%5 == 0 {
				err = w.flush()
			}
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		if err := w.end(); err != nil {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
		if a := decodeWAV(t, m.b); len(m.b) < room-4 || len(a.channels[0]) != (len(m.b)-44)/4 {
			t.Fatalf("of room for %d bytes %d are used, with %d samples", room, len(m.b), len(a.channels[0]))
		}

		m = &memory{room: room, err: unix.ENOSPC}
		o, err := newOggFile(m, 1, 1, 8000)
		if err != nil {
			t.Fatal(err)
		}
		for i := int64(1); err == nil; i++ {
			err = o.packet(bytes.Repeat([]byte{7}, 80), i*960)
		}
		if cutOgg(o, err); int64(len(m.b)) != o.size || len(m.b) > room {
			t.Fatalf("%d bytes are left, %d are whole pages, and %d fit", len(m.b), o.size, room)
		}
		buf := make([]byte, oggMaxPage)
		for at := int64(0); at < o.size; {
			p, ok := readOggPage(m, at, buf)
			if !ok {
				t.Fatalf("no whole page at %d", at)
			}
			at += p.size
		}
	}
}

// TestDiskFull: recordings end when no more than the reserve is free, with what they have, and none begins.
func TestDiskFull(t *testing.T) {
	for name, spec := range cases() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDisk(t, Options{MinFree: 1000})
				full := make(chan struct{})
				d.free = func() (int64, error) {
					select {
					case <-full:
						return 999, nil
					default:
						return 1000, nil
					}
				}
				spec.ID = "rec_1"
				r := start(t, d, spec)
				for i, pcm := range tone(8000, 440, 5*time.Second) {
					if i == 125 {
						close(full)
					}
					turn(r, pcmFrame(8000, pcm), silent())
				}
				res := result(t, r)
				if !errors.Is(res.Err, ErrDiskFull) || res.Duration < 2500*time.Millisecond || res.Duration > 4*time.Second {
					t.Fatalf("got %+v", res)
				}
				near(t, "duration of the file", decode(t, spec.Options.Format, content(t, d, spec.Options.Format)).duration(), res.Duration, 0)
				spec.ID = "rec_2"
				if _, err := d.Start(spec); engine.ErrorCode(err) != engine.CodeCapacity {
					t.Errorf("start on a full disk: %v", err)
				}
				if got := d.Stats(); got.Failed != 1 || got.Saved != 0 {
					t.Errorf("stats %+v", got)
				}
			})
		})
	}
}
