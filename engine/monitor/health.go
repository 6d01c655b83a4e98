package monitor

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds a check: one that hangs has failed.
const checkTimeout = 2 * time.Second

// health is whether the node may be given work, and why not.
type health struct {
	mu       sync.Mutex
	checks   []check
	draining string // why, "" if not
}

type check struct {
	name string
	f    func(context.Context) error
}

// CheckResult is one line of /readyz.
type CheckResult struct {
	Name   string `json:"name"`
	Status string `json:"status"` // "ok" or "failed"
	Reason string `json:"reason,omitempty"`
}

// Readiness is the answer of /readyz.
type Readiness struct {
	Status string        `json:"status"` // "ready", "draining" or "unhealthy"
	Reason string        `json:"reason,omitempty"`
	Checks []CheckResult `json:"checks"`
}

// Check adds a named check to /readyz: the node is ready as long as every f returns nil. f is called for each request,
// with 2 s to answer.
func (m *Monitor) Check(name string, f func(ctx context.Context) error) {
	m.health.mu.Lock()
	defer m.health.mu.Unlock()
	m.health.checks = append(m.health.checks, check{name, f})
}

// Drain makes /readyz say from now on that the node takes no new work, and why.
func (m *Monitor) Drain(reason string) {
	m.health.mu.Lock()
	defer m.health.mu.Unlock()
	m.health.draining = reason
}

// Ready runs the checks.
func (m *Monitor) Ready(ctx context.Context) Readiness {
	m.health.mu.Lock()
	checks, draining := m.health.checks, m.health.draining
	m.health.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]CheckResult, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = c.run(ctx) })
	}
	wg.Wait()

	r := Readiness{Status: "ready", Checks: results}
	for _, res := range results {
		if res.Status != "ok" {
			r.Status, r.Reason = "unhealthy", res.Name+": "+res.Reason
			break
		}
	}
	if draining != "" {
		r.Status, r.Reason = "draining", draining
	}
	return r
}

// run waits for the check no longer than ctx lasts; a check that does not heed ctx is left behind.
func (c check) run(ctx context.Context) CheckResult {
	done := make(chan error, 1)
	go func() { done <- c.f(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return CheckResult{Name: c.name, Status: "failed", Reason: err.Error()}
	}
	return CheckResult{Name: c.name, Status: "ok"}
}

func (m *Monitor) serveReady(w http.ResponseWriter, r *http.Request) {
	ready := m.Ready(r.Context())
	status := http.StatusOK
	if ready.Status != "ready" {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, ready)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked may have gone
}
