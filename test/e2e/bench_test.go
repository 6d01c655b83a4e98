package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
)

// BenchmarkRESTToSIP is the time from the first byte of POST /v1/calls to the INVITE at the other phone, through the real
// program: HTTP, validation, the engine, the dialog, the socket. Nobody answers; a second later the call has ended.
func BenchmarkRESTToSIP(b *testing.B) {
	n := harness.NewNode(b, harness.NodeOptions{})
	c := n.Client()
	callee, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer callee.Close()
	arrived := make(chan time.Time, 1)
	go func() { // ends when callee is closed
		buf := make([]byte, 65535)
		seen := map[string]bool{}
		for {
			size, _, err := callee.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if id := header(string(buf[:size]), "Call-ID"); !seen[id] {
				seen[id] = true
				arrived <- time.Now()
			}
		}
	}()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		c.Originate(map[string]any{"from": "sip:bench@127.0.0.1", "to": fmt.Sprintf("sip:x@%s", callee.LocalAddr()), "ring_timeout_s": 1})
		took = append(took, (<-arrived).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}

// header is the value of a header of a SIP message, "" if it has none.
func header(message, name string) string {
	for line := range strings.Lines(message) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
