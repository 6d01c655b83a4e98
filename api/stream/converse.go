// Package stream is one WebSocket conversation with an application: events go down, commands come up. The customer
// opens it (Server, GET /v1/stream), or we do (package webhook, an application's wss:// URL); the frames are the same.
package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ReadLimit is the most bytes that a message of the other side may have.
const ReadLimit = 256 << 10

const (
	closeWait      = time.Second      // for the other side's close frame
	commandTimeout = 10 * time.Second // for a command to be accepted
	maxBadFrames   = 20               // in a row
	maxCommands    = 256              // under way per conversation
	confirmEvery   = time.Second      // whether what was sent has been read, if that matters
	maxPingPayload = 125              // RFC 6455 5.5

	goingAway = "the node is stopping: resume elsewhere"
)

// Commander carries out commands: the engine, or the router around it.
type Commander interface {
	Do(ctx context.Context, cmd engine.Command) (engine.Reply, error)
}

// Source gives the events of a conversation; *session.Follower is one.
type Source interface {
	Events() <-chan session.Logged
	Err() error // why Events was closed
}

// Pace bounds what a conversation may take; zero fields take the defaults.
type Pace struct {
	Ping         time.Duration // between pings; the other side is gone after two and a half; 0: 20 s
	WriteTimeout time.Duration // for one frame; 0: 10 s
	CommandRate  float64       // commands per second; 0: 100
	CommandBurst float64       // at once; 0: 200
}

// Terms are what the two ways into a conversation do differently. Its functions are called from the conversation's
// goroutines and must not block.
type Terms struct {
	Project     string // the commands' and events' owner
	Application string // for an application's own connection
	Commander   Commander
	Logger      *slog.Logger
	Pace        Pace
	NewID       func(prefix string) string

	// Events is what flows from the start, behind After. Without it a subscribe frame brings a source.
	Events Source
	After  session.Cursor
	// Subscribe makes the source of a subscribe frame, until ctx ends, and says behind which cursor it begins; nil
	// refuses.
	Subscribe func(ctx context.Context, s *Subscription) (Source, session.Cursor, error)
	// MayCommand is nil if the other side may send commands, else the reason.
	MayCommand error
	// Valid is asked at every ping whether the conversation may go on; nil: it may.
	Valid func(ctx context.Context) bool

	Asks     func(e *session.Logged) bool                        // whether the event is sent as a request; nil: none is
	Sending  func(c session.Cursor)                              // an event is about to be written
	Received func(c session.Cursor)                              // the other side has read events up to c: its pong says so
	Acked    func(c session.Cursor)                              // the other side says that it has dealt with events up to c
	Answered func(eventID string, ins *engine.Instructions) bool // takes the answer to an event; false: it runs as a command
	Steered  func(callID string)                                 // a command for the call arrived
}

// closing is why we end a conversation, as the close frame says it (RFC 6455 7.4).
type closing struct {
	code int
	text string
}

func (c closing) Error() string { return fmt.Sprintf("stream: closed with %d: %s", c.code, c.text) }

// conversation is the state of Converse. The reader is Converse's goroutine; the writer has one of its own; each call
// with commands under way has one.
type conversation struct {
	t        Terms
	ws       *websocket.Conn
	parent   context.Context //nolint:containedctx // of commands: they outlive the connection
	ctx      context.Context //nolint:containedctx // the conversation's life; its cause is the reason for the end
	fail     context.CancelCauseFunc
	replies  chan any
	sources  chan subscribed
	commands *commands
	rate     *bucket
	bad      int // frames in a row
	stopSub  context.CancelFunc
}

// subscribed is what a subscribe frame brought.
type subscribed struct {
	source Source
	after  session.Cursor
}

