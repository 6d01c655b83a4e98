package sessiontest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// logCall appends an event that carries a call's record.
func logCall(t *testing.T, s session.Store, rec *engine.CallRecord, sequence uint64) {
	t.Helper()
	e := event(rec.Info.ProjectID, rec.Info.ID, sequence)
	e.Call = rec
	appendEvents(t, s, e)
}

func callIDs(t *testing.T, s session.Store, project string, f session.CallFilter, limit int, between func()) []string {
	t.Helper()
	var got []string
	p := session.Page{Limit: limit}
	for {
		calls, next, err := s.Calls(t.Context(), project, f, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) > limit {
			t.Fatalf("a page of %d has %d calls", limit, len(calls))
		}
		for _, c := range calls {
			got = append(got, c.ID)
		}
		if next == "" {
			return got
		}
		if p.After = next; between != nil {
			between()
		}
	}
}

func (x subject) callRecordsFollowEvents() {
	t, s := x.t, x.s
	created := time.Now()
	first, second := event("p", "call_1", 1), event("p", "call_1", 2)
	first.Call = record("p", "call_1", engine.CallInitiated, created)
	second.Call = record("p", "call_1", engine.CallAnswered, created)
	second.Call.Commands = map[string]string{"cmd_1": "answer"}
	appendEvents(t, s, first, second) // in one write the last record counts

	rec, err := s.Call(t.Context(), "p", "call_1")
	if err != nil || rec.Info.State != engine.CallAnswered || rec.Commands["cmd_1"] != "answer" {
		t.Fatalf("got %+v, %v", rec, err)
	}
	if !rec.Info.CreatedAt.Equal(created) {
		t.Fatalf("created at %v, want %v", rec.Info.CreatedAt, created)
	}
	appendEvents(t, s, event("p", "call_1", 3)) // without a record nothing changes
	if again, err := s.Call(t.Context(), "", "call_1"); err != nil || again.Info.State != engine.CallAnswered {
		t.Fatalf("got %+v, %v", again, err)
	}
	_, err = s.Call(t.Context(), "p2", "call_1")
	wantErr(t, "another project's call", err, session.ErrNotFound)
	_, err = s.Call(t.Context(), "p", "call_2")
	wantErr(t, "no call", err, session.ErrNotFound)
	wantIDs(t, "it is listed once", callIDs(t, s, "p", session.CallFilter{}, 10, nil), []string{"call_1"})
	wantIDs(t, "in its state", callIDs(t, s, "p", session.CallFilter{State: engine.CallAnswered}, 10, nil), []string{"call_1"})
	wantIDs(t, "and no other", callIDs(t, s, "p", session.CallFilter{State: engine.CallInitiated}, 10, nil), nil)
}

