package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine"
)

// Directory answers the engine's questions about numbers and applications from memory. Applications that it gives are
// shared: who gets one must not change what it points to.
type Directory struct {
	store Store
	now   atomic.Pointer[routes]

	loading sync.Mutex // held by load, so that an older state never follows a newer one
	parsed  map[parsedKey]parsed
}

// parsed is what was made of an item's value; a value that has not changed is not parsed again.
type parsed struct {
	value       []byte
	application engine.Application
	number      engine.Number
	err         error
}

type parsedKey struct {
	kind        Kind
	project, id string
}

var _ engine.Directory = (*Directory)(nil)

// routes is one immutable state of the directory.
type routes struct {
	applications map[[2]string]engine.Application // by project and id
	exact        map[string]engine.Number
	prefix       map[string]engine.Number // by the part before "*"
	longest      int                      // no key of prefix is longer
	damaged      map[parsedKey]error      // what could not be read
}

func newRoutes() *routes {
	return &routes{
		applications: map[[2]string]engine.Application{}, exact: map[string]engine.Number{},
		prefix: map[string]engine.Number{}, damaged: map[parsedKey]error{},
	}
}

func (r *routes) clone() *routes {
	return &routes{maps.Clone(r.applications), maps.Clone(r.exact), maps.Clone(r.prefix), r.longest, maps.Clone(r.damaged)}
}

// NewDirectory reads all numbers and applications, and again when they change, until ctx ends.
func NewDirectory(ctx context.Context, store Store) (*Directory, error) {
	d := &Directory{store: store}
	// The watches stand before the first reading: no change is missed.
	numbers, applications := store.Watch(ctx, KindNumber), store.Watch(ctx, KindApplication)
	if err := d.load(ctx); err != nil {
		return nil, err
	}
	go d.refresh(ctx, numbers, applications)
	return d, nil
}

// Route implements engine.Directory: the exact number first, then the longest prefix.
func (d *Directory) Route(_ context.Context, number string) (engine.Application, bool) {
	r := d.now.Load()
	n, ok := r.exact[number]
	for i := min(len(number), r.longest); !ok && i >= 0; i-- {
		n, ok = r.prefix[number[:i]]
	}
	if !ok {
		return engine.Application{}, false
	}
	a, ok := r.applications[[2]string{n.ProjectID, n.ApplicationID}]
	return a, ok
}

// Application implements engine.Directory; project "" matches none.
func (d *Directory) Application(_ context.Context, project, id string) (engine.Application, bool) {
	a, ok := d.now.Load().applications[[2]string{project, id}]
	return a, ok
}