// Converse speaks until the other side leaves, breaks the rules, or ctx ends; it closes ws and says why. Commands
// that were read are carried out even if the other side has left.
func Converse(ctx context.Context, ws *websocket.Conn, t Terms) error {
	t.Pace = t.Pace.withDefaults()
	c := &conversation{
		t: t, ws: ws, parent: ctx, replies: make(chan any, 64), sources: make(chan subscribed),
		commands: newCommands(maxCommands), rate: newBucket(t.Pace.CommandRate, t.Pace.CommandBurst, time.Now()),
		stopSub: func() {},
	}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	ws.SetReadLimit(ReadLimit)
	written := make(chan struct{})
	go func() { // ends when c.ctx does
		defer close(written)
		c.write()
		time.AfterFunc(closeWait, func() { _ = ws.Close() }) // the reader waits for the close frame that long
	}()
	c.fail(c.read())
	c.stopSub()
	<-written
	_ = ws.Close()
	return context.Cause(c.ctx)
}

func (p Pace) withDefaults() Pace {
	if p.Ping <= 0 {
		p.Ping = 20 * time.Second
	}
	if p.WriteTimeout <= 0 {
		p.WriteTimeout = 10 * time.Second
	}
	if p.CommandRate <= 0 {
		p.CommandRate = 100
	}
	if p.CommandBurst <= 0 {
		p.CommandBurst = 2 * p.CommandRate
	}
	return p
}

// read takes frames until the connection breaks. After the conversation's end it only waits for the close frame.
func (c *conversation) read() error {
	alive := func() error { return c.ws.SetReadDeadline(time.Now().Add(c.t.Pace.Ping * 5 / 2)) }
	c.ws.SetPongHandler(func(cursor string) error {
		if c.t.Received != nil && cursor != "" && c.ctx.Err() == nil {
			c.t.Received(session.Cursor(cursor))
		}
		return alive()
	})
	for {
		if err := alive(); err != nil {
			return err
		}
		kind, b, err := c.ws.ReadMessage()
		if err != nil {
			return err
		}
		if c.ctx.Err() != nil {
			continue
		}
		if kind != websocket.TextMessage {
			c.badFrame(engine.Errorf(problem.CodeMalformed, "frames are text messages"))
			continue
		}
		c.frame(b)
	}
}

// frame deals with one frame of the other side.
func (c *conversation) frame(b []byte) {
	f, err := decodeFrame(b)
	if err != nil {
		c.refuse(f, err)
		return
	}
	switch f := f.(type) {
	case *Subscription:
		err = c.subscribe(f)
	case *commandFrame:
		c.command(f)
	case *instructionsFrame:
		c.instructions(f)
	case *ackFrame:
		if c.t.Acked != nil {
			c.t.Acked(f.Cursor)
		}
	case *pingFrame:
		c.send(pongFrame{Type: "pong"})
	}
	if err != nil {
		c.refuse(nil, err)
		return
	}
	c.bad = 0
}

// refuse answers a frame that is wrong, as a reply if it was a command.
func (c *conversation) refuse(f any, err error) {
	r := replyFrame{}
	switch f := f.(type) {
	case *commandFrame:
		r.CommandID, r.CallID, r.ConferenceID = f.commandID, f.callID, f.conferenceID
	case *instructionsFrame:
		r.CommandID, r.CallID, r.EventID = f.CommandID, f.CallID, f.EventID
	}
	if r == (replyFrame{}) {
		c.badFrame(err)
		return
	}
	c.reply(r, engine.Reply{}, err)
	c.countBad()
}

func (c *conversation) badFrame(err error) {
	c.send(errorFrame{Type: "error", Error: problem.From(err, c.t.NewID("req"))})
	c.countBad()
}

func (c *conversation) countBad() {
	if c.bad++; c.bad >= maxBadFrames {
		c.fail(closing{websocket.ClosePolicyViolation, "too many bad frames"})
	}
}

func (c *conversation) subscribe(s *Subscription) error {
	if c.t.Subscribe == nil {
		return engine.Errorf(engine.CodeInvalidState, "this connection gets the application's events without subscribing")
	}
	ctx, stop := context.WithCancel(c.ctx)
	source, after, err := c.t.Subscribe(ctx, s)
	if err != nil {
		stop()
		return err
	}
	c.stopSub()
	c.stopSub = stop
	select {
	case c.sources <- subscribed{source, after}:
	case <-c.ctx.Done():
	}
	return nil
}

