package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/session"
)

const (
	project = "prj_a"
	appID   = "app_1"
	secret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// house is a node without an engine: store, log, directory and the webhook service, which can be stopped and started.
type house struct {
	t         testing.TB
	path      string
	options   webhook.Options
	store     session.Store
	log       *session.Log
	service   *webhook.Service
	directory *session.Directory
	do        commander

	stop func() // ends the running service
	seq  map[string]uint64
}

// commander keeps the commands of applications.
type commander struct {
	mu  sync.Mutex
	got []engine.Command
}

func (c *commander) Do(_ context.Context, cmd engine.Command) (engine.Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, cmd)
	return engine.Reply{CommandID: "cmd_1"}, nil
}

func (c *commander) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.got)
}

func newHouse(t testing.TB, tune func(*webhook.Options)) *house {
	t.Helper()
	h := &house{t: t, path: filepath.Join(t.TempDir(), "tipring.db"), seq: map[string]uint64{}}
	h.options = webhook.Options{
		Egress: egress.New(egress.Options{AllowPrivate: true}), Commander: &h.do,
		AskTimeout: 10 * time.Second, Timeout: 10 * time.Second, Patience: 200 * time.Millisecond, Grace: 2 * time.Second,
	}
	if tune != nil {
		tune(&h.options)
	}
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

// open starts the node on its file.
func (h *house) open() {
	h.t.Helper()
	store, err := session.OpenEmbedded(h.path, session.Options{NoSync: true})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	directory, err := session.NewDirectory(ctx, store)
	if err != nil {
		h.t.Fatal(err)
	}
	h.directory = directory
	h.store, h.log = store, session.NewLog(store, session.LogOptions{})
	o := h.options
	o.Log, o.Store, o.Directory = h.log, store, directory
	h.service = webhook.New(o)
	over := make(chan error, 1)
	go func() { over <- h.service.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-over; err != nil {
			h.t.Error(err)
		}
	}
}

// close stops the node in order.
func (h *house) close() {
	if h.stop == nil {
		return
	}
	h.stop()
	h.stop = nil
	if err := h.log.Close(context.Background()); err != nil {
		h.t.Error(err)
	}
	if err := h.store.Close(); err != nil {
		h.t.Error(err)
	}
}

func (h *house) reopen() {
	h.close()
	h.open()
}

// application writes the application and waits until the directory knows it.
func (h *house) application(app engine.Application) {
	h.t.Helper()
	app.ID, app.ProjectID = appID, project
	if app.WebhookSecret == "" {
		app.WebhookSecret = secret
	}
	app.UpdatedAt = fmt.Sprint(time.Now().UnixNano())
	value, err := json.Marshal(app)
	if err != nil {
		h.t.Fatal(err)
	}
	it := session.Item{Kind: session.KindApplication, Project: project, ID: appID, Value: value}
	if err := h.store.Put(context.Background(), it); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the directory to know the application", func() bool {
		a, ok := h.directory.Application(context.Background(), project, appID)
		return ok && a.UpdatedAt == app.UpdatedAt
	})
}

// publish puts an event of a call in the log.
func (h *house) publish(call, typ string) engine.Event { return h.emit(call, typ, nil) }

func (h *house) emit(call, typ string, answer func(*engine.Instructions, error)) engine.Event {
	h.seq[call]++
	e := engine.Event{
		ID: fmt.Sprintf("evt_%s_%d", call, h.seq[call]), Type: typ, Timestamp: time.Now().UTC(), Sequence: h.seq[call],
		ProjectID: project, ApplicationID: appID, CallID: call, Data: json.RawMessage(`{"x":1}`), Answer: answer,
	}
	h.log.Publish(e)
	return e
}

// reply is what a question got.
type reply struct {
	ins *engine.Instructions
	err error
}

// asker counts the answers to one question.
type asker struct {
	n   atomic.Int32
	got chan reply
}

func newAsker() *asker { return &asker{got: make(chan reply, 16)} }

func (a *asker) answer(ins *engine.Instructions, err error) {
	a.n.Add(1)
	a.got <- reply{ins, err}
}

func (h *house) ask(call string) *asker {
	a := newAsker()
	h.emit(call, "call.incoming", a.answer)
	return a
}

// wait gives the one answer.
func (a *asker) wait(t *testing.T) reply {
	t.Helper()
	select {
	case r := <-a.got:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("no answer")
		return reply{}
	}
}

// once checks that there was one answer, after all has had its chance.
func (a *asker) once(t *testing.T) {
	t.Helper()
	if n := a.n.Load(); n != 1 {
		t.Errorf("answered %d times", n)
	}
}

func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			h.t.Fatalf("timed out waiting for %s; stats %+v", what, h.service.Stats())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// deliveries reads what the store has, newest first.
func (h *house) deliveries() []webhook.Delivery {
	h.t.Helper()
	items, _, err := h.store.List(context.Background(), session.KindDelivery, project, session.Page{Limit: 1000})
	if err != nil {
		h.t.Fatal(err)
	}
	out := make([]webhook.Delivery, len(items))
	for i, it := range items {
		if err := json.Unmarshal(it.Value, &out[i]); err != nil {
			h.t.Fatal(err)
		}
	}
	return out
}

func (h *house) deliveryOf(eventID string) (webhook.Delivery, bool) {
	for _, d := range h.deliveries() {
		if d.EventID == eventID {
			return d, true
		}
	}
	return webhook.Delivery{}, false
}

// request is what an endpoint got.
type request struct {
	event  engine.Event
	header http.Header
	body   []byte
	path   string
}

// hook is an application's endpoint: it keeps what it got and answers as it is told.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(w http.ResponseWriter, r request)
}

func newHook(t *testing.T, answer func(w http.ResponseWriter, r request)) *hook {
	t.Helper()
	k := &hook{answer: answer}
	k.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		q := request{header: r.Header, body: body, path: r.URL.Path}
		_ = json.Unmarshal(body, &q.event)
		k.mu.Lock()
		k.got = append(k.got, q)
		answer := k.answer
		k.mu.Unlock()
		if answer != nil {
			answer(w, q)
		}
	}))
	t.Cleanup(k.Close)
	return k
}

func (k *hook) answers(f func(w http.ResponseWriter, r request)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = f
}

func (k *hook) requests() []request {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]request(nil), k.got...)
}

func (k *hook) count() int { return len(k.requests()) }

func status(code int) func(http.ResponseWriter, request) {
	return func(w http.ResponseWriter, _ request) { w.WriteHeader(code) }
}

func text(body string) func(http.ResponseWriter, request) {
	return func(w http.ResponseWriter, _ request) { _, _ = io.WriteString(w, body) }
}
