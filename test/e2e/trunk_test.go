package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// trunk makes one whose targets are phones, the first ones first.
func trunk(c *harness.Client, fields map[string]any, targets ...string) string {
	var list []any
	for i, uri := range targets {
		list = append(list, map[string]any{"uri": uri, "priority": i})
	}
	body := map[string]any{"name": "carrier", "targets": list, "destinations": []string{"+49*"}}
	maps.Copy(body, fields)
	return c.Must(http.MethodPost, "/v1/trunks", body).Text("id")
}

// server is a phone's address without its user, as a trunk's target.
func server(p *phone.Phone) string { return "sip:" + p.Addr().String() }

// A program dials a number through a carrier that wants credentials and knows the caller by an asserted identity; another number
// than the trunk's is not shown; a caller is bridged to a number; numbers that no trunk may dial are refused.
func TestCallsThroughATrunk(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	if r := c.Do(http.MethodPost, "/v1/calls", map[string]any{"to": "+4930123"}); r.Status != 422 || r.Code() != "no_route" {
		t.Errorf("without a trunk: %d %s", r.Status, r.Body)
	}
	carrier := phone.New(t, phone.Options{User: "carrier", Challenge: &phone.Challenge{Realm: "carrier", Username: "u", Password: "s3cret", Algorithm: "SHA-256"}})
	id := trunk(c, map[string]any{
		"auth": map[string]any{"username": "u", "password": "s3cret"}, "caller_ids": []string{"+493099"}, "identity": "pai",
		"number_format": "digits", "from_domain": "tipring.example", "headers": map[string]any{"X-Trunk": "7"},
	}, server(carrier))
	call := c.Originate(map[string]any{"from": "+1900", "to": "+4930123", "on_idle": "wait"})
	p := carrier.Expect()
	in := p.Invite()
	if got := in.URI(); !strings.HasPrefix(got, "sip:4930123@") || !strings.Contains(got, "user=phone") {
		t.Errorf("INVITE %s", got)
	}
	if from := in.Get("From"); !strings.Contains(from, "sip:493099@tipring.example") {
		t.Errorf("From %s", from)
	}
	if pai := in.Get("P-Asserted-Identity"); !strings.HasPrefix(pai, "<sip:493099@tipring.example") || in.Get("X-Trunk") != "7" {
		t.Errorf("P-Asserted-Identity %q, X-Trunk %q", pai, in.Get("X-Trunk"))
	}
	p.Answer()
	c.WaitEvent(call, "call.answered")
	if got := c.Call(call).Text("trunk_id"); got != id {
		t.Errorf("the call's trunk is %q", got)
	}
	c.Action(call, "hangup", nil)
	p.WaitEnded()

	c.Answering("connect", map[string]any{"instructions": []any{do("bridge", "to", "+4940777")}})
	alice := phone.New(t, phone.Options{User: "alice"}).Call(n.URI("connect"), phone.CallOptions{})
	p = carrier.Expect()
	p.Answer()
	alice.WaitAnswered()
	talk(t, alice, p)
	alice.Hangup()
	p.WaitEnded()

	for to, code := range map[string]string{"+43123": "destination_denied", "+19005551234": "destination_denied"} {
		if r := c.Do(http.MethodPost, "/v1/calls", map[string]any{"to": to}); r.Code() != code {
			t.Errorf("%s: %d %s", to, r.Status, r.Body)
		}
	}
	if r := c.Do(http.MethodPost, "/v1/calls", map[string]any{"to": "+4930", "trunk_id": "trk_none"}); r.Status != 422 {
		t.Errorf("a trunk that is not there: %d", r.Status)
	}
}

// A carrier's first server is down, says that it cannot, or says nothing: the next one is asked. Who is busy is busy.
func TestTrunkFailsOver(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	first, second := phone.New(t, phone.Options{User: "one"}), phone.New(t, phone.Options{User: "two"})
	id := trunk(c, map[string]any{"failover_ms": 500}, server(first), server(second))
	for _, status := range []int{503, 500, 408} {
		call := c.Originate(map[string]any{"to": "+4930123", "on_idle": "wait"})
		first.Expect().Reject(status, "No")
		p := second.Expect()
		p.Answer()
		c.WaitEvent(call, "call.answered")
		c.Action(call, "hangup", nil)
		p.WaitEnded()
	}
	for _, status := range []int{486, 603, 404} {
		call := c.Originate(map[string]any{"to": "+4930123"})
		first.Expect().Reject(status, "No")
		if e := c.WaitEvent(call, "call.ended"); e.Text("sip_status") == "" {
			t.Errorf("%d: %v", status, e.Data)
		}
	}
	if second.Calls() != 0 {
		t.Error("the second server was asked though the first one knew")
	}

	dead := harness.FreeUDP(t)
	c.Must(http.MethodPatch, "/v1/trunks/"+id, map[string]any{"targets": []any{
		map[string]any{"uri": "sip:nowhere.invalid", "priority": 0},
		map[string]any{"uri": fmt.Sprintf("sip:127.0.0.1:%d", dead), "priority": 1},
		map[string]any{"uri": server(second), "priority": 2},
	}})
	began := time.Now()
	call := c.Originate(map[string]any{"to": "+4930123", "on_idle": "wait"})
	p := second.Expect()
	p.Answer()
	c.WaitEvent(call, "call.answered")
	t.Logf("past an unknown name and a silent server after %v", time.Since(began).Round(10*time.Millisecond))
	seen := timelineOf(c, call, "sip")
	inOrder(t, "past dead servers", seen, "sip out INVITE", "sip out INVITE", "sip in 200 INVITE", "sip out ACK")
	c.Action(call, "hangup", nil)
	p.WaitEnded()
}

// A trunk has no more calls than it may, in and out; what comes from its addresses is its.
func TestTrunkLimits(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	carrier := phone.New(t, phone.Options{User: "carrier"})
	id := trunk(c, map[string]any{"max_calls": 2, "allowed_ips": []string{"127.0.0.0/8"}}, server(carrier))
	c.Answering("desk", map[string]any{"on_idle": "wait", "instructions": []any{do("answer")}})
	in := carrier.Call(n.URI("desk"), phone.CallOptions{})
	in.WaitAnswered()
	if got := c.Must(http.MethodGet, "/v1/calls?limit=1", nil).Text("data.0.trunk_id"); got != id {
		t.Errorf("a call of the trunk has trunk_id %q", got)
	}
	out := c.Originate(map[string]any{"to": "+4930123", "on_idle": "wait"})
	p := carrier.Expect()
	p.Answer()
	c.WaitEvent(out, "call.answered")
	if r := c.Do(http.MethodPost, "/v1/calls", map[string]any{"to": "+4930123"}); r.Code() != "capacity_exceeded" {
		t.Errorf("a third call: %d %s", r.Status, r.Body)
	}
	third := carrier.Call(n.URI("desk"), phone.CallOptions{})
	if e := third.WaitEnded(); e.Status != 503 {
		t.Errorf("a third call from the trunk: %+v", e)
	}
	in.Hangup()
	c.Action(out, "hangup", nil)
	p.WaitEnded()
	harness.Eventually(t, "there is room again", func() bool {
		return c.Do(http.MethodPost, "/v1/calls", map[string]any{"to": "+4930123"}).Status == 201
	}, nil)
	carrier.Expect().Reject(486, "Busy Here")
}
