package harness

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// complaints is a testing.TB that keeps errors instead of failing.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Helper()                   {}
func (c *complaints) Errorf(f string, a ...any) { c.said = append(c.said, fmt.Sprintf(f, a...)) }

func TestCheckOrder(t *testing.T) {
	for name, c := range map[string]struct {
		events []Event
		want   string
	}{
		"in order":     {[]Event{{ID: "a", CallID: "1", Sequence: 1}, {ID: "b", CallID: "2", Sequence: 1}, {ID: "c", CallID: "1", Sequence: 2}}, ""},
		"repeated":     {[]Event{{ID: "a", CallID: "1", Sequence: 1}, {ID: "a", CallID: "1", Sequence: 1}, {ID: "c", CallID: "1", Sequence: 2}}, ""},
		"gap":          {[]Event{{ID: "a", CallID: "1", Sequence: 1}, {ID: "c", CallID: "1", Sequence: 3}}, "event 3"},
		"out of order": {[]Event{{ID: "a", CallID: "1", Sequence: 2}, {ID: "c", CallID: "1", Sequence: 1}}, "event 2"},
	} {
		t.Run(name, func(t *testing.T) {
			tb := &complaints{TB: t}
			r := events{t: tb, list: c.events}
			r.CheckOrder()
			got := strings.Join(tb.said, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("complaint %q, want %q", got, c.want)
			}
		})
	}
}

// TestVerify uses the example of the Standard Webhooks specification's reference libraries.
func TestVerify(t *testing.T) {
	h := http.Header{}
	h.Set("webhook-id", "msg_1")
	h.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()))
	h.Set("webhook-signature", "v1,AAAA")
	if Verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", h, []byte("{}")) == nil {
		t.Error("a wrong signature was taken")
	}
	h.Set("webhook-timestamp", "1614265330")
	if err := Verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", h, []byte("{}")); err == nil || !strings.Contains(err.Error(), "timestamp") {
		t.Errorf("an old timestamp: %v", err)
	}
}

func TestAppAnswers(t *testing.T) {
	a := NewApp(&complaints{TB: t}, func(e Event) []Instruction { return []Instruction{Do("play", "url", "tone:440/100")} })
	res, err := http.Post(a.URL(), "application/json", strings.NewReader(`{"id":"evt_1"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized || len(a.Events()) != 0 {
		t.Errorf("unsigned: %d, %d events", res.StatusCode, len(a.Events()))
	}
}

// TestContract: the check finds what is not in openapi.yaml.
func TestContract(t *testing.T) {
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "http://127.0.0.1:1/v1/calls/call_1", nil)
	respond := func(status int, typ, body string) error {
		return c.check(req, nil, &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {typ}}}, []byte(body))
	}
	const problem = `{"type":"/docs/errors/call_not_found","title":"x","status":404,"code":"call_not_found","request_id":"r"}`
	if err := respond(404, "application/problem+json", problem); err != nil {
		t.Errorf("a good problem: %v", err)
	}
	for name, err := range map[string]error{
		"status that is not in the contract": respond(418, "application/problem+json", problem),
		"call without its fields":            respond(200, "application/json", `{"id":"call_1"}`),
		"plain text":                         respond(404, "text/plain", "not found"),
	} {
		if err == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}

func TestEventText(t *testing.T) {
	e := Event{Data: map[string]any{"a": map[string]any{"b": "x", "n": 3.0}}}
	if e.Text("a.b") != "x" || e.Text("a.n") != "3" || e.Text("a.c") != "" || e.Text("a.b.c") != "" {
		t.Errorf("%q %q", e.Text("a.b"), e.Text("a.n"))
	}
}

func TestDo(t *testing.T) {
	in := Do("play", "url", "tone:busy", "loop", 2)
	if fmt.Sprint(in) != "map[action:play loop:2 url:tone:busy]" {
		t.Errorf("%v", in)
	}
}

func TestFreeBothIsFree(t *testing.T) {
	a, b := freeBoth(t), freeBoth(t)
	if a == "" || a == b {
		t.Errorf("%q %q", a, b)
	}
	var buf lockedBuffer
	fmt.Fprint(&buf, "x")
	if !bytes.Equal([]byte(buf.String()), []byte("x")) {
		t.Error("buffer")
	}
}
