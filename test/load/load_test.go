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
		{"-rooms 2x50,1x100 -transcoded 3,4", ""},
		{"-rooms 100", "-rooms"},
		{"-rooms 1000x1000", "-rooms"},
		{"-transcoded x", "-transcoded"},
		{"-churn 0", "-churn"},
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

// TestRun keeps the generator working: a second of W1 and W2 against the real program, every call through, every
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
	if err := run([]string{"w9"}); err == nil || !strings.Contains(err.Error(), "no workload") {
		t.Errorf("w9: %v", err)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	if err := run(strings.Fields("w2 -calls 2 -seconds 1 -idle -json " + file)); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Contains(b, []byte(`"rss_kib_per_call"`)) {
		t.Errorf("JSON: %v %s", err, b)
	}
}

// TestAudio is a few seconds of W3 and W4: every call through, every tone heard by who should hear it, nobody hears himself.
func TestAudio(t *testing.T) {
	o := options{transcoded: []int{6}, rooms: []shape{{1, 12}, {3, 4}}, seconds: 5, callee: "127.0.0.1:0"}
	stop := make(chan os.Signal)
	w3, err := transcodes(o, stop)
	if err != nil {
		t.Fatal(err)
	}
	w4, err := conferences(o, stop)
	if err != nil {
		t.Fatal(err)
	}
	if err := (&report{W3: w3, W4: w4}).broken(); err != nil {
		t.Error(err)
	}
	for _, c := range []cost{w3[0].cost, w4[0].cost, w4[1].cost} {
		if c.Tones < 10 || c.DelayP50 <= 0 || c.LossPercent > 5 || c.PerCall <= 0 {
			t.Errorf("%+v", c)
		}
	}
	if w3[0].Bare <= 0 {
		t.Errorf("%+v", w3[0])
	}
}

// TestChurn is W5: calls come and go, and memory is read.
func TestChurn(t *testing.T) {
	r, err := churn(options{churn: 200, hold: 50 * time.Millisecond, callee: "127.0.0.1:0"}, make(chan os.Signal))
	if err != nil || len(r.RSS) != 5 || r.RSS[0] < 1000 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestOnsets finds tones where they begin, and an echo where there is one.
func TestOnsets(t *testing.T) {
	v, other := newVoice(700), newVoice(1100)
	pcm := append(append([]int16(nil), v.pcm...), v.pcm...)
	got := onsets(pcm, 700)
	if len(got) != 2 || got[0] < toneAt-24 || got[0] > toneAt+24 || got[1]-got[0] != voiceLength {
		t.Errorf("onsets %v, want %d and a voice's length behind", got, toneAt)
	}
	if n := onsets(pcm, 1100); len(n) != 0 {
		t.Errorf("a tone that is not there at %v", n)
	}
	if !present(pcm, 700) || present(other.pcm, 700) {
		t.Error("an echo is missed, or seen where none is")
	}
}
