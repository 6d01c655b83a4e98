package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// verified checks a request as the receivers' libraries do.
func verified(t *testing.T, r request, secret string) bool {
	t.Helper()
	id, ts := r.header.Get("webhook-id"), r.header.Get("webhook-timestamp")
	at, err := strconv.ParseInt(ts, 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute {
		t.Errorf("timestamp %q", ts)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, ts, r.body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.Contains(strings.Split(r.header.Get("webhook-signature"), " "), want)
}

func TestSignedDelivery(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, text("thanks"))
	other := "whsec_" + base64.StdEncoding.EncodeToString([]byte("another secret"))
	h.application(engine.Application{WebhookURL: k.URL + "/hook?token=hidden", WebhookSecret: secret + " " + other})
	e := h.publish("call_1", "call.answered")
	h.eventually("the delivery", func() bool { d, ok := h.deliveryOf(e.ID); return ok && d.State == webhook.StateDelivered })
	r := k.requests()[0]
	if r.event.ID != e.ID || r.header.Get("webhook-id") != e.ID || r.event.Sequence != 1 || string(r.event.Data) != `{"x":1}` {
		t.Errorf("got %s with headers %v", r.body, r.header)
	}
	if !verified(t, r, secret) || !verified(t, r, other) {
		t.Errorf("the signatures %q do not verify", r.header.Get("webhook-signature"))
	}
	if r.header.Get("Content-Type") != "application/json" || r.header.Get("webhook-gap") != "" {
		t.Errorf("headers %v", r.header)
	}
	d, _ := h.deliveryOf(e.ID)
	if len(d.Attempts) != 1 || d.Attempts[0].Status != 200 || d.Attempts[0].Response != "thanks" || strings.Contains(d.URL, "hidden") {
		t.Errorf("delivery %+v", d)
	}
}

func TestEventFilter(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, nil)
	h.application(engine.Application{WebhookURL: k.URL, WebhookEvents: []string{"call.ended"}})
	h.publish("call_1", "call.ringing")
	if r := h.ask("call_1").wait(t); r.err != nil { // what asks always goes
		t.Error(r.err)
	}
	h.publish("call_1", "call.answered")
	h.publish("call_1", "call.ended")
	h.eventually("two requests", func() bool { return k.count() == 2 })
	if got := k.requests(); got[0].event.Type != "call.incoming" || got[1].event.Type != "call.ended" {
		t.Errorf("got %s, %s", got[0].event.Type, got[1].event.Type)
	}
}

// TestOrder has many calls and an endpoint that fails now and then: per call the order is kept with one request at a
// time, and calls do not wait for each other.
func TestOrder(t *testing.T) {
	h := newHouse(t, nil)
	var mu sync.Mutex
	next, flying := map[string]uint64{}, map[string]int{}
	var parallel, most, n atomic.Int32
	k := newHook(t, func(w http.ResponseWriter, r request) {
		mu.Lock()
		flying[r.event.CallID]++
		if flying[r.event.CallID] > 1 {
			t.Errorf("%s has two requests at once", r.event.CallID)
		}
		most.Store(max(most.Load(), parallel.Add(1)))
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		parallel.Add(-1)
		flying[r.event.CallID]--
		if n.Add(1)%17 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.event.Sequence != next[r.event.CallID]+1 {
			t.Errorf("%s: %d behind %d", r.event.CallID, r.event.Sequence, next[r.event.CallID])
		}
		next[r.event.CallID] = r.event.Sequence
	})
	h.application(engine.Application{WebhookURL: k.URL})
	const calls, events = 20, 10
	for range events {
		for c := range calls {
			h.publish(fmt.Sprintf("call_%d", c), "call.test")
		}
	}
	h.eventually("all events", func() bool { return h.service.Stats().Delivered == calls*events })
	if most.Load() < 2 {
		t.Error("calls wait for each other")
	}
	h.eventually("no lanes", func() bool { return h.service.Stats().Lanes == 0 })
}

