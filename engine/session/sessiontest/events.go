package sessiontest

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func (x subject) eventsAreReadAsWritten() {
	t, s := x.t, x.s
	e := event("p", "call_1", 1)
	e.ApplicationID, e.SessionID, e.CommandID, e.ClientState = "app_1", "sess_1", "cmd_1", "state"
	e.Node, e.Epoch, e.WebhookURL = "n1", 7, "https://example.com/hook?a=b"
	e.Answer = func(*engine.Instructions, error) {}
	c := appendEvents(t, s, e)[0]

	got := readAll(t, s, "", "", 10)
	if len(got) != 1 || got[0].Cursor != c {
		t.Fatalf("got %+v, want one event at %s", got, c)
	}
	if got[0].WebhookURL != e.WebhookURL || got[0].Answer != nil {
		t.Fatalf("webhook URL %q, answer set %v", got[0].WebhookURL, got[0].Answer != nil)
	}
	want, _ := json.Marshal(e)
	if have, _ := json.Marshal(got[0].Event); string(have) != string(want) {
		t.Fatalf("got  %s\nwant %s", have, want)
	}
	if tail, err := s.Tail(t.Context()); err != nil || tail != c {
		t.Fatalf("tail is %q (%v), want %q", tail, err, c)
	}
}

func (x subject) eventsReadOnFromCursor() {
	t, s := x.t, x.s
	var want []string
	var cursors []session.Cursor
	for i := range 30 {
		e := event("p", fmt.Sprintf("call_%d", i%3), uint64(i/3+1))
		want = append(want, e.ID)
		cursors = append(cursors, appendEvents(t, s, e)...)
	}
	for _, limit := range []int{1, 7, 1000} {
		wantIDs(t, fmt.Sprintf("pages of %d", limit), ids(readAll(t, s, "", "", limit)), want)
	}
	for i, c := range cursors {
		wantIDs(t, fmt.Sprintf("behind event %d", i), ids(readAll(t, s, "p", c, 4)), want[i+1:])
	}
	events, next, err := s.Events(t.Context(), "", "", 5)
	if err != nil || len(events) != 5 || next != events[4].Cursor {
		t.Fatalf("%d events, next %q, %v", len(events), next, err)
	}
}

func (x subject) eventsOfOneProject() {
	t, s := x.t, x.s
	var want []string
	var batch []engine.Event
	for i := range 3000 {
		e := event("other", "call_x", uint64(i+1))
		if i%1000 == 999 {
			e = event("mine", "call_y", uint64(i+1))
			want = append(want, e.ID)
		}
		batch = append(batch, e)
	}
	appendEvents(t, s, batch...)
	wantIDs(t, "a project's few among many", ids(readAll(t, s, "mine", "", 2)), want)
	wantIDs(t, "nobody's", ids(readAll(t, s, "nobody", "", 100)), nil)
}

func (x subject) callEventsBehindSequence() {
	t, s := x.t, x.s
	var want []string
	for i := range 12 {
		e := event("p", "call_1", uint64(i+1))
		appendEvents(t, s, e, event("p", "call_10", uint64(i+1)), event("p", "", uint64(i+1)))
		want = append(want, e.ID)
	}
	read := func(project, call string, after uint64, limit int) []string {
		events, err := s.CallEvents(t.Context(), project, call, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return ids(events)
	}
	wantIDs(t, "all", read("p", "call_1", 0, 1000), want)
	wantIDs(t, "any project", read("", "call_1", 0, 1000), want)
	wantIDs(t, "behind 7", read("p", "call_1", 7, 1000), want[7:])
	wantIDs(t, "behind 7, 2 of them", read("p", "call_1", 7, 2), want[7:9])
	wantIDs(t, "behind the last", read("p", "call_1", 12, 10), nil)
	wantIDs(t, "behind the highest number there is", read("p", "call_1", 1<<64-1, 10), nil)
	wantIDs(t, "another project's", read("p2", "call_1", 0, 10), nil)
	wantIDs(t, "no such call", read("p", "call_", 0, 10), nil)
}

func (x subject) invalidCursorsAreRefused() {
	t, s := x.t, x.s
	c := appendEvents(t, s, event("p", "call_1", 1))[0]
	for _, bad := range []session.Cursor{"!", " ", "-1", "99999999999999999999999", c + "0", "\x00"} {
		_, _, err := s.Events(t.Context(), "", bad, 10)
		wantErr(t, fmt.Sprintf("cursor %q", bad), err, session.ErrCursor)
	}
	_, _, err := s.List(t.Context(), session.KindNumber, "p", session.Page{After: "!!", Limit: 1})
	wantErr(t, "page of a list", err, session.ErrCursor)
	_, _, err = s.Calls(t.Context(), "p", session.CallFilter{}, session.Page{After: "!!", Limit: 1})
	wantErr(t, "page of calls", err, session.ErrCursor)
}

func (x subject) invalidEventsAreRefused() {
	t, s := x.t, x.s
	good, bad := event("p", "call_1", 1), event("p", "call_1", 2)
	bad.Data = []byte(`{"broken`)
	_, err := s.Append(t.Context(), []engine.Event{good, bad})
	wantErr(t, "broken JSON", err, session.ErrInvalid)
	if got := readAll(t, s, "", "", 10); len(got) != 0 {
		t.Fatalf("append is all or none, but there is %v", ids(got))
	}
}

func (x subject) concurrentAppends() {
	t, s := x.t, x.s
	const writers, rounds = 16, 40
	var mu sync.Mutex
	seen := map[session.Cursor]string{}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for r := range rounds {
				e1 := event("p", fmt.Sprintf("call_%d", w), uint64(2*r+1))
				e2 := event("p", e1.CallID, uint64(2*r+2))
				cs, err := s.Append(t.Context(), []engine.Event{e1, e2})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[cs[0]], seen[cs[1]] = e1.ID, e2.ID
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	all := readAll(t, s, "", "", 100)
	if len(all) != 2*writers*rounds || len(seen) != len(all) {
		t.Fatalf("%d events in the log, %d cursors given, want %d", len(all), len(seen), 2*writers*rounds)
	}
	last := map[string]uint64{}
	for _, e := range all {
		if seen[e.Cursor] != e.ID {
			t.Fatalf("cursor %s was given for %s and reads %s", e.Cursor, seen[e.Cursor], e.ID)
		}
		if e.Sequence != last[e.CallID]+1 {
			t.Fatalf("%s: sequence %d behind %d", e.CallID, e.Sequence, last[e.CallID])
		}
		last[e.CallID] = e.Sequence
	}
	if tail, err := s.Tail(t.Context()); err != nil || tail != all[len(all)-1].Cursor {
		t.Fatalf("tail is %s (%v), want %s", tail, err, all[len(all)-1].Cursor)
	}
	for w := range writers {
		events, err := s.CallEvents(t.Context(), "p", fmt.Sprintf("call_%d", w), 0, 1000)
		if err != nil || len(events) != 2*rounds || !slices.IsSortedFunc(events, bySequence) {
			t.Fatalf("call %d has %d events (%v)", w, len(events), err)
		}
	}
}

func bySequence(a, b session.Logged) int { return int(a.Sequence) - int(b.Sequence) }
