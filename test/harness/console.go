package harness

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Tour is what web/e2e/console.mjs saw of the console.
type Tour struct {
	Pages  int      `json:"pages"`  // looked at
	Faults []string `json:"faults"` // of accessibility, errors, requests to elsewhere
	Echo   struct {
		Hz     float64  `json:"hz"`     // that the softphone heard
		Active int      `json:"active"` // ms from the press to the call
		Kinds  []string `json:"kinds"`  // of entries on the call's page
		Hidden bool     `json:"hidden"` // the key is gone from the address
		Stored string   `json:"stored"` // what the page stores, as JSON
	} `json:"echo"`
}

// Console lets Chromium visit every page of a node's console; callID is a call with much to show. Its screenshots are in
// web/shots.
func Console(tb testing.TB, n *Node, callID string) Tour {
	tb.Helper()
	web := filepath.Join(root(tb), "web")
	needs(tb, web, "console/dist/index.html")
	cmd := exec.Command("node", "e2e/console.mjs", "http://"+n.HTTP+"/console/", n.Key, filepath.Join(web, "shots"), callID)
	cmd.Dir = web
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("the tour of the console: %v", err)
	}
	var t Tour
	if err := json.Unmarshal(out, &t); err != nil {
		tb.Fatalf("%s: %v", out, err)
	}
	return t
}

// needs skips the test if a browser or a built file is missing; in CI it fails.
func needs(tb testing.TB, web, built string) {
	tb.Helper()
	for what, missing := range map[string]bool{
		"chromium: apt-get install chromium": !exists("/usr/bin/chromium") && os.Getenv("CHROMIUM") == "",
		"the web parts: make web":            !exists(filepath.Join(web, built)) || !exists(filepath.Join(web, "node_modules/playwright-core")),
	} {
		switch {
		case missing && os.Getenv("CI") == "true":
			tb.Fatalf("missing: %s", what)
		case missing:
			tb.Skipf("missing: %s", what)
		}
	}
}
