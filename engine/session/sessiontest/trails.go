package sessiontest

import (
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// itemsOfACall: the deliveries of a call are found by it, newest first and page by page; those of others are not.
func (x subject) itemsOfACall() {
	t, s := x.t, x.s
	at := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	put := func(project, callID string, n int) session.Item {
		it := item(session.KindDelivery, project, fmt.Sprintf(`{"call_id":%q,"created_at":%q}`, callID, at.Add(time.Duration(n)*time.Second).Format(time.RFC3339)))
		it.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
		if err := s.Put(t.Context(), it); err != nil {
			t.Fatal(err)
		}
		return it
	}
	first, second, third := put("p", "call_a", 1), put("p", "call_a", 2), put("p", "call_a", 3)
	put("p", "call_b", 4)
	put("q", "call_a", 5)
	put("p", "", 6)
	third.Value = append(third.Value[:len(third.Value)-1], `,"state":"delivered"}`...) // written again, it is still one
	if err := s.Put(t.Context(), third); err != nil {
		t.Fatal(err)
	}
	page, next, err := s.CallItems(t.Context(), session.KindDelivery, "p", "call_a", session.Page{Limit: 2})
	if err != nil || len(page) != 2 || next == "" {
		t.Fatalf("%v %q %v", page, next, err)
	}
	sameItem(t, page[0], third)
	sameItem(t, page[1], second)
	page, next, err = s.CallItems(t.Context(), session.KindDelivery, "p", "call_a", session.Page{Limit: 2, After: next})
	if err != nil || len(page) != 1 || next != "" {
		t.Fatalf("%v %q %v", page, next, err)
	}
	sameItem(t, page[0], first)
	if err := s.Delete(t.Context(), session.KindDelivery, "p", second.ID); err != nil {
		t.Fatal(err)
	}
	page, _, err = s.CallItems(t.Context(), session.KindDelivery, "", "call_a", session.Page{Limit: 9})
	if err != nil || len(page) != 3 {
		t.Fatalf("of all projects: %v %v", page, err)
	}
	_, _, err = s.CallItems(t.Context(), session.KindDelivery, "p", "call_a", session.Page{Limit: 2, After: "?"})
	wantErr(t, "a cursor of somebody else", err, session.ErrCursor)
}

// trailsAreKept: what a writer was given is read as it was, by its project only, until it expires.
func (x subject) trailsAreKept() {
	t, s := x.t, x.s
	want := engine.TrailRecord{Dropped: 3, Entries: []engine.TrailEntry{
		{
			At: time.Date(2026, 10, 1, 12, 0, 0, 5000, time.UTC), Kind: engine.TrailKindSIP, Direction: engine.TrailIn,
			SIP: &engine.TrailSIP{Transport: "UDP", Remote: "192.0.2.1:5060", Message: "INVITE sip:a@b SIP/2.0\r\n\r\n"},
		},
		{
			At: time.Date(2026, 10, 1, 12, 0, 1, 0, time.UTC), Kind: engine.TrailKindCommand, Direction: engine.TrailIn,
			Command: &engine.TrailCommand{Action: "play", Origin: "request", Parameters: []byte(`{"url":"tone:440"}`)},
		},
	}}
	w := session.NewTrailWriter(s, time.Hour, slog.New(slog.DiscardHandler))
	w.SaveTrail("p", "call_1", want)
	brief := session.NewTrailWriter(s, -time.Second, slog.New(slog.DiscardHandler))
	brief.SaveTrail("p", "call_2", want)
	for _, w := range []*session.TrailWriter{w, brief} {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := session.ReadTrail(t.Context(), s, "p", "call_1")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v %v", got, err)
	}
	_, err = session.ReadTrail(t.Context(), s, "q", "call_1")
	wantErr(t, "of another project", err, session.ErrNotFound)
	_, err = session.ReadTrail(t.Context(), s, "p", "call_2")
	wantErr(t, "of an expired trail", err, session.ErrNotFound)
	w.SaveTrail("p", "call_3", want)
	if w.Dropped() != 1 {
		t.Errorf("a writer that is closed drops %d", w.Dropped())
	}
}
