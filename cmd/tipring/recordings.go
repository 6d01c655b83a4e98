package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/recording"
	"github.com/tipring/tipring/engine/session"
)

// openRecordings opens the folder of the recordings and repairs what a crash left in it.
func (n *node) openRecordings(context.Context) (err error) {
	dir := n.config.RecordingsDir
	if dir == "" {
		dir = filepath.Join(n.config.DataDir, "recordings")
	}
	n.recordings, err = recording.New(recording.Options{
		Dir: dir, MinFree: orNone(n.config.RecordingsMinFree), Log: n.logger,
	})
	if err != nil {
		return fmt.Errorf("recordings_dir: %w", err)
	}
	n.onClose(n.recordings.Close)
	return nil
}

// orNone turns a setting whose 0 is none into an option whose negative is.
func orNone(v int64) int64 {
	if v == 0 {
		return -1
	}
	return v
}

// recovered finds what is left of a recording that a crash cut off.
func (n *node) recovered(r engine.RecordingInfo) (engine.RecordingResult, bool) {
	for _, rec := range n.recordings.Recovered() {
		if rec.ID == r.ID && rec.ProjectID == r.ProjectID {
			return rec.RecordingResult, true
		}
	}
	return engine.RecordingResult{}, false
}

// recordingFiles is the folder of the recordings as the API sees it.
type recordingFiles struct{ disk *recording.Disk }

// Open reads the file of a recording that was saved.
func (f recordingFiles) Open(_ context.Context, r engine.RecordingInfo) (io.ReadSeekCloser, time.Time, error) {
	file, _, changed, err := f.disk.Open(r.ProjectID, r.ID, r.Format)
	return file, changed, err
}

// Delete removes the file of a recording.
func (f recordingFiles) Delete(_ context.Context, r engine.RecordingInfo) error {
	return f.disk.Delete(r.ProjectID, r.ID, r.Format)
}

// pruneRecordings deletes the recordings that are older than the setting says.
func (n *node) pruneRecordings(ctx context.Context) error {
	if n.config.RecordingsKeep <= 0 {
		return nil
	}
	before := time.Now().Add(-n.config.RecordingsKeep)
	if _, err := n.recordings.Prune(before); err != nil {
		return err
	}
	var errs []error
	page := session.Page{Limit: 100}
	for {
		list, next, err := n.store.Recordings(ctx, "", session.RecordingFilter{
			State: engine.RecordingSaved, CreatedBefore: before,
		}, page)
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.EndedAt == nil || r.EndedAt.After(before) {
				continue
			}
			r.State = engine.RecordingDeleted
			errs = append(errs, n.store.PutRecording(ctx, r))
		}
		if next == "" {
			return errors.Join(errs...)
		}
		page.After = next
	}
}
