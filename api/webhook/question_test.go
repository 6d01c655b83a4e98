package webhook_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
)

func TestAnswers(t *testing.T) {
	play := `{"instructions":[{"action":"play","url":"tone:busy"}],"mode":"append"}`
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter, request)
		n      int
		code   engine.Code
	}{
		"instructions": {text(play), 1, ""},
		"nothing":      {text(""), 0, ""},
		"no content":   {status(http.StatusNoContent), 0, ""},
		"empty object": {text("{}"), 0, ""},
		"empty list":   {text(`{"instructions":[]}`), 0, ""},
		"rubbish":      {text("<html>it works!</html>"), 0, "malformed_request"},
		"unknown":      {text(`{"instructions":[{"action":"dance"}]}`), 0, engine.CodeValidation},
		"wrong":        {text(`{"instructions":[{"action":"play","volume":11}]}`), 0, engine.CodeValidation},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			k := newHook(t, tt.answer)
			h.application(engine.Application{WebhookURL: k.URL})
			a := h.ask("call_1")
			r := a.wait(t)
			n := 0
			if r.ins != nil {
				n = len(r.ins.Instructions)
			}
			if n != tt.n || engine.ErrorCode(r.err) != tt.code {
				t.Errorf("got %d instructions, %v", n, r.err)
			}
			h.eventually("the record", func() bool { d, _ := h.deliveryOf("evt_call_1_1"); return d.State == webhook.StateDelivered })
			if d, _ := h.deliveryOf("evt_call_1_1"); (d.Error != "") != (tt.code != "") {
				t.Errorf("the delivery says %q", d.Error)
			}
			h.close()
			a.once(t)
			if k.count() != 1 {
				t.Errorf("%d requests", k.count())
			}
		})
	}
}

// TestBadEndpoints has every sort of endpoint that does not answer: two tries, then the fallback, then an error that
// says why; always one answer.
func TestBadEndpoints(t *testing.T) {
	t.Parallel()
	closed := newHook(t, nil)
	closed.Close()
	for name, tt := range map[string]struct {
		answer func(http.ResponseWriter, request) // or
		url    string
		kind   egress.Kind
		tries  int
		closed bool // no AllowPrivate
	}{
		"5xx":         {answer: status(http.StatusBadGateway), kind: egress.KindStatus, tries: 2},
		"4xx":         {answer: status(http.StatusNotFound), kind: egress.KindStatus, tries: 2},
		"gone":        {answer: status(http.StatusGone), kind: egress.KindStatus, tries: 1},
		"slow":        {answer: func(http.ResponseWriter, request) { time.Sleep(800 * time.Millisecond) }, kind: egress.KindTimeout, tries: 2},
		"huge":        {answer: text(strings.Repeat("x", 300<<10)), kind: egress.KindTooLarge, tries: 2},
		"broken body": {answer: func(w http.ResponseWriter, _ request) { w.Header().Set("Content-Length", "99"); fmt.Fprint(w, "{") }, kind: egress.KindNetwork, tries: 2},
		"redirect": {answer: func(w http.ResponseWriter, _ request) {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, kind: egress.KindRedirect, tries: 2},
		"refused":         {url: closed.URL, kind: egress.KindRefused, tries: 2},
		"private address": {url: "http://127.0.0.1:1/", kind: egress.KindPrivateAddress, tries: 2, closed: true},
		"no URL":          {url: "http://", kind: egress.KindURL, tries: 2},
	} {
		for _, fallback := range []bool{false, true} {
			if fallback && tt.closed {
				continue // the fallback of this test is a private address, too
			}
			t.Run(fmt.Sprintf("%s, fallback %v", name, fallback), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, func(o *webhook.Options) {
					if tt.closed {
						o.Egress = egress.New(egress.Options{})
					}
					if name == "slow" {
						o.AskTimeout = 300 * time.Millisecond
					}
				})
				app := engine.Application{WebhookURL: tt.url}
				k := newHook(t, tt.answer)
				if tt.url == "" {
					app.WebhookURL = k.URL
				}
				second := newHook(t, text(`{"instructions":[{"action":"answer"}]}`))
				if fallback {
					app.FallbackURL = second.URL + "/fallback"
				}
				h.application(app)
				a := h.ask("call_1")
				r := a.wait(t)
				var d webhook.Delivery
				h.eventually("the record", func() bool { d, _ = h.deliveryOf("evt_call_1_1"); return d.ID != "" })
				want := tt.tries
				if fallback {
					want++
					if r.err != nil || r.ins == nil || d.State != webhook.StateDelivered || !verified(t, second.requests()[0], secret) {
						t.Errorf("answer %+v, %v; delivery %+v", r.ins, r.err, d)
					}
				} else if engine.ErrorCode(r.err) != "webhook_failed" || !strings.Contains(r.err.Error(), string(tt.kind)) {
					t.Errorf("answer %v, want %s", r.err, tt.kind)
				}
				if len(d.Attempts) != want || d.Attempts[0].Error != string(tt.kind) || len(d.Attempts[0].Response) > 2<<10 {
					t.Errorf("attempts %+v", d.Attempts)
				}
				h.close()
				a.once(t)
			})
		}
	}
}

