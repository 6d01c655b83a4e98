package engine

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/mixer"
)

const (
	// maxConferenceQueue is what a conference's loop has waiting at most: all its seats may come, leave and speak at once.
	maxConferenceQueue = 4 * maxParticipants
	maxParticipants    = 5000
	// emptyTimeout ends a conference that was opened and to which nobody came.
	emptyTimeout = time.Hour
)

// A conference is many calls that hear each other. Its loop owns all that stands below the mailbox; others post
// closures.
type conference struct {
	engine *Engine
	log    *slog.Logger
	room   *mixer.Room

	mailbox

	info     ConferenceInfo // ID, ProjectID and Name do not change; its Participants are made by snapshot
	webhook  string         // of the call that opened it, without an application
	seats    []*seat        // in the order in which they came
	waiting  bool           // for the moderator
	music    *media.Clip    // nil until it is there
	playing  *announcement  // to all
	tapes    map[string]*tape
	commands map[string]string
	empty    *time.Timer
	ended    bool
}

// openConference makes a conference that nobody has joined yet.
func (e *Engine) openConference(cmd *OpenConference) (Reply, error) {
	if err := Validate(cmd); err != nil {
		return Reply{}, err
	}
	c, created, err := e.room(*cmd, "", true)
	if err != nil {
		return Reply{}, err
	}
	if !created {
		return Reply{}, Errorf(CodeConflict, "there is a conference %q already: %s", cmd.Name, c.info.ID)
	}
	return e.inspectConference(context.Background(), &InspectConference{ConferenceID: c.info.ID})
}

// room finds a conference by id or name, or opens one of that name. With fresh, one that is there is not touched.
func (e *Engine) room(cmd OpenConference, webhook string, fresh bool) (c *conference, created bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.lookup(cmd.ProjectID, orDefault(cmd.Name, cmd.ConferenceID)); c != nil {
		return c, false, nil // one that is ending sends who comes back here
	}
	switch {
	case e.draining:
		return nil, false, Errorf(CodeDraining, "this node is shutting down and opens no conferences")
	case !fresh && isConferenceID(cmd.Name):
		return nil, false, Errorf(CodeConferenceNotFound, "there is no conference %q", cmd.Name)
	}
	c = newConference(e, cmd, webhook)
	e.conferences[c.info.ID] = c
	if c.info.Name != "" {
		e.names[nameKey(c.info.ProjectID, c.info.Name)] = c
	}
	go c.run() // ends with the conference
	return c, true, nil
}

func isConferenceID(s string) bool { return len(s) > 5 && s[:5] == "conf_" }

func nameKey(project, name string) string { return project + "\x00" + name }

// lookup finds a conference that lives here, by id or by name; nil if there is none. The caller holds e.mu.
func (e *Engine) lookup(project, which string) *conference {
	c := e.conferences[which]
	if c == nil {
		c = e.names[nameKey(project, which)]
	}
	if c == nil || project != "" && c.info.ProjectID != project {
		return nil
	}
	return c
}

func newConference(e *Engine, cmd OpenConference, webhook string) *conference {
	c := &conference{
		engine:  e,
		mailbox: newMailbox(maxConferenceQueue, func() { e.stats.commandsRefused.Add(1) }),
		webhook: webhook, tapes: make(map[string]*tape), commands: make(map[string]string),
	}
	c.info = ConferenceInfo{
		ID: orDefault(cmd.ConferenceID, e.o.NewID("conf")), ProjectID: cmd.ProjectID, ApplicationID: cmd.ApplicationID,
		Name: cmd.Name, State: ConferenceWaiting, Settings: cmd.ConferenceSettings, Node: e.o.Node, CreatedAt: time.Now().UTC(),
	}
	c.waiting = cmd.StartOnModerator
	c.log = e.o.Log.With("conference", c.info.ID)
	c.room = mixer.NewRoom(mixer.Options{Speaking: func(s *mixer.Seat, on bool) {
		c.post(func() { c.speaking(s, on) })
	}})
	return c
}

// run is the conference's loop. It ends with the conference.
func (c *conference) run() {
	defer c.over()
	c.publish("conference.created", "", nil)
	if c.info.Settings.Music != "" {
		c.loadMusic()
	}
	c.empty = time.AfterFunc(emptyTimeout, func() { c.post(c.endIfEmpty) })
	for !c.ended {
		<-c.wake
		for _, f := range c.take() {
			if f(); c.ended {
				break
			}
		}
	}
}

// over ends a conference whose loop has returned or panicked: a panic lets its calls go on.
func (c *conference) over() {
	if r := recover(); r != nil {
		c.engine.stats.panics.Add(1)
		c.log.Error("conference ended by a panic", "panic", r, "stack", string(debug.Stack()))
		func() {
			defer func() { _ = recover() }() // the state may be broken: the seats are let go all the same
			c.end("internal", "")
		}()
		for _, s := range c.seats {
			s.call.insist(func() { s.call.unseated(s, "internal") })
		}
		c.ended = true
	}
	left := c.shut()
	if c.empty != nil {
		c.empty.Stop()
	}
	c.engine.linger(1) // until outlive is done
	c.engine.close(c)
	for _, f := range left {
		f() // whoever comes too late is told so
	}
	close(c.done)
	c.engine.outlive(slices.Collect(maps.Values(c.tapes))...)
}

