package engine

import (
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
)

// defaultRecording bounds a recording that has no limit of its own.
const defaultRecording = 4 * time.Hour

// A tapeOwner is who a recording belongs to: a call, or a conference. Its methods are called in its loop, but for post.
type tapeOwner interface {
	post(f func()) bool
	tap(t media.Tap) (remove func())
	// tellTape publishes that something happened to the recording.
	tellTape(t *tape, what tapeEvent, commandID string, data map[string]any)
	// untape forgets a recording that is over.
	untape(t *tape)
}

// tapeEvent is what happens to a recording.
type tapeEvent uint8

const (
	tapeStarted tapeEvent = iota
	tapePaused
	tapeResumed
	tapeSaved
	tapeFailed
)

// A tape is a recording under way, owned by the loop of its owner. Once that loop has ended it belongs to outlive.
type tape struct {
	engine    *Engine
	owner     tapeOwner
	info      RecordingInfo
	startID   string // command ids: of the start until it is told, and of the stop
	stopID    string
	started   chan tapeStart       // capacity 1: the file is there, or not
	result    chan RecordingResult // capacity 1: whoever takes it tells it
	recorder  Recorder             // nil until the file is there
	remove    func()
	stopping  string // why it was asked to end
	paused    bool   // before the recorder was there
	pauseFill bool
	ownerOver bool
}

// tapeStart is what Recorders.Start returned.
type tapeStart struct {
	recorder Recorder
	err      error
}

func (o *RecordingOptions) validate() error {
	return first(
		oneOf("/format", o.Format, "", "wav", "ogg"), oneOf("/tracks", o.Tracks, "", "both", "stereo", "in", "out"),
		within("/max_duration_s", o.MaxDurationS, 0, 86_400),
	)
}

// newTape begins a recording of what owner gives; call.recording.started or failed follows.
func (e *Engine) newTape(owner tapeOwner, info RecordingInfo, o RecordingOptions, c codec.Codec, commandID string) (*tape, error) {
	if e.o.Recorders == nil {
		return nil, Errorf(CodeUnsupported, "this node keeps no recordings")
	}
	o.Format, o.Tracks = orDefault(o.Format, "wav"), orDefault(o.Tracks, "both")
	info.ID, info.State, info.Format, info.Tracks = e.o.NewID("rec"), RecordingRunning, o.Format, o.Tracks
	info.Node, info.CreatedAt = e.o.Node, time.Now().UTC()
	t := &tape{
		engine: e, owner: owner, info: info, startID: commandID,
		started: make(chan tapeStart, 1), result: make(chan RecordingResult, 1),
	}
	spec := RecordingSpec{
		ID: info.ID, ProjectID: info.ProjectID, Options: o, Codec: c, Rate: recordingRate(c), MaxDuration: defaultRecording,
	}
	if o.MaxDurationS > 0 {
		spec.MaxDuration = time.Duration(o.MaxDurationS) * time.Second
	}
	go func() { // ends when the file is there or cannot be
		r, err := e.o.Recorders.Start(spec)
		t.started <- tapeStart{r, err}
		owner.post(func() {
			if t.ownerOver {
				return // outlive looks after it
			}
			select {
			case st := <-t.started:
				t.begun(st.recorder, st.err)
			default:
			}
		})
	}()
	return t, nil
}

// recordingRate is what a line of c is worth, in Hz: narrowband, or wideband as a mix may be, which has no codec.
func recordingRate(c codec.Codec) int {
	if c.SampleRate == 8000 {
		return 8000
	}
	return 16_000
}

// begun puts the recorder on the line.
func (t *tape) begun(r Recorder, err error) {
	id := t.startID
	t.startID = ""
	if err != nil {
		t.info.State, t.info.Error = RecordingFailed, detail(err)
		t.owner.tellTape(t, tapeFailed, id, map[string]any{"code": ErrorCode(err), "detail": detail(err)})
		t.stopped()
		t.owner.untape(t)
		return
	}
	t.recorder = r
	if t.paused {
		r.Pause(t.pauseFill)
	}
	t.remove = t.owner.tap(r)
	t.owner.tellTape(t, tapeStarted, id, nil)
	if t.stopping != "" {
		t.end(t.stopping)
	}
	go func() { // ends with the file
		t.result <- <-r.Done()
		t.owner.post(func() {
			select {
			case res := <-t.result:
				t.saved(res)
			default:
			}
		})
	}()
}

// over ends a recording because its owner ends, from the owner's loop.
func (t *tape) over() {
	if t == nil {
		return
	}
	t.ownerOver = true
	switch {
	case t.recorder == nil && t.startID != "":
		id := t.startID
		t.startID = ""
		t.owner.tellTape(t, tapeFailed, id, map[string]any{"code": CodeInvalidState, "detail": errOver.Error()})
		t.stopped()
	default:
		t.end(errOver.Error())
	}
}

