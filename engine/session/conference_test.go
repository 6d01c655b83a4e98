package session_test

import (
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// TestWaitForConference: who waits for a conference's events is woken by them, and followers get them without records.
func TestWaitForConference(t *testing.T) {
	store := memory(t)
	l := newLog(t, store, session.LogOptions{})
	follower := l.Follow(t.Context(), session.FollowOptions{FromNow: true})
	got := make(chan []session.Logged)
	go func() {
		events, err := l.WaitCall(t.Context(), "p", "conf_1", 1, 10)
		if err != nil {
			t.Error(err)
		}
		got <- events
	}()
	for i := range uint64(2) {
		e := newEvent("", i+1)
		e.ConferenceID = "conf_1"
		e.Conference = &engine.ConferenceInfo{ID: "conf_1", ProjectID: "p", State: engine.ConferenceActive, LastSequence: i + 1}
		e.Recording = &engine.RecordingInfo{ID: "rec_1", ProjectID: "p", State: engine.RecordingRunning, ConferenceID: "conf_1"}
		l.Publish(e)
	}
	select {
	case events := <-got:
		if len(events) != 1 || events[0].Sequence != 2 || events[0].ConferenceID != "conf_1" {
			t.Fatalf("got %v", events)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the wait did not end")
	}
	if e := <-follower.Events(); e.ConferenceID != "conf_1" || e.Conference != nil || e.Recording != nil {
		t.Errorf("followed %+v", e)
	}
	if c, err := store.Conference(t.Context(), "p", "conf_1"); err != nil || c.LastSequence != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
	if r, err := store.Recording(t.Context(), "p", "rec_1"); err != nil || r.ConferenceID != "conf_1" {
		t.Errorf("got %+v, %v", r, err)
	}
}
