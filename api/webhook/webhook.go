// Package webhook carries events to applications by HTTP, or by a WebSocket that we dial, and their instructions back.
//
// Events come from the log, behind a durable cursor. For HTTP each call has a lane per endpoint: its events go out one
// after the other, and what fails is tried again for a day while the lane waits. What is pending survives a restart: the
// outbox keeps the cursor and, of every lane that is behind it, where the lane stands. An application with a ws:// or
// wss:// URL has a socket instead, which resumes at the last event that it acknowledged.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// Options of a Service. Log, Store, Directory, Commander and Egress are required.
type Options struct {
	Log       *session.Log
	Store     session.Store
	Directory engine.Directory
	Commander stream.Commander // for what applications send over their WebSocket
	Egress    *egress.Client
	Logger    *slog.Logger
	Node      string                     // names the outbox; "": "node"
	NewID     func(prefix string) string // nil: id.New

	AskTimeout time.Duration // for one try to get instructions; 0: 5 s
	Timeout    time.Duration // for one try to deliver anything else; 0: 5 s
	// Patience is how long an event that asks waits for events of its call that went out before and are not answered;
	// then it overtakes them. 0: 2 s
	Patience time.Duration
	Grace    time.Duration // for requests under way when Run is to end; 0: 3 s
	GiveUp   time.Duration // from an event to its last try; 0: 24 h
	Retain   time.Duration // of deliveries; 0: 72 h

	Workers     int // notifications under way; 0: 128
	PerHost     int // of them to one host; 0: 32
	Asks        int // questions under way; 0: 1,024
	AsksPerHost int // of them to one host; 0: 512
	MaxLanes    int // calls with something pending; 0: 100,000. What is over it is dropped and counted
	MaxQueued   int // events of a lane kept in memory; 0: 64. More are read from the store when their turn comes

	Pace stream.Pace // of WebSockets
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.AskTimeout, 5 * time.Second},
		{&o.Timeout, 5 * time.Second},
		{&o.Patience, 2 * time.Second},
		{&o.Grace, 3 * time.Second},
		{&o.GiveUp, 24 * time.Hour},
		{&o.Retain, 72 * time.Hour},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	for _, d := range []struct {
		value *int
		def   int
	}{
		{&o.Workers, 128}, {&o.PerHost, 32}, {&o.Asks, 1024}, {&o.AsksPerHost, 512}, {&o.MaxLanes, 100_000}, {&o.MaxQueued, 64},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if o.Node == "" {
		o.Node = "node"
	}
	if o.NewID == nil {
		o.NewID = id.New
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// restoreTimeout is for reading the outbox.
const restoreTimeout = time.Minute

// Stats are the figures of a Service so far.
type Stats struct {
	Delivered uint64 // events that an endpoint took
	Failed    uint64 // tries that failed
	GivenUp   uint64 // events whose last try failed
	Dropped   uint64 // events that had nowhere to go any more, or were over a limit
	Asked     uint64 // events that asked
	Answered  uint64 // of them, those whose application answered
	Unlisted  uint64 // deliveries that were not recorded because the store was too slow
	Lanes     int    // calls with something pending
	InFlight  int    // requests under way
	Sockets   int    // WebSockets to applications, open
}

// Service carries events to applications.
type Service struct {
	o       Options
	ledger  *ledger
	sockets *sockets
	again   chan redelivery
	read    atomic.Pointer[session.Cursor] // of the log, by the dispatcher

	disabling sync.Mutex // held while an application is being disabled

	delivered, failed, givenUp, dropped, asked, answered atomic.Uint64
	lanes, inFlight                                      atomic.Int64
}

// New makes a Service. Run makes it work.
func New(o Options) *Service {
	s := &Service{o: o.withDefaults(), again: make(chan redelivery, 256)}
	s.ledger = newLedger(s.o.Retain)
	s.sockets = newSockets(s)
	return s
}

// Run carries events until ctx ends; then it lets requests under way finish for Options.Grace, answers for what still
// asks, and writes what is pending. Events that are published while nobody runs are carried by the next Run, but what
// they ask is not answered: stop the engine first.
func (s *Service) Run(ctx context.Context) error {
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTimeout)
	defer cancel()
	d, err := s.restore(reading) // even if ctx has ended: what asks is to be answered
	if err != nil {
		return fmt.Errorf("webhook: reading the outbox: %w", err)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // of requests and writes: it outlives ctx by the grace
	defer stop()
	kept := make(chan struct{})
	go func() { // ends when d.checkpoints is closed
		defer close(kept)
		s.keep(work, d.checkpoints, d.kept)
	}()
	linked := make(chan struct{})
	go func() { // ends with ctx
		defer close(linked)
		s.sockets.run(ctx)
	}()
	err = d.run(ctx, work)
	<-linked
	d.checkpoint(true)
	close(d.checkpoints)
	time.AfterFunc(s.o.Grace, stop)
	<-kept
	return err
}

// Stats are the figures so far.
func (s *Service) Stats() Stats {
	return Stats{
		Delivered: s.delivered.Load(), Failed: s.failed.Load(), GivenUp: s.givenUp.Load(), Dropped: s.dropped.Load(),
		Asked: s.asked.Load(), Answered: s.answered.Load(), Unlisted: s.ledger.lost.Load(),
		Lanes: int(s.lanes.Load()), InFlight: int(s.inFlight.Load()), Sockets: s.sockets.open(),
	}
}
