package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tipring/tipring/engine"
)

func TestPause(t *testing.T) {
	want := []time.Duration{
		0, 500 * time.Millisecond, 2 * time.Second, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 6 * time.Hour, 6 * time.Hour,
	}
	for failures, d := range want {
		if got := pause(failures); got != d {
			t.Errorf("pause(%d) = %s, want %s", failures, got, d)
		}
		if j := jittered(d); j < d || j > d+d/5 {
			t.Errorf("jittered(%s) = %s", d, j)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "7", 7 * time.Second},
		{503, "120", 2 * time.Minute},
		{500, "7", 0},
		{429, "", 0},
		{429, "soon", 0},
		{429, "-3", 0},
		{503, "Thu, 01 Oct 2026 12:00:30 GMT", 30 * time.Second},
		{503, "Thu, 01 Oct 2026 11:00:00 GMT", 0},
		{429, "999999999", 6 * time.Hour},
		{429, "99999999999999999999", 0},
	} {
		res := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.value}}}
		if got := retryAfter(res, now); got != tt.want {
			t.Errorf("%d %q: %s, want %s", tt.status, tt.value, got, tt.want)
		}
	}
}

// TestSignatureVector is the example of the Standard Webhooks specification's libraries.
func TestSignatureVector(t *testing.T) {
	h := http.Header{}
	sign(h, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got := h.Get("webhook-signature"); got != "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" {
		t.Errorf("signature %q", got)
	}
}

func TestPool(t *testing.T) {
	p := newPool[string](3, 2)
	for range 4 {
		p.add("slow", "slow")
	}
	p.add("fast", "fast")
	var got []string
	for {
		v, _, ok := p.next()
		if !ok {
			break
		}
		got = append(got, v)
	}
	if strings.Join(got, " ") != "slow fast slow" {
		t.Errorf("started %v", got)
	}
	p.done("fast")
	if v, _, ok := p.next(); ok {
		t.Errorf("%s is over its host's limit", v)
	}
	p.done("slow")
	if v, _, ok := p.next(); !ok || v != "slow" {
		t.Errorf("next = %q, %v", v, ok)
	}
	p.done("slow")
	if v, _, ok := p.next(); !ok || v != "slow" {
		t.Errorf("next = %q, %v", v, ok)
	}
	p.done("slow")
	p.done("slow")
	if len(p.hosts) != 0 || p.flying != 0 || len(p.turns) != 0 {
		t.Errorf("left: %+v", p)
	}
}

func TestExcerptAndMask(t *testing.T) {
	for _, body := range []string{"", "short", strings.Repeat("é", 3000), string([]byte{0xff, 0xfe, 'x'}), strings.Repeat("\xff", 3000)} {
		if s := excerpt([]byte(body)); len(s) > maxExcerpt || !utf8.ValidString(s) {
			t.Errorf("excerpt of %d bytes: %d bytes", len(body), len(s))
		}
	}
	for in, want := range map[string]string{
		"https://user:pw@example.com:8443/a/b?token=1#x": "https://example.com:8443/a/b", "http://%zz": "", "": "",
	} {
		if got := maskURL(in); got != want {
			t.Errorf("maskURL(%q) = %q", in, got)
		}
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	d := newDelivery("whd_1", &engine.Event{ID: "evt_1", CallID: "call_1"}, endpoint{}, "http://h/", time.Now())
	for i := range 40 {
		d.add(Attempt{Status: 100 + i})
	}
	if len(d.Attempts) != maxAttempts || d.Attempts[0].Status != 100 || d.Attempts[maxAttempts-1].Status != 139 {
		t.Errorf("attempts %+v", d.Attempts)
	}
}

func TestWindow(t *testing.T) {
	var w window
	w.add("1")
	w.add("2")
	w.add("3")
	if w.ack("9") || !w.ack("2") || w.ack("1") || !w.ack("3") || len(w.sent) != 0 {
		t.Errorf("window %v", w.sent)
	}
}

// BenchmarkSign is the cost of signing one event.
func BenchmarkSign(b *testing.B) {
	body := []byte(strings.Repeat("x", 600))
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		sign(h, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "evt_01jb3v8x0c4f7kq2m9n5r6s7t8", time.Unix(1614265330, 0), body)
	}
}
