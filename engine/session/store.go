// Package session keeps what outlives a process: resources, call records, the event log, and later leases and
// snapshots. Store has an embedded implementation and one in Redis; both pass the suite in sessiontest.
package session

import (
	"context"
	"errors"
	"time"

	"github.com/tipring/tipring/engine"
)

// Errors of a Store.
var (
	ErrNotFound = errors.New("session: not found")
	ErrExists   = errors.New("session: exists already")
)

// Kind names a sort of resource.
type Kind string

// The kinds.
const (
	KindKey         Kind = "key"         // an API key, Key
	KindApplication Kind = "application" // engine.Application
	KindSecret      Kind = "secret"      // random bytes that nodes share: see Secret
	KindNumber      Kind = "number"      // engine.Number
	KindTrunk       Kind = "trunk"       // engine.Trunk
	KindDelivery    Kind = "delivery"    // a webhook delivery, for looking at
	KindOutbox      Kind = "outbox"      // what a node still has to deliver
	KindIdempotency Kind = "idempotency" // answers to Idempotency-Key
	KindConference  Kind = "conference"  // engine.ConferenceInfo
	KindRecording   Kind = "recording"   // engine.RecordingInfo
	KindTrail       Kind = "trail"       // of a call that is over: see ReadTrail
)

// An Item is a resource as the store sees it.
type Item struct {
	Kind    Kind
	Project string
	ID      string // ids sort by creation
	Value   []byte // JSON
	// Unique, if set, may be held by one item of the kind only, whatever its project: a number, a key's hash.
	Unique string
	// Expires, if set, is when the item may be forgotten.
	Expires time.Time
}

// Page asks for a part of a list, newest first.
type Page struct {
	After string // cursor of the page before; "" is the start
	Limit int    // 1…1000
}

// CallFilter narrows a list of calls; zero fields match all.
type CallFilter struct {
	State         engine.CallState
	Direction     engine.Direction
	From, To      string // substring
	ApplicationID string
	SessionID     string
	CreatedAfter  time.Time
	CreatedBefore time.Time
}

// ConferenceFilter narrows a list of conferences; zero fields match all.
type ConferenceFilter struct {
	State engine.ConferenceState
	Name  string
}

// RecordingFilter narrows a list of recordings; zero fields match all.
type RecordingFilter struct {
	CallID, ConferenceID, SessionID string
	State                           engine.RecordingState
	CreatedBefore                   time.Time
}

// A Cursor is a place in the log of all events. It is opaque to customers; "" is the log's start.
type Cursor string

// A Logged event knows its place.
type Logged struct {
	engine.Event
	Cursor Cursor // of this event: reading after it continues with the next
}

// A Store keeps things. Its methods may be called from any goroutine; writes have reached the disk (or Redis) when
// they return, and an error means that nothing was written. What can never be kept gives ErrInvalid, a cursor that is
// none of this store ErrCursor, a store that was closed ErrClosed. A Store never keeps a slice that it was given.
type Store interface {
	// Create writes new items, all or none; ErrExists if an id or a Unique is taken.
	Create(ctx context.Context, items ...Item) error
	// Put writes items, new or not, all or none; ErrExists if a Unique belongs to another item.
	Put(ctx context.Context, items ...Item) error
	// Get reads one; project "" matches any. ErrNotFound if there is none, or if it has expired.
	Get(ctx context.Context, kind Kind, project, id string) (Item, error)
	// Lookup reads the one that holds unique.
	Lookup(ctx context.Context, kind Kind, unique string) (Item, error)
	// List reads a page; project "" lists all. next is "" on the last page.
	List(ctx context.Context, kind Kind, project string, p Page) (items []Item, next string, err error)
	// CallItems reads a page of the items of a call: of its recordings, or of its deliveries.
	CallItems(ctx context.Context, kind Kind, project, callID string, p Page) (items []Item, next string, err error)
	// Delete removes items; those that are not there do not matter.
	Delete(ctx context.Context, kind Kind, project string, ids ...string) error
	// Watch sends after changes to a kind, on this node or another, until ctx ends; changes may be merged. The channel is
	// closed then.
	Watch(ctx context.Context, kind Kind) <-chan struct{}

	// Append writes events and the records of calls, conferences and recordings that they carry, all or none, and returns
	// their cursors in order. Of several records of the same thing the last one stays.
	Append(ctx context.Context, events []engine.Event) ([]Cursor, error)
	// CallEvents reads the events of a call, or of a conference, with a sequence over after, oldest first; limit 1…1000.
	// project "" matches any. An event that names both belongs to its call.
	CallEvents(ctx context.Context, project, callID string, after uint64, limit int) ([]Logged, error)
	// Events reads the log behind a cursor, oldest first; project "" reads all. next continues behind what was read,
	// whether or not it matched: there may be more although nothing was found. At the end of the log next is after.
	Events(ctx context.Context, project string, after Cursor, limit int) (events []Logged, next Cursor, err error)
	// Tail is the cursor of the newest event.
	Tail(ctx context.Context) (Cursor, error)
	// Call reads a call's record, Calls a page of them, newest first.
	Call(ctx context.Context, project, id string) (engine.CallRecord, error)
	Calls(ctx context.Context, project string, f CallFilter, p Page) (calls []engine.CallInfo, next string, err error)
	// Conference reads a conference's record, Conferences a page of them, newest first.
	Conference(ctx context.Context, project, id string) (engine.ConferenceInfo, error)
	Conferences(
		ctx context.Context, project string, f ConferenceFilter, p Page,
	) (list []engine.ConferenceInfo, next string, err error)
	// Recording reads a recording's record, Recordings a page of them, newest first.
	Recording(ctx context.Context, project, id string) (engine.RecordingInfo, error)
	Recordings(
		ctx context.Context, project string, f RecordingFilter, p Page,
	) (list []engine.RecordingInfo, next string, err error)
	// PutRecording changes a recording's record without an event.
	PutRecording(ctx context.Context, r engine.RecordingInfo) error
	// Prune forgets events, ended calls and ended conferences older than before, and items that have expired. The record
	// of a recording stays as long as its file may: it goes when it says so (deleted, or failed without a byte).
	Prune(ctx context.Context, before time.Time) error
	// Close writes what is left and closes the store.
	Close() error
}
