package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
)

// deck makes recordings that keep no audio.
type deck struct {
	delay time.Duration // of Start, and of completing a file
	err   error         // of Start
	mu    sync.Mutex
	tapes []*deckTape
}

func (d *deck) Start(spec engine.RecordingSpec) (engine.Recorder, error) {
	time.Sleep(d.delay)
	if d.err != nil {
		return nil, d.err
	}
	t := &deckTape{spec: spec, delay: d.delay, done: make(chan engine.RecordingResult, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tapes = append(d.tapes, t)
	return t, nil
}

type deckTape struct {
	spec  engine.RecordingSpec
	delay time.Duration
	done  chan engine.RecordingResult
	once  sync.Once
	mu    sync.Mutex
	did   []string
}

func (t *deckTape) note(s string) { t.mu.Lock(); t.did = append(t.did, s); t.mu.Unlock() }

func (t *deckTape) log() string                         { t.mu.Lock(); defer t.mu.Unlock(); return strings.Join(t.did, " ") }
func (t *deckTape) Frame(media.Direction, *media.Frame) {}
func (t *deckTape) Resume()                             { t.note("resume") }
func (t *deckTape) Done() <-chan engine.RecordingResult { return t.done }
func (t *deckTape) Stop(reason string) {
	t.finish(engine.RecordingResult{Reason: reason, Duration: time.Second, Size: 16_044})
}

func (t *deckTape) Pause(fill bool) {
	if fill {
		t.note("pause:silence")
	} else {
		t.note("pause:cut")
	}
}

func (t *deckTape) finish(r engine.RecordingResult) {
	t.once.Do(func() {
		t.note("stop:" + r.Reason)
		time.AfterFunc(t.delay, func() { t.done <- r; close(t.done) })
	})
}

func TestRecordCall(t *testing.T) {
	d := &deck{delay: 100 * time.Millisecond}
	story(t, engine.Options{Recorders: d}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		alice, a := o.rings("idle")
		o.do(&engine.StartRecording{Header: to(a, "rec-1"), RecordingOptions: engine.RecordingOptions{Tracks: "stereo"}})
		o.refuses(engine.CodeInvalidState, &engine.StartRecording{Header: to(a, "")})
		time.Sleep(time.Second)
		if _, e := o.last(a, "call.recording.started"); e.CommandID != "rec-1" || e.Recording.State != engine.RecordingRunning {
			t.Errorf("it began as %+v", e.Recording)
		}
		if n := len(alice.line.taps); n != 1 {
			t.Errorf("%d taps are on the line", n)
		}
		o.do(&engine.PauseRecording{Header: to(a, "rec-2"), Fill: "cut"})
		o.refuses(engine.CodeInvalidState, &engine.PauseRecording{Header: to(a, "")})
		o.do(&engine.ResumeRecording{Header: to(a, "rec-3")})
		o.refuses(engine.CodeInvalidState, &engine.ResumeRecording{Header: to(a, "")})
		o.do(&engine.StopRecording{Header: to(a, "rec-4")})
		o.refuses(engine.CodeInvalidState, &engine.StopRecording{Header: to(a, "")})
		time.Sleep(time.Second)
		data, e := o.last(a, "call.recording.saved")
		if e.CommandID != "rec-4" || data["reason"] != "stopped" || e.Recording.Size != 16_044 || e.Recording.DurationMS != 1000 {
			t.Errorf("it was saved as %+v by %v", e.Recording, data["reason"])
		}
		if got := d.tapes[0].log(); got != "pause:cut resume stop:stopped" {
			t.Errorf("the recorder did %s", got)
		}
		if len(alice.line.taps) != 0 || o.do(&engine.Inspect{CallID: a}).Call.Recording != "" {
			t.Error("the call is still recorded")
		}
		o.do(&engine.StartRecording{Header: to(a, "rec-5")})
		time.Sleep(time.Second)
		alice.leave(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller})
		time.Sleep(time.Second)
		o.expect(a, "call.incoming", "call.answered", "call.instructions.completed", "call.recording.started", "call.recording.paused",
			"call.recording.resumed", "call.recording.saved", "call.recording.started", "call.ended", "call.recording.saved")
	})
}

