// Package sessiontest is the contract of session.Store as tests: every implementation passes them.
package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// Run runs the suite on stores that open makes, each empty and closed by the test. With reopen, which closes a store
// and opens the same data again, it also tests what survives.
func Run(t *testing.T, open func(t *testing.T) session.Store, reopen ...func(t *testing.T, s session.Store) session.Store) {
	t.Helper()
	tests := []struct {
		name string
		run  func(subject)
	}{
		{"ItemsAreReadAsWritten", subject.itemsAreReadAsWritten},
		{"CreateIsAllOrNone", subject.createIsAllOrNone},
		{"PutMovesUniques", subject.putMovesUniques},
		{"UniquesHoldAcrossProjects", subject.uniquesHoldAcrossProjects},
		{"ProjectsAreApart", subject.projectsAreApart},
		{"ExpiredItemsAreGone", subject.expiredItemsAreGone},
		{"ListPagesNewestFirst", subject.listPagesNewestFirst},
		{"ListIsStableWhileWriting", subject.listIsStableWhileWriting},
		{"ListAcrossProjects", subject.listAcrossProjects},
		{"ItemsOfACall", subject.itemsOfACall},
		{"TrailsAreKept", subject.trailsAreKept},
		{"InvalidItemsAreRefused", subject.invalidItemsAreRefused},
		{"SlicesAreCopied", subject.slicesAreCopied},
		{"ConcurrentCreatesOneWins", subject.concurrentCreatesOneWins},
		{"WatchWakes", subject.watchWakes},
		{"EventsAreReadAsWritten", subject.eventsAreReadAsWritten},
		{"EventsReadOnFromCursor", subject.eventsReadOnFromCursor},
		{"EventsOfOneProject", subject.eventsOfOneProject},
		{"CallEventsBehindSequence", subject.callEventsBehindSequence},
		{"InvalidCursorsAreRefused", subject.invalidCursorsAreRefused},
		{"InvalidEventsAreRefused", subject.invalidEventsAreRefused},
		{"ConcurrentAppends", subject.concurrentAppends},
		{"CallRecordsFollowEvents", subject.callRecordsFollowEvents},
		{"CallsAreFiltered", subject.callsAreFiltered},
		{"CallsPageWhileCallsCome", subject.callsPageWhileCallsCome},
		{"LostCalls", subject.lostCalls},
		{"PruneForgetsTheOld", subject.pruneForgetsTheOld},
		{"ConferenceRecordsFollowEvents", subject.conferenceRecordsFollowEvents},
		{"ConferenceEvents", subject.conferenceEvents},
		{"ConferencesAreFiltered", subject.conferencesAreFiltered},
		{"RecordingsAreFiltered", subject.recordingsAreFiltered},
		{"RecordingsChange", subject.recordingsChange},
		{"RecordsPageWhileTheyCome", subject.recordsPageWhileTheyCome},
		{"LostConferencesAndRecordings", subject.lostConferencesAndRecordings},
		{"PruneForgetsRecords", subject.pruneForgetsRecords},
		{"EndedContexts", subject.endedContexts},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			test.run(subject{t, s})
		})
	}
	for _, again := range reopen {
		t.Run("EverythingSurvivesReopening", func(t *testing.T) { subject{t, open(t)}.everythingSurvives(again) })
	}
}

// subject is a store under test.
type subject struct {
	t *testing.T
	s session.Store
}

// item makes an item whose id sorts behind those made before.
func item(kind session.Kind, project string, value string) session.Item {
	return session.Item{Kind: kind, Project: project, ID: id.New("x"), Value: []byte(value)}
}

func create(t *testing.T, s session.Store, items ...session.Item) {
	t.Helper()
	if err := s.Create(t.Context(), items...); err != nil {
		t.Fatalf("create: %v", err)
	}
}

