package session_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tipring/tipring/engine/session"
)

func TestKeyLivesAndDies(t *testing.T) {
	s := memory(t)
	keys, other := session.NewKeys(t.Context(), s), session.NewKeys(t.Context(), s) // of another node
	key, secret, err := keys.Create(t.Context(), "p", "ci", []session.Scope{session.ScopeCallsRead, session.ScopeEventsRead})
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^tpk_[0-9A-Za-z]{32,}$`).MatchString(secret) || !strings.HasPrefix(secret, key.Prefix) || len(key.Prefix) > 10 {
		t.Errorf("secret %q, prefix %q", secret, key.Prefix)
	}
	for _, k := range []*session.Keys{keys, other, keys} { // the second time from memory
		got, err := k.Authenticate(t.Context(), secret)
		if err != nil || got.ID != key.ID || got.ProjectID != "p" || got.Name != "ci" {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	for _, wrong := range []string{"", secret[:len(secret)-1], secret + "x", strings.ToLower(secret), "tpk_"} {
		if _, err := keys.Authenticate(t.Context(), wrong); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := keys.Revoke(t.Context(), "p2", key.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("another project revoked it: %v", err)
	}
	if err := keys.Revoke(t.Context(), "p", key.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), secret); !errors.Is(err, session.ErrUnauthenticated) {
		t.Errorf("after revoking: %v", err)
	}
	waitFor(t, "the other node knows", func() bool {
		_, err := other.Authenticate(t.Context(), secret)
		return errors.Is(err, session.ErrUnauthenticated)
	})
	if err := keys.Revoke(t.Context(), "p", key.ID); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestSecretIsNowhereInTheStore(t *testing.T) {
	s := memory(t)
	keys := session.NewKeys(t.Context(), s)
	key, secret, err := keys.Create(t.Context(), "p", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	it, err := s.Get(t.Context(), session.KindKey, "p", key.ID)
	if err != nil {
		t.Fatal(err)
	}
	if all := string(it.Value) + it.Unique; strings.Contains(all, secret) || strings.Contains(all, secret[10:]) {
		t.Errorf("the store has the secret: %s", all)
	}
}

func TestBootstrap(t *testing.T) {
	s := memory(t)
	keys := session.NewKeys(t.Context(), s)
	const first, second = "tpk_first_secret_0123456789", "tpk_second_secret_0123456789"
	for range 2 {
		key, err := keys.Bootstrap(t.Context(), first)
		if err != nil || !key.May(session.ScopeAdmin) || key.ProjectID != session.DefaultProject {
			t.Fatalf("got %+v, %v", key, err)
		}
	}
	if list, _, err := keys.List(t.Context(), session.DefaultProject, session.Page{Limit: 10}); err != nil || len(list) != 1 {
		t.Fatalf("%d keys, %v", len(list), err)
	}
	if _, err := keys.Authenticate(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Bootstrap(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Authenticate(t.Context(), second); err != nil {
		t.Errorf("the new secret: %v", err)
	}
	if _, err := keys.Authenticate(t.Context(), first); !errors.Is(err, session.ErrUnauthenticated) {
		t.Errorf("the secret that was replaced: %v", err)
	}
}

func TestListKeys(t *testing.T) {
	keys := session.NewKeys(t.Context(), memory(t))
	for _, name := range []string{"a", "b", "c"} {
		if _, _, err := keys.Create(t.Context(), "p", name, nil); err != nil {
			t.Fatal(err)
		}
	}
	page, next, err := keys.List(t.Context(), "p", session.Page{Limit: 2})
	if err != nil || len(page) != 2 || page[0].Name != "c" || page[1].Name != "b" || next == "" {
		t.Fatalf("%+v, next %q, %v", page, next, err)
	}
	page, next, err = keys.List(t.Context(), "p", session.Page{Limit: 2, After: next})
	if err != nil || len(page) != 1 || page[0].Name != "a" || next != "" {
		t.Fatalf("%+v, next %q, %v", page, next, err)
	}
}

func TestScopes(t *testing.T) {
	reader := session.Key{Scopes: []session.Scope{session.ScopeCallsRead}}
	admin := session.Key{Scopes: []session.Scope{session.ScopeAdmin}}
	for _, s := range session.Scopes() {
		if want := s == session.ScopeCallsRead; reader.May(s) != want {
			t.Errorf("a reader may %s: %v", s, !want)
		}
		if !admin.May(s) {
			t.Errorf("an admin may not %s", s)
		}
		if (session.Key{}).May(s) {
			t.Errorf("a key without scopes may %s", s)
		}
	}
	keys := session.NewKeys(t.Context(), memory(t))
	if _, _, err := keys.Create(t.Context(), "p", "x", []session.Scope{"fly"}); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("an unknown scope: %v", err)
	}
}

// countingStore counts look-ups.
type countingStore struct {
	session.Store
	lookups atomic.Int64
}

func (s *countingStore) Lookup(ctx context.Context, kind session.Kind, unique string) (session.Item, error) {
	s.lookups.Add(1)
	return s.Store.Lookup(ctx, kind, unique)
}

func TestAuthenticateRemembers(t *testing.T) {
	s := &countingStore{Store: memory(t)}
	keys := session.NewKeys(t.Context(), s)
	_, secret, err := keys.Create(t.Context(), "p", "x", nil)
	if err != nil {
		t.Fatal(err)
	}
	// The news of the creation may make it forget once more; then it remembers.
	waitFor(t, "a hundred checks without a look-up", func() bool {
		before := s.lookups.Load()
		for range 100 {
			if _, err := keys.Authenticate(t.Context(), secret); err != nil {
				t.Fatal(err)
			}
		}
		return s.lookups.Load() == before
	})
}
