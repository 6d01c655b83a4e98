package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// stuck is a subscriber that never reads, with a small receive buffer.
func stuck(t *testing.T, n *harness.Node) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4096)
		}
		return c, err
	}}
	conn, _, err := d.Dial("ws://"+n.HTTP+"/v1/stream", map[string][]string{"Authorization": {"Bearer " + n.Key}})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe"}`)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Bad requests get a problem with a stable code, and change nothing.
func TestBadRequests(t *testing.T) {
	n, c := steered(t)
	_, id := answered(t, n, c, phone.Options{})
	for _, r := range []struct {
		name, method, path string
		body               any
		status             int
		code               string
	}{
		{"not JSON", "POST", "/v1/calls", "{", 400, "malformed_request"},
		{"no body", "POST", "/v1/calls", map[string]any{}, 422, "validation_failed"},
		{"unknown field", "POST", "/v1/calls", map[string]any{"to": "sip:a@127.0.0.1", "color": "red"}, 422, "validation_failed"},
		{"no address", "POST", "/v1/calls", map[string]any{"to": "nonsense"}, 422, "validation_failed"},
		{"no such call", "GET", "/v1/calls/call_00000000000000000000000000", nil, 404, "call_not_found"},
		{"action on no call", "POST", "/v1/calls/call_00000000000000000000000000/actions/play", map[string]any{"url": "tone:busy"}, 404, "call_not_found"},
		{"no such action", "POST", "/v1/calls/" + id + "/actions/dance", map[string]any{}, 404, "not_found"},
		{"wrong state", "POST", "/v1/calls/" + id + "/actions/unbridge", map[string]any{}, 409, "invalid_state"},
		{"unhold what is not held", "POST", "/v1/calls/" + id + "/actions/unhold", map[string]any{}, 409, "invalid_state"},
		{"wrong digits", "POST", "/v1/calls/" + id + "/actions/send_dtmf", map[string]any{"digits": "xyz"}, 422, "validation_failed"},
		{"no such application", "POST", "/v1/numbers", map[string]any{"number": "9", "application_id": "app_none"}, 422, "validation_failed"},
		{"no such path", "GET", "/v1/nonsense", nil, 404, "not_found"},
		{"wrong method", "DELETE", "/v1/whoami", nil, 405, "method_not_allowed"},
	} {
		t.Run(r.name, func(t *testing.T) {
			got := c.Do(r.method, r.path, r.body)
			if got.Status != r.status || got.Code() != r.code {
				t.Errorf("%d %s, want %d %s: %s", got.Status, got.Code(), r.status, r.code, got.Body)
			}
			if ct := got.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("Content-Type %q", ct)
			}
		})
	}
	// What only trying shows is refused at once or told by an event, and the call goes on.
	if r := c.Try(id, "play", map[string]any{"url": "tone:nonsense"}); r.Status == 202 {
		if e := c.WaitEvent(id, "call.playback.failed"); e.Text("code") == "" || e.Text("detail") == "" {
			t.Errorf("call.playback.failed: %v", e.Data)
		}
	}
	if r := n.ClientWith("tpk_wrong0123456789abcdefghijklmnopqrstuv").Do("GET", "/v1/calls", nil); r.Status != 401 {
		t.Errorf("a wrong key: %d", r.Status)
	}
	if r := n.ClientWith("").Do("GET", "/v1/calls", nil); r.Status != 401 {
		t.Errorf("no key: %d", r.Status)
	}
}

// Malformed SIP is answered or ignored as RFC 3261 says; calls go on.
func TestMalformedSIP(t *testing.T) {
	n, c := steered(t)
	alice, id := answered(t, n, c, phone.Options{})
	c.Action(id, "play", map[string]any{"url": "tone:440/60000"})
	node := netip.MustParseAddrPort(n.SIP)
	raw := phone.New(t, phone.Options{User: "mallory"})
	const head = " sip:desk@127.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP {local};branch=z9hG4bK%\nMax-Forwards: 70\nFrom: <sip:m@{local}>;tag=1\nTo: <sip:desk@127.0.0.1>\nCall-ID: %@m\nCSeq: 1 "
	request := func(method, id, rest string) string {
		return method + strings.ReplaceAll(head, "%", id) + method + "\n" + rest + "\n"
	}
	for _, b := range []string{"\r\n\r\n", "x", strings.Repeat("A", 60000), "INVITE sip:x SIP/2.0\n\n", "SIP/2.0 200 OK\n\n", "INVITE", "\x00\xff\x00", "OPTIONS sip:x@y SIP/7.0\nVia: x\n\n"} {
		raw.Send(b, node)
	}
	for _, r := range []struct {
		name, id, text string
		status         []int
	}{
		{"unknown method", "m1", request("DANCE", "m1", "Content-Length: 0\n"), []int{405, 501}},
		{"BYE of no dialog", "m2", strings.Replace(request("BYE", "m2", "Content-Length: 0\n"), "To: <sip:desk@127.0.0.1>", "To: <sip:desk@127.0.0.1>;tag=x", 1), []int{481}},
		{"rubbish for SDP", "m3", request("INVITE", "m3", "Contact: <sip:m@{local}>\nContent-Type: application/sdp\nContent-Length: 4\n\nv=00"), []int{400, 488}},
		{"unknown body", "m4", request("INVITE", "m4", "Contact: <sip:m@{local}>\nContent-Type: text/plain\nContent-Length: 2\n\nhi"), []int{415}},
		{"unknown extension", "m5", request("INVITE", "m5", "Contact: <sip:m@{local}>\nRequire: telepathy\nContent-Length: 0\n"), []int{420}},
		{"too many hops", "m6", strings.Replace(request("OPTIONS", "m6", "Content-Length: 0\n"), "Max-Forwards: 70", "Max-Forwards: 0", 1), []int{483, 200}},
		{"options", "m7", request("OPTIONS", "m7", "Content-Length: 0\n"), []int{200}},
	} {
		t.Run(r.name, func(t *testing.T) {
			raw.Send(r.text, node)
			m := raw.WaitMessage("a final response", func(m phone.Message) bool { return m.Get("Call-ID") == r.id+"@m" && m.Status() >= 200 })
			ok := false
			for _, s := range r.status {
				ok = ok || m.Status() == s
			}
			if !ok {
				t.Errorf("%s, want one of %v", m.Start, r.status)
			}
		})
	}
	alice.WaitTone(440)
	if c.Call(id).Text("state") != "answered" {
		t.Error("the call is gone")
	}
}