// stopped tells the end of a stop that found nothing to stop.
func (t *tape) stopped() {
	if t.stopID != "" {
		id := t.stopID
		t.stopID = ""
		t.owner.tellTape(t, tapeFailed, id, map[string]any{"code": CodeInvalidState, "detail": "the recording could not begin"})
	}
}

// end takes the recorder off the line; saved follows.
func (t *tape) end(reason string) {
	if t == nil {
		return
	}
	t.stopping = reason
	if t.recorder == nil {
		return
	}
	if t.remove != nil {
		t.remove()
		t.remove = nil
	}
	t.recorder.Stop(reason)
}

func (t *tape) pause(fill bool, commandID string) {
	t.paused, t.pauseFill = true, fill
	t.info.State = RecordingPaused
	if t.recorder != nil {
		t.recorder.Pause(fill)
	}
	t.owner.tellTape(t, tapePaused, commandID, nil)
}

func (t *tape) resume(commandID string) {
	t.paused = false
	t.info.State = RecordingRunning
	if t.recorder != nil {
		t.recorder.Resume()
	}
	t.owner.tellTape(t, tapeResumed, commandID, nil)
}

// steer does a command to a recording that may not be there.
func (t *tape) steer(what, fill, commandID string) error {
	switch {
	case t == nil || t.stopping != "":
		return Errorf(CodeInvalidState, "nothing is recorded now")
	case what == "pause" && t.paused:
		return Errorf(CodeInvalidState, "the recording is paused already")
	case what == "resume" && !t.paused:
		return Errorf(CodeInvalidState, "the recording is not paused")
	}
	switch what {
	case "pause":
		t.pause(fill != "cut", commandID)
	case "resume":
		t.resume(commandID)
	default:
		t.stopID = commandID
		t.end(errStopped.Error())
	}
	return nil
}

// saved tells what became of the file.
func (t *tape) saved(res RecordingResult) {
	if t.remove != nil { // it ended by itself
		t.remove()
		t.remove = nil
	}
	now := time.Now().UTC()
	t.info.EndedAt = &now
	t.info.State = RecordingSaved
	t.info.DurationMS, t.info.Size, t.info.SHA256 = res.Duration.Milliseconds(), res.Size, res.SHA256
	t.info.Channels, t.info.Dropped = res.Channels, res.Dropped.Milliseconds()
	data := map[string]any{"reason": res.Reason}
	event := tapeSaved
	if res.Err != nil {
		event = tapeFailed
		t.info.State, t.info.Error = RecordingFailed, res.Err.Error()
		data["code"], data["detail"] = CodeInternal, res.Err.Error()
	}
	id := t.stopID
	t.stopID = ""
	t.owner.tellTape(t, event, id, data)
	t.owner.untape(t)
}

// outlive completes the recordings of an owner whose loop has ended, one after the other, for they write to what was the
// loop's; their last events follow the owner's. The owner has told Engine.linger, so that the node does not stop before.
func (e *Engine) outlive(tapes ...*tape) {
	go func() { // ends with the last file
		defer e.linger(-1)
		for _, t := range tapes {
			t.complete()
		}
	}()
}

func (t *tape) complete() {
	if t.recorder == nil {
		if st := <-t.started; st.err == nil {
			st.recorder.Stop(errOver.Error()) // there was nobody left to be recorded
			<-st.recorder.Done()
		}
		return
	}
	t.saved(<-t.result)
}

// startRecording begins to record a call.
func (c *Call) startRecording(a *StartRecording) error {
	switch {
	case !c.audible():
		return Errorf(CodeInvalidState, "the call is %s: record it when it is answered", c.info.State)
	case c.tape != nil:
		return Errorf(CodeInvalidState, "the call is recorded already, as %s", c.tape.info.ID)
	}
	info := RecordingInfo{ProjectID: c.info.ProjectID, CallID: c.info.ID, SessionID: c.info.SessionID}
	t, err := c.engine.newTape(c, info, a.RecordingOptions, c.leg.Audio().Codec(), a.CommandID)
	if err != nil {
		return err
	}
	c.tape, c.info.Recording = t, t.info.ID
	return nil
}

func (c *Call) tap(t media.Tap) (remove func()) { return c.leg.Audio().Tap(t) }

func (c *Call) tellTape(t *tape, what tapeEvent, commandID string, data map[string]any) {
	event := [...]string{
		tapeStarted: "call.recording.started", tapePaused: "call.recording.paused", tapeResumed: "call.recording.resumed",
		tapeSaved: "call.recording.saved", tapeFailed: "call.recording.failed",
	}[what]
	if data == nil {
		data = map[string]any{}
	}
	info := t.info
	data["recording"] = info
	c.emit(event, commandID, data, func(e *Event) { e.Recording = &info })
}

func (c *Call) untape(*tape) { c.tape, c.info.Recording = nil, "" }
