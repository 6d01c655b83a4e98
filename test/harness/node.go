package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// NodeOptions of a node; the zero value is a node with free ports, an empty data folder and a key.
type NodeOptions struct {
	Dev     bool     // serve --dev: demo numbers
	NoRace  bool     // without the race detector: for measuring
	DataDir string   // "": a temporary folder
	Env     []string // more environment, "TIPRING_…=…"
	Args    []string // more flags
}

// A Node is the real program as a child process, on free ports of 127.0.0.1.
type Node struct {
	t       testing.TB
	o       NodeOptions
	HTTP    string // host:port of the API
	Admin   string // of metrics, health
	SIP     string // of SIP, UDP and TCP
	Key     string // of the API, all scopes
	DataDir string
	env     []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone
	logs lockedBuffer
}

// NewNode starts a node and waits until it is ready; the end of the test ends it.
func NewNode(t testing.TB, o NodeOptions) *Node {
	t.Helper()
	n := &Node{t: t, o: o, Key: "tpk_harness0123456789abcdefghijklmnopqrstuv", DataDir: o.DataDir}
	if n.DataDir == "" {
		n.DataDir = t.TempDir()
	}
	n.HTTP, n.Admin, n.SIP = freeTCP(t), freeTCP(t), freeBoth(t)
	// RTP below the ephemeral ports, in a block that other tests at this time hardly share: a taken port is skipped.
	first := 12000 + 1000*rand.IntN(18)
	n.env = append([]string{
		"TIPRING_HTTP_LISTEN=" + n.HTTP, "TIPRING_ADMIN_LISTEN=" + n.Admin, "TIPRING_SIP_LISTEN=" + n.SIP, "TIPRING_WEBRTC_LISTEN=127.0.0.1:0",
		"TIPRING_RTP_PORTS=" + strconv.Itoa(first) + "-" + strconv.Itoa(first+1999),
		"TIPRING_DATA_DIR=" + n.DataDir, "TIPRING_API_KEY=" + n.Key, "TIPRING_LOG_LEVEL=debug",
		"TIPRING_ALLOW_PRIVATE_URLS=true", "TIPRING_SHUTDOWN_GRACE=0s",
	}, o.Env...)
	n.Start()
	t.Cleanup(n.cleanup)
	return n
}

// Start runs the program; on a node that was stopped or killed, again with the same ports and data.
func (n *Node) Start() {
	n.t.Helper()
	program, err := Program(!n.o.NoRace)
	if err != nil {
		n.t.Fatal(err)
	}
	args := []string{"serve"}
	if n.o.Dev {
		args = append(args, "--dev")
	}
	cmd := exec.Command(program, append(args, n.o.Args...)...)
	cmd.Env = append(withoutTipring(os.Environ()), n.env...)
	cmd.Env = append(cmd.Env, "GORACE=halt_on_error=0")
	cmd.Dir = n.DataDir
	cmd.Stdout, cmd.Stderr = &n.logs, &n.logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a killed test leaves no server behind
	if err := cmd.Start(); err != nil {
		n.t.Fatalf("harness: start %s: %v", program, err)
	}
	done := make(chan struct{})
	go func() { // ends with the process
		cmd.Wait() //nolint:errcheck // how it ended is seen by who waits for it
		close(done)
	}()
	n.mu.Lock()
	n.cmd, n.done = cmd, done
	n.mu.Unlock()
	n.waitReady(done)
}

func (n *Node) waitReady(done chan struct{}) {
	n.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		res, err := http.Get("http://" + n.Admin + "/readyz")
		if err == nil {
			io.Copy(io.Discard, res.Body) //nolint:errcheck // only the status matters
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-done:
			n.t.Fatalf("harness: the program ended instead of getting ready:\n%s", n.Logs())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("harness: not ready: %v\n%s", err, n.Logs())
		}
	}
}

// Signal sends a signal to the process.
func (n *Node) Signal(s os.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd.Process.Signal(s) //nolint:errcheck // a process that is gone is what a signal is for
}

// Kill is kill -9 and waits for the end.
func (n *Node) Kill() { n.Signal(syscall.SIGKILL); n.Wait() }

// Stop is SIGTERM, a second one (end at once) if the first takes long, and waits for the end.
func (n *Node) Stop() {
	n.Signal(syscall.SIGTERM)
	for _, next := range []struct {
		after time.Duration
		sig   os.Signal
	}{{time.Second, syscall.SIGTERM}, {10 * time.Second, syscall.SIGKILL}} {
		select {
		case <-n.ended():
			return
		case <-time.After(next.after):
			n.Signal(next.sig)
		}
	}
	n.Wait()
}

// Wait waits until the process is gone and returns its exit status.
func (n *Node) Wait() int {
	<-n.ended()
	return n.cmd.ProcessState.ExitCode()
}

func (n *Node) ended() chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done
}

// PID is the process id.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Logs are what the program wrote so far.
func (n *Node) Logs() string { return n.logs.String() }

// URI is the address of a number of this node.
func (n *Node) URI(number string) string { return "sip:" + number + "@" + n.SIP }

// Metric reads a metric's value from /metrics, summed over labels; with labels such as `direction="inbound"` over
// those that have them.
func (n *Node) Metric(name string, labels ...string) float64 {
	n.t.Helper()
	res, err := http.Get("http://" + n.Admin + "/metrics")
	if err != nil {
		n.t.Fatalf("harness: metrics: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatalf("harness: metrics: %v", err)
	}
	sum := 0.0
line:
	for l := range strings.SplitSeq(string(b), "\n") {
		rest, ok := strings.CutPrefix(l, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		for _, want := range labels {
			if !strings.Contains(rest, want) {
				continue line
			}
		}
		if v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum += v
		}
	}
	return sum
}

func (n *Node) cleanup() {
	n.Stop()
	logs := n.Logs()
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if i := strings.Index(logs, bad); i >= 0 {
			n.t.Errorf("harness: the program's log has %q:\n%s", bad, logs[i:min(len(logs), i+6000)])
		}
	}
	if n.t.Failed() {
		if len(logs) > 30000 {
			logs = "…" + logs[len(logs)-30000:]
		}
		n.t.Logf("log of the node:\n%s", logs)
	}
}

func withoutTipring(env []string) []string {
	var out []string
	for _, e := range env {
		if !strings.HasPrefix(e, "TIPRING_") {
			out = append(out, e)
		}
	}
	return out
}

// Ports of nodes: below those that the kernel gives away by itself, which another test may get between our look and the
// node's, and below those of RTP.
const (
	firstPort = 3000
	lastPort  = 11_999
)

func freeTCP(t testing.TB) string {
	t.Helper()
	return freePort(t, func(addr string) error {
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			return err
		}
		return l.Close()
	})
}

// freeBoth finds a port that is free for UDP and TCP.
func freeBoth(t testing.TB) string {
	t.Helper()
	return freePort(t, func(addr string) error {
		l, err := net.Listen("tcp4", addr)
		if err != nil {
			return err
		}
		defer l.Close()
		p, err := net.ListenPacket("udp4", addr)
		if err != nil {
			return err
		}
		return p.Close()
	})
}

func freePort(t testing.TB, try func(addr string) error) string {
	t.Helper()
	err := errors.New("no try")
	for range 200 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort+1))
		if err = try(addr); err == nil {
			return addr
		}
	}
	t.Fatal(fmt.Errorf("harness: no free port: %w", err))
	return ""
}

// lockedBuffer is written by the child's pipes and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
