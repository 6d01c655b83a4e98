package recording

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
)

// TestRing: pieces of all sizes come out as they went in, while the other side goes on.
func TestRing(t *testing.T) {
	r := newRing(4099)
	const pieces = 20_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint32(pieces) {
			p := piece{turn: i, kind: kindPayload, out: i%2 == 0, codec: uint8(i % 8), rate: int(i%480) * 100, length: int(i % 1300)}
			for {
				data, ok := r.reserve(&p)
				if !ok {
					continue
				}
				for j := range data {
					data[j] = byte(int(i) + j)
				}
				r.commit()
				break
			}
		}
	})
	for i := range uint32(pieces) {
		p, ok := r.peek()
		for ; !ok; p, ok = r.peek() {
		}
		if p.turn != i || p.kind != kindPayload || p.out != (i%2 == 0) || p.codec != uint8(i%8) || p.rate != int(i%480)*100 ||
			len(p.data) != int(i%1300) {
			t.Fatalf("piece %d is %+v", i, p)
		}
		for j, b := range p.data {
			if b != byte(int(i)+j) {
				t.Fatalf("piece %d differs at %d", i, j)
			}
		}
		r.drop(&p)
	}
	wg.Wait()
	if _, ok := r.peek(); ok {
		t.Error("there is more")
	}
}

// TestFrameFromAnyThread: commands come while frames do, and frames from two threads at once do no harm.
func TestFrameFromAnyThread(t *testing.T) {
	d := newDisk(t, Options{})
	for _, spec := range cases() {
		spec.ID = "rec_" + spec.ID
		r := start(t, d, spec)
		var wg sync.WaitGroup
		pcm := mediatest.Sine(8000, 440, -12, turnTime)
		for range 2 {
			wg.Go(func() {
				for range 2000 {
					r.Frame(media.Out, pcmFrame(8000, pcm))
					r.Frame(media.In, payload(pcmu(), make([]byte, 160)))
				}
			})
		}
		wg.Go(func() {
			for i := range 100 {
				r.Pause(i%2 == 0)
				r.Resume()
			}
			for range 3 {
				r.Stop("stopped")
			}
		})
		wg.Wait()
		if res := result(t, r); res.Err != nil || res.Reason != "stopped" {
			t.Errorf("got %+v", res)
		}
	}
}

func TestFrameDoesNotAllocate(t *testing.T) {
	d := newDisk(t, Options{})
	r := start(t, d, engine.RecordingSpec{Codec: pcmu(), Rate: 16_000})
	defer r.Stop("stopped")
	out, in := pcmFrame(16_000, mediatest.Sine(16_000, 440, -12, turnTime)), payload(pcmu(), make([]byte, 160))
	if n := testing.AllocsPerRun(500, func() {
		r.Frame(media.Out, out)
		r.Frame(media.In, in)
	}); n >= 1 { // the writer allocates once for all
		t.Errorf("%v allocations per turn", n)
	}
}

// BenchmarkFrame is what a recording costs the media thread, per turn of both directions.
func BenchmarkFrame(b *testing.B) {
	for name, frame := range map[string]*media.Frame{
		"PCMU": payload(pcmu(), make([]byte, 160)), "opus": payload(opusCodec(), make([]byte, 80)),
		"PCM 8 kHz":  pcmFrame(8000, mediatest.Sine(8000, 440, -12, turnTime)),
		"PCM 16 kHz": pcmFrame(16_000, mediatest.Sine(16_000, 440, -12, turnTime)),
		"silence":    silent(),
	} {
		b.Run(name, func(b *testing.B) {
			r := newRecorder(&Disk{o: Options{Queue: 2 * time.Second}, writers: []*writer{nil}}, engine.RecordingSpec{
				Codec: pcmu(), Rate: 16_000, Options: engine.RecordingOptions{Tracks: tracksStereo},
			})
			b.ReportAllocs()
			for b.Loop() {
				r.Frame(media.Out, frame)
				r.Frame(media.In, frame)
				for p, ok := r.ring.peek(); ok; p, ok = r.ring.peek() {
					r.ring.drop(&p)
				}
			}
		})
	}
}

// BenchmarkTurn is what a recording costs its writer, per turn of both directions.
func BenchmarkTurn(b *testing.B) {
	for name, spec := range cases() {
		for _, born := range []string{"PCMU", "opus"} {
			if (name == "relay") != (born == "opus") {
				continue
			}
			b.Run(name, func(b *testing.B) {
				d := newDisk(b, Options{Dir: b.TempDir()})
				spec.ID = fmt.Sprintf("rec_%d", time.Now().UnixNano())
				r := newRecorder(d, spec)
				n, err := fileName("prj_1", spec.ID, spec.Options.Format)
				if err != nil {
					b.Fatal(err)
				}
				t, err := d.open(r, n)
				if err != nil {
					b.Fatal(err)
				}
				t.most = 1 << 30
				turns := encode(b, pcmu(), tone(8000, 440, time.Second))
				packets := encodeOpus(b, tone(48_000, 440, time.Second), 20)
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					f := payload(pcmu(), turns[i%50])
					if born == "opus" {
						f = payload(opusCodec(), packets[i%50])
					}
					r.Frame(media.Out, f)
					r.Frame(media.In, f)
					t.at++
					t.turn()
					i++
				}
				if t.err != nil {
					b.Fatal(t.err)
				}
				_ = t.file.Close()
			})
		}
	}
}
