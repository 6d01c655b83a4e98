package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media/mediatest"
	"github.com/tipring/tipring/test/harness/phone"
)

// devNode starts a node as --dev does, with free ports and a data folder of its own.
func devNode(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	first := 20000 + 2*rand.IntN(10000)
	l, err := load("serve", append([]string{
		"--dev", "--http-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--sip-listen", "127.0.0.1:0", "--webrtc-listen", "127.0.0.1:0",
		"--rtp-ports", fmt.Sprintf("%d-%d", first, first+999), "--data-dir", dir, "--node", "n1",
	}, args...), nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(context.Background(), &l.Config, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, n *node) {
	t.Helper()
	n.drain(nil)
	if err := n.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	select {
	case err := <-n.failed:
		t.Errorf("a part failed: %v", err)
	default:
	}
}

// fetch asks the API, or the admin address, and wants 200.
func fetch(t *testing.T, n *node, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.apiKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s (%v)", url, res.StatusCode, body, err)
	}
	return string(body)
}

func call(t *testing.T, n *node, number string) *phone.Call {
	t.Helper()
	p := phone.New(t, phone.Options{})
	c := p.Call("sip:"+number+"@"+n.layer.LocalAddr().String(), phone.CallOptions{})
	c.WaitAnswered()
	return c
}

// TestTheDemosAnswer: with no set-up, echo gives back what one says, and demo says back the digits that one keys.
func TestTheDemosAnswer(t *testing.T) {
	n := devNode(t, t.TempDir())
	defer stop(t, n)

	echo := call(t, n, "echo")
	echo.Play(phone.Tone(1000))
	echo.WaitTone(1000)
	echo.Hangup()

	demo := call(t, n, "demo")
	waitEvent(t, n, "call.playback.completed") // the greeting
	demo.SendKeys("472#")
	if ended := demo.WaitEnded(); ended.ByUs {
		t.Errorf("the demo ended as %+v", ended)
	}
	if keys := mediatest.Keys(demo.Heard().PCM(), 8000); !strings.Contains(keys, "472") {
		t.Errorf("the demo said %q back", keys)
	}

	var list struct{ Data []engine.CallInfo }
	if err := json.Unmarshal([]byte(fetch(t, n, "http://"+n.http.Addr().String()+"/v1/calls")), &list); err != nil || len(list.Data) != 2 {
		t.Errorf("%d calls are listed (%v)", len(list.Data), err)
	}
	if docs := fetch(t, n, "http://"+n.http.Addr().String()+"/docs"); !strings.Contains(docs, "<html") {
		t.Error("/docs is no page")
	}
	admin := "http://" + n.admin.Addr().String()
	if ready := fetch(t, n, admin+"/readyz"); !strings.Contains(ready, `"ready"`) {
		t.Errorf("not ready: %s", ready)
	}
	metrics := fetch(t, n, admin+"/metrics")
	for _, want := range []string{`tipring_calls_started_total{direction="inbound"} 2`, `tipring_event_log_dropped_total 0`, `tipring_sip_panics_total 0`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

// TestAProgramAnswers: a number is mapped to an application over REST, a call comes at once, the application's webhook
// says what the call does, and hears of its end even though the node stops right behind it.
func TestAProgramAnswers(t *testing.T) {
	types := make(chan string, 100)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e engine.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("a webhook is no event: %v", err)
		}
		types <- e.Type
		if e.Type == "call.incoming" {
			io.WriteString(w, `{"instructions":[{"action":"answer"},{"action":"play","url":"tone:440/60000"}]}`)
		}
	}))
	defer app.Close()
	n := devNode(t, t.TempDir())
	api := "http://" + n.http.Addr().String()
	var created struct{ ID string }
	if err := json.Unmarshal([]byte(post(t, n, api+"/v1/applications", `{"name":"x","webhook_url":"`+app.URL+`"}`)), &created); err != nil {
		t.Fatal(err)
	}
	post(t, n, api+"/v1/numbers", `{"number":"+4930*","application_id":"`+created.ID+`"}`)

	c := call(t, n, "+4930123")
	c.WaitTone(440)
	stop(t, n)
	if ended := c.WaitEnded(); ended.ByUs {
		t.Errorf("the call ended as %+v", ended)
	}
	close(types)
	var got []string
	for typ := range types {
		got = append(got, typ)
	}
	if len(got) == 0 || got[0] != "call.incoming" || got[len(got)-1] != "call.ended" {
		t.Errorf("the application heard %v", got)
	}
}