func (x subject) callsAreFiltered() {
	t, s := x.t, x.s
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	states := []engine.CallState{engine.CallInitiated, engine.CallRinging, engine.CallAnswered, engine.CallEnded}
	for i := range 12 {
		rec := record(fmt.Sprintf("p%d", i%2), fmt.Sprintf("call_%02d", i), states[i%4], start.Add(time.Duration(i)*time.Minute))
		if i%3 == 0 {
			rec.Info.Direction, rec.Info.To, rec.Info.ApplicationID = engine.Outbound, "sip:bob@example.com", "app_1"
		}
		if i == 7 {
			rec.Info.SessionID = "sess_special"
		}
		logCall(t, s, rec, 1)
	}
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	for name, test := range map[string]struct {
		project string
		f       session.CallFilter
		want    []int
	}{
		"all":            {"", session.CallFilter{}, []int{11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
		"project":        {"p1", session.CallFilter{}, []int{11, 9, 7, 5, 3, 1}},
		"live state":     {"", session.CallFilter{State: engine.CallAnswered}, []int{10, 6, 2}},
		"ended":          {"p1", session.CallFilter{State: engine.CallEnded}, []int{11, 7, 3}},
		"direction":      {"", session.CallFilter{Direction: engine.Outbound}, []int{9, 6, 3, 0}},
		"from":           {"p0", session.CallFilter{From: "alice"}, []int{10, 8, 6, 4, 2, 0}},
		"from, nobody":   {"", session.CallFilter{From: "carol"}, nil},
		"to":             {"", session.CallFilter{To: "bob@"}, []int{9, 6, 3, 0}},
		"application":    {"p0", session.CallFilter{ApplicationID: "app_1"}, []int{6, 0}},
		"session":        {"", session.CallFilter{SessionID: "sess_special"}, []int{7}},
		"created after":  {"", session.CallFilter{CreatedAfter: at(8)}, []int{11, 10, 9}},
		"created before": {"", session.CallFilter{CreatedBefore: at(2)}, []int{1, 0}},
		"between":        {"", session.CallFilter{CreatedAfter: at(3), CreatedBefore: at(6)}, []int{5, 4}},
		"several":        {"", session.CallFilter{State: engine.CallEnded, Direction: engine.Outbound}, []int{3}},
	} {
		var want []string
		for _, i := range test.want {
			want = append(want, fmt.Sprintf("call_%02d", i))
		}
		for _, limit := range []int{1, 2, 1000} {
			wantIDs(t, fmt.Sprintf("%s, pages of %d", name, limit), callIDs(t, s, test.project, test.f, limit, nil), want)
		}
	}
}

func (x subject) callsPageWhileCallsCome() {
	t, s := x.t, x.s
	start := time.Now()
	var want []string
	for i := range 10 {
		rec := record("p", fmt.Sprintf("call_%02d", i), engine.CallAnswered, start.Add(time.Duration(i)*time.Millisecond))
		logCall(t, s, rec, 1)
		want = append(want, rec.Info.ID)
	}
	slices.Reverse(want)
	n := 10
	got := callIDs(t, s, "p", session.CallFilter{}, 3, func() {
		logCall(t, s, record("p", fmt.Sprintf("call_%02d", n), engine.CallAnswered, start.Add(time.Duration(n)*time.Millisecond)), 1)
		n++
		logCall(t, s, record("p", "call_01", engine.CallEnded, start.Add(time.Millisecond)), 2) // a change moves nothing
	})
	wantIDs(t, "what was there at the first page", got, want)
}

func (x subject) lostCalls() {
	t, s := x.t, x.s
	now := time.Now()
	for i, state := range []engine.CallState{engine.CallInitiated, engine.CallRinging, engine.CallAnswered, engine.CallEnded} {
		rec := record("p", "call_"+string(state), state, now.Add(time.Duration(i)*time.Millisecond))
		rec.Info.LastSequence = 1
		logCall(t, s, rec, 1)
	}
	other := record("p", "call_other", engine.CallAnswered, now)
	other.Info.Node = "n2"
	logCall(t, s, other, 1)

	lost, err := session.LostCalls(t.Context(), s, "n1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rec := range lost {
		got = append(got, rec.Info.ID)
	}
	wantIDs(t, "calls of n1 that nobody ended", got, []string{"call_answered", "call_ringing", "call_initiated"})

	sink := &publishing{t: t, store: s}
	if n, err := session.EndLost(t.Context(), s, sink, "n1"); err != nil || n != 3 {
		t.Fatalf("%d calls were ended, %v", n, err)
	}
	rec, err := s.Call(t.Context(), "p", "call_answered")
	if err != nil || rec.Info.State != engine.CallEnded || rec.Info.Hangup.Reason != engine.ReasonNodeLost || rec.Info.EndedAt == nil {
		t.Fatalf("got %+v, %v", rec.Info, err)
	}
	events, err := s.CallEvents(t.Context(), "p", "call_answered", 1, 10)
	if err != nil || len(events) != 1 || events[0].Type != "call.ended" || events[0].Sequence != 2 {
		t.Fatalf("got %+v, %v", events, err)
	}
	if n, err := session.EndLost(t.Context(), s, sink, "n1"); err != nil || n != 0 {
		t.Fatalf("again %d calls were ended, %v", n, err)
	}
}

func (x subject) pruneForgetsTheOld() {
	t, s := x.t, x.s
	now := time.Now()
	day := 24 * time.Hour
	ended := func(call string, ago time.Duration) {
		rec := record("p", call, engine.CallEnded, now.Add(-ago-time.Minute))
		at := now.Add(-ago)
		rec.Info.EndedAt = &at
		e := event("p", call, 1)
		e.Timestamp, e.Call = at, rec
		appendEvents(t, s, e)
	}
	for i := range 1500 { // more than one transaction removes
		e := event("p", "call_busy", uint64(i+1))
		e.Timestamp = now.Add(-10 * day)
		if i == 0 {
			e.Call = record("p", "call_busy", engine.CallAnswered, now.Add(-10*day))
		}
		appendEvents(t, s, e)
	}
	ended("call_old", 5*day)
	ended("call_new", day)
	old, fresh := item(session.KindDelivery, "p", `1`), item(session.KindDelivery, "p", `2`)
	old.Expires, fresh.Expires = now.Add(-time.Second), now.Add(time.Hour).Truncate(time.Millisecond)
	create(t, s, old, fresh)
	tail, _ := s.Tail(t.Context())

	for range 2 { // again: nothing more
		if err := s.Prune(t.Context(), now.Add(-3*day)); err != nil {
			t.Fatal(err)
		}
		got := readAll(t, s, "", "", 1000)
		if len(got) != 1 || got[0].CallID != "call_new" {
			t.Fatalf("%d events are left: %v", len(got), ids(got))
		}
		for call, want := range map[string]int{"call_busy": 0, "call_old": 0, "call_new": 1} {
			if events, err := s.CallEvents(t.Context(), "", call, 0, 1000); err != nil || len(events) != want {
				t.Fatalf("%s has %d events (%v), want %d", call, len(events), err, want)
			}
		}
		wantIDs(t, "a live call stays however old", callIDs(t, s, "p", session.CallFilter{}, 10, nil), []string{"call_new", "call_busy"})
		_, err := s.Call(t.Context(), "p", "call_old")
		wantErr(t, "an old ended call", err, session.ErrNotFound)
		sameItem(t, get(t, s, fresh), fresh)
		if now, err := s.Tail(t.Context()); err != nil || now != tail {
			t.Fatalf("the tail moved from %s to %s (%v)", tail, now, err)
		}
	}
	// A cursor of what is gone reads on with what is there.
	if got := readAll(t, s, "", tail, 10); len(got) != 0 {
		t.Fatalf("behind the tail: %v", ids(got))
	}
}

// publishing is a sink that writes at once.
type publishing struct {
	t     *testing.T
	store session.Store
}

func (p *publishing) Publish(e engine.Event) { appendEvents(p.t, p.store, e) }
