// Package harness is a telephone company for tests: the real program as a child process, applications that it calls, a
// REST client that checks every response against the contract, a WebSocket client, and (package phone) SIP phones with
// real audio. It imports nothing of the product, since customers cannot either.
package harness

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait; a machine under load is slow, a missing event is missing for ever.
const patience = 20 * time.Second

// An Event is what Tipring tells an application.
type Event struct {
	ID            string         `json:"id"`
	Type          string         `json:"type"`
	Timestamp     time.Time      `json:"timestamp"`
	Sequence      uint64         `json:"sequence"`
	ProjectID     string         `json:"project_id"`
	ApplicationID string         `json:"application_id"`
	CallID        string         `json:"call_id"`
	SessionID     string         `json:"session_id"`
	CommandID     string         `json:"command_id"`
	ClientState   string         `json:"client_state"`
	Data          map[string]any `json:"data"`
}

// Text is a member of the event's data as text; "a.b" goes a level down, "a.0" into a list. "" if there is none.
func (e Event) Text(path string) string {
	var v any = e.Data
	for key := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(in) {
				return ""
			}
			v = in[i]
		default:
			return ""
		}
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// events is what was heard, in order of arrival.
type events struct {
	t    testing.TB
	name string

	mu   sync.Mutex
	list []Event
}

func (r *events) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

// Events are all events so far, in order of arrival.
func (r *events) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// Of are the events of one call so far.
func (r *events) Of(callID string) []Event {
	return slices.DeleteFunc(r.Events(), func(e Event) bool { return e.CallID != callID })
}

// Types are the types of one call's events so far.
func (r *events) Types(callID string) []string {
	var out []string
	for _, e := range r.Of(callID) {
		out = append(out, e.Type)
	}
	return out
}

// WaitEvent waits for the first event of that type of a call; callID "" takes any call's.
func (r *events) WaitEvent(typ, callID string) Event {
	r.t.Helper()
	return r.WaitFor(typ, func(e Event) bool { return e.Type == typ && (callID == "" || e.CallID == callID) })
}

// WaitFor waits for the first event that matches.
func (r *events) WaitFor(what string, match func(Event) bool) Event {
	r.t.Helper()
	var found Event
	Eventually(r.t, fmt.Sprintf("%s hears %s", r.name, what), func() bool {
		all := r.Events()
		i := slices.IndexFunc(all, match)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	}, func() string {
		var b strings.Builder
		for _, e := range r.Events() {
			fmt.Fprintf(&b, "\n  %d %s %s %v", e.Sequence, e.Type, e.CallID, e.Data)
		}
		return "heard:" + b.String()
	})
	return found
}

// CheckOrder fails the test unless each call's events came in order and without a gap; repeated deliveries are
// allowed (at least once).
func (r *events) CheckOrder() {
	r.t.Helper()
	last := map[string]uint64{}
	seen := map[string]bool{}
	for _, e := range r.Events() {
		if e.CallID == "" || seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		if e.Sequence != last[e.CallID]+1 {
			r.t.Errorf("%s: call %s: event %d (%s) after event %d", r.name, e.CallID, e.Sequence, e.Type, last[e.CallID])
		}
		last[e.CallID] = e.Sequence
	}
}

// Eventually polls a condition until it holds or patience is over; detail says what is there instead.
func Eventually(t testing.TB, what string, cond func() bool, detail func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			more := ""
			if detail != nil {
				more = ": " + detail()
			}
			t.Fatalf("not within %v: %s%s", patience, what, more)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
