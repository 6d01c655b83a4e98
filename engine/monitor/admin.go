package monitor

import (
	"net/http"
	"net/http/pprof" // registers with DefaultServeMux too, which is served nowhere

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the admin address. It has no authentication: it belongs on loopback or a network of its own.
//
//	/metrics       Prometheus and OpenMetrics
//	/healthz       200 as long as the process lives
//	/readyz        200 while it may be given work, else 503; JSON with each check
//	/debug/pprof/  profiles of the Go runtime
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry: m.registry, EnableOpenMetrics: true, MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
	})
	mux.HandleFunc("GET /readyz", m.serveReady)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