func TestRecordingEndsByItself(t *testing.T) {
	d := &deck{}
	story(t, engine.Options{Recorders: d}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"start_recording"},{"action":"wait","duration_ms":60000}]}`)
		alice, a := o.rings("idle")
		if len(alice.line.taps) != 0 {
			t.Error("a call that rings is recorded")
		}
		if data, _ := o.last(a, "call.command.failed"); data["code"] != string(engine.CodeInvalidState) {
			t.Errorf("recording before the answer said %v", data)
		}
		time.Sleep(time.Second)
		o.do(&engine.StartRecording{Header: to(a, "rec-1")})
		d.tapes[0].finish(engine.RecordingResult{Err: errors.New("no space left on device"), Duration: time.Second})
		time.Sleep(time.Second)
		data, e := o.last(a, "call.recording.failed")
		if data["detail"] != "no space left on device" || e.Recording.State != engine.RecordingFailed {
			t.Errorf("it failed as %v", data)
		}
		if got := o.do(&engine.Inspect{CallID: a}).Call; got.State != engine.CallAnswered || len(alice.line.taps) != 0 {
			t.Error("a full disk ended the call, or left the tap")
		}
	})
}

func TestRecordingThatCannotBegin(t *testing.T) {
	d := &deck{err: engine.Errorf(engine.CodeCapacity, "the disk is full")}
	story(t, engine.Options{Recorders: d}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		_, a := o.rings("idle")
		o.do(&engine.StartRecording{Header: to(a, "rec-1")})
		if data, e := o.last(a, "call.recording.failed"); data["code"] != string(engine.CodeCapacity) || e.CommandID != "rec-1" {
			t.Errorf("it failed as %v", data)
		}
	})
	story(t, engine.Options{}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		_, a := o.rings("idle")
		o.refuses(engine.CodeUnsupported, &engine.StartRecording{Header: to(a, "")})
	})
}

// TestNodeWaitsForRecordings drains a node whose call has just ended.
func TestNodeWaitsForRecordings(t *testing.T) {
	d := &deck{delay: time.Second}
	story(t, engine.Options{Recorders: d}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		alice, a := o.rings("idle")
		o.do(&engine.StartRecording{Header: to(a, "rec-1")})
		time.Sleep(2 * time.Second)
		early, b := o.rings("idle")
		o.do(&engine.StartRecording{Header: to(b, "rec-2")})
		alice.leave(engine.Cause{Reason: engine.ReasonNormal})
		early.leave(engine.Cause{Reason: engine.ReasonNormal}) // before its file is there
		if err := o.e.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		o.last(a, "call.recording.saved")
		if data, _ := o.last(b, "call.recording.failed"); data["detail"] != "call_ended" {
			t.Errorf("it failed as %v", data)
		}
	})
}

func TestRecordConference(t *testing.T) {
	d := &deck{}
	story(t, engine.Options{Recorders: d}, func(o *office) {
		o.app("room", `{"on_idle":"wait","instructions":[{"action":"join","conference":"daily","settings":{"record":"tracks"}}]}`)
		alice, a := o.rings("room")
		id := o.conference("daily").ID
		if r := o.conference("daily").Recording; r == "" || len(alice.line.taps) != 1 {
			t.Errorf("the mix is recorded as %q, the participant by %d", r, len(alice.line.taps))
		}
		o.do(&engine.PauseConferenceRecording{ConferenceHeader: into("daily", "", "p-1")})
		o.do(&engine.ResumeConferenceRecording{ConferenceHeader: into("daily", "", "p-2")})
		o.do(&engine.StopConferenceRecording{ConferenceHeader: into("daily", "", "p-3")})
		r := o.do(&engine.RecordConference{ConferenceHeader: into("daily", "", "p-4")})
		if r.RecordingID == "" || o.conference("daily").Recording != r.RecordingID {
			t.Errorf("the second recording is %q", r.RecordingID)
		}
		o.do(&engine.Hangup{Header: to(a, "")})
		time.Sleep(time.Second)
		types := strings.Join(o.types(id), " ")
		if n := strings.Count(types, "conference.recording.saved"); n != 3 {
			t.Errorf("%d recordings were saved: %s", n, types)
		}
		if _, e := o.last(id, "conference.recording.saved"); e.Recording.ConferenceID != id {
			t.Errorf("the recording is %+v", e.Recording)
		}
	})
}

func TestSteerPlayback(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		_, a := o.rings("idle")
		o.refuses(engine.CodeInvalidState, &engine.PausePlayback{Header: to(a, "")})
		o.do(&engine.Play{Header: to(a, "play-1"), URL: "tone:440/4000", StartMS: 1000, VolumeDB: -6})
		time.Sleep(time.Second)
		o.do(&engine.PausePlayback{Header: to(a, "pause-1")})
		o.refuses(engine.CodeInvalidState, &engine.PausePlayback{Header: to(a, "")})
		time.Sleep(time.Minute)
		o.do(&engine.ResumePlayback{Header: to(a, "resume-1")})
		back := 3000
		o.do(&engine.SeekPlayback{Header: to(a, "seek-1"), PositionMS: &back})
		time.Sleep(1500 * time.Millisecond)
		o.expect(a, "call.incoming", "call.answered", "call.instructions.completed", "call.playback.started", "call.playback.paused",
			"call.playback.resumed", "call.playback.moved", "call.playback.completed")
		if data, _ := o.last(a, "call.playback.completed"); data["played_ms"].(float64) < 1900 || data["played_ms"].(float64) > 2100 {
			t.Errorf("it played %v ms", data["played_ms"])
		}
		o.refuses(engine.CodeValidation, &engine.SeekPlayback{Header: to(a, "")})
		o.refuses(engine.CodeValidation, &engine.Play{Header: to(a, ""), URL: "tone:busy", VolumeDB: 100})
	})
}
