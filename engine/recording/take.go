package recording

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// silenceKept is how much of a silence stays where it is trimmed.
const silenceKept = 2 * time.Second

// A take is a recording as its writer has it.
type take struct {
	rec      *recorder
	name     name
	file     *os.File
	renderer renderer
	at       uint32 // the last turn that was rendered
	kept     int    // turns in the file
	most     int    // turns that may be
	silent   int    // turns in a row in which nothing was heard
	inData   []byte // of the pieces of the turn
	outData  []byte
	flushed  time.Time
	reason   string // why it is over, "" if it is not
	err      error
}

func newTake(r *recorder, n name, f *os.File) (*take, error) {
	t := &take{rec: r, name: n, file: f, most: max(turnsIn(r.spec.MaxDuration), 1), flushed: time.Now()}
	var err error
	switch {
	case passesOpus(&r.spec):
		t.renderer, err = newOpusRelay(r, f)
	case r.spec.Options.Format == formatOgg:
		t.renderer, err = newOpusRenderer(r, f)
	case passesLaw(&r.spec):
		t.renderer, err = newLawRenderer(r, f)
	default:
		t.renderer, err = newPCMRenderer(r, f)
	}
	if err != nil {
		return nil, err
	}
	if n := t.renderer.mostTurns(); n > 0 {
		t.most = min(t.most, n)
	}
	return t, nil
}

// work renders what is complete and writes it; over says that the recording has ended.
func (t *take) work(now time.Time, full bool) (over bool) {
	ended := t.rec.mode.Load() == modeEnded
	upTo := t.rec.turn.Load()
	if !ended && upTo > 0 {
		upTo-- // its In may still come
	}
	for t.at < upTo && t.reason == "" {
		t.at++
		t.turn()
	}
	if t.reason == "" && now.Sub(t.flushed) >= flushEvery {
		t.flushed = now
		t.fail(t.renderer.flush())
	}
	if full {
		t.fail(ErrDiskFull)
	}
	if ended && t.reason == "" {
		t.reason = *t.rec.reason.Load()
	}
	return t.reason != ""
}

// turn renders the next turn with the pieces that came in it. Those that did not are silence.
func (t *take) turn() {
	var in, out piece
	for {
		p, ok := t.rec.ring.peek()
		if !ok || p.turn > t.at {
			break
		}
		if p.turn < t.at {
			t.rec.ring.drop(&p)
			continue
		}
		if p.out {
			if out.kind == kindNone {
				out = p
				t.outData = append(t.outData[:0], p.data...)
				out.data = t.outData
			}
		} else if in.kind == kindNone {
			in = p
			t.inData = append(t.inData[:0], p.data...)
			in.data = t.inData
		}
		t.rec.ring.drop(&p)
	}
	heard := t.renderer.render(&in, &out)
	if heard || !t.rec.spec.Options.TrimSilence {
		t.silent = 0
	} else if t.silent++; t.silent > turnsIn(silenceKept) {
		return
	}
	if err := t.renderer.keep(); err != nil {
		t.fail(err)
		return
	}
	if t.kept++; t.kept >= t.most {
		t.reason = ReasonMaxDuration
	}
}

// fail ends a recording; what is written stays.
func (t *take) fail(err error) {
	if err == nil || t.reason != "" {
		return
	}
	t.err, t.reason = fault(err), "failed"
}

// fault is err as a customer may read it: without a path.
func fault(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return ErrDiskFull
	}
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return fmt.Errorf("the recording could not be written: %w", err)
}
