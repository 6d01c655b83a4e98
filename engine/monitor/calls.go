package monitor

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tipring/tipring/engine"
)

// callMetrics are what the events of calls tell.
type callMetrics struct {
	started  *prometheus.CounterVec // by direction
	ended    *prometheus.CounterVec // by direction, cause, source
	active   *prometheus.GaugeVec   // by direction
	setup    *prometheus.HistogramVec
	duration *prometheus.HistogramVec
	events   *prometheus.CounterVec // by type
	failed   prometheus.Counter
}

func newCallMetrics() callMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: Namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: Namespace, Name: name, Help: help, Buckets: buckets,
		}, []string{"direction"})
	}
	return callMetrics{
		started: counter("calls_started_total", "Calls that arrived (inbound) or were placed (outbound).", "direction"),
		ended: counter("calls_ended_total", "Calls that are over, by why and by whom they were ended.",
			"direction", "cause", "source"),
		active: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: Namespace, Name: "calls_active", Help: "Calls that live now.",
		}, []string{"direction"}),
		setup: histogram("call_setup_seconds", "Time from a call's beginning to its answer.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 60, 120}),
		duration: histogram("call_duration_seconds", "Time from a call's answer to its end.",
			[]float64{1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400}),
		events: counter("events_total", "Events that the engine published.", "type"),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: Namespace, Name: "commands_failed_total", Help: "Commands that were accepted and failed later.",
		}),
	}
}

func (c *callMetrics) register(r *prometheus.Registry) {
	r.MustRegister(c.started, c.ended, c.active, c.setup, c.duration, c.events, c.failed)
	for _, d := range []engine.Direction{engine.Inbound, engine.Outbound} { // shown from the start, as zero
		c.started.WithLabelValues(string(d))
		c.active.WithLabelValues(string(d))
	}
}

// Sink counts what passes and hands it on to next.
func (m *Monitor) Sink(next engine.Sink) engine.Sink { return &countingSink{m: &m.calls, next: next} }

type countingSink struct {
	m    *callMetrics
	next engine.Sink
}

// Publish implements engine.Sink.
func (s *countingSink) Publish(e engine.Event) {
	s.m.count(&e)
	s.next.Publish(e)
}

// count reads what an event tells. A call begins with its first event and is over with call.ended.
func (c *callMetrics) count(e *engine.Event) {
	c.events.WithLabelValues(e.Type).Inc()
	if e.Type == "call.command.failed" {
		c.failed.Inc()
	}
	if e.Call == nil || e.CallID == "" {
		return
	}
	info := &e.Call.Info
	direction := string(info.Direction)
	if e.Sequence == 1 {
		c.started.WithLabelValues(direction).Inc()
		c.active.WithLabelValues(direction).Inc()
	}
	switch e.Type {
	case "call.answered":
		if info.AnsweredAt != nil {
			c.setup.WithLabelValues(direction).Observe(info.AnsweredAt.Sub(info.CreatedAt).Seconds())
		}
	case "call.ended":
		c.active.WithLabelValues(direction).Dec()
		var cause engine.Cause
		if info.Hangup != nil {
			cause = *info.Hangup
		}
		c.ended.WithLabelValues(direction, string(cause.Reason), string(cause.Source)).Inc()
		if info.AnsweredAt != nil && info.EndedAt != nil {
			c.duration.WithLabelValues(direction).Observe(info.EndedAt.Sub(*info.AnsweredAt).Seconds())
		}
	}
}
