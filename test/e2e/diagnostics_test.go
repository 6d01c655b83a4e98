package e2e

import (
	"net/http"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// Calls do not arrive, and a developer wants to know why: what would become of one can be asked, and each that was refused is an
// event with the rule that refused it.
func TestWhyACallDoesNotArrive(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	s := n.Stream()
	s.Subscribe(map[string]any{"types": []string{"call.rejected"}})
	ask := func(to string) harness.Response {
		return c.Must(http.MethodPost, "/v1/diagnostics/inbound", map[string]any{"to": to, "source_ip": "127.0.0.1"})
	}
	if r := ask("sip:desk@127.0.0.1"); r.Text("taken") != "false" || r.Text("rule") != "no_number" {
		t.Errorf("%s", r.Body)
	}
	caller := phone.New(t, phone.Options{User: "alice"})
	if e := caller.Call(n.URI("desk"), phone.CallOptions{}).WaitEnded(); e.Status != 404 {
		t.Errorf("%+v", e)
	}
	rejected := func(to, rule, status string) {
		t.Helper()
		f := s.WaitFrame("call.rejected for "+to, func(f harness.Frame) bool { return f.Type == "event" && f.Event.Text("to") == n.URI(to) })
		if e := f.Event; e.Text("rule") != rule || e.Text("sip_status") != status || e.Text("source") != caller.Addr().String() || e.Text("detail") == "" {
			t.Errorf("%s: %v", to, e.Data)
		}
	}
	rejected("desk", "no_number", "404")

	c.Answering("de*", map[string]any{"name": "Desk", "codecs": []string{"opus"}, "instructions": []any{do("answer")}})
	if r := ask("desk"); r.Text("taken") != "true" || r.Text("rule") != "number" || r.Text("number") != "de*" || r.Text("application") != "Desk" {
		t.Errorf("%s", r.Body)
	}
	if e := caller.Call(n.URI("dentist"), phone.CallOptions{}).WaitEnded(); e.Status != 488 {
		t.Errorf("without a common codec: %+v", e)
	}
	rejected("dentist", "no_codec", "488")
}
