package main

import (
	"bytes"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// configured loads settings from a file's text, an environment and flags.
func configured(t *testing.T, file string, environ []string, args ...string) (*loaded, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	return load("serve", args, environ, &bytes.Buffer{})
}

func TestEverySettingIsWellMade(t *testing.T) {
	l := defaults()
	seen := map[string]bool{}
	for _, s := range l.settings {
		if seen[s.name] {
			t.Errorf("%s stands twice", s.name)
		}
		seen[s.name] = true
		if s.group == "" || len(s.help) < 15 || !strings.HasSuffix(s.help, ".") {
			t.Errorf("%s has no group or no sentence: %q %q", s.name, s.group, s.help)
		}
		if s.hasDev {
			if err := s.set(s.dev, fromDev); err != nil {
				t.Errorf("%s under --dev: %v", s.name, err)
			}
		}
		text := s.String()
		if err := s.set(text, fromFlag); err != nil || s.String() != text {
			t.Errorf("%s: %q is read back as %q (%v)", s.name, text, s.String(), err)
		}
	}
	// All fields but --dev and --config are settings.
	if n := reflect.TypeFor[Config]().NumField(); n != len(l.settings)+2 {
		t.Errorf("%d fields, %d settings", n, len(l.settings))
	}
	for _, name := range []string{
		"TIPRING_HTTP_LISTEN", "TIPRING_ADMIN_LISTEN", "TIPRING_SIP_LISTEN", "TIPRING_SIP_ADVERTISE", "TIPRING_RTP_PORTS",
		"TIPRING_DATA_DIR", "TIPRING_API_KEY", "TIPRING_LOG_LEVEL",
	} {
		if s := l.find(strings.ToLower(strings.TrimPrefix(name, "TIPRING_"))); s == nil || s.env() != name {
			t.Errorf("there is no %s", name)
		}
	}
	if errs := defaults().validate(); len(errs) > 0 {
		t.Errorf("the defaults are wrong: %v", errs)
	}
}

// TestSampleFile: deploy/config.yaml is what "tipring sample-config" prints, and says what the defaults are.
func TestSampleFile(t *testing.T) {
	var want bytes.Buffer
	writeSample(&want, defaults().settings)
	path := filepath.Join("..", "..", "deploy", "config.yaml")
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not up to date: go run ./cmd/tipring sample-config > deploy/config.yaml", path)
	}
	l, err := load("serve", []string{"--config", path}, nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	l.File = ""
	if !reflect.DeepEqual(l.Config, defaults().Config) {
		t.Errorf("the sample is read as %+v", l.Config)
	}
	for _, s := range l.settings {
		if s.source != fromFile {
			t.Errorf("%s is not in the sample", s.name)
		}
	}
}

func TestFlagsOverEnvironmentOverFileOverDefaults(t *testing.T) {
	file := "max_calls: 1\nhttp_listen: 127.0.0.1:1\nsip_listen: 127.0.0.1:1\n"
	env := []string{"TIPRING_HTTP_LISTEN=127.0.0.1:2", "TIPRING_SIP_LISTEN=127.0.0.1:2", "HOME=/x"}
	l, err := configured(t, file, env, "--sip-listen", "127.0.0.1:3", "--log-numbers")
	if err != nil {
		t.Fatal(err)
	}
	if l.MaxCalls != 1 || l.HTTPListen != "127.0.0.1:2" || l.SIPListen != "127.0.0.1:3" || l.AdminListen != "127.0.0.1:9090" || !l.LogNumbers {
		t.Errorf("got %+v", l.Config)
	}
	for name, want := range map[string]string{
		"max_calls": fromFile, "http_listen": fromEnv, "sip_listen": fromFlag, "admin_listen": fromDefault,
	} {
		if got := l.find(name).source; got != want {
			t.Errorf("%s comes from %s, want %s", name, got, want)
		}
	}
}

func TestEveryKindOfValue(t *testing.T) {
	l, err := configured(t, `
log_level: debug
retention: 36h
rtp_ports: 20000-20999
rtp_bind: 192.0.2.1
rtp_advertise: null
api_origins: [https://a.example, "https://b.example"]
allow_networks: 10.1.0.0/16, 10.2.0.0/16
sip_exempt:
  - 192.0.2.0/24
api_rate: 0.5
allow_private_urls: true
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	if c.LogLevel != slog.LevelDebug || c.Retention != 36*time.Hour || c.RTPPorts != (PortRange{20000, 20999}) ||
		c.RTPBind.String() != "192.0.2.1" || c.RTPAdvertise.IsValid() || len(c.APIOrigins) != 2 || len(c.AllowNetworks) != 2 ||
		len(c.SIPExempt) != 1 || c.APIRate != 0.5 || !c.AllowPrivateURLs {
		t.Errorf("got %+v", c)
	}
}

func TestDevIsForLoopback(t *testing.T) {
	l, err := configured(t, "", []string{"TIPRING_HTTP_LISTEN=127.0.0.1:9999"}, "--dev")
	if err != nil {
		t.Fatal(err)
	}
	if !l.Dev || !l.AllowPrivateURLs || l.HTTPListen != "127.0.0.1:9999" {
		t.Errorf("got %+v", l.Config)
	}
	for _, name := range []string{"http_listen", "admin_listen", "sip_listen"} {
		if s := l.find(name); !isLoopback(s.String()) {
			t.Errorf("--dev has %s at %s", name, s)
		}
	}
	if !l.RTPBind.IsLoopback() {
		t.Errorf("--dev has audio at %s", l.RTPBind)
	}
}

func TestErrorsSayWhereAndWhat(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		env  []string
		args []string
		want []string
	}{
		"unknown key":      {"# hello\nhttp_lsten: x\n", nil, nil, []string{"config.yaml:2", `"http_lsten"`, "did you mean http_listen?"}},
		"strange key":      {"weather: fine\n", nil, nil, []string{"config.yaml:1", `there is no setting "weather"`}},
		"twice":            {"node: a\nnode: b\n", nil, nil, []string{"config.yaml:2", "line 1 already"}},
		"bad value":        {"\n\nretention: long\n", nil, nil, []string{"config.yaml:3", "retention", `"long" is no duration`}},
		"no mapping":       {"- a\n", nil, nil, []string{"config.yaml:1", "mapping"}},
		"nested":           {"node:\n  name: x\n", nil, nil, []string{"config.yaml:2", "single value"}},
		"two documents":    {"node: a\n---\nnode: b\n", nil, nil, []string{"more than one document"}},
		"no YAML":          {"node: [a\n", nil, nil, []string{"config.yaml", "yaml"}},
		"all at once":      {"nod: a\nretention: x\n", nil, nil, []string{"config.yaml:1", "config.yaml:2"}},
		"environment":      {"", []string{"TIPRING_MAX_CALLS=many"}, nil, []string{"TIPRING_MAX_CALLS", `"many" is no whole number`}},
		"flag value":       {"", nil, []string{"--rtp-ports=5"}, []string{"--rtp-ports", "first-last"}},
		"unknown flag":     {"", nil, []string{"--sip-lisen=x"}, []string{"sip-lisen", "did you mean sip_listen?"}},
		"argument":         {"", nil, []string{"now"}, []string{`"now"`}},
		"no such file":     {"", nil, []string{"--config", "/does/not/exist.yaml"}, []string{"/does/not/exist.yaml"}},
		"listen":           {"http_listen: localhost\n", nil, nil, []string{"http_listen", "host:port"}},
		"port":             {"sip_listen: :99999\n", nil, nil, []string{"sip_listen", "65535"}},
		"same port":        {"http_listen: :1\nadmin_listen: :1\n", nil, nil, []string{"admin_listen", "taken by http_listen"}},
		"short key":        {"", []string{"TIPRING_API_KEY=abc"}, nil, []string{"api_key", "openssl rand"}},
		"bad key":          {"", []string{"TIPRING_API_KEY=abcdefghijk lmnopqrstuv"}, nil, []string{"api_key", "letters and digits"}},
		"few ports":        {"rtp_ports: 10000-10001\n", nil, nil, []string{"rtp_ports", "at least 4"}},
		"range reversed":   {"rtp_ports: 20000-10000\n", nil, nil, []string{"rtp_ports"}},
		"origin":           {"api_origins: [example.com]\n", nil, nil, []string{"api_origins", "https://app.example.com"}},
		"origin with path": {"api_origins: [\"https://example.com/x\"]\n", nil, nil, []string{"api_origins"}},
		"advertise":        {"sip_advertise: \"sip:me@here\"\n", nil, nil, []string{"sip_advertise"}},
		"session timer":    {"sip_session_expires: 10s\n", nil, nil, []string{"sip_session_expires", "90s"}},
		"log format":       {"log_format: xml\n", nil, nil, []string{"log_format", "auto, json, text"}},
		"log level":        {"log_level: loud\n", nil, nil, []string{"log_level"}},
		"zero time":        {"retention: 0s\n", nil, nil, []string{"retention"}},
		"negative":         {"max_calls: -1\n", nil, nil, []string{"max_calls", "negative"}},
		"media folder":     {"media_dir: /does/not/exist\n", nil, nil, []string{"media_dir", "make it first"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := configured(t, test.file, test.env, test.args...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
		})
	}
}

func TestUnusedEnvironmentIsAWarning(t *testing.T) {
	l, err := configured(t, "", []string{"TIPRING_HTTP_LISTN=x", "TIPRING_KEY=y", "OTHER=z"})
	if err != nil || len(l.warnings) != 2 || !strings.Contains(l.warnings[0], "did you mean http_listen") {
		t.Errorf("warnings %q, %v", l.warnings, err)
	}
}

func TestEmptyFilesAreFine(t *testing.T) {
	for _, file := range []string{"\n", "# nothing\n", "---\n", "null\n"} {
		if _, err := configured(t, file, nil); err != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("max_calls: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := configured(t, "", []string{"TIPRING_CONFIG=" + path})
	if err != nil || l.MaxCalls != 7 || len(l.warnings) != 0 {
		t.Errorf("got %d, %q, %v", l.MaxCalls, l.warnings, err)
	}
}

func TestHelpListsEverySetting(t *testing.T) {
	var out bytes.Buffer
	if _, err := load("serve", []string{"--help"}, nil, &out); err != flag.ErrHelp { //nolint:errorlint // as flag documents it
		t.Fatalf("got %v", err)
	}
	for _, s := range defaults().settings {
		if !strings.Contains(out.String(), "--"+s.flag()+" ") {
			t.Errorf("--%s is not in the help", s.flag())
		}
	}
}

func TestCommands(t *testing.T) {
	const key = "tpk_0123456789abcdefghij"
	for name, test := range map[string]struct {
		args           []string
		env            []string
		code           int
		stdout, stderr string
	}{
		"nothing":       {nil, nil, 2, "", "Usage: tipring COMMAND"},
		"help":          {[]string{"help"}, nil, 0, "Usage: tipring COMMAND", ""},
		"version":       {[]string{"version"}, nil, 0, "tipring ", ""},
		"unknown":       {[]string{"sevre"}, nil, 2, "", `no command "sevre"`},
		"check":         {[]string{"check-config", "--max-calls", "3"}, nil, 0, "max_calls: 3 ", ""},
		"check, wrong":  {[]string{"check-config", "--max-calls", "x"}, nil, 2, "", "no whole number"},
		"check, secret": {[]string{"check-config"}, []string{"TIPRING_API_KEY=" + key}, 0, `api_key: "***"`, ""},
		"check, warned": {[]string{"check-config"}, []string{"TIPRING_NOD=x"}, 0, "node:", "did you mean node?"},
		"serve, wrong":  {[]string{"serve", "--rtp-ports", "1-2"}, nil, 2, "", "rtp_ports"},
		"serve, help":   {[]string{"serve", "-h"}, nil, 0, "--http-listen", ""},
		"sample":        {[]string{"sample-config"}, nil, 0, "http_listen: \":8080\"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(test.args, test.env, &stdout, &stderr); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if !strings.Contains(stdout.String(), test.stdout) || !strings.Contains(stderr.String(), test.stderr) {
				t.Errorf("stdout %q\nstderr %q", stdout.String(), stderr.String())
			}
			if strings.Contains(stdout.String()+stderr.String(), key) {
				t.Error("the key is shown")
			}
		})
	}
}

// TestCheckConfigCanBeFedBack: what check-config prints is a file that means the same.
func TestCheckConfigCanBeFedBack(t *testing.T) {
	l, err := configured(t, "api_origins: [https://a.example]\nnode: \"a: b\"\nrtp_advertise: \"2001:db8::1\"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writeConfig(&out, l.settings)
	again, err := configured(t, out.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.File, again.File = "", ""
	if !reflect.DeepEqual(l.Config, again.Config) {
		t.Errorf("got %+v, want %+v", again.Config, l.Config)
	}
}

// FuzzConfigFile: no file makes the program panic, and each fault is an error that names the file.
func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{"node: a\n", "a: &x [1]\nb: *x\n", "node: {a: b}\n", "? [x]\n: y\n", "- 1\n", "node: !!binary aGk=\n", "\x00", "---\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := defaults()
		l.File = "config.yaml"
		for _, err := range append(l.readYAML(text), l.validate()...) {
			if err.Error() == "" {
				t.Error("an error says nothing")
			}
		}
	})
}