func (c *conversation) instructions(f *instructionsFrame) {
	if f.EventID != "" && c.t.Answered != nil && c.t.Answered(f.EventID, &f.Instructions) {
		c.send(replyFrame{Type: "reply", CommandID: f.CommandID, EventID: f.EventID, CallID: f.CallID, Status: "accepted"})
		return
	}
	run := &engine.Run{Instructions: f.Instructions}
	run.CallID, run.CommandID = f.CallID, f.CommandID
	if f.CallID == "" {
		c.refuse(f, engine.Invalid("/call_id", "no call waits for an answer to this event: name the call"))
		return
	}
	c.submit(replyFrame{CommandID: f.CommandID, CallID: f.CallID, EventID: f.EventID}, run)
}

func (c *conversation) command(f *commandFrame) {
	r := replyFrame{CommandID: f.commandID, CallID: f.callID, ConferenceID: f.conferenceID}
	switch {
	case f.originate != nil:
		f.originate.ProjectID = c.t.Project
		c.submit(r, f.originate)
		return
	case f.conference != nil:
		f.conference.Conference().ProjectID = c.t.Project
		c.submit(r, f.conference)
		return
	}
	if c.t.Steered != nil {
		c.t.Steered(f.callID)
	}
	c.submit(r, f.action)
}

// submit has a command carried out in its turn; the reply follows.
func (c *conversation) submit(r replyFrame, cmd engine.Command) {
	err := c.t.MayCommand
	if err == nil && !c.rate.take(time.Now()) {
		err = engine.Errorf(problem.CodeRateLimited, "over %g commands per second", c.t.Pace.CommandRate)
	}
	if err != nil {
		c.reply(r, engine.Reply{}, err)
		return
	}
	key := cmd.Target()
	if a, ok := cmd.(engine.Action); ok {
		a.Head().ProjectID = c.t.Project
	} else if key == "" {
		key = c.t.NewID("new") // calls to be do not wait for each other
	}
	ok := c.commands.submit(c.parent, key, commandTimeout, func(ctx context.Context) {
		reply, err := c.do(ctx, cmd)
		c.reply(r, reply, err)
	})
	if !ok {
		c.reply(r, engine.Reply{}, engine.Errorf(problem.CodeRateLimited, "over %d commands under way", maxCommands))
	}
}

