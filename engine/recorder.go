package engine

import (
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// RecordingOptions are what a customer chooses of a recording.
type RecordingOptions struct {
	Format string `json:"format,omitempty"` // "wav" (default) or "ogg" (Opus)
	// Tracks is what is recorded: "both" (default) mixed, "stereo" with the far end left and what it hears right, "in" what
	// the far end says, "out" what it hears. The mix of a conference has one track.
	Tracks       string `json:"tracks,omitempty"`
	MaxDurationS int    `json:"max_duration_s,omitempty"` // 1…86400; 0: 4 h
	TrimSilence  bool   `json:"trim_silence,omitempty"`   // leave out silence of more than 2 s
}

// StartRecording records the call beside whatever it does.
type StartRecording struct {
	Header
	RecordingOptions
}

// StopRecording ends the call's recording; call.recording.saved follows.
type StopRecording struct{ Header }

// PauseRecording leaves out what comes, or puts silence in its place.
type PauseRecording struct {
	Header
	Fill string `json:"fill,omitempty"` // "silence" (default) or "cut"
}

// ResumeRecording goes on.
type ResumeRecording struct{ Header }

// Recorders makes recordings.
type Recorders interface {
	// Start begins a recording. It may touch the disk; it is not called from a call's loop.
	Start(spec RecordingSpec) (Recorder, error)
}

// RecordingSpec describes a recording to be.
type RecordingSpec struct {
	ID          string // "rec_…"; names the file
	ProjectID   string
	Options     RecordingOptions
	Codec       codec.Codec // of the line: what is recorded may be kept as it comes
	Rate        int         // of the best audio to be expected, in Hz
	MaxDuration time.Duration
}

// A Recorder is the tap that writes a recording. Pause, Resume and Stop may be called from any goroutine and do not
// block.
type Recorder interface {
	media.Tap
	Pause(fill bool) // fill: silence in the place of what comes
	Resume()
	Stop(reason string) // the file is completed in the background
	// Done gives the result once, when the file is complete or has failed, and is closed then. It comes without Stop when
	// the longest duration is reached or the disk is full.
	Done() <-chan RecordingResult
}

// RecordingResult is what became of a recording.
type RecordingResult struct {
	Err      error  // why it failed; what was written until then stays
	Reason   string // "stopped", "max_duration", as Stop was told
	Duration time.Duration
	Size     int64
	SHA256   string // hex
	Channels int
	Dropped  time.Duration // lost because the disk was too slow
}
