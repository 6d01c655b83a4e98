package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine"
)

// Directory answers the engine's questions about numbers, applications and trunks from memory. What it gives is
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
	trunk       engine.Trunk
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
	trunks       map[[2]string]engine.Trunk
	sources      []source            // of calls from trunks, made of them by index
	damaged      map[parsedKey]error // what could not be read
}

// source is a network whose calls come from a trunk.
type source struct {
	network netip.Prefix
	trunk   engine.Trunk
}

func newRoutes() *routes {
	return &routes{
		trunks:       map[[2]string]engine.Trunk{},
		applications: map[[2]string]engine.Application{}, exact: map[string]engine.Number{},
		prefix: map[string]engine.Number{}, damaged: map[parsedKey]error{},
	}
}

func (r *routes) clone() *routes {
	return &routes{
		applications: maps.Clone(r.applications), exact: maps.Clone(r.exact), prefix: maps.Clone(r.prefix), longest: r.longest,
		trunks: maps.Clone(r.trunks), sources: r.sources, damaged: maps.Clone(r.damaged),
	}
}

// NewDirectory reads all numbers and applications, and again when they change, until ctx ends.
func NewDirectory(ctx context.Context, store Store) (*Directory, error) {
	d := &Directory{store: store}
	// The watches stand before the first reading: no change is missed.
	numbers, applications, trunks := store.Watch(ctx, KindNumber), store.Watch(ctx, KindApplication), store.Watch(ctx, KindTrunk)
	if err := d.load(ctx); err != nil {
		return nil, err
	}
	go d.refresh(ctx, numbers, applications, trunks)
	return d, nil
}

// Route implements engine.Directory: the exact number first, then the longest prefix.
func (d *Directory) Route(_ context.Context, number string) (engine.Application, bool) {
	r := d.now.Load()
	n, ok := r.match(number)
	if !ok {
		return engine.Application{}, false
	}
	a, ok := r.applications[[2]string{n.ProjectID, n.ApplicationID}]
	return a, ok
}

// Match implements engine.Directory.
func (d *Directory) Match(_ context.Context, number string) (engine.Number, bool) {
	return d.now.Load().match(number)
}

func (r *routes) match(number string) (engine.Number, bool) {
	n, ok := r.exact[number]
	for i := min(len(number), r.longest); !ok && i >= 0; i-- {
		n, ok = r.prefix[number[:i]]
	}
	return n, ok
}

// Application implements engine.Directory; project "" matches none.
func (d *Directory) Application(_ context.Context, project, id string) (engine.Application, bool) {
	a, ok := d.now.Load().applications[[2]string{project, id}]
	return a, ok
}

// Trunks are all trunks, of all projects.
func (d *Directory) Trunks() []engine.Trunk { return slices.Collect(maps.Values(d.now.Load().trunks)) }

// Trunk implements engine.Directory. Trunks are tried in the order in which they were made.
func (d *Directory) Trunk(_ context.Context, project, id, number string) (engine.Trunk, *engine.Error) {
	return engine.PickTrunk(d.now.Load().trunksOf(project), id, number)
}

// TrunkFrom implements engine.Directory: the narrowest network wins.
func (d *Directory) TrunkFrom(_ context.Context, from netip.Addr) (engine.Trunk, bool) {
	from = from.Unmap()
	for _, s := range d.now.Load().sources {
		if s.network.Contains(from) {
			return s.trunk, true
		}
	}
	return engine.Trunk{}, false
}

func (r *routes) trunksOf(project string) []engine.Trunk {
	var list []engine.Trunk
	for key, t := range r.trunks {
		if key[0] == project {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b engine.Trunk) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// index makes sources of the trunks, narrow networks first.
func (r *routes) index() {
	r.sources = nil
	for _, t := range r.trunks {
		for _, s := range t.AllowedIPs {
			if p, err := engine.ParseNetwork(s); err == nil {
				r.sources = append(r.sources, source{p, t})
			}
		}
	}
	slices.SortFunc(r.sources, func(a, b source) int {
		if a.network.Bits() != b.network.Bits() {
			return b.network.Bits() - a.network.Bits()
		}
		return strings.Compare(a.trunk.ID, b.trunk.ID)
	})
}

// refresh ends with ctx. It spends no more than a fifth of its time reading, however many changes there are.
func (d *Directory) refresh(ctx context.Context, numbers, applications, trunks <-chan struct{}) {
	const retry = 500 * time.Millisecond // before a reading that failed is tried again
	var again <-chan time.Time
	for {
		select {
		case <-numbers:
		case <-applications:
		case <-trunks:
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
	for _, kind := range []Kind{KindApplication, KindNumber, KindTrunk} {
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
	r.index()
	d.now.Store(r)
	return nil
}

// Damaged says which applications and numbers could not be read and are left out; nil if all could.
func (d *Directory) Damaged() error {
	return errors.Join(slices.Collect(maps.Values(d.now.Load().damaged))...)
}

func parse(it Item) parsed {
	p := parsed{value: it.Value}
	switch it.Kind {
	case KindApplication:
		p.err = json.Unmarshal(it.Value, &p.application)
		p.application.ID, p.application.ProjectID = it.ID, it.Project
	case KindTrunk:
		p.err = json.Unmarshal(it.Value, &p.trunk)
		p.trunk.ID, p.trunk.ProjectID = it.ID, it.Project
	default:
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
	case key.kind == KindTrunk:
		r.trunks[[2]string{key.project, key.id}] = p.trunk
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
	switch key.kind {
	case KindApplication:
		delete(r.applications, [2]string{key.project, key.id})
		return
	case KindTrunk:
		delete(r.trunks, [2]string{key.project, key.id})
		return
	default: // a number
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
	keys = slices.DeleteFunc(keys, func(k parsedKey) bool {
		return k.kind != KindNumber && k.kind != KindApplication && k.kind != KindTrunk
	})
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
	r.index()
	d.now.Store(r)
}
