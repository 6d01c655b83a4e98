package sessiontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func conference(project, id string, state engine.ConferenceState, created time.Time) *engine.ConferenceInfo {
	return &engine.ConferenceInfo{
		ID: id, ProjectID: project, Name: "name of " + id, State: state, Node: "n1", CreatedAt: created,
		Participants: []engine.ParticipantInfo{{CallID: "call_1", Role: engine.RoleModerator}},
	}
}

func recording(project, id string, state engine.RecordingState, created time.Time) *engine.RecordingInfo {
	return &engine.RecordingInfo{
		ID: id, ProjectID: project, State: state, Format: "wav", Tracks: "both", Node: "n1", CreatedAt: created, Size: 44,
	}
}

func conferenceEvent(c *engine.ConferenceInfo, sequence uint64) engine.Event {
	e := event(c.ProjectID, "", sequence)
	e.Type, e.ConferenceID, e.Conference = "conference.test", c.ID, c
	return e
}

func recordingEvent(r *engine.RecordingInfo, sequence uint64) engine.Event {
	e := event(r.ProjectID, r.CallID, sequence)
	e.ConferenceID, e.Recording = r.ConferenceID, r
	return e
}

// pageIDs reads all pages of a list and returns the ids.
func pageIDs[T any](
	x subject, limit int, id func(*T) string, between func(), read func(session.Page) ([]T, string, error),
) (ids []string) {
	x.t.Helper()
	p := session.Page{Limit: limit}
	for {
		list, next, err := read(p)
		if err != nil {
			x.t.Fatal(err)
		}
		if len(list) > limit {
			x.t.Fatalf("a page of %d has %d entries", limit, len(list))
		}
		for i := range list {
			ids = append(ids, id(&list[i]))
		}
		if next == "" {
			return ids
		}
		if p.After = next; between != nil {
			between()
		}
	}
}

func (x subject) conferenceIDs(project string, f session.ConferenceFilter, limit int) []string {
	x.t.Helper()
	return pageIDs(x, limit, func(c *engine.ConferenceInfo) string { return c.ID }, nil,
		func(p session.Page) ([]engine.ConferenceInfo, string, error) {
			return x.s.Conferences(x.t.Context(), project, f, p)
		})
}

func (x subject) recordingIDs(project string, f session.RecordingFilter, limit int, between func()) []string {
	x.t.Helper()
	return pageIDs(x, limit, func(r *engine.RecordingInfo) string { return r.ID }, between,
		func(p session.Page) ([]engine.RecordingInfo, string, error) {
			return x.s.Recordings(x.t.Context(), project, f, p)
		})
}

func sameJSON(t *testing.T, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if string(g) != string(w) {
		t.Fatalf("got  %s\nwant %s", g, w)
	}
}

// conferenceRecordsFollowEvents: the last record of a write counts, in the same write as its event.
func (x subject) conferenceRecordsFollowEvents() {
	t, s := x.t, x.s
	changed := s.Watch(t.Context(), session.KindConference)
	now := time.Now().UTC()
	opened, active := conference("p", "conf_1", engine.ConferenceWaiting, now), conference("p", "conf_1", engine.ConferenceActive, now)
	active.StartedAt, active.LastSequence = &now, 2
	appendEvents(t, s, conferenceEvent(opened, 1), conferenceEvent(active, 2))

	got, err := s.Conference(t.Context(), "p", "conf_1")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, active)
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("the change was not told")
	}
	plain := conferenceEvent(active, 3)
	plain.Conference = nil
	appendEvents(t, s, plain) // without a record nothing changes
	got, err = s.Conference(t.Context(), "", "conf_1")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, active)
	_, err = s.Conference(t.Context(), "p2", "conf_1")
	wantErr(t, "another project's conference", err, session.ErrNotFound)
	_, err = s.Conference(t.Context(), "p", "conf_2")
	wantErr(t, "no conference", err, session.ErrNotFound)
	wantIDs(t, "it is listed once", x.conferenceIDs("p", session.ConferenceFilter{}, 10), []string{"conf_1"})
	wantIDs(t, "in its state", x.conferenceIDs("", session.ConferenceFilter{State: engine.ConferenceActive}, 10), []string{"conf_1"})
	wantIDs(t, "and no other", x.conferenceIDs("", session.ConferenceFilter{State: engine.ConferenceWaiting}, 10), nil)
	it, err := s.Get(t.Context(), session.KindConference, "p", "conf_1")
	if err != nil || len(it.Value) == 0 {
		t.Fatalf("as an item: %+v, %v", it, err)
	}
}