// refresh ends with ctx. It spends no more than a fifth of its time reading, however many changes there are.
func (d *Directory) refresh(ctx context.Context, numbers, applications <-chan struct{}) {
	const retry = 500 * time.Millisecond // before a reading that failed is tried again
	var again <-chan time.Time
	for {
		select {
		case <-numbers:
		case <-applications:
		case <-again:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		again = nil
		if err := d.load(ctx); err != nil {
			again = time.After(retry)
		}
		select {
		case <-time.After(4 * time.Since(began)):
		case <-ctx.Done():
			return
		}
	}
}

// load reads everything and then changes over at once.
func (d *Directory) load(ctx context.Context) error {
	d.loading.Lock()
	defer d.loading.Unlock()
	r := newRoutes()
	all := map[parsedKey]parsed{}
	for _, kind := range []Kind{KindApplication, KindNumber} {
		err := each(ctx, d.store, kind, func(it Item) {
			key := parsedKey{kind, it.Project, it.ID}
			p, ok := d.parsed[key]
			if !ok || !bytes.Equal(p.value, it.Value) {
				p = parse(it)
			}
			all[key] = p
			r.add(key, &p)
		})
		if err != nil {
			return err
		}
	}
	d.parsed = all
	d.now.Store(r)
	return nil
}

// Damaged says which applications and numbers could not be read and are left out; nil if all could.
func (d *Directory) Damaged() error {
	return errors.Join(slices.Collect(maps.Values(d.now.Load().damaged))...)
}

func parse(it Item) parsed {
	p := parsed{value: it.Value}
	if it.Kind == KindApplication {
		p.err = json.Unmarshal(it.Value, &p.application)
		p.application.ID, p.application.ProjectID = it.ID, it.Project
	} else {
		p.err = json.Unmarshal(it.Value, &p.number)
		p.number.ID, p.number.ProjectID = it.ID, it.Project
	}
	if p.err != nil {
		p.err = fmt.Errorf("session: %s %s is damaged: %w", it.Kind, it.ID, p.err)
	}
	return p
}

func (r *routes) add(key parsedKey, p *parsed) {
	prefix, isPrefix := strings.CutSuffix(p.number.Number, "*")
	switch {
	case p.err != nil:
		r.damaged[key] = p.err
	case key.kind == KindApplication:
		r.applications[[2]string{key.project, key.id}] = p.application
	case isPrefix:
		r.prefix[prefix] = p.number
		r.longest = max(r.longest, len(prefix))
	default:
		r.exact[p.number.Number] = p.number
	}
}

// remove takes out what add put in, unless another item has its place by now.
func (r *routes) remove(key parsedKey, p *parsed) {
	delete(r.damaged, key)
	if key.kind == KindApplication {
		delete(r.applications, [2]string{key.project, key.id})
		return
	}
	if prefix, ok := strings.CutSuffix(p.number.Number, "*"); ok && r.prefix[prefix].ID == key.id {
		delete(r.prefix, prefix)
	}
	if r.exact[p.number.Number].ID == key.id {
		delete(r.exact, p.number.Number)
	}
}

// each reads all items of a kind, of all projects.
func each(ctx context.Context, store Store, kind Kind, f func(Item)) error {
	p := Page{Limit: 1000}
	for {
		items, next, err := store.List(ctx, kind, "", p)
		if err != nil {
			return fmt.Errorf("session: read all of kind %s: %w", kind, err)
		}
		for _, it := range items {
			f(it)
		}
		if next == "" {
			return nil
		}
		p.After = next
	}
}

// Fresh is store with one promise more: what is written to numbers and applications through it, the directory knows
// when the write returns, so a call may come at once. What others write it learns a moment later.
func (d *Directory) Fresh(store Store) Store { return freshStore{store, d} }

type freshStore struct {
	Store
	directory *Directory
}

// Create implements Store.
func (s freshStore) Create(ctx context.Context, items ...Item) error {
	err := s.Store.Create(ctx, items...)
	if err == nil {
		s.directory.learn(ctx, keysOf(items))
	}
	return err
}

// Put implements Store.
func (s freshStore) Put(ctx context.Context, items ...Item) error {
	err := s.Store.Put(ctx, items...)
	if err == nil {
		s.directory.learn(ctx, keysOf(items))
	}
	return err
}

// Delete implements Store.
func (s freshStore) Delete(ctx context.Context, kind Kind, project string, ids ...string) error {
	err := s.Store.Delete(ctx, kind, project, ids...)
	if err == nil {
		keys := make([]parsedKey, len(ids))
		for i := range ids {
			keys[i] = parsedKey{kind, project, ids[i]}
		}
		s.directory.learn(ctx, keys)
	}
	return err
}

func keysOf(items []Item) []parsedKey {
	keys := make([]parsedKey, len(items))
	for i, it := range items {
		keys[i] = parsedKey{it.Kind, it.Project, it.ID}
	}
	return keys
}

// learn reads the items that were written, and them alone. If that fails the directory learns from its watch: what was
// written is written.
func (d *Directory) learn(ctx context.Context, keys []parsedKey) {
	keys = slices.DeleteFunc(keys, func(k parsedKey) bool { return k.kind != KindNumber && k.kind != KindApplication })
	if len(keys) == 0 {
		return
	}
	d.loading.Lock()
	defer d.loading.Unlock()
	r := d.now.Load().clone()
	for _, key := range keys {
		it, err := d.store.Get(ctx, key.kind, key.project, key.id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return
		}
		if old, ok := d.parsed[key]; ok {
			r.remove(key, &old)
			delete(d.parsed, key)
		}
		if err == nil {
			p := parse(it)
			r.add(key, &p)
			d.parsed[key] = p
		}
	}
	d.now.Store(r)
}
