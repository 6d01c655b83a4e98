package session

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

// The embedded file, bucket by bucket. Parts of a key are parted by a zero byte; numbers in keys are 8 bytes, big
// endian, so that what is read together lies together and newest-first is a scan backwards.
//
//	items        kind project id            → row of the item (item.go)
//	item_ids     kind id project            → nothing; for reading across projects
//	uniques      kind unique                → project id
//	expiries     ms kind project id         → nothing
//	events       cursor                     → row of the event (event.go); the bucket's sequence is the newest cursor
//	call_events  call sequence cursor       → nothing
//	calls        call                       → row of the call (call.go)
//	call_rows    project µs(created) call   → what lists filter by; once for the project and once for project ""
//	live_rows    the same                   → of calls that have not ended
//	listings     kind project id            → µs(created), refs (listing.go): of items that are listed by more than their id
//	listed       kind project ref µs(created) id project → nothing; once for the project and once for project ""
const (
	bucketItems      = "items"
	bucketItemIDs    = "item_ids"
	bucketUniques    = "uniques"
	bucketExpiries   = "expiries"
	bucketEvents     = "events"
	bucketCallEvents = "call_events"
	bucketCalls      = "calls"
	bucketCallRows   = "call_rows"
	bucketLiveRows   = "live_rows"
	bucketListings   = "listings"
	bucketListed     = "listed"
	bucketMeta       = "meta"
)

// layoutVersion is raised when older programs could not read the file any more.
const layoutVersion = 1

// maxPart bounds the parts of keys, in bytes.
const maxPart = 1024

// Errors of a Store about what it was given.
var (
	// ErrCursor is given for a cursor or a page that this store did not give.
	ErrCursor = errors.New("session: no cursor of this store")
	// ErrInvalid is given for what can never be kept, however often it is tried: no JSON, an empty or oversized id.
	ErrInvalid = errors.New("session: cannot be kept")
)

func createBuckets(t *bolt.Tx) error {
	for _, name := range []string{
		bucketItems, bucketItemIDs, bucketUniques, bucketExpiries, bucketEvents, bucketCallEvents,
		bucketCalls, bucketCallRows, bucketLiveRows, bucketListings, bucketListed, bucketMeta,
	} {
		if _, err := t.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	meta := t.Bucket([]byte(bucketMeta))
	if v := meta.Get([]byte("version")); v != nil && !bytes.Equal(v, []byte{layoutVersion}) {
		return fmt.Errorf("the file has layout %v and this program knows %d: it was written by a newer tipring", v, layoutVersion)
	}
	return meta.Put([]byte("version"), []byte{layoutVersion})
}

// tx is a transaction with its buckets at hand.
type tx struct {
	t                                 *bolt.Tx
	items, itemIDs, uniques, expiries *bolt.Bucket
	events, callEvents                *bolt.Bucket
	calls, callRows, liveRows         *bolt.Bucket
	listings, listed                  *bolt.Bucket
}

func newTx(t *bolt.Tx) *tx {
	b := func(name string) *bolt.Bucket { return t.Bucket([]byte(name)) }
	x := &tx{
		t: t, items: b(bucketItems), itemIDs: b(bucketItemIDs), uniques: b(bucketUniques), expiries: b(bucketExpiries),
		events: b(bucketEvents), callEvents: b(bucketCallEvents),
		calls: b(bucketCalls), callRows: b(bucketCallRows), liveRows: b(bucketLiveRows),
		listings: b(bucketListings), listed: b(bucketListed),
	}
	if t.Writable() {
		x.events.FillPercent = 1 // only ever written at the end
	}
	return x
}

// joinKey builds a key of parts.
func joinKey(parts ...string) []byte {
	n := len(parts) - 1
	for _, p := range parts {
		n += len(p)
	}
	k := make([]byte, 0, n+16)
	for i, p := range parts {
		if i > 0 {
			k = append(k, 0)
		}
		k = append(k, p...)
	}
	return k
}

// prefixKey builds what keys beginning with parts begin with.
func prefixKey(parts ...string) []byte { return append(joinKey(parts...), 0) }

// cutKey parts what joinKey built.
func cutKey(k []byte) []string { return strings.Split(string(k), "\x00") }

// checkPart refuses what cannot be part of a key.
func checkPart(what, s string, empty bool) error {
	switch {
	case s == "" && !empty:
		return fmt.Errorf("%w: the %s is empty", ErrInvalid, what)
	case len(s) > maxPart:
		return fmt.Errorf("%w: the %s has %d bytes, more than %d", ErrInvalid, what, len(s), maxPart)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%w: the %s has a zero byte in it", ErrInvalid, what)
	}
	return nil
}

// micros is t as part of a key.
func micros(t time.Time) uint64 { return uint64(max(t.UnixMicro(), 0)) }

func appendUint(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// appendString writes s with its length before it; takeString reads it back.
func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func takeString(b []byte) (s string, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, false
	}
	return string(b[w : w+int(n)]), b[w+int(n):], true
}

func takeUint(b []byte) (v uint64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(b), b[8:], true
}

// pageCursor makes the cursor of a list from the key where the next page begins to look backwards.
func pageCursor(key []byte) string { return base64.RawURLEncoding.EncodeToString(key) }

// pageKey reads it.
func pageKey(cursor string) ([]byte, error) {
	k, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(k) == 0 || len(k) > 4*maxPart {
		return nil, ErrCursor
	}
	return k, nil
}

// clampLimit holds the limit of a page within 1…1000.
func clampLimit(n int) int { return min(max(n, 1), 1000) }

// backwards walks the keys with prefix from before end (nil: from the last) towards the first, until f returns false.
func backwards(b *bolt.Bucket, prefix, end []byte, f func(k, v []byte) (bool, error)) error {
	c := b.Cursor()
	if end == nil {
		end = append(append([]byte(nil), prefix[:len(prefix)-1]...), prefix[len(prefix)-1]+1)
	}
	k, v := c.Seek(end)
	if k == nil {
		k, v = c.Last()
	}
	for k != nil && bytes.Compare(k, end) >= 0 {
		k, v = c.Prev()
	}
	for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Prev() {
		if more, err := f(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}
