package stream

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func TestMatchType(t *testing.T) {
	for _, tt := range []struct {
		patterns []string
		typ      string
		want     bool
	}{
		{nil, "call.ended", true},
		{[]string{"*"}, "call.ended", true},
		{[]string{"call.*"}, "call.ended", true},
		{[]string{"call.*"}, "conference.ended", false},
		{[]string{"call.ended"}, "call.ended", true},
		{[]string{"call.ended"}, "call.ended.twice", false},
		{[]string{"x", "call.dtmf.*"}, "call.dtmf.received", true},
	} {
		if got := MatchType(tt.patterns, tt.typ); got != tt.want {
			t.Errorf("MatchType(%v, %q) = %v", tt.patterns, tt.typ, got)
		}
	}
}

func TestDecodeInstructions(t *testing.T) {
	for body, want := range map[string]struct {
		n    int
		code engine.Code
	}{
		"": {0, ""}, "  \n": {0, ""}, "{}": {0, ""}, `{"instructions":[]}`: {0, ""}, `{"instructions":null}`: {0, ""},
		`{"instructions":[{"action":"answer"},{"action":"play","url":"tone:busy"}]}`: {2, ""},
		`{"instructions":[{"action":"answer"}],"mode":"append"}`:                     {1, ""},
		`{"instructions":[{"action":"answer"}],"mode":"later"}`:                      {0, engine.CodeValidation},
		`{"instructions":[null]}`:                                                    {0, engine.CodeValidation},
		`{"instructions":[{}]}`:                                                      {0, engine.CodeValidation},
		`{"instructions":[{"action":"dance"}]}`:                                      {0, engine.CodeValidation},
		`{"instructions":{"action":"play"}}`:                                         {0, engine.CodeValidation},
		`{"instruction":[]}`:                                                         {0, engine.CodeValidation},
		`OK`:                                                                         {0, "malformed_request"},
		`"OK"`:                                                                       {0, "malformed_request"},
		`null`:                                                                       {0, "malformed_request"},
		`<html></html>`:                                                              {0, "malformed_request"},
		`{"instructions":[]}{"instructions":[]}`:                                     {0, "malformed_request"},
		`{"instructions":[{"action":"wait","x":1}]}`:                                 {0, engine.CodeValidation},
	} {
		ins, err := DecodeInstructions([]byte(body))
		n := 0
		if ins != nil {
			n = len(ins.Instructions)
		}
		if n != want.n || engine.ErrorCode(err) != want.code {
			t.Errorf("%s: %d instructions, %v; want %+v", body, n, err, want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"type":"subscribe","types":["call.*"],"call_id":"call_1","after":"7"}`,
		`{"type":"command","command_id":"c","call_id":"call_1","action":"gather","prompt":{"url":"tone:x"}}`,
		`{"type":"command","conference_id":"r","call_id":"call_1","action":"set","role":"coach","coach":["call_2"]}`,
		`{"type":"command","action":"originate","to":"sip:a@b","instructions":[{"action":"answer"}]}`,
		`{"type":"instructions","event_id":"e","instructions":[{"action":"play","url":"x"}],"mode":"append"}`,
		`{"type":"ack","cursor":"9"}`, `{"type":"ping"}`, `{"type":null}`, `{"TYPE":"ping","type":"ack"}`, `[[[[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := decodeFrame(b)
		if err != nil {
			if _, ok := errors.AsType[*engine.Error](err); !ok {
				t.Fatalf("%T is not for customers: %v", err, err)
			}
			return
		}
		switch v := frame.(type) {
		case *commandFrame:
			forms := 0
			for _, is := range []bool{v.originate != nil, v.action != nil, v.conference != nil} {
				if is {
					forms++
				}
			}
			if forms != 1 {
				t.Fatal("a command is an action, one on a conference, or an originate")
			}
			if v.conference != nil && v.conference.Target() == "" {
				t.Fatal("an action on no conference")
			}
			if v.action != nil && v.action.Head().CallID == "" {
				t.Fatal("an action without a call")
			}
		case *Subscription, *instructionsFrame, *ackFrame, *pingFrame:
		default:
			t.Fatalf("%T", frame)
		}
	})
}

func FuzzInstructions(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `{"instructions":[{"action":"answer"}]}`, `{"instructions":[{"action":"bridge","to":"sip:x@y","headers":{"X":"1"}}],"mode":"replace"}`,
		`{"instructions":[null]}`, `{"instructions":[{"action":"run","instructions":[]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ins, err := DecodeInstructions(b)
		if err != nil {
			if _, ok := errors.AsType[*engine.Error](err); !ok {
				t.Fatalf("%T is not for customers: %v", err, err)
			}
			return
		}
		if ins == nil {
			return
		}
		again, err := json.Marshal(ins)
		if err != nil {
			t.Fatal(err)
		}
		second, err := DecodeInstructions(again)
		if err != nil || len(second.Instructions) != len(ins.Instructions) {
			t.Fatalf("%s does not survive: %v", again, err)
		}
	})
}

// BenchmarkEventFrame is what one event costs per subscriber, without the socket.
func BenchmarkEventFrame(b *testing.B) {
	e := session.Logged{Cursor: "0000000000000042", Event: engine.Event{
		ID: "evt_01jb3v8x0c4f7kq2m9n5r6s7t8", Type: "call.dtmf.received", Sequence: 7, ProjectID: "prj_default",
		ApplicationID: "app_01jb3v8x0c4f7kq2m9n5r6s7t8", CallID: "call_01jb3v8x0c4f7kq2m9n5r6s7t8",
		Data: []byte(`{"direction":"inbound","digit":"5","from":"sip:a@b","to":"sip:c@d","state":"answered"}`),
	}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(eventFrame{Type: "event", Cursor: e.Cursor, Event: &e.Event}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	frame := []byte(`{"type":"command","command_id":"c1","call_id":"call_01jb3v8x0c4f7kq2m9n5r6s7t8","action":"play","url":"https://example.com/a.wav"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeFrame(frame); err != nil {
			b.Fatal(err)
		}
	}
}