// conferenceEvents are read by the conference's id, and events that name a call too belong to the call.
func (x subject) conferenceEvents() {
	t, s := x.t, x.s
	c := conference("p", "conf_1", engine.ConferenceActive, time.Now())
	var want []string
	for i := range 5 {
		e := conferenceEvent(c, uint64(i+1))
		e.WebhookURL = "https://example.com/conference"
		joined := event("p", "call_1", uint64(i+1))
		joined.ConferenceID = "conf_1"
		appendEvents(t, s, e, joined)
		want = append(want, e.ID)
	}
	read := func(project string, after uint64) []string {
		events, err := s.CallEvents(t.Context(), project, "conf_1", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.WebhookURL == "" || e.ConferenceID != "conf_1" || e.CallID != "" {
				t.Fatalf("got %+v", e.Event)
			}
		}
		return ids(events)
	}
	wantIDs(t, "all", read("p", 0), want)
	wantIDs(t, "behind 3", read("", 3), want[3:])
	wantIDs(t, "another project's", read("p2", 0), nil)
	if events, err := s.CallEvents(t.Context(), "p", "call_1", 0, 10); err != nil || len(events) != 5 {
		t.Fatalf("the call has %d events, %v", len(events), err)
	}
}

func (x subject) conferencesAreFiltered() {
	t, s := x.t, x.s
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	states := []engine.ConferenceState{engine.ConferenceWaiting, engine.ConferenceActive, engine.ConferenceEnded}
	for i := range 12 {
		// The ids sort against the time: lists go by creation.
		c := conference(fmt.Sprintf("p%d", i%2), fmt.Sprintf("conf_%02d", 99-i), states[i%3], start.Add(time.Duration(i)*time.Minute))
		if i%4 == 0 {
			c.Name = "daily \x00 €"
		}
		appendEvents(t, s, conferenceEvent(c, 1))
	}
	for name, test := range map[string]struct {
		project string
		f       session.ConferenceFilter
		want    []int
	}{
		"all":          {"", session.ConferenceFilter{}, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"project":      {"p1", session.ConferenceFilter{}, []int{11, 9, 7, 5, 3, 1}},
		"state":        {"", session.ConferenceFilter{State: engine.ConferenceActive}, []int{10, 7, 4, 1}},
		"name":         {"p0", session.ConferenceFilter{Name: "daily \x00 €"}, []int{8, 4, 0}},
		"name like it": {"p0", session.ConferenceFilter{Name: "daily \uFFFD €"}, nil},
		"both":         {"", session.ConferenceFilter{Name: "daily \x00 €", State: engine.ConferenceEnded}, []int{8}},
		"no such name": {"", session.ConferenceFilter{Name: "daily"}, nil},
	} {
		var want []string
		for _, i := range test.want {
			want = append(want, fmt.Sprintf("conf_%02d", 99-i))
		}
		for _, limit := range []int{1, 3, 1000} {
			wantIDs(t, fmt.Sprintf("%s, pages of %d", name, limit), x.conferenceIDs(test.project, test.f, limit), want)
		}
	}
	_, _, err := s.Conferences(t.Context(), "", session.ConferenceFilter{}, session.Page{After: "!!", Limit: 1})
	wantErr(t, "page of conferences", err, session.ErrCursor)
}

func (x subject) recordingsAreFiltered() {
	t, s := x.t, x.s
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	states := []engine.RecordingState{engine.RecordingRunning, engine.RecordingSaved}
	for i := range 12 {
		r := recording(fmt.Sprintf("p%d", i%2), fmt.Sprintf("rec_%02d", 99-i), states[i/6], at(i))
		r.CallID, r.SessionID = fmt.Sprintf("call_%d", i%4), fmt.Sprintf("sess_%d", i%3)
		if i >= 10 {
			r.ConferenceID, r.CallID = "conf_1", ""
		}
		appendEvents(t, s, recordingEvent(r, uint64(i+1)))
	}
	for name, test := range map[string]struct {
		project string
		f       session.RecordingFilter
		want    []int
	}{
		"all":            {"", session.RecordingFilter{}, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"project":        {"p1", session.RecordingFilter{}, []int{11, 9, 7, 5, 3, 1}},
		"call":           {"", session.RecordingFilter{CallID: "call_1"}, []int{9, 5, 1}},
		"conference":     {"", session.RecordingFilter{ConferenceID: "conf_1"}, []int{11, 10}},
		"session":        {"p0", session.RecordingFilter{SessionID: "sess_1"}, []int{10, 4}},
		"state":          {"", session.RecordingFilter{State: engine.RecordingSaved}, []int{11, 10, 9, 8, 7, 6}},
		"call and state": {"", session.RecordingFilter{CallID: "call_1", State: engine.RecordingRunning}, []int{5, 1}},
		"created before": {"", session.RecordingFilter{CreatedBefore: at(2)}, []int{1, 0}},
		"saved before":   {"", session.RecordingFilter{State: engine.RecordingSaved, CreatedBefore: at(8)}, []int{7, 6}},
		"nothing":        {"p0", session.RecordingFilter{CallID: "call_1"}, nil},
	} {
		var want []string
		for _, i := range test.want {
			want = append(want, fmt.Sprintf("rec_%02d", 99-i))
		}
		for _, limit := range []int{1, 2, 1000} {
			wantIDs(t, fmt.Sprintf("%s, pages of %d", name, limit), x.recordingIDs(test.project, test.f, limit, nil), want)
		}
	}
	_, _, err := s.Recordings(t.Context(), "", session.RecordingFilter{}, session.Page{After: "!!", Limit: 1})
	wantErr(t, "page of recordings", err, session.ErrCursor)
}

// recordingsChange: a record moves between lists with its state, and nowhere is it left behind.
func (x subject) recordingsChange() {
	t, s := x.t, x.s
	r := recording("p", "rec_1", engine.RecordingRunning, time.Now())
	r.CallID = "call_1"
	appendEvents(t, s, recordingEvent(r, 1))
	saved := *r
	saved.State, saved.Size, saved.SHA256 = engine.RecordingSaved, 1234, "ab"
	appendEvents(t, s, recordingEvent(&saved, 2))
	wantIDs(t, "running", x.recordingIDs("", session.RecordingFilter{State: engine.RecordingRunning}, 10, nil), nil)
	wantIDs(t, "saved", x.recordingIDs("p", session.RecordingFilter{State: engine.RecordingSaved}, 10, nil), []string{"rec_1"})
	got, err := s.Recording(t.Context(), "p", "rec_1")
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, saved)

	got.State = engine.RecordingDeleted
	if err := s.PutRecording(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "saved, when it is deleted", x.recordingIDs("", session.RecordingFilter{State: engine.RecordingSaved}, 10, nil), nil)
	wantIDs(t, "of the call", x.recordingIDs("p", session.RecordingFilter{CallID: "call_1"}, 10, nil), []string{"rec_1"})
	if err := s.Delete(t.Context(), session.KindRecording, "p", "rec_1"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []session.RecordingFilter{{}, {CallID: "call_1"}, {State: engine.RecordingDeleted}} {
		wantIDs(t, "without its record", x.recordingIDs("", f, 10, nil), nil)
	}
	_, err = s.Recording(t.Context(), "p", "rec_1")
	wantErr(t, "a record that was removed", err, session.ErrNotFound)

	bad := session.Item{Kind: session.KindRecording, Project: "p", ID: "rec_2", Value: []byte(`{"created_at":7}`)}
	wantErr(t, "a recording that is none", s.Put(t.Context(), bad), session.ErrInvalid)
	_, err = s.Append(t.Context(), []engine.Event{recordingEvent(recording("p", "", engine.RecordingSaved, time.Now()), 3)})
	wantErr(t, "a recording without an id", err, session.ErrInvalid)
	if events, err := s.CallEvents(t.Context(), "p", "call_1", 2, 10); err != nil || len(events) != 0 {
		t.Fatalf("its event was kept: %v, %v", ids(events), err)
	}
}

func (x subject) recordsPageWhileTheyCome() {
	t, s := x.t, x.s
	start := time.Now()
	var want []string
	put := func(i int, state engine.RecordingState) string {
		r := recording("p", fmt.Sprintf("rec_%02d", i), state, start.Add(time.Duration(i)*time.Millisecond))
		appendEvents(t, s, recordingEvent(r, 1))
		return r.ID
	}
	for i := range 10 {
		want = append(want, put(i, engine.RecordingRunning))
	}
	slices.Reverse(want)
	n := 10
	got := x.recordingIDs("p", session.RecordingFilter{}, 3, func() {
		put(n, engine.RecordingRunning)
		n++
		put(1, engine.RecordingSaved) // a change moves nothing
	})
	wantIDs(t, "what was there at the first page", got, want)
}

// pruneForgetsRecords: conferences by the time of their end, recordings once their file is gone.
func (x subject) pruneForgetsRecords() {
	t, s := x.t, x.s
	now := time.Now()
	old, fresh := now.Add(-5*24*time.Hour), now.Add(-time.Hour)
	for id, ended := range map[string]*time.Time{"conf_old": &old, "conf_fresh": &fresh, "conf_live": nil} {
		c := conference("p", id, engine.ConferenceEnded, old.Add(-time.Hour))
		if c.EndedAt = ended; ended == nil {
			c.State = engine.ConferenceActive
		}
		appendEvents(t, s, conferenceEvent(c, 1))
	}
	for i, state := range []engine.RecordingState{
		engine.RecordingRunning, engine.RecordingSaved, engine.RecordingFailed, engine.RecordingDeleted,
	} {
		for id, ended := range map[string]*time.Time{"old": &old, "fresh": &fresh} {
			r := recording("p", fmt.Sprintf("rec_%d_%s", i, id), state, ended.Add(-time.Hour))
			r.EndedAt = ended
			appendEvents(t, s, recordingEvent(r, 1))
		}
	}
	empty := recording("p", "rec_empty", engine.RecordingFailed, old.Add(-2*time.Hour))
	empty.EndedAt, empty.Size = &old, 0
	appendEvents(t, s, recordingEvent(empty, 1))

	before := now.Add(-3 * 24 * time.Hour)
	if err := s.Prune(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	left := x.conferenceIDs("p", session.ConferenceFilter{}, 10)
	slices.Sort(left)
	wantIDs(t, "conferences", left, []string{"conf_fresh", "conf_live"})
	left = x.recordingIDs("", session.RecordingFilter{}, 100, nil)
	slices.Sort(left)
	wantIDs(t, "recordings", left, []string{
		"rec_0_fresh", "rec_0_old", "rec_1_fresh", "rec_1_old", "rec_2_fresh", "rec_2_old", "rec_3_fresh",
	})

	var removed []string
	fails := errors.New("busy")
	remove := func(r engine.RecordingInfo) error {
		if r.State == engine.RecordingFailed {
			return fails
		}
		removed = append(removed, r.ID)
		return nil
	}
	n, err := session.ExpireRecordings(t.Context(), s, before, remove)
	if n != 1 || !errors.Is(err, fails) {
		t.Fatalf("%d expired, %v", n, err)
	}
	wantIDs(t, "files that were removed", removed, []string{"rec_1_old"})
	if r, err := s.Recording(t.Context(), "p", "rec_1_old"); err != nil || r.State != engine.RecordingDeleted {
		t.Fatalf("got %+v, %v", r, err)
	}
	fails = nil
	if n, err = session.ExpireRecordings(t.Context(), s, before, remove); n != 1 || err != nil { // of the failed one
		t.Fatalf("%d expired, %v", n, err)
	}
	if n, err = session.ExpireRecordings(t.Context(), s, before, remove); n != 0 || err != nil {
		t.Fatalf("%d expired again, %v", n, err)
	}
	if err := s.Prune(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	left = x.recordingIDs("", session.RecordingFilter{}, 100, nil)
	slices.Sort(left)
	wantIDs(t, "recordings, in the end", left, []string{"rec_0_fresh", "rec_0_old", "rec_1_fresh", "rec_2_fresh", "rec_3_fresh"})
}
