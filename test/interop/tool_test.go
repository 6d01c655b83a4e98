package interop

import (
	"bytes"
	"context"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zaf/g711"

	"github.com/tipring/tipring/test/harness"
)

func TestMain(m *testing.M) {
	status := m.Run()
	harness.Cleanup()
	os.Exit(status)
}

// need finds a program. In CI a missing one fails the test; elsewhere the test says how to install it.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s (make setup does it)", program, pkg)
	}
	t.Skipf("%s is missing: apt-get install %s (make setup does it)", program, pkg)
	return ""
}

// do is an instruction.
func do(action string, params ...any) harness.Instruction { return harness.Do(action, params...) }

// tone is one second of a tone as mu-law bytes: whole cycles, so that it can be looped.
func tone(hz float64) []byte {
	out := make([]byte, 8000)
	for i := range out {
		out[i] = g711.EncodeUlawFrame(int16(8000 * math.Sin(2*math.Pi*hz*float64(i)/8000)))
	}
	return out
}

// A sipp is a running SIPp.
type sipp struct {
	t      *testing.T
	name   string
	dir    string
	port   int
	media  int
	done   chan error
	output bytes.Buffer
}

// startSIPp runs a scenario for one call; it is killed after 40 s.
func startSIPp(t *testing.T, scenario string, args ...string) *sipp {
	t.Helper()
	path := need(t, "sipp", "sip-tester")
	file, err := filepath.Abs(filepath.Join("sipp", scenario+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	s := &sipp{t: t, name: scenario, dir: t.TempDir(), port: harness.FreeUDP(t), media: harness.FreeUDP(t), done: make(chan error, 1)}
	if err := os.WriteFile(filepath.Join(s.dir, "tone.ulaw"), tone(440), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, append([]string{
		"-sf", file, "-i", "127.0.0.1", "-p", strconv.Itoa(s.port), "-mi", "127.0.0.1", "-mp", strconv.Itoa(s.media),
		"-m", "1", "-nostdin", "-timeout", "30s", "-timeout_error",
		"-trace_err", "-error_file", "errors.log", "-trace_msg", "-message_file", "messages.log",
	}, args...)...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- cmd.Wait() }() // ends with the process
	return s
}

// wait waits for SIPp's own verdict on the call.
func (s *sipp) wait() {
	s.t.Helper()
	err := <-s.done
	if err == nil {
		return
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return err.Error()
		}
		return string(b[max(0, len(b)-6000):])
	}
	out := s.output.String()
	s.t.Errorf("SIPp %s: %v\n%s\nerrors:\n%s\nmessages:\n%s", s.name, err, out[max(0, len(out)-1500):], read("errors.log"), read("messages.log"))
}

// listening waits until SIPp holds its port.
func (s *sipp) listening() {
	s.t.Helper()
	harness.Eventually(s.t, "SIPp listens", func() bool {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.port})
		if err == nil {
			c.Close()
		}
		return err != nil
	}, func() string { return s.output.String() })
}

// uri is where SIPp is called.
func (s *sipp) uri() string { return "sip:sipp@127.0.0.1:" + strconv.Itoa(s.port) }

// types are the events of the newest call to a number, once it is over.
func ended(t *testing.T, c *harness.Client, number string) (string, harness.Event) {
	t.Helper()
	id := ""
	harness.Eventually(t, "a call to "+number+" is listed", func() bool {
		r := c.Must("GET", "/v1/calls?limit=1&direction=inbound&to="+number, nil)
		if data, ok := r.Object()["data"].([]any); ok && len(data) == 1 {
			id, _ = data[0].(map[string]any)["id"].(string)
		}
		return id != ""
	}, nil)
	return id, c.WaitEvent(id, "call.ended")
}

func digits(c *harness.Client, id string) string {
	var b strings.Builder
	for _, e := range c.CallEvents(id, 0, 0) {
		if e.Type == "call.dtmf.received" {
			b.WriteString(e.Text("digit"))
		}
	}
	return b.String()
}
