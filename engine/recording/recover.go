package recording

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tipring/tipring/engine"
)

// errNoRecording says that nothing of a file can be saved.
var errNoRecording = errors.New("nothing of the recording is left")

// Recovered is a recording that a crash cut off, as New found and repaired it. Its Reason is ReasonNodeLost; if nothing
// was left it has an Err and no file.
type Recovered struct {
	ProjectID, ID, Format string
	engine.RecordingResult
}

// Recovered are the recordings that New has repaired.
func (d *Disk) Recovered() []Recovered { return d.recovered }

// recover repairs the files that are not complete. One that cannot be repaired stays, for a person to look at.
func (d *Disk) recover() error {
	return d.each(func(n name, part bool) error {
		if !part {
			return nil
		}
		r := Recovered{ProjectID: n.project, ID: n.id, Format: n.format}
		err := d.repair(n, &r.RecordingResult)
		if err != nil {
			r.RecordingResult = engine.RecordingResult{Err: fault(err)}
		}
		if errors.Is(err, errNoRecording) {
			r.Err = errNoRecording
			err = errors.Join(err, d.root.Remove(n.part()))
		}
		r.Reason = ReasonNodeLost
		d.o.Log.Warn("a recording was cut off when the process ended", "recording", n.id, "duration", r.Duration, "error", err)
		d.recovered = append(d.recovered, r)
		return nil
	})
}

func (d *Disk) repair(n name, res *engine.RecordingResult) error {
	f, err := d.root.OpenFile(n.part(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if n.format == formatWAV {
		err = repairWAV(f, res)
	} else {
		err = repairOgg(f, res)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return d.seal(f, n, res)
}

// repairWAV has the header tell of all samples that are in the file.
func repairWAV(f *os.File, res *engine.RecordingResult) error {
	h, err := readWAVHeader(f)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	block := int64(h.block())
	w := &wavFile{blob: f, header: h, data: (info.Size() - int64(h.size())) / block * block}
	res.Channels = h.channels
	res.Duration = time.Duration(w.data/block) * time.Second / time.Duration(h.rate)
	return w.end()
}

// repairOgg cuts the file behind its last whole page, which it marks as the last.
func repairOgg(f *os.File, res *engine.RecordingResult) error {
	buf := make([]byte, oggMaxPage)
	first, ok := readOggPage(f, 0, buf)
	if !ok {
		return fmt.Errorf("%w: it is no Ogg file", errNoRecording)
	}
	channels, err := readOpusHead(&first)
	if err != nil {
		return err
	}
	o := oggFile{blob: f, serial: first.serial}
	last := first
	for pages := 0; ; pages++ {
		p, ok := readOggPage(f, o.size, buf)
		if !ok {
			if pages < 2 {
				return fmt.Errorf("%w: its head is cut off", errNoRecording)
			}
			break
		}
		last = p
		o.size += p.size
	}
	if err := markLast(f, &last, buf); err != nil {
		return err
	}
	res.Channels = channels
	res.Duration = time.Duration(max(last.granule-preSkip, 0)) * time.Second / 48_000
	return f.Truncate(o.size)
}

// markLast sets the flag of the last page in a page of the file.
func markLast(f *os.File, p *oggPage, buf []byte) error {
	b := buf[:p.size]
	if _, err := f.ReadAt(b, p.at); err != nil {
		return err
	}
	b[5] |= oggLast
	clear(b[22:26])
	sum := oggChecksum(b)
	b[22], b[23], b[24], b[25] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	_, err := f.WriteAt(b, p.at)
	return err
}
