package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"
)

// pruneRows is how many rows one transaction of Prune removes: other writers wait no longer than for that.
const pruneRows = 1000

// Prune implements Store.
func (s *embedded) Prune(ctx context.Context, before time.Time) error {
	now := time.Now()
	for _, step := range []func(*tx) (int, error){
		func(tx *tx) (int, error) { return tx.pruneEvents(before) },
		func(tx *tx) (int, error) { return tx.pruneCalls(before) },
		func(tx *tx) (int, error) { return tx.pruneListed(KindConference, conferenceOver(before), before) },
		func(tx *tx) (int, error) { return tx.pruneListed(KindRecording, recordingOver(before), before) },
		func(tx *tx) (int, error) { return tx.pruneItems(now) },
	} {
		for {
			removed := 0
			err := s.commits.do(ctx, &write{
				weight: pruneRows,
				apply:  func(tx *tx) (err error) { removed, err = step(tx); return err },
			})
			if err != nil {
				return err
			}
			if removed < pruneRows {
				break
			}
		}
	}
	return nil
}

// pruneEvents removes events from the log's start up to the first that is to stay.
func (x *tx) pruneEvents(before time.Time) (int, error) {
	var keys [][]byte
	var heads []eventHead
	c := x.events.Cursor()
	for k, row := c.First(); k != nil && len(keys) < pruneRows; k, row = c.Next() {
		head, _, err := readHead(row) // a damaged row has no time, and goes
		if err == nil && !head.at.Before(before) {
			break
		}
		keys, heads = append(keys, bytes.Clone(k)), append(heads, head)
	}
	for i, k := range keys {
		if err := x.events.Delete(k); err != nil {
			return 0, err
		}
		if heads[i].subject == "" {
			continue
		}
		index := callEventKey(heads[i].subject, heads[i].sequence, binary.BigEndian.Uint64(k))
		if err := x.callEvents.Delete(index); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// pruneCalls removes calls that ended before; calls made later cannot have.
func (x *tx) pruneCalls(before time.Time) (int, error) {
	var ids []string
	prefix := prefixKey("")
	c := x.callRows.Cursor()
	for k, row := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(ids) < pruneRows; k, row = c.Next() {
		created, id, ok := takeUint(k[len(prefix):])
		if !ok || created >= micros(before) {
			break
		}
		if endedBefore(row, before) {
			ids = append(ids, string(id))
		}
	}
	for _, id := range ids {
		if err := x.deleteCall(id); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}

// pruneItems removes what has expired.
func (x *tx) pruneItems(now time.Time) (int, error) {
	var keys [][]byte
	c := x.expiries.Cursor()
	for k, _ := c.First(); k != nil && len(keys) < pruneRows; k, _ = c.Next() {
		ms, _, ok := takeUint(k)
		if !ok || time.UnixMilli(int64(ms)).After(now) {
			break
		}
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		parts := cutKey(k[9:])
		if err := x.deleteItem(Kind(parts[0]), parts[1], parts[2]); err != nil {
			return 0, err
		}
		if err := x.expiries.Delete(k); err != nil { // deleteItem has, unless the item was not there
			return 0, err
		}
	}
	return len(keys), nil
}
