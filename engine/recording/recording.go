// Package recording writes what a line or a room says into files that survive: the end of the process, a slow or full
// disk, a far end that is gone.
//
// A recorder is a tap. In the media thread it only copies what passes, payloads as they came, into a ring of its own;
// if the ring is full, silence stands in the place of what is lost. A writer, one goroutine for many recordings, empties
// the rings: it decodes, mixes and encodes, and writes files that can be played at any moment. A goroutine per file that
// is complete syncs and hashes it, gives it its name and tells the result.
package recording

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// Reasons for which a recording ends by itself.
const (
	ReasonMaxDuration = "max_duration"
	ReasonShutdown    = "shutdown"  // the disk was closed
	ReasonNodeLost    = "node_lost" // the process ended without closing the disk
)

// Errors of recordings.
var (
	ErrDiskFull = errors.New("the disk is full")
	ErrName     = errors.New("recording: no id of a project or a recording")
)

// Options tune a Disk.
type Options struct {
	Dir string // of all recordings; made if it is not there
	// MinFree is how many bytes stay free: recordings end when fewer are. 0: 64 MiB; negative: none.
	MinFree int64
	// Queue is how much audio of a recording may wait for the disk, as PCM; payloads of G.711 take half. 0: 2 s.
	Queue   time.Duration
	Writers int // goroutines that decode, encode and write; 0: 2, or 1 on one core
	Log     *slog.Logger
}

// Stats are a Disk's figures so far.
type Stats struct {
	Running int    // recordings that are not complete yet
	Bytes   uint64 // written
	Dropped uint64 // packet times of which something was lost since the disk was too slow
	Saved   uint64
	Failed  uint64
}

// A Disk makes recordings in a folder: <project>/<id>.wav or .ogg, and <id>.part.wav while they are under way.
type Disk struct {
	o         Options
	root      *os.Root
	writers   []*writer
	finishing sync.WaitGroup
	hashing   chan struct{} // a token per file that is read again at a time
	recovered []Recovered
	free      func() (int64, error)

	bytes, dropped, saved, failed atomic.Uint64
	running                       atomic.Int64
	next                          atomic.Uint32 // writer to take the next recording

	mu     sync.RWMutex // guards closed against recordings that begin
	closed bool
}

var _ engine.Recorders = (*Disk)(nil)

// flushEvery is how much audio a killed process loses at most, about.
const flushEvery = 900 * time.Millisecond

// New opens the folder and repairs what a crash left in it. Close ends it.
func New(o Options) (*Disk, error) {
	if o.MinFree == 0 {
		o.MinFree = 64 << 20
	}
	if o.Queue <= 0 {
		o.Queue = 2 * time.Second
	}
	if o.Writers <= 0 {
		o.Writers = min(2, runtime.GOMAXPROCS(0))
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording: make the folder: %w", err)
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("recording: open the folder: %w", err)
	}
	d := &Disk{o: o, root: root, hashing: make(chan struct{}, 2), free: func() (int64, error) { return freeBytes(root) }}
	if err := d.recover(); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	for range o.Writers {
		w := &writer{disk: d, wake: make(chan struct{}, 1), ended: make(chan struct{})}
		d.writers = append(d.writers, w)
		go w.run()
	}
	return d, nil
}

func freeBytes(root *os.Root) (int64, error) {
	dir, err := root.Open(".")
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}

// full reports whether less is free than must stay so. A disk that cannot say is not full.
func (d *Disk) full() bool {
	if d.o.MinFree < 0 {
		return false
	}
	free, err := d.free()
	return err == nil && free < d.o.MinFree
}

// Start implements engine.Recorders: the file is there, with a valid header, when it returns.
func (d *Disk) Start(spec engine.RecordingSpec) (engine.Recorder, error) {
	spec.Options.Format = orDefault(spec.Options.Format, formatWAV)
	spec.Options.Tracks = orDefault(spec.Options.Tracks, tracksBoth)
	if spec.MaxDuration <= 0 {
		spec.MaxDuration = 4 * time.Hour
	}
	spec.Rate = usableRate(spec.Rate)
	name, err := fileName(spec.ProjectID, spec.ID, spec.Options.Format)
	if err != nil {
		return nil, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case d.closed:
		return nil, engine.Errorf(engine.CodeDraining, "this node is shutting down and starts no recording")
	case d.full():
		return nil, engine.Errorf(engine.CodeCapacity, "%s", ErrDiskFull)
	}
	r := newRecorder(d, spec)
	t, err := d.open(r, name)
	if errors.Is(err, unix.ENOSPC) {
		return nil, engine.Errorf(engine.CodeCapacity, "%s", ErrDiskFull)
	}
	if err != nil {
		return nil, fmt.Errorf("recording: start %s: %w", spec.ID, err)
	}
	d.running.Add(1)
	r.writer.add(t)
	return r, nil
}

// open makes the file of a recording.
func (d *Disk) open(r *recorder, name name) (*take, error) {
	if err := d.root.Mkdir(name.project, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if _, err := d.root.Lstat(name.whole()); err == nil {
		return nil, fmt.Errorf("%s: %w", name.whole(), os.ErrExist)
	}
	f, err := d.root.OpenFile(name.part(), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	t, err := newTake(r, name, f)
	if err != nil {
		return nil, errors.Join(err, f.Close(), d.root.Remove(name.part()))
	}
	return t, nil
}

// Stats are the figures so far.
func (d *Disk) Stats() Stats {
	return Stats{
		Running: int(d.running.Load()), Bytes: d.bytes.Load(), Dropped: d.dropped.Load(),
		Saved: d.saved.Load(), Failed: d.failed.Load(),
	}
}

// Close ends all recordings with ReasonShutdown and returns when their files are complete.
func (d *Disk) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	for _, w := range d.writers {
		w.close()
	}
	for _, w := range d.writers {
		<-w.ended
	}
	d.finishing.Wait()
	if err := d.root.Close(); err != nil {
		return fmt.Errorf("recording: close: %w", err)
	}
	return nil
}

// usableRate is the least rate of Opus that holds audio of hz.
func usableRate(hz int) int {
	for _, r := range [...]int{8000, 12_000, 16_000, 24_000} {
		if hz <= r {
			return r
		}
	}
	return 48_000
}

// directions are those that tracks ask for.
func directions(tracks string) (in, out bool) { return tracks != tracksOut, tracks != tracksIn }

// passesLaw reports whether a recording keeps the G.711 of its line.
func passesLaw(spec *engine.RecordingSpec) bool {
	return spec.Options.Format == formatWAV && spec.Options.Tracks != tracksBoth && spec.Codec.Bytewise()
}

// passesOpus reports whether a recording keeps the Opus of its line. Silence cannot be seen in it, nor cut out.
func passesOpus(spec *engine.RecordingSpec) bool {
	one := spec.Options.Tracks == tracksIn || spec.Options.Tracks == tracksOut
	return spec.Options.Format == formatOgg && one && isOpus(spec.Codec) && !spec.Options.TrimSilence
}

func isOpus(c codec.Codec) bool { return c.ClockRate == 48_000 && strings.EqualFold(c.Name, "opus") }

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// turnTime is what a turn of the media thread covers.
const turnTime = media.PacketTime

// turnsIn is the number of whole turns in d.
func turnsIn(d time.Duration) int { return int(d / turnTime) }
