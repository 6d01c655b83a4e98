package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
)

// TestSIPpScenarios runs each scenario for a few calls against the real program, with SIPp on both sides.
func TestSIPpScenarios(t *testing.T) {
	sipp, err := exec.LookPath("sipp")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("sipp is missing: apt-get install sip-tester (make setup does it)")
		}
		t.Skip("sipp is missing: apt-get install sip-tester (make setup does it)")
	}
	port := harness.FreeUDP(t)
	uas := exec.Command(sipp, "-sn", "uas", "-i", "127.0.0.1", "-p", strconv.Itoa(port), "-mi", "127.0.0.1",
		"-mp", strconv.Itoa(harness.FreeUDP(t)), "-rtp_echo", "-nostdin")
	if err := uas.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { uas.Process.Kill(); uas.Wait() }()
	s, err := serve(options{}, "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	for _, name := range []string{"calls.xml", "relay.xml"} {
		file, err := filepath.Abs(filepath.Join("sipp", name))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "tone.ulaw"), []byte(strings.Repeat("\x10\x90", 4000)), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(sipp, "-sf", file, s.sip, "-s", "load1", "-i", "127.0.0.1", "-p", strconv.Itoa(harness.FreeUDP(t)), "-mi", "127.0.0.1",
			"-mp", strconv.Itoa(harness.FreeUDP(t)), "-r", "20", "-m", "10", "-d", "500", "-nostdin", "-timeout", "30s", "-timeout_error")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out[max(0, len(out)-2000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestBencode: what is encoded is decoded, and what is cut or lies is refused.
func TestBencode(t *testing.T) {
	in := map[string]any{"command": "offer", "sdp": "v=0\r\n", "codec": map[string]any{"mask": []any{"all"}, "empty": ""}}
	b := bencode(nil, in)
	if want := "d5:codecd5:empty0:4:maskl3:allee7:command5:offer3:sdp5:v=0\r\ne"; string(b) != want {
		t.Errorf("%q, want %q", b, want)
	}
	v, rest, err := bdecode(append(b, 'x'))
	got, _ := v.(map[string]any)
	if err != nil || string(rest) != "x" || got["sdp"] != "v=0\r\n" || got["codec"].(map[string]any)["mask"].([]any)[0] != "all" {
		t.Errorf("%v, %q, %v", v, rest, err)
	}
	if v, _, err := bdecode([]byte("d2:agi42ee")); err != nil || v.(map[string]any)["ag"] != "42" {
		t.Errorf("%v %v", v, err)
	}
	for _, s := range []string{"", "d", "l3:ab", "9:x", "-1:x", "i5", "x", "d3:abc"} {
		if _, _, err := bdecode([]byte(s)); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}
