package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine/id"
)

// ErrUnauthenticated is given for a secret that is no key's.
var ErrUnauthenticated = errors.New("session: no such key")

// bootstrapKey is the id of the key that the configuration sets.
const bootstrapKey = "key_bootstrap"

// Keys makes, checks and revokes API keys. A secret is never kept, only its SHA-256: it is random and long, so a slow
// hash would add nothing.
type Keys struct {
	store Store
	known atomic.Pointer[sync.Map] // hash → Key; replaced by an empty one when keys change
}

// NewKeys serves the keys in store. What it remembers is forgotten when keys change, on this node or another, until
// ctx ends.
func NewKeys(ctx context.Context, store Store) *Keys {
	k := &Keys{store: store}
	k.forget()
	changed := store.Watch(ctx, KindKey)
	go func() { // ends with ctx: Watch closes the channel
		for range changed {
			k.forget()
		}
	}()
	return k
}

func (k *Keys) forget() { k.known.Store(new(sync.Map)) }

// Authenticate finds the key of a secret; ErrUnauthenticated if there is none. It takes the same time for all secrets
// that are no key's: what is compared is their hash.
func (k *Keys) Authenticate(ctx context.Context, secret string) (Key, error) {
	hash := hashSecret(secret)
	known := k.known.Load() // before the store is read: what is revoked meanwhile is not remembered
	if key, ok := known.Load(hash); ok {
		return key.(Key), nil
	}
	it, err := k.store.Lookup(ctx, KindKey, hash)
	if errors.Is(err, ErrNotFound) {
		return Key{}, ErrUnauthenticated
	}
	if err != nil {
		return Key{}, fmt.Errorf("session: look up a key: %w", err)
	}
	key, err := readKey(it)
	if err != nil {
		return Key{}, err
	}
	known.Store(hash, key)
	return key, nil
}

// Create makes a key. The secret is given this once and not kept. The scopes must be among Scopes.
func (k *Keys) Create(ctx context.Context, project, name string, scopes []Scope) (Key, string, error) {
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return Key{}, "", fmt.Errorf("%w: there is no scope %q", ErrInvalid, s)
		}
	}
	secret := "tpk_" + randomText(40)
	key := Key{
		ID: id.New("key"), ProjectID: project, Name: name, Prefix: secret[:8],
		Scopes: slices.Clone(scopes), CreatedAt: time.Now().UTC(),
	}
	it, err := key.item(secret)
	if err != nil {
		return Key{}, "", err
	}
	if err := k.store.Create(ctx, it); err != nil {
		return Key{}, "", fmt.Errorf("session: create a key: %w", err)
	}
	return key, secret, nil
}

// Bootstrap makes secret an admin key of DefaultProject, in place of the secret that was bootstrapped before. Doing so
// again with the same secret changes nothing. ErrExists if the secret is another key's.
func (k *Keys) Bootstrap(ctx context.Context, secret string) (Key, error) {
	switch it, err := k.store.Lookup(ctx, KindKey, hashSecret(secret)); {
	case err == nil && it.ID == bootstrapKey:
		return readKey(it)
	case err != nil && !errors.Is(err, ErrNotFound):
		return Key{}, fmt.Errorf("session: look up a key: %w", err)
	}
	key := Key{
		ID: bootstrapKey, ProjectID: DefaultProject, Name: "set by the configuration", Prefix: secret[:min(8, len(secret)/3)],
		Scopes: []Scope{ScopeAdmin}, CreatedAt: time.Now().UTC(),
	}
	it, err := key.item(secret)
	if err != nil {
		return Key{}, err
	}
	if err := k.store.Put(ctx, it); err != nil {
		return Key{}, fmt.Errorf("session: bootstrap a key: %w", err)
	}
	k.forget()
	return key, nil
}

// Get reads one key; ErrNotFound if the project has none of that id.
func (k *Keys) Get(ctx context.Context, project, id string) (Key, error) {
	it, err := k.store.Get(ctx, KindKey, project, id)
	if err != nil {
		return Key{}, fmt.Errorf("session: key %s: %w", id, err)
	}
	return readKey(it)
}

// List reads a page of a project's keys, newest first.
func (k *Keys) List(ctx context.Context, project string, p Page) (keys []Key, next string, err error) {
	items, next, err := k.store.List(ctx, KindKey, project, p)
	if err != nil {
		return nil, "", fmt.Errorf("session: list keys: %w", err)
	}
	for _, it := range items {
		key, err := readKey(it)
		if err != nil {
			return nil, "", err
		}
		keys = append(keys, key)
	}
	return keys, next, nil
}

// Revoke ends a key; it opens nothing on this node once Revoke has returned. ErrNotFound if the project has none of
// that id.
func (k *Keys) Revoke(ctx context.Context, project, id string) error {
	if _, err := k.Get(ctx, project, id); err != nil {
		return err
	}
	if err := k.store.Delete(ctx, KindKey, project, id); err != nil {
		return fmt.Errorf("session: revoke key %s: %w", id, err)
	}
	k.forget()
	return nil
}

// Scopes are all scopes that a key can have.
func Scopes() []Scope {
	return []Scope{
		ScopeCallsRead, ScopeCallsWrite, ScopeEventsRead, ScopeRecordingsRead, ScopeRecordingsWrite, ScopeConfigRead,
		ScopeConfigWrite, ScopeTokensWrite, ScopeAdmin,
	}
}

// May reports whether the key may do what s names. ScopeAdmin may all.
func (k Key) May(s Scope) bool {
	return slices.Contains(k.Scopes, s) || slices.Contains(k.Scopes, ScopeAdmin)
}

func (k Key) item(secret string) (Item, error) {
	value, err := json.Marshal(k)
	if err != nil {
		return Item{}, fmt.Errorf("session: key %s: %w", k.ID, err)
	}
	return Item{Kind: KindKey, Project: k.ProjectID, ID: k.ID, Value: value, Unique: hashSecret(secret)}, nil
}

func readKey(it Item) (Key, error) {
	var key Key
	if err := json.Unmarshal(it.Value, &key); err != nil {
		return Key{}, fmt.Errorf("session: key %s is damaged: %w", it.ID, err)
	}
	key.ID, key.ProjectID = it.ID, it.Project
	return key, nil
}

func hashSecret(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// randomText is n letters and digits, each of 62 as likely as the others.
func randomText(n int) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:]) // never fails (crypto/rand)
		for _, b := range buf {
			if b &= 63; int(b) < len(letters) && len(out) < n {
				out = append(out, letters[b])
			}
		}
	}
	return string(out)
}
