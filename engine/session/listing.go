package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
)

// listing is how an item is found by other things than its id. Lists that it stands in are in the order of creation; a
// ref names one: "" is that of all, "call_id=…" that of a call's recordings.
type listing struct {
	created uint64 // µs
	refs    []string
}

// Labels of refs.
const (
	refState      = "state"
	refName       = "name"
	refCall       = "call_id"
	refConference = "conference_id"
	refSession    = "session_id"
)

// newListing reads the listing of an item from its value; nil if its kind has none.
func newListing(it Item) (*listing, error) {
	var created time.Time
	var refs []string
	add := func(label, value string) {
		if value != "" {
			refs = append(refs, ref(label, value))
		}
	}
	var err error
	switch it.Kind {
	case KindDelivery:
		var d struct {
			CallID    string    `json:"call_id"`
			CreatedAt time.Time `json:"created_at"`
		}
		if json.Unmarshal(it.Value, &d) == nil {
			created = d.CreatedAt
			add(refCall, d.CallID)
		}
	case KindConference:
		refs = []string{""}
		var c engine.ConferenceInfo
		err = json.Unmarshal(it.Value, &c)
		created = c.CreatedAt
		add(refState, string(c.State))
		add(refName, c.Name)
	case KindRecording:
		refs = []string{""}
		var r engine.RecordingInfo
		err = json.Unmarshal(it.Value, &r)
		created = r.CreatedAt
		add(refState, string(r.State))
		add(refCall, r.CallID)
		add(refConference, r.ConferenceID)
		add(refSession, r.SessionID)
	default:
		return nil, nil //nolint:nilnil // none is no fault
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrInvalid, it.Kind, it.ID, err)
	}
	if len(refs) == 0 {
		return nil, nil //nolint:nilnil // of no call: in no list
	}
	return &listing{created: micros(created), refs: refs}, nil
}

// ref makes the name of a list. Values that have the same are told apart when the items are read.
func ref(label, value string) string {
	const most = 256
	return label + "=" + strings.ReplaceAll(value[:min(len(value), most)], "\x00", "\uFFFD")
}

func (l *listing) row() []byte {
	b := appendUint(nil, l.created)
	for _, r := range l.refs {
		b = appendString(b, r)
	}
	return b
}

func readListing(row []byte) (l listing) {
	created, rest, _ := takeUint(row)
	l.created = created
	for len(rest) > 0 {
		r, more, ok := takeString(rest)
		if !ok {
			break
		}
		l.refs, rest = append(l.refs, r), more
	}
	return l
}

// keys are the places of an item in the list of a ref: in its project's, and in that of all.
func (l *listing) keys(kind Kind, project, id, ref string) [][]byte {
	key := func(of string) []byte {
		k := appendUint(listPrefix(kind, of, ref), l.created)
		return append(append(append(k, id...), 0), project...)
	}
	keys := [][]byte{key("")}
	if project != "" {
		keys = append(keys, key(project))
	}
	return keys
}

func listPrefix(kind Kind, project, ref string) []byte { return prefixKey(string(kind), project, ref) }

// list writes the rows of an item's listing that have changed.
func (x *tx) list(it *itemRow) error {
	row, key := it.listing.row(), it.key()
	old := x.listings.Get(key)
	if bytes.Equal(old, row) {
		return nil
	}
	was := readListing(old)
	moved := was.created != it.listing.created
	for _, r := range was.refs {
		if !moved && slices.Contains(it.listing.refs, r) {
			continue
		}
		for _, k := range was.keys(it.Kind, it.Project, it.ID, r) {
			if err := x.listed.Delete(k); err != nil {
				return err
			}
		}
	}
	for _, r := range it.listing.refs {
		if !moved && slices.Contains(was.refs, r) {
			continue
		}
		for _, k := range it.listing.keys(it.Kind, it.Project, it.ID, r) {
			if err := x.listed.Put(k, nil); err != nil {
				return err
			}
		}
	}
	return x.listings.Put(key, row)
}

func (x *tx) unlist(kind Kind, project, id string) error {
	key := joinKey(string(kind), project, id)
	old := x.listings.Get(key)
	if old == nil {
		return nil
	}
	l := readListing(old)
	for _, r := range l.refs {
		for _, k := range l.keys(kind, project, id, r) {
			if err := x.listed.Delete(k); err != nil {
				return err
			}
		}
	}
	return x.listings.Delete(key)
}

// listedItem reads the item at a row of listed, whose key behind the prefix is rest.
func (x *tx) listedItem(kind Kind, rest []byte) (it Item, created uint64, ok bool) {
	created, rest, ok = takeUint(rest)
	id, project, found := strings.Cut(string(rest), "\x00")
	if !ok || !found {
		return Item{}, 0, false
	}
	it, ok = readItem(kind, project, id, x.items.Get(joinKey(string(kind), project, id)))
	return it, created, ok
}

// listOf reads a page of the list of a ref, newest first, of the items that match.
func listOf[T any](
	ctx context.Context, s *embedded, kind Kind, project, ref string, before time.Time, p Page, match func(*T) bool,
) (list []T, next string, err error) {
	next, err = s.listed(ctx, kind, listPrefix(kind, project, ref), before, p, func(it Item, full bool) (bool, error) {
		v, err := readValue[T](it)
		if err != nil || !match(&v) {
			return false, err
		}
		if !full {
			list = append(list, v)
		}
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// CallItems implements Store.
func (s *embedded) CallItems(
	ctx context.Context, kind Kind, project, callID string, p Page,
) (items []Item, next string, err error) {
	prefix := listPrefix(kind, project, ref(refCall, callID))
	next, err = s.listed(ctx, kind, prefix, time.Time{}, p, func(it Item, full bool) (bool, error) {
		if !full {
			items = append(items, it)
		}
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return items, next, nil
}

// listed walks a list, newest first, from a page on. take says whether an item belongs to the page; when the page is full, it
// is asked once more, whether there is another.
func (s *embedded) listed(
	ctx context.Context, kind Kind, prefix []byte, before time.Time, p Page, take func(it Item, full bool) (bool, error),
) (next string, err error) {
	end, err := pageEnd(prefix, before, p)
	if err != nil {
		return "", err
	}
	limit, now := clampLimit(p.Limit), time.Now()
	err = s.view(ctx, func(tx *tx) error {
		var last []byte
		taken := 0
		return backwards(tx.listed, prefix, end, func(k, _ []byte) (bool, error) {
			it, _, ok := tx.listedItem(kind, k[len(prefix):])
			if !ok || it.expired(now) {
				return true, ctx.Err()
			}
			switch ok, err := take(it, taken == limit); {
			case err != nil:
				return false, err
			case !ok:
				return true, ctx.Err()
			case taken == limit:
				next = pageCursor(last)
				return false, nil
			}
			taken, last = taken+1, bytes.Clone(k[len(prefix):])
			return true, nil
		})
	})
	return next, err
}

func readValue[T any](it Item) (v T, err error) {
	if err = json.Unmarshal(it.Value, &v); err != nil {
		err = fmt.Errorf("session: %s %s is damaged: %w", it.Kind, it.ID, err)
	}
	return v, err
}
