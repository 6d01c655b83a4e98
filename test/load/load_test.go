package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
)

func TestMain(m *testing.M) {
	status := m.Run()
	harness.Cleanup()
	os.Exit(status)
}

func TestFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-rates 1,2", ""},
		{"-target 127.0.0.1:5060 -pid 1", ""},
		{"-target 192.0.2.1:5060 -pid 1", "loopback"},
		{"-callee 10.0.0.1:5060", "loopback"},
		{"-target 127.0.0.1:5060", "-pid"},
		{"-rates 100000", "-rates"},
		{"-calls 0", "-calls"},
		{"-seconds 1000", "-seconds"},
	} {
		_, err := parse(strings.Fields(c.args))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestFields(t *testing.T) {
	m := []byte("INVITE sip:load7@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCall-ID: x@y\r\nt: <sip:load7@h>\r\nf: a\r\nCSeq: 1 INVITE\r\n\r\nc=IN IP4 127.0.0.9\r\nm=audio 4002 RTP/AVP 0\r\n")
	if got := string(field(m, "call-id", "i")); got != "x@y" {
		t.Errorf("Call-ID %q", got)
	}
	if got := string(field(m, "Via", "v")); got != "SIP/2.0/UDP h;branch=z9hG4bK1" {
		t.Errorf("Via %q", got)
	}
	if got := field(m, "c=IN IP4 127.0.0.9", ""); got != nil {
		t.Errorf("a field in the body: %q", got)
	}
	if got := audioOf(m); got != netip.MustParseAddrPort("127.0.0.9:4002") {
		t.Errorf("audio %v", got)
	}
	r := reply(m, "200 OK", ";tag=1", "X: y\r\n", "body")
	for _, want := range []string{"SIP/2.0 200 OK\r\n", "v: SIP/2.0/UDP h;branch=z9hG4bK1\r\n", "t: <sip:load7@h>;tag=1\r\n", "X: y\r\nContent-Length: 4\r\n\r\nbody"} {
		if !bytes.Contains(r, []byte(want)) {
			t.Errorf("no %q in %q", want, r)
		}
	}
}

func TestQuantile(t *testing.T) {
	d := []time.Duration{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if quantile(d, 0.5) != 6 || quantile(d, 0.99) != 10 || quantile(d, 1) != 10 || quantile(nil, 0.5) != 0 {
		t.Error(quantile(d, 0.5), quantile(d, 0.99), quantile(d, 1))
	}
}

func TestUsage(t *testing.T) {
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; { // burns time
	}
	u, err := usageOf(os.Getpid())
	if err != nil || u.cpu <= 0 || u.rss < 1000 {
		t.Errorf("%+v %v", u, err)
	}
	if ownCPU() <= 0 {
		t.Error("own CPU")
	}
}

// TestRun keeps the generator working: a second of both workloads against the real program, every call through, every
// packet unchanged and in its own call. Figures are not judged here.
func TestRun(t *testing.T) {
	o := options{rates: []int{20}, calls: []int{10}, seconds: 1, hold: 100 * time.Millisecond, callee: "127.0.0.1:0"}
	stop := make(chan os.Signal)
	w1, err := ladder(o, stop)
	if err != nil {
		t.Fatal(err)
	}
	if r := w1[0]; r.Calls != 20 || r.Failed != 0 || r.CPUPerCall <= 0 || r.SetupP50 <= 0 {
		t.Errorf("W1: %+v", r)
	}
	w2, err := relays(o, stop)
	if err != nil {
		t.Fatal(err)
	}
	if r := w2[0]; r.Up != 10 || r.Packets < 800 || r.Crossed != 0 || r.Changed != 0 || r.DelayP50 <= 0 {
		t.Errorf("W2: %+v", r)
	}
	if err := run([]string{"w3"}); err == nil || !strings.Contains(err.Error(), "no workload") {
		t.Errorf("w3: %v", err)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	if err := run(strings.Fields("w2 -calls 2 -seconds 1 -idle -json " + file)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte(`"rss_kib_per_call"`)) {
		t.Errorf("JSON: %v %s", err, b)
	}
}