// do carries out a command; a panic in it costs this command only.
func (c *conversation) do(ctx context.Context, cmd engine.Command) (r engine.Reply, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.t.Logger.Error("a command panicked", "command", fmt.Sprintf("%T", cmd), "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.t.Commander.Do(ctx, cmd)
}

func (c *conversation) reply(r replyFrame, reply engine.Reply, err error) {
	r.Type, r.Status = "reply", "accepted"
	r.Call, r.Replayed = reply.Call, reply.Replayed
	r.Conference, r.Participant, r.RecordingID = reply.Conference, reply.Participant, reply.RecordingID
	if r.CommandID == "" {
		r.CommandID = reply.CommandID
	}
	if r.CallID == "" && reply.Call != nil {
		r.CallID = reply.Call.ID
	}
	if err != nil {
		p := problem.From(err, c.t.NewID("req"))
		if p.Code == engine.CodeInternal {
			c.t.Logger.Error("a command failed", "call", r.CallID, "request_id", p.RequestID, "error", err)
		}
		r.Status, r.Error = "error", &p
	}
	c.send(r)
}

// send queues a frame for the writer. It waits for room: who asks faster than he reads is not read either.
func (c *conversation) send(frame any) {
	select {
	case c.replies <- frame:
	case <-c.ctx.Done():
	}
}

// write sends frames until the conversation is over, then says so.
func (c *conversation) write() {
	ping := time.NewTicker(c.t.Pace.Ping)
	defer ping.Stop()
	c.put(welcomeFrame{
		Type: "welcome", ConnectionID: c.t.NewID("conn"), ProjectID: c.t.Project, ApplicationID: c.t.Application,
		After: c.t.After, HeartbeatS: int(c.t.Pace.Ping / time.Second),
	})
	confirm := time.NewTicker(confirmEvery)
	defer confirm.Stop()
	if c.t.Received == nil {
		confirm.Stop()
	}
	source, last := c.t.Events, c.t.After
	pinged := last
	for c.ctx.Err() == nil {
		var events <-chan session.Logged
		if source != nil {
			events = source.Events()
		}
		select {
		case <-c.ctx.Done():
		case f := <-c.replies:
			c.put(f)
		case s := <-c.sources:
			source, last = s.source, s.after
			c.put(subscribedFrame{Type: "subscribed", After: s.after})
		case <-confirm.C:
			if last != pinged {
				c.ping(last)
				pinged = last
			}
		case <-ping.C:
			c.ping(last)
			pinged = last
		case e, ok := <-events:
			if ok {
				last = c.event(&e)
				continue
			}
			c.sourceOver(source.Err(), last)
			source = nil
		}
	}
	c.goodbye()
}

func (c *conversation) event(e *session.Logged) session.Cursor {
	f := eventFrame{Type: "event", Cursor: e.Cursor, Event: &e.Event}
	f.Request = c.t.Asks != nil && c.t.Asks(e)
	if c.t.Sending != nil {
		c.t.Sending(e.Cursor)
	}
	c.put(f)
	return e.Cursor
}

// sourceOver tells why no more events come. A replaced subscription ends silently.
func (c *conversation) sourceOver(err error, last session.Cursor) {
	switch {
	case errors.Is(err, session.ErrLagged):
		c.put(laggedFrame{Type: "lagged", Cursor: last})
		c.fail(closing{websocket.CloseTryAgainLater, "reads too slowly: resume with the cursor"})
	case errors.Is(err, session.ErrCursor):
		p := problem.From(engine.Invalid("/after", "is no cursor of this server"), c.t.NewID("req"))
		c.put(errorFrame{Type: "error", Error: p})
	case errors.Is(err, session.ErrClosed):
		c.fail(closing{websocket.CloseGoingAway, goingAway})
	case !errors.Is(err, context.Canceled):
		c.t.Logger.Error("a stream's events ended", "error", err)
		c.fail(closing{websocket.CloseInternalServerErr, "the events cannot be read: resume with the cursor"})
	}
}

// ping sends a ping that carries a cursor: the pong to it proves that the other side has read the events before.
func (c *conversation) ping(last session.Cursor) {
	if c.t.Valid != nil && !c.t.Valid(c.ctx) {
		c.fail(closing{websocket.ClosePolicyViolation, "the key is not valid any more"})
		return
	}
	var payload []byte
	if len(last) <= maxPingPayload {
		payload = []byte(last)
	}
	if err := c.ws.WriteControl(websocket.PingMessage, payload, time.Now().Add(c.t.Pace.WriteTimeout)); err != nil {
		c.fail(err)
	}
}

// put writes a frame; an error ends the conversation.
func (c *conversation) put(frame any) {
	b, err := json.Marshal(frame)
	if err == nil {
		err = c.ws.SetWriteDeadline(time.Now().Add(c.t.Pace.WriteTimeout))
	}
	if err == nil {
		err = c.ws.WriteMessage(websocket.TextMessage, b)
	}
	if err != nil {
		c.fail(fmt.Errorf("stream: writing: %w", err))
	}
}

// goodbye writes what is queued and a close frame, if the end was ours.
func (c *conversation) goodbye() {
	why, ours := errors.AsType[closing](context.Cause(c.ctx))
	if !ours {
		if c.parent.Err() == nil {
			return // the connection is broken, or the other side has said goodbye
		}
		why = closing{websocket.CloseGoingAway, goingAway}
	}
	for range len(c.replies) {
		c.put(<-c.replies)
	}
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(why.code, why.text), time.Now().Add(closeWait))
}
