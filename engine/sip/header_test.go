package sip

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tipring/tipring/engine"
)

func TestCheckHeaders(t *testing.T) {
	for _, name := range []string{"X-Id", "P-Asserted-Identity", "Diversion", "User-to-User", "Subject", "Privacy", "x_y.z"} {
		if err := checkHeaders(map[string]string{name: "v"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"Via", "via", "v", "From", "f", "To", "Call-ID", "i", "CSeq", "Contact", "m", "Max-Forwards", "Route", "Record-Route",
		"Content-Type", "Content-Length", "l", "Content-Disposition", "Authorization", "Proxy-Authorization", "Require", "Proxy-Require",
		"Supported", "k", "Session-Expires", "x", "Min-SE", "RSeq", "Refer-To", "r", "Replaces", "Reason", "", "a b", "a:b", "a\r\nb", "ü",
	} {
		err := checkHeaders(map[string]string{name: "v"})
		if engine.ErrorCode(err) != engine.CodeValidation {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, v := range []string{"a\r\nb", "a\nb", "a\x00", strings.Repeat("x", maxHeaderValue+1)} {
		if engine.ErrorCode(checkHeaders(map[string]string{"X-A": v})) != engine.CodeValidation {
			t.Errorf("%.10q was taken", v)
		}
	}
	many := map[string]string{}
	for i := range maxCustomHeaders + 1 {
		many["X-"+strconv.Itoa(i)] = "v"
	}
	if engine.ErrorCode(checkHeaders(many)) != engine.CodeValidation {
		t.Error("too many were taken")
	}
}

func TestApplicationHeaders(t *testing.T) {
	req := message("x-id", "1", "X-ID", "2", "s", "lunch", "Via", "SIP/2.0/UDP x", "k", "timer", "Authorization", "Digest x",
		"P-Asserted-Identity", "<sip:a@b>", "X-Bad", "a\x01b", "Proxy-Authorization", "Digest y")
	got := applicationHeaders(req)
	want := map[string]string{"X-Id": "1, 2", "Subject": "lunch", "P-Asserted-Identity": "<sip:a@b>", "X-Bad": "ab"}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
}

func TestSplitQuoted(t *testing.T) {
	for s, want := range map[string][]string{
		"a;b":                  {"a", "b"},
		`text="a;b\";c";d`:     {`text="a;b\";c"`, "d"},
		"<sip:a;lr>;x":         {"<sip:a;lr>", "x"},
		"":                     {""},
		`"never closed;x`:      {`"never closed;x`},
		`a\;b`:                 {`a\`, "b"},
		`trailing backslash"\`: {`trailing backslash"\`},
	} {
		if got := slices.Collect(splitQuoted(s, ';')); !slices.Equal(got, want) {
			t.Errorf("%q: %q", s, got)
		}
	}
}