// TestRestart stops the node while the endpoint is down and starts another on its file: all arrives, in order, and the
// delivery remembers the tries before. Few events fit into memory, so most are read from the store.
func TestRestart(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) { o.MaxQueued = 3 })
	k := newHook(t, status(http.StatusInternalServerError))
	h.application(engine.Application{WebhookURL: k.URL})
	const calls, events = 3, 12
	var first engine.Event
	for i := range events {
		for c := range calls {
			e := h.publish(fmt.Sprintf("call_%d", c), "call.test")
			if i == 0 && c == 0 {
				first = e
			}
		}
		if i == events/2 {
			h.eventually("failures", func() bool { return h.service.Stats().Failed >= calls })
			h.eventually("the record", func() bool { _, ok := h.deliveryOf(first.ID); return ok })
			h.reopen()
		}
	}
	h.publish("", "webhook.test") // of no call
	h.reopen()
	failures := k.count()
	k.answers(nil)
	h.eventually("all events", func() bool { return len(unique(k.requests()[failures:])) == calls*events+1 })
	last := map[string]uint64{}
	for _, r := range k.requests()[failures:] {
		if r.event.Sequence > last[r.event.CallID]+1 {
			t.Errorf("%s: %d behind %d", r.event.CallID, r.event.Sequence, last[r.event.CallID])
		}
		last[r.event.CallID] = max(last[r.event.CallID], r.event.Sequence)
	}
	h.eventually("the record", func() bool { d, _ := h.deliveryOf(first.ID); return d.State == webhook.StateDelivered })
	d, _ := h.deliveryOf(first.ID)
	if len(d.Attempts) < 2 || d.Attempts[0].Status != 500 || d.Attempts[len(d.Attempts)-1].Status != 200 {
		t.Errorf("attempts %+v", d.Attempts)
	}
	h.eventually("an empty outbox", func() bool {
		items, _, err := h.store.List(context.Background(), session.KindOutbox, "", session.Page{Limit: 100})
		return err == nil && len(items) == 1 // the cursor
	})
	before := k.count()
	h.reopen()
	h.publish("call_9", "call.test")
	h.eventually("one more", func() bool { return k.requests()[k.count()-1].event.CallID == "call_9" })
	if n := k.count(); n != before+1 {
		t.Errorf("%d events were sent again after an orderly stop", n-before-1)
	}
}

func unique(rs []request) map[string]bool {
	out := map[string]bool{}
	for _, r := range rs {
		out[r.event.ID] = true
	}
	return out
}

