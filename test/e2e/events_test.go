package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// GET …/events waits for what comes next, and gives events in order without a gap.
func TestEventsPull(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	have := c.CallEvents(id, 0, 0)
	last := have[len(have)-1].Sequence
	got := make(chan []harness.Event, 1)
	go func() { got <- c.CallEvents(id, last, 20) }()
	alice.SendKeys("6")
	next := <-got
	if len(next) == 0 || next[0].Sequence != last+1 {
		t.Fatalf("after %d: %+v", last, next)
	}
	alice.Hangup()
	c.WaitEvent(id, "call.ended")
	for i, e := range c.CallEvents(id, 0, 0) {
		if e.Sequence != uint64(i)+1 {
			t.Errorf("event %d has sequence %d", i+1, e.Sequence)
		}
	}
	start := time.Now()
	if more := c.CallEvents(id, 1000, 1); len(more) != 0 || time.Since(start) < 900*time.Millisecond {
		t.Errorf("nothing more: %v after %v", more, time.Since(start))
	}
}

// Server-Sent Events: a client that comes back with Last-Event-ID misses nothing.
func TestServerSentEvents(t *testing.T) {
	n, c := steered(t)
	read := func(lastID string, until string) (types []string, id string) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+n.HTTP+"/v1/events?from=start", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+n.Key)
		req.Header.Set("Accept", "text/event-stream")
		if lastID != "" {
			req.Header.Set("Last-Event-ID", lastID)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if v, ok := strings.CutPrefix(lines.Text(), "id:"); ok {
				id = strings.TrimSpace(v)
			}
			if v, ok := strings.CutPrefix(lines.Text(), "event:"); ok {
				types = append(types, strings.TrimSpace(v))
			}
			if lines.Text() == "" && len(types) > 0 && types[len(types)-1] == until {
				return types, id
			}
		}
		t.Fatalf("the stream ended before %s: %v %v", until, types, lines.Err())
		return nil, ""
	}
	alice, id := answered(t, n, c, phone.Options{})
	first, cursor := read("", "call.answered")
	alice.SendKeys("1")
	alice.Hangup()
	c.WaitEvent(id, "call.ended")
	second, _ := read(cursor, "call.ended")
	var want []string
	for _, e := range c.CallEvents(id, 0, 0) {
		want = append(want, e.Type)
	}
	if got := append(first, second...); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("streamed %v, log has %v", got, want)
	}
}

// A repeated command_id does the thing once; a repeated Idempotency-Key makes one call.
func TestIdempotentCommands(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	for range 3 {
		c.Action(id, "send_dtmf", map[string]any{"digits": "7", "command_id": "once"})
	}
	c.Action(id, "send_dtmf", map[string]any{"digits": "8", "command_id": "twice"})
	alice.WaitDigits("78")

	bob := phone.New(t, phone.Options{User: "bob"})
	body := map[string]any{"from": "sip:x@example.com", "to": bob.URI()}
	one := c.Must("POST", "/v1/calls", body, "Idempotency-Key", "k-1")
	two := c.Must("POST", "/v1/calls", body, "Idempotency-Key", "k-1")
	if one.Text("id") != two.Text("id") || two.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("two calls: %s %s, replayed %q", one.Text("id"), two.Text("id"), two.Header.Get("Idempotent-Replayed"))
	}
	bob.Expect().Answer()
	body["to"] = "sip:other@127.0.0.1:1"
	if r := c.Do("POST", "/v1/calls", body, "Idempotency-Key", "k-1"); r.Status != 422 || r.Code() != "idempotency_mismatch" {
		t.Errorf("same key, other body: %d %s", r.Status, r.Code())
	}
	if bob.Calls() != 0 {
		t.Error("Bob was called twice")
	}
}

// A subscriber that does not read is told that it lags, or cut off; calls and other subscribers do not feel it.
func TestSlowSubscriber(t *testing.T) {
	n, c := steered(t)
	quick := n.Stream()
	quick.Subscribe(map[string]any{"types": []string{"call.*"}})
	slow := stuck(t, n)
	alice, id := answered(t, n, c, phone.Options{})
	var list []any
	for range 100 {
		list = append(list, do("mute"), do("unmute"))
	}
	for range 15 { // 3000 events
		c.Action(id, "run", map[string]any{"instructions": list, "mode": "append"})
	}
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	alice.WaitTone(440)
	c.Action(id, "hangup", nil)
	quick.WaitEvent("call.ended", id)
	quick.CheckOrder()
	slow.Close()
	if err := n.Client().Must("GET", "/v1/whoami", nil); err.Status != 200 {
		t.Error("the API is gone")
	}
}

// The program restarts: calls, events, applications and keys are still there.
func TestRestartKeepsRecords(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	alice.Hangup()
	c.WaitEvent(id, "call.ended")
	want := c.CallEvents(id, 0, 0)
	n.Kill()
	n.Start()
	if got := c.CallEvents(id, 0, 0); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events after kill -9: %v\nbefore: %v", got, want)
	}
	if s := c.Call(id).Text("state"); s != "ended" {
		t.Errorf("the call is %q", s)
	}
	answered(t, n, c, phone.Options{})
}
