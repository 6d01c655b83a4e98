package sip

import (
	"testing"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// Every reason has a final status, and those with a status of their own come back from it.
func TestReasonsAndStatuses(t *testing.T) {
	for reason, status := range map[engine.Reason]int{
		engine.ReasonBusy: 486, engine.ReasonRejected: 603, engine.ReasonNotFound: 404, engine.ReasonUnavailable: 480,
		engine.ReasonNoCodec: 488, engine.ReasonForbidden: 403, engine.ReasonUnreachable: 502,
	} {
		if got := statusOf(reason); got != status {
			t.Errorf("%s is %d, want %d", reason, got, status)
		}
		if got := reasonOf(status); got != reason {
			t.Errorf("%d is %s, want %s", status, got, reason)
		}
	}
	for _, reason := range []engine.Reason{engine.ReasonNormal, engine.ReasonNoAnswer, engine.ReasonIdle, engine.ReasonMaxDuration, ""} {
		if got := statusOf(reason); got != 480 {
			t.Errorf("%q is %d", reason, got)
		}
	}
	for status := 300; status < 700; status++ {
		if reasonOf(status) == "" || reasonOf(status) == engine.ReasonNormal {
			t.Errorf("%d is %q", status, reasonOf(status))
		}
		if phrase(status) == "" {
			t.Errorf("%d has no phrase", status)
		}
	}
}

// RFC 3398 8.2.6.1 and 7.2.4.1, rows where both directions are defined and agree.
func TestQ850(t *testing.T) {
	for status, cause := range map[int]int{404: 1, 486: 17, 403: 21, 410: 22, 484: 28, 502: 38, 503: 41, 501: 79, 504: 102, 488: 65} {
		if got := q850Of(status); got != cause {
			t.Errorf("%d is Q.850 %d, want %d", status, got, cause)
		}
	}
	for cause, status := range map[int]int{
		1: 404, 3: 404, 17: 486, 18: 408, 19: 480, 21: 403, 22: 410, 27: 502, 28: 484, 34: 503,
		41: 503, 65: 488, 79: 501, 102: 504, 127: 500, 16: 0, 999: 0,
	} {
		if got := statusOfQ850(cause); got != status {
			t.Errorf("Q.850 %d is %d, want %d", cause, got, status)
		}
	}
}

func TestReadReason(t *testing.T) {
	for value, want := range map[string]engine.Cause{
		`Q.850;cause=16;text="Normal \"call\" clearing"`: {Reason: engine.ReasonNormal, Q850: 16, Text: `Normal "call" clearing`},
		`Q.850 ;cause=17`: {Reason: engine.ReasonBusy, Q850: 17},
		`SIP;cause=200;text="Call completed elsewhere"`: {Reason: engine.ReasonNormal, SIPStatus: 200, Text: "Call completed elsewhere"},
		`SIP ;cause=603 ;text="a;b, c", Q.850;cause=21`: {Reason: engine.ReasonRejected, SIPStatus: 603, Q850: 21, Text: "a;b, c"},
		`X.YZ;cause=1`:             {Reason: engine.ReasonNormal},
		`SIP;cause=99999`:          {Reason: engine.ReasonNormal},
		`Q.850;cause=-1;text=bare`: {Reason: engine.ReasonNormal, Text: "bare"},
		"":                         {Reason: engine.ReasonNormal},
	} {
		got := engine.Cause{Reason: engine.ReasonNormal}
		readReason(message("Reason", value), &got)
		if got.Reason != want.Reason || got.Q850 != want.Q850 || got.SIPStatus != want.SIPStatus || got.Text != want.Text {
			t.Errorf("%q: %+v, want %+v", value, got, want)
		}
	}
}

func TestStatusOfCode(t *testing.T) {
	for code, status := range map[engine.Code]int{
		engine.CodeNoRoute: 404, engine.CodeNotFound: 404, engine.CodeCapacity: 503, engine.CodeDraining: 503, engine.CodeValidation: 400,
		engine.CodeUnsupported: 488, engine.CodeTimeout: 504, engine.CodeInternal: 500, engine.CodeConflict: 500,
	} {
		if got := statusOfCode(code); got != status {
			t.Errorf("%s is %d, want %d", code, got, status)
		}
	}
}

func TestReasonHeaderRoundTrip(t *testing.T) {
	for _, c := range []engine.Cause{{Reason: engine.ReasonBusy, Text: `a "b" \ c`}, {Reason: engine.ReasonNormal}, {Reason: engine.ReasonRejected, Q850: 88}} {
		msg := sip.NewRequest(sip.BYE, sip.Uri{})
		msg.AppendHeader(reasonHeader(c))
		got := engine.Cause{Reason: engine.ReasonNormal}
		readReason(msg, &got)
		want := c.Q850
		if want == 0 {
			want = q850OfReason(c.Reason)
		}
		if got.Q850 != want || got.Text != c.Text {
			t.Errorf("%+v came back as %+v", c, got)
		}
	}
	if h := reasonHeader(engine.Cause{Text: "a\r\nVia: evil"}); h.Value() != `Q.850;cause=18;text="aVia: evil"` {
		t.Errorf("header %q", h.Value())
	}
}
