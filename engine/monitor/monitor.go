// Package monitor shows operators how a node is: metrics, health, log lines without secrets.
package monitor

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Namespace begins the name of every metric: "tipring_calls_active".
const Namespace = "tipring"

// A Monitor holds the metrics and the health of one node. It has a registry of its own; there is nothing global. Its
// methods may be called from any goroutine.
type Monitor struct {
	registry *prometheus.Registry
	calls    callMetrics
	health   health
}

// New makes a Monitor that shows the Go runtime, the process and, under "tipring_build_info", the version.
func New(version string) *Monitor {
	m := &Monitor{registry: prometheus.NewRegistry(), calls: newCallMetrics()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: Namespace, Name: "build_info", Help: "1, with the version of the program.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.calls.register(m.registry)
	return m
}

// Registry takes collectors that do not fit the methods below.
func (m *Monitor) Registry() *prometheus.Registry { return m.registry }

// Gauge shows what f says at each scrape, as tipring_<name>. It panics if the name is taken: names are set at start.
func (m *Monitor) Gauge(name, help string, f func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: Namespace, Name: name, Help: help}, f))
}

// Counter shows a count that somebody else keeps, as tipring_<name>, which should end in "_total". f's value must
// never fall.
func (m *Monitor) Counter(name, help string, f func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: Namespace, Name: name, Help: help}, f))
}

// GaugeBy shows one gauge per value of a label: f gives them by that value.
func (m *Monitor) GaugeBy(name, help, label string, f func() map[string]float64) {
	m.registry.MustRegister(newBy(name, help, label, prometheus.GaugeValue, f))
}

// CounterBy shows one counter per value of a label, as Counter does.
func (m *Monitor) CounterBy(name, help, label string, f func() map[string]float64) {
	m.registry.MustRegister(newBy(name, help, label, prometheus.CounterValue, f))
}

// by is a collector of values that somebody else keeps, by one label.
type by struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	f    func() map[string]float64
}

func newBy(name, help, label string, kind prometheus.ValueType, f func() map[string]float64) *by {
	return &by{prometheus.NewDesc(prometheus.BuildFQName(Namespace, "", name), help, []string{label}, nil), kind, f}
}

// Describe implements prometheus.Collector.
func (b *by) Describe(c chan<- *prometheus.Desc) { c <- b.desc }

// Collect implements prometheus.Collector.
func (b *by) Collect(c chan<- prometheus.Metric) {
	for value, v := range b.f() {
		c <- prometheus.MustNewConstMetric(b.desc, b.kind, v, value)
	}
}