// post creates something by the API.
func post(t *testing.T, n *node, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %d %s (%v)", url, res.StatusCode, answer, err)
	}
	return string(answer)
}

// waitEvent waits until an event of the type is in the log.
func waitEvent(t *testing.T, n *node, typ string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		events, _, err := n.store.Events(t.Context(), "", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == typ {
				return
			}
		}
	}
	t.Fatalf("no %s came", typ)
}

// TestStoppingLetsCallsEnd: a node that stops is not ready, refuses new calls, and ends the live ones when the grace
// time is over; their end is in the log when the node is opened again.
func TestStoppingLetsCallsEnd(t *testing.T) {
	dir := t.TempDir()
	n := devNode(t, dir, "--shutdown-grace", "1h")
	live := call(t, n, "echo")

	signals := make(chan os.Signal, 1)
	drained := make(chan struct{})
	go func() { n.drain(signals); close(drained) }()
	admin := "http://" + n.admin.Addr().String() + "/readyz"
	waitStatus(t, admin, http.StatusServiceUnavailable)
	if late := phone.New(t, phone.Options{}).Call("sip:echo@"+n.layer.LocalAddr().String(), phone.CallOptions{}).WaitEnded(); late.Status != http.StatusServiceUnavailable {
		t.Errorf("a call to a node that stops ended as %+v", late)
	}
	live.Play(phone.Tone(700))
	live.WaitTone(700) // it goes on
	signals <- syscall.SIGTERM
	if ended := live.WaitEnded(); ended.ByUs {
		t.Errorf("the call ended as %+v", ended)
	}
	<-drained
	if err := n.close(); err != nil {
		t.Error(err)
	}

	again := devNode(t, dir)
	defer stop(t, again)
	if calls := fetch(t, again, "http://"+again.http.Addr().String()+"/v1/calls?state=ended"); !strings.Contains(calls, `"unavailable"`) {
		t.Errorf("the call's end is not told: %s", calls)
	}
}

func waitStatus(t *testing.T, url string, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(url)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == want {
				return
			}
		}
	}
	t.Fatalf("%s never said %d", url, want)
}

func TestStartSaysWhatIsTaken(t *testing.T) {
	first := devNode(t, t.TempDir())
	defer stop(t, first)
	for name, args := range map[string][]string{
		"http_listen":     {"--http-listen", first.http.Addr().String()},
		"admin_listen":    {"--admin-listen", first.admin.Addr().String()},
		"sip_listen":      {"--sip-listen", first.layer.LocalAddr().String()},
		"another process": {"--data-dir", first.config.DataDir},
	} {
		l, err := load("serve", append([]string{
			"--dev", "--http-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--sip-listen", "127.0.0.1:0", "--webrtc-listen", "127.0.0.1:0",
			"--data-dir", t.TempDir(),
		}, args...), nil, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		_, err = newNode(t.Context(), &l.Config, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
}

// TestPrompts: the media folder comes first, and no name leads out of it.
func TestPrompts(t *testing.T) {
	dir := t.TempDir()
	files, folder, err := promptFiles(&Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	read := func(name string) string {
		f, err := files.Open(name)
		if err != nil {
			return "no: " + err.Error()
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, name := range []string{"welcome.wav", "digits.wav", "youkeyed.wav", "goodbye.wav"} {
		if b := read(name); !strings.HasPrefix(b, "RIFF") || len(b) > 60<<10 {
			t.Errorf("%s has %d bytes and begins %.20q", name, len(b), b)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "media", "welcome.wav"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(dir, "media", "link.wav")); err != nil {
		t.Fatal(err)
	}
	if b := read("welcome.wav"); b != "mine" {
		t.Errorf("the media folder does not come first: %.20q", b)
	}
	for _, name := range []string{"../secret", "link.wav", "/etc/passwd", "nothing.wav"} {
		if b := read(name); !strings.HasPrefix(b, "no: ") {
			t.Errorf("%s reads %q", name, b)
		}
	}
}
