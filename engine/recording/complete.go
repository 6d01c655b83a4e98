package recording

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tipring/tipring/engine"
)

// complete ends the file of a recording that is over and has the rest done beside the writer.
func (d *Disk) complete(t *take) {
	t.rec.mode.Store(modeEnded)
	if err := t.renderer.end(); err != nil && t.err == nil {
		t.err = fault(err)
	}
	d.finishing.Add(1)
	go d.finish(t) // ends with the file
}

// finish makes sure of the file, gives it its name and tells the result.
func (d *Disk) finish(t *take) {
	defer d.finishing.Done()
	d.hashing <- struct{}{}
	defer func() { <-d.hashing }()

	res := engine.RecordingResult{
		Err: t.err, Reason: t.reason, Duration: time.Duration(t.kept) * turnTime, Channels: t.renderer.channels(),
		Dropped: time.Duration(t.rec.dropped.Load()) * turnTime,
	}
	if err := d.seal(t.file, t.name, &res); err != nil && res.Err == nil {
		res.Err = fault(err)
	}
	log := d.o.Log.With("recording", t.rec.spec.ID, "duration", res.Duration, "bytes", res.Size)
	d.bytes.Add(uint64(res.Size))
	d.running.Add(-1)
	if res.Err != nil {
		d.failed.Add(1)
		log.Error("a recording failed", "error", res.Err)
	} else {
		d.saved.Add(1)
		log.Debug("a recording is saved", "reason", res.Reason)
	}
	if res.Dropped > 0 {
		log.Warn("the disk was too slow for a recording", "dropped", res.Dropped)
	}
	t.rec.done <- res
	close(t.rec.done)
}

// seal reads the size and the hash of a complete file into res, makes sure that it is on the disk, and gives it its
// name. It closes f.
func (d *Disk) seal(f *os.File, n name, res *engine.RecordingResult) (err error) {
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err == nil {
			err = d.root.Rename(n.part(), n.whole())
		}
	}()
	sum := sha256.New()
	size, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return fmt.Errorf("read again: %w", err)
	}
	res.Size, res.SHA256 = size, hex.EncodeToString(sum.Sum(nil))
	return f.Sync()
}
