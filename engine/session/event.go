package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tipring/tipring/engine"
)

// scanRows bounds the rows that one read of a project's part of the log passes over.
const scanRows = 8192

// Append implements Store. All JSON is made before the transaction, which only gives the cursors.
func (s *embedded) Append(ctx context.Context, events []engine.Event) ([]Cursor, error) {
	if len(events) == 0 {
		return nil, ctx.Err()
	}
	rows := make([][]byte, len(events))
	for i := range events {
		row, err := eventRow(&events[i])
		if err != nil {
			return nil, err
		}
		rows[i] = row
	}
	records, err := callRows(events)
	if err != nil {
		return nil, err
	}
	listed, kinds, err := listedItems(events)
	if err != nil {
		return nil, err
	}
	cursors := make([]Cursor, len(events))
	err = s.commits.do(ctx, &write{
		kinds:  kinds,
		weight: 2*len(events) + 3*len(records) + 6*len(listed),
		apply: func(tx *tx) error {
			for i := range events {
				n, err := tx.putEvent(&events[i], rows[i])
				if err != nil {
					return err
				}
				cursors[i] = cursorOf(n)
			}
			for i := range records {
				if err := tx.putCall(&records[i]); err != nil {
					return err
				}
			}
			for i := range listed {
				if err := tx.putItem(&listed[i]); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return cursors, nil
}

// callRows are the rows of the calls that events carry: a call's last record is all that stays of it.
func callRows(events []engine.Event) ([]callRow, error) {
	newest := map[string]*engine.CallRecord{}
	for i := range events {
		if c := events[i].Call; c != nil {
			newest[c.Info.ID] = c
		}
	}
	rows := make([]callRow, 0, len(newest))
	for _, c := range newest {
		r, err := newCallRow(c)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// subject is whose sequence an event's is: its call, or else its conference; "" is nobody's.
func subject(e *engine.Event) string {
	if e.CallID != "" {
		return e.CallID
	}
	return e.ConferenceID
}

func (x *tx) putEvent(e *engine.Event, row []byte) (uint64, error) {
	n, err := x.events.NextSequence()
	if err != nil {
		return 0, err
	}
	if err := x.events.Put(appendUint(nil, n), row); err != nil {
		return 0, err
	}
	s := subject(e)
	if s == "" {
		return n, nil
	}
	return n, x.callEvents.Put(callEventKey(s, e.Sequence, n), nil)
}

func callEventKey(callID string, sequence, cursor uint64) []byte {
	return appendUint(appendUint(prefixKey(callID), sequence), cursor)
}

// CallEvents implements Store.
func (s *embedded) CallEvents(
	ctx context.Context, project, callID string, after uint64, limit int,
) (events []Logged, err error) {
	if after == 1<<64-1 {
		return nil, ctx.Err()
	}
	limit = clampLimit(limit)
	prefix := prefixKey(callID)
	err = s.view(ctx, func(tx *tx) error {
		c := tx.callEvents.Cursor()
		k, _ := c.Seek(callEventKey(callID, after+1, 0))
		for ; len(k) == len(prefix)+16 && bytes.HasPrefix(k, prefix) && len(events) < limit; k, _ = c.Next() {
			row := tx.events.Get(k[len(k)-8:])
			if row == nil { // pruned
				continue
			}
			e, ok, err := readEvent(row, project)
			if err != nil {
				return err
			}
			if ok {
				events = append(events, Logged{Event: e, Cursor: cursorOf(binary.BigEndian.Uint64(k[len(k)-8:]))})
			}
		}
		return nil
	})
	return events, err
}

// Events implements Store. It passes over at most scanRows rows, so it may return nothing although more follows; next
// has moved then. next is after when the end of the log is reached.
func (s *embedded) Events(
	ctx context.Context, project string, after Cursor, limit int,
) (events []Logged, next Cursor, err error) {
	from, err := parseCursor(after)
	if err != nil {
		return nil, "", err
	}
	limit, next = clampLimit(limit), after
	err = s.view(ctx, func(tx *tx) error {
		if from > tx.events.Sequence() {
			return fmt.Errorf("%w: it lies behind the newest event", ErrCursor)
		}
		c := tx.events.Cursor()
		k, row := c.Seek(appendUint(nil, from+1))
		for rows := 0; k != nil && rows < scanRows && len(events) < limit; k, row = c.Next() {
			e, ok, err := readEvent(row, project)
			if err != nil {
				return err
			}
			next = cursorOf(binary.BigEndian.Uint64(k))
			if ok {
				events = append(events, Logged{Event: e, Cursor: next})
			}
			rows++
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return events, next, nil
}

// Tail implements Store.
func (s *embedded) Tail(ctx context.Context) (c Cursor, err error) {
	err = s.view(ctx, func(tx *tx) error {
		if n := tx.events.Sequence(); n > 0 {
			c = cursorOf(n)
		}
		return nil
	})
	return c, err
}

func cursorOf(n uint64) Cursor { return Cursor(strconv.FormatUint(n, 36)) }

func parseCursor(c Cursor) (uint64, error) {
	if c == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(string(c), 36, 64)
	if err != nil || cursorOf(n) != c {
		return 0, ErrCursor
	}
	return n, nil
}

// eventRow is what is needed to pass over an event or to remove it (ms of the time, sequence, subject, project), what
// customers do not see (webhook URL), and the JSON.
func eventRow(e *engine.Event) ([]byte, error) {
	about := subject(e)
	if err := checkPart("call or conference id of an event", about, true); err != nil {
		return nil, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: event %s of type %s: %w", ErrInvalid, e.ID, e.Type, err)
	}
	b := make([]byte, 0, 32+len(about)+len(e.ProjectID)+len(e.WebhookURL)+len(body))
	b = appendUint(b, uint64(max(e.Timestamp.UnixMilli(), 0)))
	b = appendUint(b, e.Sequence)
	b = appendString(b, about)
	b = appendString(b, e.ProjectID)
	return append(appendString(b, e.WebhookURL), body...), nil
}

// eventHead is what stands before the JSON in the row of an event.
type eventHead struct {
	at               time.Time
	sequence         uint64
	subject, project string
	webhookURL       string
}

// readHead reads a row up to its JSON.
func readHead(row []byte) (h eventHead, body []byte, err error) {
	ms, rest, ok := takeUint(row)
	if ok {
		h.at = time.UnixMilli(int64(ms))
		h.sequence, rest, ok = takeUint(rest)
	}
	for _, field := range []*string{&h.subject, &h.project, &h.webhookURL} {
		if ok {
			*field, rest, ok = takeString(rest)
		}
	}
	if !ok {
		return h, nil, errors.New("session: an event in the log is damaged")
	}
	return h, rest, nil
}

// readEvent reads the event of a row; false if it is not of the project.
func readEvent(row []byte, project string) (e engine.Event, ok bool, err error) {
	head, body, err := readHead(row)
	if err != nil || project != "" && head.project != project {
		return e, false, err
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, false, fmt.Errorf("session: an event in the log is damaged: %w", err)
	}
	e.WebhookURL = head.webhookURL
	return e, true, nil
}
