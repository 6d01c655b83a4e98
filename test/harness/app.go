package harness

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An Instruction is {"action":"play","url":…}.
type Instruction map[string]any

// Do makes an instruction of an action and its parameters in pairs.
func Do(action string, params ...any) Instruction {
	in := Instruction{"action": action}
	for i := 0; i+1 < len(params); i += 2 {
		in[params[i].(string)] = params[i+1]
	}
	return in
}

// An App is an application's web server: it records the events that it is sent, checks each signature by its own
// reading of Standard Webhooks, and answers with what the test's function says.
type App struct {
	events
	Secret string // whsec_…, to be given to the application
	server *httptest.Server

	mu       sync.Mutex
	answer   func(Event) []Instruction
	override http.HandlerFunc
	headers  []http.Header
}

// NewApp starts an application; answer may be nil, and nil instructions say nothing (200 without a body).
func NewApp(t testing.TB, answer func(Event) []Instruction) *App {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key) // never fails
	a := &App{events: events{t: t, name: "application"}, answer: answer, Secret: "whsec_" + base64.StdEncoding.EncodeToString(key)}
	a.server = httptest.NewServer(a)
	t.Cleanup(a.server.Close)
	return a
}

// URL is the webhook URL.
func (a *App) URL() string { return a.server.URL + "/webhook" }

// Fields are those of an application resource that is this app.
func (a *App) Fields() map[string]any {
	return map[string]any{"webhook_url": a.URL(), "webhook_secret": a.Secret}
}

// Behave replaces the web server's answer by a handler of the test; nil takes that back. Events are recorded before.
func (a *App) Behave(h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.override = h
}

// Down closes the server: connections are refused from now on.
func (a *App) Down() { a.server.Close() }

// Headers are those of all requests so far.
func (a *App) Headers() []http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]http.Header(nil), a.headers...)
}

// ServeHTTP takes one event.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if err := Verify(a.Secret, r.Header, body); err != nil {
		a.t.Errorf("webhook: %v", err)
		http.Error(w, "signature", http.StatusUnauthorized)
		return
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil || e.ID != r.Header.Get("webhook-id") {
		a.t.Errorf("webhook: id %q, header %q, %v", e.ID, r.Header.Get("webhook-id"), err)
	}
	a.mu.Lock()
	a.headers = append(a.headers, r.Header.Clone())
	h, answer := a.override, a.answer
	a.mu.Unlock()
	a.add(e)
	if h != nil {
		h(w, r)
		return
	}
	var ins []Instruction
	if answer != nil {
		ins = answer(e)
	}
	if ins == nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"instructions": ins}) //nolint:errcheck // the caller sees a broken answer
}

// Verify checks a request by Standard Webhooks 1.0.0: HMAC-SHA256 over "id.timestamp.body", any of several signatures,
// a timestamp of the last five minutes.
func Verify(secret string, h http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	id, ts := h.Get("webhook-id"), h.Get("webhook-timestamp")
	n, err := strconv.ParseInt(ts, 10, 64)
	if err != nil || math.Abs(float64(time.Now().Unix()-n)) > 300 {
		return fmt.Errorf("timestamp %q", ts)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, ts)
	mac.Write(body)
	for s := range strings.FieldsSeq(h.Get("webhook-signature")) {
		version, sig, _ := strings.Cut(s, ",")
		b, err := base64.StdEncoding.DecodeString(sig)
		if version == "v1" && err == nil && hmac.Equal(b, mac.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("no valid signature in %q", h.Get("webhook-signature"))
}
