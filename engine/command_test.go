package engine_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/tipring/tipring/engine"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, scheme, user, host, name string }{
		{"sip:bob@example.com", "sip", "bob", "example.com", ""},
		{"SIPS:bob@example.com:5061;transport=tls", "sips", "bob", "example.com:5061", ""},
		{`"Bob" <sip:bob%20b@[::1]:5060;lr?x=y>`, "sip", "bob b", "[::1]:5060", "Bob"},
		{"sip:+49301;phone-context=x@host", "sip", "+49301", "host", ""},
		{"sip:host", "sip", "", "host", ""},
		{"+4930123", "tel", "+4930123", "", ""},
		{"tel:+4930123;ext=1", "tel", "+4930123", "", ""},
		{"client:alice", "client", "alice", "", ""},
	} {
		a, err := engine.ParseAddress(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if a.Scheme() != c.scheme || a.User() != c.user || a.Host() != c.host || a.Name != c.name {
			t.Errorf("%s: got %s %q %q %q", c.in, a.Scheme(), a.User(), a.Host(), a.Name)
		}
		if again, err := engine.ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%s: written as %s, which reads as %+v (%v)", c.in, a, again, err)
		}
	}
	for _, bad := range []string{"", "bob", "sip:", "http://x", "+49a", "client:", "sip:a@b\r\nX: y", "+"} {
		if a, err := engine.ParseAddress(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, a)
		}
	}
}

func TestInstructionsSurviveJSON(t *testing.T) {
	text := `[{"action":"answer"},{"action":"play","url":"https://x/y.wav","loop":2},` +
		`{"action":"gather","prompt":{"url":"tone:440/100"},"max_digits":4},{"action":"bridge","to":"sip:a@b","headers":{"X-A":"1"}}]`
	var list, again []engine.Instruction
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(list, again) {
		t.Errorf("got %s", out)
	}
}

func TestWhatIsWrongWithACommandIsNamed(t *testing.T) {
	for _, c := range []struct{ action, params, pointer string }{
		{"play", `{"url":"https://x","volume":3}`, "/volume"},
		{"play", `{"url":5}`, "/url"},
		{"play", `{}`, "/url"},
		{"play", `{"url":"https://x","loop":-2}`, "/loop"},
		{"gather", `{"min_digits":5,"max_digits":4}`, "/min_digits"},
		{"gather", `{"finish_on_key":"x"}`, "/finish_on_key"},
		{"gather", `{"prompt":{"url":"nonsense"}}`, "/prompt/url"},
		{"bridge", `{}`, "/with"},
		{"bridge", `{"to":"bob"}`, "/to"},
		{"bridge", `{"to":"sip:a@b","headers":{"X":"a\r\nVia: b"}}`, "/headers/X"},
		{"send_dtmf", `{"digits":"12x"}`, "/digits"},
		{"mute", `{"direction":"up"}`, "/direction"},
		{"reject", `{"status":200}`, "/status"},
		{"run", `{"instructions":[{"action":"answer"},{"action":"play","url":"nonsense"}]}`, "/instructions/1/url"},
		{"fly", `{}`, "/action"},
	} {
		a, err := engine.DecodeAction(c.action, []byte(c.params))
		if err == nil {
			err = engine.Validate(a)
		}
		e, ok := err.(*engine.Error) //nolint:errorlint // exactly what is promised
		if !ok || e.Code != engine.CodeValidation || e.Pointer != c.pointer {
			t.Errorf("%s %s: got %v at %q, want %s", c.action, c.params, err, pointerOf(e), c.pointer)
		}
	}
}

func pointerOf(e *engine.Error) string {
	if e == nil {
		return ""
	}
	return e.Pointer
}

func TestPlaceholdersCannotBreakOut(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("a b@evil", `{"instructions":[{"action":"bridge","to":"sip:{to_user}@10.0.0.5","headers":{"X-From":"{from} {nothing} {"}}]}`)
		if _, err := o.e.Accept(engine.Incoming{
			From: engine.Address{URI: "sip:alice@example.com"}, To: engine.Address{URI: "sip:a%20b%40evil@tip.ring"},
		}, newPhone()); err != nil {
			t.Fatal(err)
		}
		b := <-o.dialed
		if b.out.To.URI != "sip:a%20b%40evil@10.0.0.5" || b.out.To.Host() != "10.0.0.5" {
			t.Errorf("dialled %s", b.out.To.URI)
		}
		if got := b.out.Headers["X-From"]; got != "sip:alice@example.com {nothing} {" {
			t.Errorf("header %q", got)
		}
		b.leave(engine.Cause{Reason: engine.ReasonBusy})
	})
}

func FuzzInstructions(f *testing.F) {
	f.Add([]byte(`{"instructions":[{"action":"play","url":"tone:440/100"}],"mode":"append"}`))
	f.Add([]byte(`{"instructions":[{"action":"run"}]}`))
	f.Add([]byte(`{"instructions":[null,{},[],{"action":5}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ins engine.Instructions
		if json.Unmarshal(b, &ins) != nil {
			return
		}
		if engine.ValidateInstructions(ins.Instructions) != nil {
			return
		}
		out, err := json.Marshal(ins)
		if err != nil {
			t.Fatal(err)
		}
		var again engine.Instructions
		if err := json.Unmarshal(out, &again); err != nil {
			t.Fatalf("%s was written as %s: %v", b, out, err)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"sip:bob@example.com", `"B" <sips:b@[::1]:5;x?y>`, "tel:+1", "client:a", "sip:a:b@c@d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := engine.ParseAddress(s)
		if err != nil {
			return
		}
		if again, err := engine.ParseAddress(a.String()); err != nil || again.URI != a.URI {
			t.Errorf("%q: written as %q, which reads as %+v (%v)", s, a, again, err)
		}
	})
}