func get(t *testing.T, s session.Store, it session.Item) session.Item {
	t.Helper()
	got, err := s.Get(t.Context(), it.Kind, it.Project, it.ID)
	if err != nil {
		t.Fatalf("get %s: %v", it.ID, err)
	}
	return got
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

func sameItem(t *testing.T, got, want session.Item) {
	t.Helper()
	if got.Kind != want.Kind || got.Project != want.Project || got.ID != want.ID || got.Unique != want.Unique ||
		string(got.Value) != string(want.Value) || !got.Expires.Equal(want.Expires) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// listAll reads all pages of a list and returns the ids.
func listAll(t *testing.T, s session.Store, kind session.Kind, project string, limit int, between func()) []string {
	t.Helper()
	var ids []string
	p := session.Page{Limit: limit}
	for {
		items, next, err := s.List(t.Context(), kind, project, p)
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		if len(items) > limit {
			t.Fatalf("a page of %d has %d items", limit, len(items))
		}
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		if next == "" {
			return ids
		}
		if p.After = next; between != nil {
			between()
		}
	}
}

func event(project, call string, sequence uint64) engine.Event {
	return engine.Event{
		ID: id.New("evt"), Type: "call.test", Timestamp: time.Now().UTC().Truncate(time.Millisecond), Sequence: sequence,
		ProjectID: project, CallID: call, Data: []byte(fmt.Sprintf(`{"n":%d}`, sequence)),
	}
}

func record(project, call string, state engine.CallState, created time.Time) *engine.CallRecord {
	return &engine.CallRecord{Info: engine.CallInfo{
		ID: call, ProjectID: project, SessionID: "sess_" + call, State: state, Direction: engine.Inbound,
		From: "sip:alice@example.com", To: "sip:+4930123@example.com", CreatedAt: created, Node: "n1",
	}}
}

func appendEvents(t *testing.T, s session.Store, events ...engine.Event) []session.Cursor {
	t.Helper()
	cursors, err := s.Append(t.Context(), events)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	if len(cursors) != len(events) {
		t.Fatalf("append of %d events gave %d cursors", len(events), len(cursors))
	}
	return cursors
}

// readAll reads the log behind a cursor to its end.
func readAll(t *testing.T, s session.Store, project string, after session.Cursor, limit int) []session.Logged {
	t.Helper()
	var all []session.Logged
	for {
		events, next, err := s.Events(t.Context(), project, after, limit)
		if err != nil {
			t.Fatalf("events behind %q: %v", after, err)
		}
		if all = append(all, events...); next == after {
			return all
		}
		after = next
	}
}

func ids(events []session.Logged) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

func wantIDs(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}

func (x subject) endedContexts() {
	t, s := x.t, x.s
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	it := item(session.KindNumber, "p", `1`)
	wantErr(t, "create", s.Create(ctx, it), context.Canceled)
	_, err := s.Append(ctx, []engine.Event{event("p", "call_1", 1)})
	wantErr(t, "append", err, context.Canceled)
	_, err = s.Get(t.Context(), it.Kind, it.Project, it.ID)
	wantErr(t, "what was refused was not written: get", err, session.ErrNotFound)
	if tail, err := s.Tail(t.Context()); err != nil || tail != "" {
		t.Fatalf("tail of an empty log: %q, %v", tail, err)
	}
}

func (x subject) everythingSurvives(reopen func(*testing.T, session.Store) session.Store) {
	t, s := x.t, x.s
	it := item(session.KindNumber, "p", `{"a":1}`)
	it.Unique, it.Expires = "+4930123", time.Now().Add(time.Hour).Truncate(time.Millisecond)
	create(t, s, it)
	e := event("p", "call_1", 1)
	e.WebhookURL, e.Call = "https://example.com/hook", record("p", "call_1", engine.CallAnswered, time.Now())
	e.Call.Commands = map[string]string{"cmd_1": "play"}
	cursor := appendEvents(t, s, e)[0]
	kept := recording("p", "rec_1", engine.RecordingSaved, time.Now().UTC())
	if err := s.PutRecording(t.Context(), *kept); err != nil {
		t.Fatal(err)
	}

	s = reopen(t, s)
	t.Cleanup(func() { _ = s.Close() })
	sameItem(t, get(t, s, it), it)
	if got, err := s.Lookup(t.Context(), it.Kind, it.Unique); err != nil || got.ID != it.ID {
		t.Fatalf("lookup: %v, %v", got, err)
	}
	got := readAll(t, s, "p", "", 10)
	if len(got) != 1 || got[0].ID != e.ID || got[0].Cursor != cursor || got[0].WebhookURL != e.WebhookURL {
		t.Fatalf("events: %+v", got)
	}
	rec, err := s.Call(t.Context(), "p", "call_1")
	if err != nil || rec.Info.State != engine.CallAnswered || rec.Commands["cmd_1"] != "play" {
		t.Fatalf("call: %+v, %v", rec, err)
	}
	wantIDs(t, "recordings", subject{t, s}.recordingIDs("p", session.RecordingFilter{State: engine.RecordingSaved}, 10, nil), []string{"rec_1"})
	next := appendEvents(t, s, event("p", "call_1", 2))[0]
	if got := readAll(t, s, "", cursor, 10); len(got) != 1 || got[0].Cursor != next {
		t.Fatalf("the log goes on behind the old cursor with %+v, want the event at %s", got, next)
	}
}
