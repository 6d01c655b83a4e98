package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Create implements Store.
func (s *embedded) Create(ctx context.Context, items ...Item) error {
	return s.write(ctx, items, false)
}

// Put implements Store.
func (s *embedded) Put(ctx context.Context, items ...Item) error {
	return s.write(ctx, items, true)
}

func (s *embedded) write(ctx context.Context, items []Item, replace bool) error {
	if len(items) == 0 {
		return ctx.Err()
	}
	var kinds []Kind
	rows := make([]itemRow, 0, len(items))
	for _, it := range items {
		r, err := newItemRow(it)
		if err != nil {
			return err
		}
		rows, kinds = append(rows, r), append(kinds, it.Kind)
	}
	now := time.Now()
	return s.commits.do(ctx, &write{
		kinds:  kinds,
		weight: 4 * len(items),
		check:  func(tx *tx) error { return tx.mayWrite(items, replace, now) },
		apply: func(tx *tx) error {
			for i := range rows {
				if err := tx.putItem(&rows[i]); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// mayWrite refuses items whose id or Unique is taken, in the store or among themselves.
func (x *tx) mayWrite(items []Item, replace bool, now time.Time) error {
	ids, uniques := map[string]bool{}, map[string]string{}
	for _, it := range items {
		id := string(it.key())
		if !replace {
			if old, ok := x.item(it.Kind, it.Project, it.ID); ids[id] || ok && !old.expired(now) {
				return fmt.Errorf("%w: %s %s", ErrExists, it.Kind, it.ID)
			}
		}
		ids[id] = true
		if it.Unique == "" {
			continue
		}
		unique := string(joinKey(string(it.Kind), it.Unique))
		if other, ok := uniques[unique]; ok && other != id {
			return fmt.Errorf("%w: two of the items are %s %q", ErrExists, it.Kind, it.Unique)
		}
		uniques[unique] = id
		if old, ok := x.lookup(it.Kind, it.Unique); ok && string(old.key()) != id && !old.expired(now) {
			return fmt.Errorf("%w: %s %q", ErrExists, it.Kind, it.Unique)
		}
	}
	return nil
}

// putItem writes an item and takes it out of the indexes where it stood, and an expired one out of its Unique.
func (x *tx) putItem(it *itemRow) error {
	if err := x.dropItem(it.Kind, it.Project, it.ID); err != nil {
		return err
	}
	if it.listing != nil {
		if err := x.list(it); err != nil {
			return err
		}
	}
	kind := string(it.Kind)
	if it.Unique != "" {
		if old, ok := x.lookup(it.Kind, it.Unique); ok {
			if err := x.deleteItem(old.Kind, old.Project, old.ID); err != nil {
				return err
			}
		}
		if err := x.uniques.Put(joinKey(kind, it.Unique), joinKey(it.Project, it.ID)); err != nil {
			return err
		}
	}
	if !it.Expires.IsZero() {
		if err := x.expiries.Put(it.expiryKey(), nil); err != nil {
			return err
		}
	}
	if err := x.itemIDs.Put(joinKey(kind, it.ID, it.Project), nil); err != nil {
		return err
	}
	return x.items.Put(it.key(), it.row())
}

// deleteItem removes an item that may be there.
func (x *tx) deleteItem(kind Kind, project, id string) error {
	if err := x.unlist(kind, project, id); err != nil {
		return err
	}
	return x.dropItem(kind, project, id)
}

// dropItem is deleteItem for an item that is about to be written anew: its listing stays.
func (x *tx) dropItem(kind Kind, project, id string) error {
	old, ok := x.item(kind, project, id)
	if !ok {
		return nil
	}
	if old.Unique != "" {
		if err := x.uniques.Delete(joinKey(string(kind), old.Unique)); err != nil {
			return err
		}
	}
	if !old.Expires.IsZero() {
		if err := x.expiries.Delete(old.expiryKey()); err != nil {
			return err
		}
	}
	if err := x.itemIDs.Delete(joinKey(string(kind), id, project)); err != nil {
		return err
	}
	return x.items.Delete(old.key())
}

// item reads one; project "" matches any.
func (x *tx) item(kind Kind, project, id string) (Item, bool) {
	if row := x.items.Get(joinKey(string(kind), project, id)); row != nil {
		return readItem(kind, project, id, row)
	}
	if project != "" {
		return Item{}, false
	}
	prefix := prefixKey(string(kind), id)
	k, _ := x.itemIDs.Cursor().Seek(prefix)
	if !bytes.HasPrefix(k, prefix) {
		return Item{}, false
	}
	project = string(k[len(prefix):])
	return readItem(kind, project, id, x.items.Get(joinKey(string(kind), project, id)))
}

func (x *tx) lookup(kind Kind, unique string) (Item, bool) {
	owner := x.uniques.Get(joinKey(string(kind), unique))
	if owner == nil {
		return Item{}, false
	}
	parts := cutKey(owner)
	return readItem(kind, parts[0], parts[1], x.items.Get(joinKey(string(kind), parts[0], parts[1])))
}

// Get implements Store.
func (s *embedded) Get(ctx context.Context, kind Kind, project, id string) (it Item, err error) {
	err = s.view(ctx, func(tx *tx) error {
		var ok bool
		if it, ok = tx.item(kind, project, id); !ok || it.expired(time.Now()) {
			return ErrNotFound
		}
		return nil
	})
	return it, err
}

// Lookup implements Store.
func (s *embedded) Lookup(ctx context.Context, kind Kind, unique string) (it Item, err error) {
	err = s.view(ctx, func(tx *tx) error {
		var ok bool
		if it, ok = tx.lookup(kind, unique); !ok || it.expired(time.Now()) {
			return ErrNotFound
		}
		return nil
	})
	return it, err
}

// List implements Store. The cursor is the key of the last item given, so it holds whatever is written or deleted.
func (s *embedded) List(ctx context.Context, kind Kind, project string, p Page) (items []Item, next string, err error) {
	var end []byte
	prefix := prefixKey(string(kind))
	if project != "" {
		prefix = prefixKey(string(kind), project)
	}
	if p.After != "" {
		rest, err := pageKey(p.After)
		if err != nil {
			return nil, "", err
		}
		end = append(bytes.Clone(prefix), rest...)
	}
	limit, now := clampLimit(p.Limit), time.Now()
	err = s.view(ctx, func(tx *tx) error {
		index := tx.items
		if project == "" {
			index = tx.itemIDs
		}
		var last []byte
		return backwards(index, prefix, end, func(k, row []byte) (bool, error) {
			it, ok := tx.indexed(kind, index, k, row)
			if !ok || it.expired(now) {
				return true, nil
			}
			if len(items) == limit { // there is one more
				next = pageCursor(last)
				return false, nil
			}
			items, last = append(items, it), bytes.Clone(k[len(prefix):])
			return true, ctx.Err()
		})
	})
	if err != nil {
		return nil, "", err
	}
	return items, next, nil
}

// indexed reads the item at a row of items or of item_ids.
func (x *tx) indexed(kind Kind, index *bolt.Bucket, k, row []byte) (Item, bool) {
	parts := cutKey(k)
	if len(parts) != 3 {
		return Item{}, false
	}
	if index == x.items {
		return readItem(kind, parts[1], parts[2], row)
	}
	return readItem(kind, parts[2], parts[1], x.items.Get(joinKey(parts[0], parts[2], parts[1])))
}

// Delete implements Store.
func (s *embedded) Delete(ctx context.Context, kind Kind, project string, ids ...string) error {
	if len(ids) == 0 {
		return ctx.Err()
	}
	return s.commits.do(ctx, &write{
		kinds:  []Kind{kind},
		weight: 4 * len(ids),
		apply: func(tx *tx) error {
			for _, id := range ids {
				it, ok := tx.item(kind, project, id)
				if !ok {
					continue
				}
				if err := tx.deleteItem(kind, it.Project, id); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// itemRow is an item on its way into the store.
type itemRow struct {
	Item
	listing *listing // nil if its kind is listed by id only
}

func newItemRow(it Item) (itemRow, error) {
	if err := checkItem(it); err != nil {
		return itemRow{}, err
	}
	l, err := newListing(it)
	return itemRow{Item: it, listing: l}, err
}

func (it Item) key() []byte { return joinKey(string(it.Kind), it.Project, it.ID) }

func (it Item) expiryKey() []byte {
	k := appendUint(nil, uint64(max(it.Expires.UnixMilli(), 0)))
	return append(append(k, 0), it.key()...)
}

func (it Item) expired(now time.Time) bool { return !it.Expires.IsZero() && !it.Expires.After(now) }

// row is expiry in ms (0: never), unique, value.
func (it Item) row() []byte {
	b := make([]byte, 0, 16+len(it.Unique)+len(it.Value))
	var ms uint64
	if !it.Expires.IsZero() {
		ms = uint64(max(it.Expires.UnixMilli(), 1))
	}
	return append(appendString(binary.BigEndian.AppendUint64(b, ms), it.Unique), it.Value...)
}

// readItem copies an item out of its row.
func readItem(kind Kind, project, id string, row []byte) (Item, bool) {
	ms, rest, ok := takeUint(row)
	if !ok {
		return Item{}, false
	}
	unique, rest, ok := takeString(rest)
	if !ok {
		return Item{}, false
	}
	it := Item{Kind: kind, Project: project, ID: id, Unique: unique, Value: bytes.Clone(rest)}
	if ms != 0 {
		it.Expires = time.UnixMilli(int64(ms))
	}
	return it, true
}

func checkItem(it Item) error {
	if err := checkPart("kind", string(it.Kind), false); err != nil {
		return err
	}
	if err := checkPart("project", it.Project, true); err != nil {
		return err
	}
	if err := checkPart("id", it.ID, false); err != nil {
		return err
	}
	return checkPart("unique", it.Unique, true)
}