// TestOvertake has a call whose webhook is stuck with a notification: a question passes it, says so, and the order goes
// on afterwards.
func TestOvertake(t *testing.T) {
	for name, stuck := range map[string]func(http.ResponseWriter, request){
		"waiting for a retry": status(http.StatusServiceUnavailable),
		"under way":           func(http.ResponseWriter, request) { time.Sleep(600 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, nil)
			k := newHook(t, func(w http.ResponseWriter, r request) {
				if r.event.Type == "call.stuck" {
					stuck(w, r)
				}
			})
			h.application(engine.Application{WebhookURL: k.URL})
			h.publish("call_1", "call.stuck")
			h.eventually("the first request", func() bool { return k.count() >= 1 })
			a := h.ask("call_1")
			h.publish("call_1", "call.after")
			if r := a.wait(t); r.err != nil {
				t.Fatal(r.err)
			}
			var asked request
			for _, r := range k.requests() {
				if r.event.Type == "call.incoming" {
					asked = r
				}
				if r.event.Type == "call.after" {
					t.Error("a notification has overtaken")
				}
			}
			if asked.header.Get("webhook-gap") != "true" {
				t.Errorf("the question's headers: %v", asked.header)
			}
			k.answers(nil)
			h.eventually("the rest", func() bool { return h.service.Stats().Delivered == 3 })
			seen := unique(k.requests())
			h.eventually("no lanes", func() bool { return h.service.Stats().Lanes == 0 })
			if len(seen) != 3 {
				t.Errorf("got %v", seen)
			}
			n := 0
			for _, r := range k.requests() {
				if r.event.Type == "call.incoming" {
					n++
				}
			}
			if n != 1 {
				t.Errorf("the question was sent %d times", n)
			}
		})
	}
}

// TestFailedQuestionBecomesNotification sends what asked once more, later, for the record.
func TestFailedQuestionBecomesNotification(t *testing.T) {
	h := newHouse(t, nil)
	k := newHook(t, status(http.StatusInternalServerError))
	h.application(engine.Application{WebhookURL: k.URL})
	a := h.ask("call_1")
	if r := a.wait(t); r.err == nil {
		t.Fatal("an answer came")
	}
	h.publish("call_1", "call.ended")
	k.answers(text(`{"instructions":[{"action":"answer"}]}`))
	h.eventually("both", func() bool { return h.service.Stats().Delivered == 2 })
	got := k.requests()
	if len(got) != 4 || got[2].event.Type != "call.incoming" || got[3].event.Type != "call.ended" {
		t.Errorf("%d requests", len(got))
	}
	a.once(t)
}

// TestAnsweredAtShutdown stops the node while questions are under way, wait in a lane, and wait for a place: each gets
// one answer.
func TestAnsweredAtShutdown(t *testing.T) {
	h := newHouse(t, func(o *webhook.Options) {
		o.AskTimeout, o.Patience, o.Grace = 20*time.Second, 20*time.Second, 100*time.Millisecond
		o.AsksPerHost = 2
	})
	release := make(chan struct{})
	defer close(release)
	k := newHook(t, func(http.ResponseWriter, request) { <-release })
	h.application(engine.Application{WebhookURL: k.URL})
	var asked []*asker
	h.publish("call_0", "call.stuck")
	for i := range 5 {
		asked = append(asked, h.ask(fmt.Sprintf("call_%d", i)))
	}
	h.eventually("requests", func() bool { return k.count() == 3 })
	h.close()
	for _, a := range asked {
		if r := a.wait(t); engine.ErrorCode(r.err) != engine.CodeDraining {
			t.Errorf("answer %v", r.err)
		}
		a.once(t)
	}
}

func TestNobodyToAsk(t *testing.T) {
	h := newHouse(t, nil)
	if r := h.ask("call_1").wait(t); engine.ErrorCode(r.err) != "webhook_failed" {
		t.Errorf("without an application: %v", r.err)
	}
	k := newHook(t, text(`{"instructions":[{"action":"answer"}]}`))
	h.application(engine.Application{WebhookURL: k.URL, FallbackURL: k.URL + "/fallback", WebhookDisabledAt: "2026-01-01T00:00:00Z"})
	if r := h.ask("call_2").wait(t); r.err != nil || k.requests()[0].path != "/fallback" {
		t.Errorf("a disabled webhook with a fallback: %v", r.err)
	}
}