// TestCrash gives a node the outbox as it was in the middle of its work, as a crash leaves it: what came after is sent
// again, in order, and nothing is lost.
func TestCrash(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, func(w http.ResponseWriter, r request) {
		if r.event.CallID == "call_stuck" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	h.application(engine.Application{WebhookURL: k.URL})
	for range 3 {
		h.publish("call_stuck", "call.test")
		h.publish("call_1", "call.test")
	}
	var left []session.Item
	h.eventually("a lane in the outbox", func() bool {
		left, _, _ = h.store.List(context.Background(), session.KindOutbox, "", session.Page{Limit: 100})
		return len(left) == 2 && h.service.Stats().Delivered == 3
	})
	h.publish("call_1", "call.test")
	h.publish("call_stuck", "call.test")
	k.answers(nil)
	h.eventually("all", func() bool { return h.service.Stats().Delivered == 8 })
	h.stop()
	if err := h.store.Put(t.Context(), left...); err != nil {
		t.Fatal(err)
	}
	if err := h.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	before := k.count()
	h.open()
	h.eventually("what came after", func() bool { return len(unique(k.requests()[before:])) >= 5 })
	next := map[string]uint64{"call_1": 4, "call_stuck": 1}
	for _, r := range k.requests()[before:] {
		if r.event.CallID == "call_1" && r.event.Sequence < 4 {
			continue // read from the log again: the cursor may lie before
		}
		if r.event.Sequence != next[r.event.CallID] {
			t.Errorf("%s: %d, want %d", r.event.CallID, r.event.Sequence, next[r.event.CallID])
		}
		next[r.event.CallID]++
	}
}

// BenchmarkDelivery is an event's way from Publish to a webhook on loopback and its record, with the endpoint's own cost.
func BenchmarkDelivery(b *testing.B) {
	h := newHouse(b, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	h.application(engine.Application{WebhookURL: srv.URL})
	b.ReportAllocs()
	i := uint64(0)
	for b.Loop() {
		h.publish(fmt.Sprintf("call_%d", i%64), "call.test")
		i++
		if i%256 == 0 {
			h.eventually("deliveries", func() bool { return h.service.Stats().Delivered+512 > i })
		}
	}
	h.eventually("deliveries", func() bool { return h.service.Stats().Delivered == i })
}

func TestGone(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, status(http.StatusGone))
	h.application(engine.Application{WebhookURL: k.URL + "/x?y=z"})
	follower := h.log.Follow(t.Context(), session.FollowOptions{Project: project, Match: func(e *engine.Event) bool {
		return e.Type == "webhook_endpoint.disabled"
	}})
	e := h.publish("call_1", "call.answered")
	told := <-follower.Events()
	if told.ApplicationID != appID || !strings.Contains(string(told.Data), e.ID) || strings.Contains(string(told.Data), "y=z") {
		t.Errorf("event %+v %s", told.Event, told.Data)
	}
	it, err := h.store.Get(t.Context(), session.KindApplication, project, appID)
	if err != nil || !strings.Contains(string(it.Value), "webhook_disabled_at") {
		t.Errorf("application %s, %v", it.Value, err)
	}
	h.eventually("the record", func() bool { d, _ := h.deliveryOf(e.ID); return d.State == webhook.StateDropped })
	sent := k.count()
	k.answers(nil)
	if r := h.ask("call_2").wait(t); engine.ErrorCode(r.err) != "webhook_failed" {
		t.Errorf("a question for a webhook that is gone: %v", r.err)
	}
	if k.count() != sent {
		t.Error("the endpoint is still used")
	}
	h.application(engine.Application{WebhookURL: k.URL}) // enabled again
	h.publish("call_3", "call.answered")
	h.eventually("the delivery", func() bool { return k.count() == sent+1 })
}

func TestRetryAfter(t *testing.T) {
	h := newHouse(t, nil)
	var n atomic.Int32
	k := newHook(t, func(w http.ResponseWriter, _ request) {
		if n.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	h.application(engine.Application{WebhookURL: k.URL})
	e := h.publish("call_1", "call.answered")
	h.eventually("the delivery", func() bool { d, _ := h.deliveryOf(e.ID); return d.State == webhook.StateDelivered })
	d, _ := h.deliveryOf(e.ID)
	if len(d.Attempts) != 2 || d.Attempts[1].At.Sub(d.Attempts[0].At) < time.Second {
		t.Errorf("attempts %+v", d.Attempts)
	}
}

func TestOwnURLOfACall(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, nil)
	e := engine.Event{
		ID: "evt_1", Type: "call.answered", Timestamp: time.Now(), Sequence: 1, ProjectID: project, CallID: "call_1",
		Data: []byte(`{}`), WebhookURL: k.URL + "/own",
	}
	h.log.Publish(e)
	h.eventually("the delivery", func() bool { return k.count() == 1 })
	if r := k.requests()[0]; r.path != "/own" || r.header.Get("webhook-signature") != "" || strings.Contains(string(r.body), "/own") {
		t.Errorf("got %s with %v", r.body, r.header)
	}
}

func TestRedeliver(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, nil)
	h.application(engine.Application{WebhookURL: k.URL})
	h.publish("call_1", "call.ringing")
	e := h.publish("call_1", "call.answered")
	h.publish("call_1", "call.ended")
	h.eventually("the records", func() bool { return len(h.deliveries()) == 3 })
	d, _ := h.deliveryOf(e.ID)
	if err := h.service.Redeliver(t.Context(), project, d.ID); err != nil {
		t.Fatal(err)
	}
	h.eventually("the second attempt", func() bool { d, _ := h.deliveryOf(e.ID); return len(d.Attempts) == 2 })
	if got := k.requests(); got[len(got)-1].event.ID != e.ID || len(got) != 4 {
		t.Errorf("%d requests, the last of %s", len(got), got[len(got)-1].event.ID)
	}
	k.answers(status(http.StatusTeapot))
	if err := h.service.Redeliver(t.Context(), project, d.ID); err != nil {
		t.Fatal(err)
	}
	h.eventually("the third attempt", func() bool { d, _ := h.deliveryOf(e.ID); return len(d.Attempts) == 3 })
	if d, _ := h.deliveryOf(e.ID); d.State != webhook.StateDelivered || d.Attempts[2].Status != http.StatusTeapot {
		t.Errorf("a redelivery that failed: %+v", d)
	}
	for _, id := range []string{"whd_none", ""} {
		if err := h.service.Redeliver(t.Context(), project, id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("delivery %q: %v", id, err)
		}
	}
	if err := h.service.Redeliver(t.Context(), "prj_other", d.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("of another project: %v", err)
	}
}