// close takes a conference that is over out of the lists and remembers it for a while.
func (e *Engine) close(c *conference) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conferences, c.info.ID)
	if key := nameKey(c.info.ProjectID, c.info.Name); e.names[key] == c {
		delete(e.names, key)
	}
	e.overRooms[c.info.ID] = c.snapshot()
	time.AfterFunc(keepOver, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.overRooms, c.info.ID)
	})
	e.checkEmpty()
}

// findConference gives a conference that lives here, or an error that says what became of it.
func (e *Engine) findConference(project, which string) (*conference, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.lookup(project, which); c != nil {
		return c, nil
	}
	if r, ok := e.overRooms[which]; ok && (project == "" || r.ProjectID == project) {
		return nil, Errorf(CodeConferenceEnded, "the conference %s is over", which)
	}
	return nil, Errorf(CodeConferenceNotFound, "there is no conference %q", which)
}

func (e *Engine) inspectConference(ctx context.Context, cmd *InspectConference) (Reply, error) {
	c, err := e.findConference(cmd.ProjectID, cmd.ConferenceID)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if r, ok := e.overRooms[cmd.ConferenceID]; ok && (cmd.ProjectID == "" || r.ProjectID == cmd.ProjectID) {
			return Reply{Conference: &r}, nil
		}
		return Reply{}, err
	}
	var info ConferenceInfo
	err = c.visit(ctx, func() error { info = c.snapshot(); return nil })
	if ErrorCode(err) == CodeConferenceEnded {
		select {
		case <-c.done:
			return e.inspectConference(ctx, &InspectConference{ConferenceID: c.info.ID, ProjectID: cmd.ProjectID})
		case <-ctx.Done():
			return Reply{}, ctx.Err()
		}
	}
	if err != nil {
		return Reply{}, err
	}
	return Reply{Conference: &info}, nil
}

// visit runs f in the loop and returns its error. It is not for loops.
func (c *conference) visit(ctx context.Context, f func() error) error {
	return c.mailbox.visit(ctx, f, func() error {
		return Errorf(CodeConferenceEnded, "the conference %s is over", c.info.ID)
	})
}

// snapshot is the conference as it stands.
func (c *conference) snapshot() ConferenceInfo {
	info := c.info
	info.Participants = make([]ParticipantInfo, 0, len(c.seats))
	for _, s := range c.seats {
		info.Participants = append(info.Participants, s.snapshot())
	}
	return info
}

// record is snapshot for the log: a large conference is not written whole with each of its events.
func (c *conference) record() *ConferenceInfo {
	info := c.info
	if len(c.seats) <= 50 {
		info = c.snapshot()
	}
	return &info
}

// publish tells the customer. data may be nil.
func (c *conference) publish(typ, commandID string, data map[string]any) {
	c.emit(typ, commandID, data, nil)
}

func (c *conference) emit(typ, commandID string, data map[string]any, finish func(*Event)) {
	if data == nil {
		data = make(map[string]any, 4)
	}
	data["conference_name"], data["state"], data["participants"] = c.info.Name, c.info.State, len(c.seats)
	raw, err := json.Marshal(data)
	if err != nil { // only strings, numbers and structs of ours are put there
		c.log.Error("an event's data is no JSON", "type", typ, "error", err)
		raw = []byte("{}")
	}
	c.info.LastSequence++
	e := Event{
		ID: c.engine.o.NewID("evt"), Type: typ, Timestamp: time.Now().UTC(), Sequence: c.info.LastSequence,
		ProjectID: c.info.ProjectID, ApplicationID: c.info.ApplicationID, ConferenceID: c.info.ID,
		CommandID: commandID, Node: c.info.Node, Data: raw, WebhookURL: c.webhook, Conference: c.record(),
	}
	if finish != nil {
		finish(&e)
	}
	c.log.Debug("event", "type", typ, "sequence", e.Sequence)
	c.engine.o.Sink.Publish(e)
}

// end lets everybody go.
func (c *conference) end(reason, commandID string) {
	if c.ended {
		return
	}
	seats := c.seats
	for _, s := range slices.Clone(seats) {
		c.remove(s, reason)
		s.call.insist(func() { s.call.unseated(s, reason) })
	}
	c.stopPlaying(reason)
	for _, t := range c.tapes {
		t.over()
	}
	now := time.Now().UTC()
	c.ended = true
	c.info.State, c.info.EndedAt, c.info.EndReason = ConferenceEnded, &now, reason
	c.publish("conference.ended", commandID, map[string]any{
		"reason": reason, "duration_ms": now.Sub(c.info.CreatedAt).Milliseconds(),
	})
}

// endIfEmpty ends a conference that nobody is in.
func (c *conference) endIfEmpty() {
	if len(c.seats) == 0 {
		c.end("empty", "")
	}
}
