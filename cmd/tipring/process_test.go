package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness/phone"
)

// childArgs makes the test's program behave as tipring with these arguments.
const childArgs = "TEST_TIPRING_ARGS"

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(childArgs); ok {
		os.Exit(run(strings.Split(args, "\n"), os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is tipring as users run it.
type process struct {
	cmd            *exec.Cmd
	HTTP, SIP, Key string
	stdout         string // the first lines, up to the banner's end
}

// startProcess runs "serve --dev" and waits until it says that it is ready.
func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	first := 30000 + 2*rand.IntN(10000)
	args := []string{
		"serve", "--dev", "--data-dir", dir, "--http-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--sip-listen", "127.0.0.1:0", "--rtp-ports", fmt.Sprintf("%d-%d", first, first+999), "--log-format", "json", "--node", "n1",
	}
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(args, "\n"))
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for p.HTTP == "" {
		if !lines.Scan() {
			t.Fatal("the program ended instead of getting ready")
		}
		var line struct{ Msg, HTTP, SIP string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "ready" {
			p.HTTP, p.SIP = line.HTTP, line.SIP
		}
	}
	go func() { // ends with the process
		for lines.Scan() {
		}
	}()
	banner := bufio.NewScanner(stdout)
	for banner.Scan() && !strings.Contains(banner.Text(), "Ctrl-C") {
		p.stdout += banner.Text() + "\n"
		if _, key, ok := strings.Cut(banner.Text(), "export TIPRING_KEY="); ok {
			p.Key = key
		}
	}
	return p
}

// calls asks the API as the banner says.
func (p *process) calls(t *testing.T, query string) string {
	t.Helper()
	return fetch(t, &node{apiKey: p.Key}, "http://"+p.HTTP+"/v1/calls"+query)
}

// TestKilledNodeTellsWhatItLost: after kill -9 with a live call the same key opens the API, and the call has an end.
func TestKilledNodeTellsWhatItLost(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	if !strings.Contains(p.stdout, "http://"+p.HTTP+"/docs") || !strings.Contains(p.stdout, "sip:echo@"+p.SIP) || len(p.Key) < 36 {
		t.Errorf("the banner says:\n%s", p.stdout)
	}
	phone.New(t, phone.Options{}).Call("sip:echo@"+p.SIP, phone.CallOptions{}).WaitAnswered()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(p.calls(t, "?state=answered"), "call_"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the call is not listed")
		}
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()

	again := startProcess(t, dir)
	if again.Key != p.Key {
		t.Error("the key is another after the restart")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		list := again.calls(t, "?state=ended")
		if strings.Contains(list, `"node_lost"`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the lost call has no end: %s", list)
		}
	}
	if err := again.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := again.cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}
