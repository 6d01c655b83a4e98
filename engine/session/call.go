package session

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/tipring/tipring/engine"
)

// callRow is a call on its way into the store: its record, and the row that lists look at.
type callRow struct {
	id, project string
	created     uint64 // µs
	ended       bool
	record      []byte // µs(created), project, JSON
	summary     []byte // ms(ended), then what CallFilter asks for
}

func newCallRow(c *engine.CallRecord) (callRow, error) {
	i := &c.Info
	if err := checkPart("call id", i.ID, false); err != nil {
		return callRow{}, err
	}
	if err := checkPart("project", i.ProjectID, true); err != nil {
		return callRow{}, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return callRow{}, fmt.Errorf("%w: record of %s: %w", ErrInvalid, i.ID, err)
	}
	r := callRow{id: i.ID, project: i.ProjectID, created: micros(i.CreatedAt), ended: i.State == engine.CallEnded}
	r.record = append(appendString(appendUint(nil, r.created), i.ProjectID), body...)
	var ended uint64
	if i.EndedAt != nil {
		ended = uint64(max(i.EndedAt.UnixMilli(), 0))
	}
	b := appendUint(nil, ended)
	for _, s := range []string{string(i.State), string(i.Direction), i.From, i.To, i.ApplicationID, i.SessionID} {
		b = appendString(b, s)
	}
	r.summary = b
	return r, nil
}

// putCall writes a call's record, and its rows where they have changed.
func (x *tx) putCall(r *callRow) error {
	if err := x.dropMovedRows(r); err != nil {
		return err
	}
	if err := x.calls.Put([]byte(r.id), r.record); err != nil {
		return err
	}
	for _, k := range callRowKeys(r.project, r.created, r.id) {
		if bytes.Equal(x.callRows.Get(k), r.summary) {
			continue
		}
		if err := x.callRows.Put(k, r.summary); err != nil {
			return err
		}
		var err error
		if r.ended {
			err = x.liveRows.Delete(k)
		} else {
			err = x.liveRows.Put(k, r.summary)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropMovedRows removes the rows of a call whose project or time of creation was another.
func (x *tx) dropMovedRows(r *callRow) error {
	old := x.calls.Get([]byte(r.id))
	if old == nil {
		return nil
	}
	created, rest, _ := takeUint(old)
	project, _, _ := takeString(rest)
	if created == r.created && project == r.project {
		return nil
	}
	return x.deleteCall(r.id)
}

func (x *tx) deleteCall(id string) error {
	old := x.calls.Get([]byte(id))
	if old == nil {
		return nil
	}
	created, rest, _ := takeUint(old)
	project, _, _ := takeString(rest)
	for _, k := range callRowKeys(project, created, id) {
		if err := x.callRows.Delete(k); err != nil {
			return err
		}
		if err := x.liveRows.Delete(k); err != nil {
			return err
		}
	}
	return x.calls.Delete([]byte(id))
}

// callRowKeys are the places of a call in the lists: in its project's, and in that of all.
func callRowKeys(project string, created uint64, id string) [][]byte {
	keys := [][]byte{callRowKey("", created, id)}
	if project != "" {
		keys = append(keys, callRowKey(project, created, id))
	}
	return keys
}

func callRowKey(project string, created uint64, id string) []byte {
	return append(appendUint(prefixKey(project), created), id...)
}

// Call implements Store.
func (s *embedded) Call(ctx context.Context, project, id string) (rec engine.CallRecord, err error) {
	err = s.view(ctx, func(tx *tx) error {
		rec, err = tx.call(project, id)
		return err
	})
	return rec, err
}

func (x *tx) call(project, id string) (engine.CallRecord, error) {
	_, rest, ok := takeUint(x.calls.Get([]byte(id)))
	if !ok {
		return engine.CallRecord{}, ErrNotFound
	}
	owner, body, _ := takeString(rest)
	if project != "" && owner != project {
		return engine.CallRecord{}, ErrNotFound
	}
	var rec engine.CallRecord
	if err := json.Unmarshal(body, &rec); err != nil {
		return engine.CallRecord{}, fmt.Errorf("session: the record of %s is damaged: %w", id, err)
	}
	return rec, nil
}

// Calls implements Store. Lists of calls in a live state do not look at the ended ones.
func (s *embedded) Calls(
	ctx context.Context, project string, f CallFilter, p Page,
) (calls []engine.CallInfo, next string, err error) {
	prefix := prefixKey(project)
	end, err := pageEnd(prefix, f.CreatedBefore, p)
	if err != nil {
		return nil, "", err
	}
	limit := clampLimit(p.Limit)
	err = s.view(ctx, func(tx *tx) error {
		var last []byte
		return backwards(tx.rowsFor(f.State), prefix, end, func(k, row []byte) (bool, error) {
			created, id, ok := takeUint(k[len(prefix):])
			switch {
			case !ok || !f.matches(row):
				return true, ctx.Err()
			case !f.CreatedAfter.IsZero() && created <= micros(f.CreatedAfter):
				return false, nil
			case len(calls) == limit:
				next = pageCursor(last)
				return false, nil
			}
			rec, err := tx.call("", string(id))
			if err != nil {
				return false, err
			}
			calls, last = append(calls, rec.Info), bytes.Clone(k[len(prefix):])
			return true, nil
		})
	})
	if err != nil {
		return nil, "", err
	}
	return calls, next, nil
}

// pageEnd is the key before which a page of a list by creation begins; nil is the newest entry.
func pageEnd(prefix []byte, createdBefore time.Time, p Page) ([]byte, error) {
	var end []byte
	if !createdBefore.IsZero() {
		end = appendUint(bytes.Clone(prefix), micros(createdBefore))
	}
	if p.After == "" {
		return end, nil
	}
	rest, err := pageKey(p.After)
	if err != nil {
		return nil, err
	}
	after := append(bytes.Clone(prefix), rest...)
	if end == nil || bytes.Compare(after, end) < 0 {
		end = after
	}
	return end, nil
}

func (x *tx) rowsFor(state engine.CallState) *bolt.Bucket {
	if state == "" || state == engine.CallEnded {
		return x.callRows
	}
	return x.liveRows
}

// matches looks at a call's row.
func (f *CallFilter) matches(row []byte) bool {
	if len(row) < 8 {
		return false
	}
	rest := row[8:]
	var got [6]string
	for i := range got {
		var ok bool
		if got[i], rest, ok = takeString(rest); !ok {
			return false
		}
	}
	equal := func(want, have string) bool { return want == "" || want == have }
	return equal(string(f.State), got[0]) && equal(string(f.Direction), got[1]) &&
		strings.Contains(got[2], f.From) && strings.Contains(got[3], f.To) &&
		equal(f.ApplicationID, got[4]) && equal(f.SessionID, got[5])
}

// endedBefore reports whether the call of a row ended before t.
func endedBefore(row []byte, t time.Time) bool {
	ms, _, ok := takeUint(row)
	return ok && ms != 0 && time.UnixMilli(int64(ms)).Before(t)
}
