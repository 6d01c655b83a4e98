package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
)

// sse is one Server-Sent Event.
type sse struct{ id, event, data string }

// follow opens a stream of Server-Sent Events.
func follow(t *testing.T, f *fixture, query, lastEventID string) (next func() sse, leave func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", f.url+"/v1/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+f.secret)
	req.Header.Set("Accept", "text/event-stream")
	if lastEventID != "" {
		req.Header.Set("Last-Event-ID", lastEventID)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	leave = func() { stop(); resp.Body.Close() }
	t.Cleanup(leave)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return func() (e sse) {
		t.Helper()
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.event = value
			case "data":
				e.data = value
			case "":
				if e.data != "" {
					return e
				}
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return e
	}, leave
}

// TestEventStreamResumes loses its connection again and again, and no event.
func TestEventStreamResumes(t *testing.T) {
	f := newFixture(t)
	f.publish("call_1", "prj_default", "call.incoming", "call.answered", "call.held")
	f.publish("call_2", "prj_other", "call.incoming")
	next, leave := follow(t, f, "?from=start", "")
	last := ""
	sequence := uint64(0)
	check := func(e sse) {
		t.Helper()
		var event api.Event
		if err := json.Unmarshal([]byte(e.data), &event); err != nil {
			t.Fatal(err)
		}
		sequence++
		if event.Sequence != sequence || event.CallID != "call_1" || e.event != event.Type || e.id == "" || e.id == last {
			t.Fatalf("%+v after %d", e, sequence)
		}
		last = e.id
	}
	check(next())
	check(next())
	leave()
	f.publish("call_1", "prj_default", "call.unheld")
	next, _ = follow(t, f, "", last)
	check(next()) // the one it had not taken
	check(next()) // the one that it was not there for
	f.publish("call_1", "prj_default", "call.ended")
	check(next()) // a live one
	// after is the same as Last-Event-ID.
	f.publish("call_1", "prj_default", "call.after")
	next, _ = follow(t, f, "?after="+last, "")
	check(next())
}

func TestEventStreamFromNowAndFiltered(t *testing.T) {
	f := newFixture(t)
	f.publish("call_1", "prj_default", "call.incoming")
	next, _ := follow(t, f, "?types=call.d*,call.ended&call_id=call_1", "")
	f.publish("call_2", "prj_default", "call.incoming", "call.dtmf.received")
	f.publish("call_1", "prj_default", "call.answered", "call.dtmf.received", "call.ended")
	if e := next(); e.event != "call.dtmf.received" || !strings.Contains(e.data, "call_1") {
		t.Errorf("%+v", e)
	}
	if e := next(); e.event != "call.ended" {
		t.Errorf("%+v", e)
	}
}

// TestLongPoll waits for an event that comes, and for one that does not.
func TestLongPoll(t *testing.T) {
	f := newFixture(t)
	f.publish("call_live", "prj_default", "call.incoming")
	tail := f.ok("GET", "/v1/events", "")
	for _, path := range []string{"/v1/calls/call_live/events?after=1&wait_s=30", "/v1/events?wait_s=30&types=call.answered&after=" + tail.string(t, "next_cursor")} {
		got := make(chan reply, 1)
		go func() { got <- f.do("GET", path, "") }()
		if strings.HasPrefix(path, "/v1/calls") {
			f.publish("call_live", "prj_default", "call.answered")
		}
		var list api.EventList
		r := <-got
		r.json(t, &list)
		if len(list.Data) != 1 || list.Data[0].Type != "call.answered" {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	begin := time.Now()
	var list api.EventList
	f.ok("GET", "/v1/calls/call_live/events?after=99&wait_s=1", "").json(t, &list)
	if len(list.Data) != 0 || list.NextCursor != "99" || time.Since(begin) < time.Second {
		t.Errorf("%+v after %v", list, time.Since(begin))
	}
	tail = f.ok("GET", "/v1/events?from=now", "")
	f.ok("GET", "/v1/events?wait_s=1&after="+tail.string(t, "next_cursor"), "").json(t, &list)
	if len(list.Data) != 0 || list.NextCursor != tail.string(t, "next_cursor") {
		t.Errorf("%+v", list)
	}
	f.refused(f.do("GET", "/v1/calls/call_nobody/events?wait_s=30", ""), 404, engine.CodeCallNotFound)
}
