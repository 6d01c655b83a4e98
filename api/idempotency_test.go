package api_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func TestIdempotencyKey(t *testing.T) {
	f := newFixture(t)
	const body = `{"to":"sip:bob@192.0.2.20"}`
	key := header("Idempotency-Key", "order-4711")
	first := f.ok("POST", "/v1/calls", body, key)
	if first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("%v", first.header)
	}
	again := f.ok("POST", "/v1/calls", body, key)
	if again.status != 201 || string(again.body) != string(first.body) || again.header.Get("Idempotent-Replayed") != "true" ||
		again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%d %v %s", again.status, again.header, again.body)
	}
	if n := f.commander.count(); n != 1 {
		t.Errorf("%d calls were made", n)
	}
	f.refused(f.do("POST", "/v1/calls", `{"to":"sip:eve@192.0.2.20"}`, key), 422, problem.CodeIdempotencyMismatch)
	f.refused(f.do("POST", "/v1/applications", `{"name":"x"}`, key), 422, problem.CodeIdempotencyMismatch)
	// Another project has keys of its own, and no key means another call.
	_, other := f.newKey("prj_other", session.ScopeAdmin)
	f.ok("POST", "/v1/calls", body, key, as(other))
	f.ok("POST", "/v1/calls", body)
	if n := f.commander.count(); n != 3 {
		t.Errorf("%d calls were made, want 3", n)
	}
	f.refused(f.do("POST", "/v1/calls", body, header("Idempotency-Key", "with space")), 400, problem.CodeMalformed)
}

func TestIdempotencyKeyOfCreates(t *testing.T) {
	f := newFixture(t)
	app := f.ok("POST", "/v1/applications", `{"name":"x"}`, header("Idempotency-Key", "a")).string(t, "id")
	if again := f.ok("POST", "/v1/applications", `{"name":"x"}`, header("Idempotency-Key", "a")).string(t, "id"); again != app {
		t.Errorf("%s and %s", app, again)
	}
	body := `{"number":"n","application_id":"` + app + `"}`
	number := f.ok("POST", "/v1/numbers", body, header("Idempotency-Key", "n")).string(t, "id")
	if again := f.ok("POST", "/v1/numbers", body, header("Idempotency-Key", "n")).string(t, "id"); again != number {
		t.Errorf("%s and %s", number, again)
	}
	// A refusal is an answer, too: it is the same the second time.
	f.refused(f.do("POST", "/v1/numbers", body, header("Idempotency-Key", "m")), 409, engine.CodeConflict)
	f.ok("DELETE", "/v1/numbers/"+number, "")
	r := f.do("POST", "/v1/numbers", body, header("Idempotency-Key", "m"))
	if r.status != 409 || r.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%d %s", r.status, r.body)
	}
	// Keys take none: their secret would be stored.
	f.ok("POST", "/v1/keys", `{"name":"x","scopes":["admin"]}`, header("Idempotency-Key", "k"))
	if _, _, err := f.store.List(context.Background(), session.KindIdempotency, "prj_default", session.Page{Limit: 100}); err != nil {
		t.Error(err)
	}
	items, _, _ := f.store.List(context.Background(), session.KindIdempotency, "prj_default", session.Page{Limit: 100})
	if len(items) != 3 {
		t.Errorf("%d answers are stored, want those of a, n and m", len(items))
	}
}

func TestIdempotencyKeyWhileItRuns(t *testing.T) {
	f := newFixture(t)
	const body = `{"to":"sip:bob@192.0.2.20"}`
	key := header("Idempotency-Key", "k")
	begun, finish := make(chan struct{}), make(chan struct{})
	f.commander.answerWith(func(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
		close(begun)
		<-finish
		call := exampleCall("call_slow", "prj_default")
		return engine.Reply{Call: &call}, nil
	})
	var first reply
	var done sync.WaitGroup
	done.Go(func() { first = f.do("POST", "/v1/calls", body, key) })
	<-begun
	f.refused(f.do("POST", "/v1/calls", body, key), 409, problem.CodeIdempotencyRunning)
	close(finish)
	done.Wait()
	if again := f.do("POST", "/v1/calls", body, key); first.status != 201 || string(again.body) != string(first.body) {
		t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
}

func TestIdempotencyKeyAfterAFault(t *testing.T) {
	f := newFixture(t)
	const body = `{"to":"sip:bob@192.0.2.20"}`
	key := header("Idempotency-Key", "k")
	f.commander.answerWith(func(context.Context, engine.Command) (engine.Reply, error) { return engine.Reply{}, errors.New("odd") })
	f.refused(f.do("POST", "/v1/calls", body, key), 500, engine.CodeInternal)
	f.commander.answerWith(nil)
	if r := f.do("POST", "/v1/calls", body, key); r.status != 201 || r.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestIdempotencyKeyRace sends the same request many times at once: one call is made.
func TestIdempotencyKeyRace(t *testing.T) {
	f := newFixture(t)
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() {
			r := f.do("POST", "/v1/calls", `{"to":"sip:bob@192.0.2.20"}`, header("Idempotency-Key", "k"))
			if r.status != 201 && r.status != 409 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
	}
	done.Wait()
	if n := f.commander.count(); n != 1 {
		t.Errorf("%d calls were made", n)
	}
}
