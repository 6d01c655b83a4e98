package monitor_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/monitor"
)

func TestMaskNumber(t *testing.T) {
	for in, want := range map[string]string{
		"+493012345623":             "+4930******23",
		"+4930123":                  "+49***23",
		"sip:+493012345623@host":    "sip:+4930******23@host",
		"%2B493012345623":           "%2B4930******23",
		"493012345623":              "4930******23",
		"demo":                      "demo",
		"+49":                       "+49",
		"call_01234567890123456789": "call_01234567890123456789",
		"192.168.100.200:50600":     "192.168.100.200:50600",
		"":                          "",
		"+":                         "+",
	} {
		if got := monitor.MaskNumber(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestMaskSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"key tpk_abcDEF0123456789, then":         "key tpk_***, then",
		"tpk_a tpk_b":                            "tpk_*** tpk_***",
		"Authorization: Bearer eyJh.bGci-_Oi=":   "Authorization: Bearer ***",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "whsec_***",
		"https://user:pa:ss@host/path":           "https://user:***@host/path",
		"https://user@host/a:b@c":                "https://user@host/a:b@c",
		"http://a:b@c http://d:e@f":              "http://a:***@c http://d:***@f",
		"nothing here":                           "nothing here",
		"tpk_":                                   "tpk_",
	} {
		if got := monitor.MaskSecrets(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// logged is the line that a logger writes.
func logged(o monitor.LogOptions, msg string, args ...any) string {
	var b bytes.Buffer
	monitor.NewLogger(&b, o).Info(msg, args...) //nolint:sloglint // messages are what is tested
	return b.String()
}

type named struct{ Number string }

func TestLogLinesHaveNoSecretsAndNoNumbers(t *testing.T) {
	const number, key = "+493012345623", "tpk_abcdefghijklmnop0123"
	u, err := url.Parse("https://me:hunter22@example.com/hook?to=" + url.QueryEscape(number))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []monitor.LogFormat{monitor.LogJSON, monitor.LogText} {
		for name, line := range map[string]string{
			"message":      logged(monitor.LogOptions{Format: format}, "call to "+number+" with "+key),
			"string":       logged(monitor.LogOptions{Format: format}, "m", "x", number, "y", key),
			"bare number":  logged(monitor.LogOptions{Format: format}, "m", "to", "493012345623"),
			"bare in uri":  logged(monitor.LogOptions{Format: format}, "m", "x", "<sip:493012345623@10.0.0.1>"),
			"error":        logged(monitor.LogOptions{Format: format}, "m", "error", errors.New("no answer from "+number+" "+key)),
			"stringer":     logged(monitor.LogOptions{Format: format}, "m", "url", u),
			"strings":      logged(monitor.LogOptions{Format: format}, "m", "to", []string{number, "493012345623"}),
			"bytes":        logged(monitor.LogOptions{Format: format}, "m", "raw", []byte(number+key)),
			"struct":       logged(monitor.LogOptions{Format: format}, "m", "v", named{number + " " + key}),
			"group":        logged(monitor.LogOptions{Format: format}, "m", slog.Group("call", "from", number, "api_key", "hunter22")),
			"secret names": logged(monitor.LogOptions{Format: format}, "m", "password", "hunter22", "Webhook-Secret", "hunter22", "access_token", "hunter22", "Authorization", "hunter22"),
		} {
			for _, secret := range []string{number[1:], key, "hunter22", "abcdefghijk"} {
				if strings.Contains(line, secret) {
					t.Errorf("%s as %s shows %q: %s", name, format, secret, line)
				}
			}
			if name != "secret names" && name != "group" && !strings.Contains(line, "4930") {
				t.Errorf("%s as %s says nothing any more: %s", name, format, line)
			}
		}
	}
}

func TestLogLeavesTheRestAlone(t *testing.T) {
	line := logged(monitor.LogOptions{}, "m", "call", "call_01kwersrkve80123456789abcd", "took", 1500*time.Millisecond, "n", 12345678,
		"at", time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), "ok", true, "none", nil, "err", error(nil), "nothing", (*url.URL)(nil))
	for _, want := range []string{
		`"call":"call_01kwersrkve80123456789abcd"`, `"took":1500000000`, `"n":12345678`, `"at":"2026-07-01T12:00:00Z"`, `"ok":true`, `"none":null`,
		`"level":"INFO"`, `"msg":"m"`,
	} {
		if !strings.Contains(line, want) {
			t.Errorf("the line lacks %s: %s", want, line)
		}
	}
	if line := logged(monitor.LogOptions{ShowNumbers: true}, "m", "to", "+493012345623", "secret", "x"); !strings.Contains(line, "+493012345623") || strings.Contains(line, `"x"`) {
		t.Errorf("numbers shown, secrets not: %s", line)
	}
	if line := logged(monitor.LogOptions{Level: slog.LevelWarn}, "m"); line != "" {
		t.Errorf("below its level the logger wrote %s", line)
	}
}

// FuzzMask: masking keeps the length of numbers, ends, and leaves no long number behind a plus.
func FuzzMask(f *testing.F) {
	for _, s := range []string{"+493012345623", "sip:123456789@h", "tpk_x Bearer y", "http://a:b@c", "++1234567", "%2B%2B12345678", "+1234567+1234567"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := monitor.MaskNumber(s)
		if len(got) != len(s) {
			t.Errorf("%q became %q", s, got)
		}
		_ = monitor.MaskSecrets(s)
		for i := range len(got) {
			if got[i] != '+' {
				continue
			}
			n := 0
			for i+1+n < len(got) && '0' <= got[i+1+n] && got[i+1+n] <= '9' {
				n++
			}
			if n >= 7 {
				t.Errorf("%q shows a number: %q", s, got)
			}
		}
	})
}

func BenchmarkLogLine(b *testing.B) {
	var w bytes.Buffer
	log := monitor.NewLogger(&w, monitor.LogOptions{})
	b.ReportAllocs()
	for b.Loop() {
		w.Reset()
		log.Info("call arrived", "call", "call_01kwersrkve80123456789abcd", "from", "sip:+493012345623@example.com", "to", "demo")
	}
}
