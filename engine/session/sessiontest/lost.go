package sessiontest

import (
	"errors"
	"slices"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// crash leaves the records of a node n1 that ended in the middle of things.
func (x subject) crash() {
	t, s := x.t, x.s
	now := time.Now()
	call := record("p", "call_1", engine.CallAnswered, now)
	call.Info.LastSequence, call.Info.Recording, call.Info.ConferenceID = 1, "rec_call", "conf_1"
	logCall(t, s, call, 1)
	over := record("p", "call_2", engine.CallEnded, now) // it ended, and the file of its recording was not complete
	over.Info.LastSequence, over.Info.Recording = 4, "rec_late"
	logCall(t, s, over, 4)

	c := conference("p", "conf_1", engine.ConferenceActive, now)
	c.Recording, c.LastSequence = "rec_mix", 1
	newer := conferenceEvent(c, 2)
	newer.Conference = nil // not every event carries the record
	appendEvents(t, s, conferenceEvent(c, 1), newer)
	for _, other := range []*engine.ConferenceInfo{
		conference("p", "conf_ended", engine.ConferenceEnded, now), conference("p", "conf_other", engine.ConferenceActive, now),
	} {
		if other.ID == "conf_other" {
			other.Node = "n2"
		}
		appendEvents(t, s, conferenceEvent(other, 1))
	}
	for id, of := range map[string][2]string{
		"rec_call": {"call_1", ""}, "rec_late": {"call_2", ""}, "rec_mix": {"", "conf_1"}, "rec_track": {"call_1", "conf_1"},
		"rec_orphan": {"call_gone", ""}, "rec_saved": {"call_1", ""}, "rec_other": {"call_1", ""},
	} {
		r := recording("p", id, engine.RecordingPaused, now)
		r.CallID, r.ConferenceID = of[0], of[1]
		switch id {
		case "rec_saved":
			r.State = engine.RecordingSaved
		case "rec_other":
			r.Node = "n2"
		}
		if err := s.PutRecording(t.Context(), *r); err != nil {
			t.Fatal(err)
		}
	}
}

// lostConferencesAndRecordings: what a crash left open is ended, with sequences that go on.
func (x subject) lostConferencesAndRecordings() {
	t, s := x.t, x.s
	x.crash()
	sink := &publishing{t: t, store: s}
	recovered := func(r engine.RecordingInfo) (engine.RecordingResult, bool) {
		switch r.ID {
		case "rec_track":
			return engine.RecordingResult{}, false
		case "rec_late":
			return engine.RecordingResult{Err: errors.New("torn")}, true
		}
		return engine.RecordingResult{Duration: 7 * time.Second, Size: 99, SHA256: "ab", Channels: 2}, true
	}
	if n, err := session.EndLost(t.Context(), s, sink, "n1", recovered); err != nil || n != 1 {
		t.Fatalf("%d calls were ended, %v", n, err)
	}
	x.types("call_1", []string{"call.test", "call.ended", "call.recording.saved"})
	x.types("call_2", []string{"call.test", "call.recording.failed"})
	x.types("conf_1", []string{
		"conference.test", "conference.test", "conference.ended", "conference.recording.failed", "conference.recording.saved",
	})
	x.types("conf_other", []string{"conference.test"})
	x.types("conf_ended", []string{"conference.test"})

	got, err := s.Conference(t.Context(), "p", "conf_1")
	if err != nil || got.State != engine.ConferenceEnded || got.EndReason != string(engine.ReasonNodeLost) || got.EndedAt == nil ||
		got.LastSequence != 5 || got.Recording != "" || len(got.Participants) != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for id, want := range map[string]engine.RecordingState{
		"rec_call": engine.RecordingSaved, "rec_late": engine.RecordingFailed, "rec_mix": engine.RecordingSaved,
		"rec_track": engine.RecordingFailed, "rec_orphan": engine.RecordingSaved, "rec_other": engine.RecordingPaused,
	} {
		r, err := s.Recording(t.Context(), "p", id)
		if err != nil || r.State != want || (want == engine.RecordingSaved) != (r.DurationMS == 7000 && r.SHA256 == "ab") ||
			(want == engine.RecordingFailed) != (r.Error != "") {
			t.Fatalf("%s is %+v, %v", id, r, err)
		}
	}
	rec, err := s.Call(t.Context(), "p", "call_1")
	if err != nil || rec.Info.LastSequence != 3 || rec.Info.Recording != "" || rec.Info.State != engine.CallEnded {
		t.Fatalf("got %+v, %v", rec.Info, err)
	}
	before, _ := s.Tail(t.Context())
	if n, err := session.EndLost(t.Context(), s, sink, "n1", recovered); err != nil || n != 0 {
		t.Fatalf("again %d calls were ended, %v", n, err)
	}
	if after, _ := s.Tail(t.Context()); after != before {
		t.Fatal("something was ended again")
	}
}

// types are the types of the events of a call or a conference; its sequence has no gap.
func (x subject) types(id string, want []string) {
	x.t.Helper()
	events, err := x.s.CallEvents(x.t.Context(), "p", id, 0, 100)
	if err != nil {
		x.t.Fatal(err)
	}
	var got []string
	for i, e := range events {
		if got = append(got, e.Type); i > 0 && e.Sequence != events[i-1].Sequence+1 {
			x.t.Fatalf("%s: sequence %d behind %d", id, e.Sequence, events[i-1].Sequence)
		}
	}
	if len(got) > 3 {
		slices.Sort(got[len(got)-2:]) // recordings of the same moment are in no order
	}
	wantIDs(x.t, "events of "+id, got, want)
}
