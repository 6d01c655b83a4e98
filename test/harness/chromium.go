package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Chromium is Debian's browser, steered by web/e2e/remote.mjs: pages of the SDK's example.
type Chromium struct {
	tb  testing.TB
	in  io.Writer
	out *bufio.Reader
}

// NewChromium starts a browser for a node. It needs chromium, node, and what `npm ci` installs in web: missing, the test is
// skipped, and in CI it fails.
func NewChromium(tb testing.TB, n *Node) *Chromium {
	tb.Helper()
	web := filepath.Join(root(tb), "web")
	needs(tb, web, "sdk/dist/tipring.js")
	cmd := exec.Command("node", "e2e/remote.mjs", "http://"+n.HTTP+"/sdk/#key="+n.Key, filepath.Join(web, "shots"))
	cmd.Dir = web
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close() // it closes the browser and ends
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed, or done
		timer.Stop()
	})
	return &Chromium{tb: tb, in: in, out: bufio.NewReader(out)}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// root is the folder of the repository.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	return dir
}

// Do carries out a command of remote.mjs on a page and gives its answer.
func (c *Chromium) Do(command, page string, fields map[string]any) map[string]any {
	c.tb.Helper()
	m := map[string]any{"command": command, "page": page}
	maps.Copy(m, fields)
	b, err := json.Marshal(m)
	if err != nil {
		c.tb.Fatal(err)
	}
	if _, err := c.in.Write(append(b, '\n')); err != nil {
		c.tb.Fatalf("the browser is gone: %v", err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.tb.Fatalf("the browser is gone: %v", err)
	}
	var answer map[string]any
	if err := json.Unmarshal(line, &answer); err != nil {
		c.tb.Fatalf("%s: %v", line, err)
	}
	if answer["ok"] != true {
		c.tb.Fatalf("%s on %s: %v", command, page, answer["error"])
	}
	return answer
}

// Hears waits until a page hears a tone.
func (c *Chromium) Hears(page string, hz float64) {
	c.tb.Helper()
	var last map[string]any
	Eventually(c.tb, "the page hears the tone", func() bool {
		last = c.Do("hear", page, nil)
		got, _ := last["hz"].(float64)
		level, _ := last["level"].(float64)
		return got > hz-15 && got < hz+15 && level > -60
	}, func() string { b, _ := json.Marshal(last); return string(b) })
}

// Silent waits until a page hears nothing.
func (c *Chromium) Silent(page string) {
	c.tb.Helper()
	var last map[string]any
	Eventually(c.tb, "the page hears nothing", func() bool {
		last = c.Do("hear", page, nil)
		level, isNumber := last["level"].(float64)
		return !isNumber || level < -75 // no number is no sound at all: -Infinity is none in JSON
	}, func() string { return fmt.Sprint(last) })
}

// WaitState waits until the call of a page is in a state.
func (c *Chromium) WaitState(page, state string) {
	c.tb.Helper()
	var last map[string]any
	Eventually(c.tb, "the page's call is "+state, func() bool {
		last = c.Do("state", page, nil)
		return last["state"] == state
	}, func() string { b, _ := json.Marshal(last); return string(b) })
}
