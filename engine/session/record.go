package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tipring/tipring/engine"
)

// listedItems are the records of conferences and recordings that events carry, the last of each, and their kinds.
func listedItems(events []engine.Event) (rows []itemRow, kinds []Kind, err error) {
	type place struct {
		kind        Kind
		project, id string
	}
	seen := map[place]bool{}
	add := func(kind Kind, project, id string, v any) {
		p := place{kind, project, id}
		if err != nil || seen[p] {
			return
		}
		seen[p] = true
		var r itemRow
		if r, err = newRecord(kind, project, id, v); err == nil {
			rows, kinds = append(rows, r), append(kinds, kind)
		}
	}
	for i := range slices.Backward(events) {
		if c := events[i].Conference; c != nil {
			add(KindConference, c.ProjectID, c.ID, c)
		}
		if r := events[i].Recording; r != nil {
			add(KindRecording, r.ProjectID, r.ID, r)
		}
	}
	return rows, kinds, err
}

func newRecord(kind Kind, project, id string, v any) (itemRow, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return itemRow{}, fmt.Errorf("%w: %s %s: %w", ErrInvalid, kind, id, err)
	}
	return newItemRow(Item{Kind: kind, Project: project, ID: id, Value: value})
}

// Conference implements Store.
func (s *embedded) Conference(ctx context.Context, project, id string) (c engine.ConferenceInfo, err error) {
	it, err := s.Get(ctx, KindConference, project, id)
	if err != nil {
		return c, err
	}
	return readValue[engine.ConferenceInfo](it)
}

// Conferences implements Store.
func (s *embedded) Conferences(
	ctx context.Context, project string, f ConferenceFilter, p Page,
) ([]engine.ConferenceInfo, string, error) {
	in := ""
	switch {
	case f.Name != "":
		in = ref(refName, f.Name)
	case f.State != "":
		in = ref(refState, string(f.State))
	}
	return listOf(ctx, s, KindConference, project, in, time.Time{}, p, func(c *engine.ConferenceInfo) bool {
		return fits(f.State, c.State) && fits(f.Name, c.Name)
	})
}

// Recording implements Store.
func (s *embedded) Recording(ctx context.Context, project, id string) (r engine.RecordingInfo, err error) {
	it, err := s.Get(ctx, KindRecording, project, id)
	if err != nil {
		return r, err
	}
	return readValue[engine.RecordingInfo](it)
}

// Recordings implements Store. It reads the shortest list that the filter names.
func (s *embedded) Recordings(
	ctx context.Context, project string, f RecordingFilter, p Page,
) ([]engine.RecordingInfo, string, error) {
	in := ""
	switch {
	case f.CallID != "":
		in = ref(refCall, f.CallID)
	case f.ConferenceID != "":
		in = ref(refConference, f.ConferenceID)
	case f.SessionID != "":
		in = ref(refSession, f.SessionID)
	case f.State != "":
		in = ref(refState, string(f.State))
	}
	return listOf(ctx, s, KindRecording, project, in, f.CreatedBefore, p, func(r *engine.RecordingInfo) bool {
		return fits(f.CallID, r.CallID) && fits(f.ConferenceID, r.ConferenceID) && fits(f.SessionID, r.SessionID) &&
			fits(f.State, r.State)
	})
}

func fits[T comparable](want, have T) bool { return want == *new(T) || want == have }

// PutRecording implements Store.
func (s *embedded) PutRecording(ctx context.Context, r engine.RecordingInfo) error {
	row, err := newRecord(KindRecording, r.ProjectID, r.ID, r)
	if err != nil {
		return err
	}
	return s.Put(ctx, row.Item)
}

// An over says of an item in which list it stands once it may be forgotten, and whether it may.
type over struct {
	refs []string
	is   func(Item) bool
}

func conferenceOver(before time.Time) over {
	return over{[]string{ref(refState, string(engine.ConferenceEnded))}, func(it Item) bool {
		c, err := readValue[engine.ConferenceInfo](it)
		return err != nil || endedEarlier(c.EndedAt, c.CreatedAt, before)
	}}
}

// recordingOver is about recordings that have no file any more.
func recordingOver(before time.Time) over {
	refs := []string{ref(refState, string(engine.RecordingDeleted)), ref(refState, string(engine.RecordingFailed))}
	return over{refs, func(it Item) bool {
		r, err := readValue[engine.RecordingInfo](it)
		return err != nil || (r.State == engine.RecordingDeleted || r.Size == 0) && endedEarlier(r.EndedAt, r.CreatedAt, before)
	}}
}

func endedEarlier(ended *time.Time, created, before time.Time) bool {
	return cmp.Or(ended, &created).Before(before)
}

// pruneListed removes items of a kind that are over; those made later than before cannot be.
func (x *tx) pruneListed(kind Kind, o over, before time.Time) (int, error) {
	var gone []Item
	for _, in := range o.refs {
		prefix := listPrefix(kind, "", in)
		c := x.listed.Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(gone) < pruneRows; k, _ = c.Next() {
			it, created, ok := x.listedItem(kind, k[len(prefix):])
			if ok && created >= micros(before) {
				break
			}
			if ok && o.is(it) {
				gone = append(gone, it)
			}
		}
	}
	for _, it := range gone {
		if err := x.deleteItem(kind, it.Project, it.ID); err != nil {
			return 0, err
		}
	}
	return len(gone), nil
}

// ExpireRecordings removes the files of recordings that ended before, by remove, and marks their records as deleted. It
// returns how many there were. It goes on when a file cannot be removed, and gives the first error at its end.
func ExpireRecordings(
	ctx context.Context, store Store, before time.Time, remove func(engine.RecordingInfo) error,
) (n int, err error) {
	for _, state := range []engine.RecordingState{engine.RecordingSaved, engine.RecordingFailed} {
		p := Page{Limit: 1000}
		for {
			list, next, listErr := store.Recordings(ctx, "", RecordingFilter{State: state, CreatedBefore: before}, p)
			if listErr != nil {
				return n, fmt.Errorf("session: recordings that are %s: %w", state, listErr)
			}
			for _, r := range list {
				if r.Size == 0 || !endedEarlier(r.EndedAt, r.CreatedAt, before) {
					continue
				}
				if removeErr := remove(r); removeErr != nil {
					err = cmp.Or(err, fmt.Errorf("session: remove recording %s: %w", r.ID, removeErr))
					continue
				}
				r.State = engine.RecordingDeleted
				if putErr := store.PutRecording(ctx, r); putErr != nil {
					return n, fmt.Errorf("session: mark recording %s as deleted: %w", r.ID, putErr)
				}
				n++
			}
			if p.After = next; next == "" {
				break
			}
		}
	}
	return n, err
}
