package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/monitor"
)

type recorder struct{ events []engine.Event }

func (r *recorder) Publish(e engine.Event) { r.events = append(r.events, e) }

// get asks the admin handler.
func get(t *testing.T, m *monitor.Monitor, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func wantMetrics(t *testing.T, m *monitor.Monitor, want ...string) {
	t.Helper()
	code, body := get(t, m, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("status %d", code)
	}
	for _, line := range want {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("no line %q in\n%s", line, body)
		}
	}
}

func callEvent(typ string, sequence uint64, info engine.CallInfo) engine.Event {
	info.ID = "call_1"
	return engine.Event{Type: typ, Sequence: sequence, CallID: "call_1", Call: &engine.CallRecord{Info: info}}
}

func TestCallsAreCounted(t *testing.T) {
	m := monitor.New("v1")
	next := &recorder{}
	sink := m.Sink(next)
	start := time.Now()
	answered, ended := start.Add(300*time.Millisecond), start.Add(20*time.Second)
	info := engine.CallInfo{Direction: engine.Inbound, CreatedAt: start}

	sink.Publish(callEvent("call.incoming", 1, info))
	wantMetrics(t, m, `tipring_calls_active{direction="inbound"} 1`, `tipring_calls_active{direction="outbound"} 0`)
	info.AnsweredAt = &answered
	sink.Publish(callEvent("call.answered", 2, info))
	sink.Publish(callEvent("call.command.failed", 3, info))
	info.EndedAt, info.Hangup = &ended, &engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller}
	sink.Publish(callEvent("call.ended", 4, info))
	outbound := engine.CallInfo{Direction: engine.Outbound, CreatedAt: start, Hangup: &engine.Cause{Reason: engine.ReasonBusy, Source: engine.SourceCallee}}
	sink.Publish(callEvent("call.initiated", 1, outbound))
	sink.Publish(callEvent("call.ended", 2, outbound))
	sink.Publish(engine.Event{Type: "webhook_endpoint.disabled", Sequence: 1})

	wantMetrics(t, m,
		`tipring_build_info{version="v1"} 1`,
		`tipring_calls_active{direction="inbound"} 0`,
		`tipring_calls_active{direction="outbound"} 0`,
		`tipring_calls_started_total{direction="inbound"} 1`,
		`tipring_calls_started_total{direction="outbound"} 1`,
		`tipring_calls_ended_total{cause="normal",direction="inbound",source="caller"} 1`,
		`tipring_calls_ended_total{cause="busy",direction="outbound",source="callee"} 1`,
		`tipring_call_setup_seconds_bucket{direction="inbound",le="0.25"} 0`,
		`tipring_call_setup_seconds_bucket{direction="inbound",le="0.5"} 1`,
		`tipring_call_duration_seconds_bucket{direction="inbound",le="10"} 0`,
		`tipring_call_duration_seconds_bucket{direction="inbound",le="30"} 1`,
		`tipring_events_total{type="call.ended"} 2`,
		`tipring_events_total{type="webhook_endpoint.disabled"} 1`,
		`tipring_commands_failed_total 1`,
	)
	if len(next.events) != 7 || next.events[3].Type != "call.ended" {
		t.Errorf("the next sink got %d events", len(next.events))
	}
}

func TestFiguresOfOthers(t *testing.T) {
	m := monitor.New("v1")
	n := 3.0
	m.Gauge("ports_free", "Free ports.", func() float64 { return n })
	m.Counter("panics_total", "Panics.", func() float64 { return 2 * n })
	m.GaugeBy("queue", "Queues.", "name", func() map[string]float64 { return map[string]float64{"a": 1, "b": n} })
	m.CounterBy("drops_total", "Drops.", "reason", func() map[string]float64 { return map[string]float64{"late": n} })
	wantMetrics(t, m, `tipring_ports_free 3`, `tipring_panics_total 6`, `tipring_queue{name="b"} 3`, `tipring_drops_total{reason="late"} 3`)
	n = 4
	wantMetrics(t, m, `tipring_ports_free 4`, `tipring_queue{name="b"} 4`)
	if _, body := get(t, m, "/metrics"); !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_resident_memory_bytes") {
		t.Error("the runtime and the process do not show")
	}
}

func TestReadiness(t *testing.T) {
	m := monitor.New("v1")
	var fault error
	m.Check("store", func(context.Context) error { return nil })
	m.Check("event_log", func(context.Context) error { return fault })

	read := func(wantStatus int) monitor.Readiness {
		t.Helper()
		code, body := get(t, m, "/readyz")
		var r monitor.Readiness
		if err := json.Unmarshal([]byte(body), &r); err != nil || code != wantStatus {
			t.Fatalf("status %d, want %d (%v): %s", code, wantStatus, err, body)
		}
		return r
	}
	if r := read(http.StatusOK); r.Status != "ready" || len(r.Checks) != 2 {
		t.Errorf("got %+v", r)
	}
	fault = errors.New("the queue is half full")
	if r := read(http.StatusServiceUnavailable); r.Status != "unhealthy" || !strings.Contains(r.Reason, "half full") || r.Checks[0].Status != "ok" || r.Checks[1].Status != "failed" {
		t.Errorf("got %+v", r)
	}
	fault = nil
	m.Drain("shutting down")
	if r := read(http.StatusServiceUnavailable); r.Status != "draining" || r.Reason != "shutting down" {
		t.Errorf("got %+v", r)
	}
	if code, _ := get(t, m, "/healthz"); code != http.StatusOK {
		t.Errorf("draining, it is alive all the same: %d", code)
	}
}

func TestCheckThatHangsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := monitor.New("v1")
		stop := make(chan struct{})
		m.Check("hangs", func(context.Context) error { <-stop; return nil })
		if r := m.Ready(t.Context()); r.Status != "unhealthy" || !strings.Contains(r.Reason, "deadline") {
			t.Errorf("got %+v", r)
		}
		close(stop)
	})
}

func TestProfilesAreServed(t *testing.T) {
	m := monitor.New("v1")
	for path, want := range map[string]int{
		"/debug/pprof/": http.StatusOK, "/debug/pprof/goroutine?debug=1": http.StatusOK, "/": http.StatusNotFound,
	} {
		if code, _ := get(t, m, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

func BenchmarkSink(b *testing.B) {
	sink := monitor.New("v1").Sink(discard{})
	e := callEvent("call.dtmf.received", 5, engine.CallInfo{Direction: engine.Inbound})
	b.ReportAllocs()
	for b.Loop() {
		sink.Publish(e)
	}
}

type discard struct{}

func (discard) Publish(engine.Event) {}
