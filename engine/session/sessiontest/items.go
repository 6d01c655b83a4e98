package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/engine/session"
)

func (x subject) itemsAreReadAsWritten() {
	t, s := x.t, x.s
	it := item(session.KindApplication, "p", `{"name":"x","n":[1,2]}`)
	it.Unique, it.Expires = "u", time.Now().Add(time.Hour).Truncate(time.Millisecond)
	create(t, s, it)
	sameItem(t, get(t, s, it), it)
	got, err := s.Lookup(t.Context(), it.Kind, "u")
	if err != nil {
		t.Fatal(err)
	}
	sameItem(t, got, it)

	it.Value, it.Unique, it.Expires = []byte(`{}`), "", time.Time{}
	if err := s.Put(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	sameItem(t, get(t, s, it), it)
	_, err = s.Lookup(t.Context(), it.Kind, "u")
	wantErr(t, "a unique that was given up", err, session.ErrNotFound)

	_, err = s.Get(t.Context(), session.KindNumber, "p", it.ID)
	wantErr(t, "the id in another kind", err, session.ErrNotFound)
	if err := s.Delete(t.Context(), it.Kind, "p", it.ID, "not_there"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Get(t.Context(), it.Kind, "p", it.ID)
	wantErr(t, "deleted", err, session.ErrNotFound)
	create(t, s, it)
}

func (x subject) createIsAllOrNone() {
	t, s := x.t, x.s
	old := item(session.KindNumber, "p", `1`)
	old.Unique = "+1"
	create(t, s, old)

	fresh, taken := item(session.KindNumber, "p", `2`), item(session.KindNumber, "p", `3`)
	taken.Unique = "+1"
	wantErr(t, "a unique is taken", s.Create(t.Context(), fresh, taken), session.ErrExists)
	wantErr(t, "an id is taken", s.Create(t.Context(), fresh, old), session.ErrExists)
	wantErr(t, "an id comes twice", s.Create(t.Context(), fresh, fresh), session.ErrExists)
	wantErr(t, "put of a taken unique", s.Put(t.Context(), fresh, taken), session.ErrExists)
	_, err := s.Get(t.Context(), fresh.Kind, "p", fresh.ID)
	wantErr(t, "of a refused write nothing stays", err, session.ErrNotFound)
	sameItem(t, get(t, s, old), old)
}

func (x subject) putMovesUniques() {
	t, s := x.t, x.s
	a, b := item(session.KindNumber, "p", `1`), item(session.KindNumber, "p", `2`)
	a.Unique = "+1"
	create(t, s, a)
	a.Unique = "+2"
	if err := s.Put(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	b.Unique = "+1" // free now
	create(t, s, b)
	for unique, id := range map[string]string{"+1": b.ID, "+2": a.ID} {
		if got, err := s.Lookup(t.Context(), a.Kind, unique); err != nil || got.ID != id {
			t.Fatalf("%s is %s (%v), want %s", unique, got.ID, err, id)
		}
	}
	if err := s.Delete(t.Context(), a.Kind, "p", a.ID); err != nil {
		t.Fatal(err)
	}
	_, err := s.Lookup(t.Context(), a.Kind, "+2")
	wantErr(t, "the unique of a deleted item", err, session.ErrNotFound)
}

func (x subject) uniquesHoldAcrossProjects() {
	t, s := x.t, x.s
	a, b := item(session.KindNumber, "p1", `1`), item(session.KindNumber, "p2", `2`)
	a.Unique, b.Unique = "+1", "+1"
	create(t, s, a)
	wantErr(t, "the same unique in another project", s.Create(t.Context(), b), session.ErrExists)
	b.Kind = session.KindKey
	create(t, s, b) // another kind has uniques of its own
}

func (x subject) projectsAreApart() {
	t, s := x.t, x.s
	a := session.Item{Kind: session.KindIdempotency, Project: "p1", ID: "same", Value: []byte(`1`)}
	b := session.Item{Kind: session.KindIdempotency, Project: "p2", ID: "same", Value: []byte(`2`)}
	create(t, s, a)
	create(t, s, b) // an id of one project says nothing about another
	sameItem(t, get(t, s, a), a)
	sameItem(t, get(t, s, b), b)
	if err := s.Delete(t.Context(), a.Kind, "p1", "same"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), a.Kind, "p1", "same")
	wantErr(t, "deleted in its project", err, session.ErrNotFound)
	sameItem(t, get(t, s, b), b)
	got, err := s.Get(t.Context(), a.Kind, "", "same")
	if err != nil {
		t.Fatalf("project \"\" matches any: %v", err)
	}
	sameItem(t, got, b)
	wantIDs(t, "list of the other project", listAll(t, s, a.Kind, "p1", 10, nil), nil)
}

func (x subject) expiredItemsAreGone() {
	t, s := x.t, x.s
	old := item(session.KindIdempotency, "p", `1`)
	old.Unique, old.Expires = "u", time.Now().Add(-time.Second)
	create(t, s, old)
	_, err := s.Get(t.Context(), old.Kind, "p", old.ID)
	wantErr(t, "get", err, session.ErrNotFound)
	_, err = s.Lookup(t.Context(), old.Kind, "u")
	wantErr(t, "lookup", err, session.ErrNotFound)
	wantIDs(t, "list", listAll(t, s, old.Kind, "p", 10, nil), nil)

	fresh := item(session.KindIdempotency, "p", `2`)
	fresh.Unique = "u"
	create(t, s, fresh) // the unique is free again
	old.Unique, old.Expires = "", time.Now().Add(time.Hour).Truncate(time.Millisecond)
	create(t, s, old) // and so is the id
	if err := s.Prune(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	sameItem(t, get(t, s, old), old)
	sameItem(t, get(t, s, fresh), fresh)
}

func (x subject) listPagesNewestFirst() {
	t, s := x.t, x.s
	var want []string
	for i := range 25 {
		it := item(session.KindApplication, "p", fmt.Sprint(i))
		create(t, s, it)
		want = append(want, it.ID)
	}
	create(t, s, item(session.KindApplication, "p2", `0`), item(session.KindNumber, "p", `0`))
	slices.Sort(want)
	slices.Reverse(want)
	for _, limit := range []int{1, 7, 25, 1000} {
		wantIDs(t, fmt.Sprintf("pages of %d", limit), listAll(t, s, session.KindApplication, "p", limit, nil), want)
	}
	if _, next, err := s.List(t.Context(), session.KindApplication, "p", session.Page{Limit: 25}); err != nil || next != "" {
		t.Fatalf("the last page has next %q (%v)", next, err)
	}
}

func (x subject) listIsStableWhileWriting() {
	t, s := x.t, x.s
	var want []string
	for i := range 20 {
		it := item(session.KindApplication, "p", fmt.Sprint(i))
		create(t, s, it)
		want = append(want, it.ID)
	}
	slices.Sort(want)
	slices.Reverse(want)
	got := listAll(t, s, session.KindApplication, "p", 3, func() {
		create(t, s, item(session.KindApplication, "p", `"new"`))
		if err := s.Delete(t.Context(), session.KindApplication, "p", want[2]); err != nil { // the first cursor's own
			t.Fatal(err)
		}
	})
	wantIDs(t, "what was there at the first page", got, want)
}

func (x subject) listAcrossProjects() {
	t, s := x.t, x.s
	var want []string
	for i := range 9 {
		it := item(session.KindApplication, fmt.Sprintf("p%d", i%3), fmt.Sprint(i))
		create(t, s, it)
		want = append(want, it.ID)
	}
	slices.Sort(want)
	slices.Reverse(want)
	wantIDs(t, "all projects", listAll(t, s, session.KindApplication, "", 2, nil), want)
}

func (x subject) invalidItemsAreRefused() {
	t, s := x.t, x.s
	for name, it := range map[string]session.Item{
		"no kind":             {ID: "x"},
		"no id":               {Kind: session.KindNumber},
		"zero byte in the id": {Kind: session.KindNumber, ID: "a\x00b"},
		"zero byte elsewhere": {Kind: session.KindNumber, ID: "x", Project: "a\x00b"},
		"a huge unique":       {Kind: session.KindNumber, ID: "x", Unique: strings.Repeat("u", 5000)},
	} {
		wantErr(t, name, s.Put(t.Context(), it), session.ErrInvalid)
	}
}

func (x subject) slicesAreCopied() {
	t, s := x.t, x.s
	it := item(session.KindNumber, "p", `{"a":1}`)
	value := slices.Clone(it.Value)
	create(t, s, it)
	clear(it.Value)
	got := get(t, s, it)
	if string(got.Value) != string(value) {
		t.Fatalf("the store kept the caller's slice: %q", got.Value)
	}
	clear(got.Value)
	if again := get(t, s, it); string(again.Value) != string(value) {
		t.Fatalf("the caller got the store's slice: %q", again.Value)
	}
}

func (x subject) concurrentCreatesOneWins() {
	t, s := x.t, x.s
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			it := item(session.KindNumber, "p", `1`)
			it.Unique = "+1"
			switch err := s.Create(t.Context(), it); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, session.ErrExists):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 49 {
		t.Fatalf("%d got the number, %d did not", won.Load(), lost.Load())
	}
}

func (x subject) watchWakes() {
	t, s := x.t, x.s
	ctx, cancel := context.WithCancel(t.Context())
	numbers, keys := s.Watch(ctx, session.KindNumber), s.Watch(ctx, session.KindKey)
	it := item(session.KindNumber, "p", `1`)
	for name, change := range map[string]func() error{
		"create": func() error { return s.Put(t.Context(), it) },
		"delete": func() error { return s.Delete(t.Context(), it.Kind, "p", it.ID) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-numbers:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not told", name)
		}
	}
	select {
	case <-keys:
		t.Fatal("a change to numbers was told as one to keys")
	default:
	}
	cancel()
	select {
	case _, open := <-keys:
		if open {
			t.Fatal("a watch that has ended told of a change")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a watch outlived its context")
	}
}
