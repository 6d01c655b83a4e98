package engine

import (
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"
)

// publish tells the customer. data is an object, or nil for the call's own lines.
func (c *Call) publish(typ, commandID string, data map[string]any) { c.emit(typ, commandID, data, nil) }

// emit is publish with a last touch to the event. It returns the event's id.
func (c *Call) emit(typ, commandID string, data map[string]any, finish func(*Event)) string {
	if data == nil {
		data = make(map[string]any, 4)
	}
	data["direction"], data["from"], data["to"], data["state"] = c.info.Direction, c.info.From, c.info.To, c.info.State
	raw, err := json.Marshal(data)
	if err != nil { // only strings, numbers and structs of ours are put there
		c.log.Error("an event's data is no JSON", "type", typ, "error", err)
		raw = []byte("{}")
	}
	c.info.LastSequence++
	record := c.record()
	e := Event{
		ID: c.engine.o.NewID("evt"), Type: typ, Timestamp: time.Now().UTC(), Sequence: c.info.LastSequence,
		ProjectID: c.info.ProjectID, ApplicationID: c.info.ApplicationID, CallID: c.info.ID, SessionID: c.info.SessionID,
		CommandID: commandID, ClientState: c.info.ClientState, Node: c.info.Node, Data: raw,
		WebhookURL: c.webhook, Call: &record,
	}
	if finish != nil {
		finish(&e)
	}
	c.log.Debug("event", "type", typ, "sequence", e.Sequence)
	c.engine.o.Sink.Publish(e)
	return e.ID
}

// record is what the store keeps of the call as it stands.
func (c *Call) record() CallRecord {
	return CallRecord{Info: c.snapshot(), Commands: maps.Clone(c.commands)}
}

// ask publishes an event that the application may answer with instructions; what it says comes to answered.
func (c *Call) ask(typ, commandID string, data map[string]any) {
	var once sync.Once
	var eventID string
	reply := func(ins *Instructions, err error) {
		once.Do(func() { c.post(func() { c.answered(eventID, ins, err) }) })
	}
	c.asking = "pending" // until the id is known, below; the loop runs answered only after this function
	eventID = c.emit(typ, commandID, data, func(e *Event) { e.Answer = reply })
	c.asking = eventID
	id := eventID
	c.after(c.engine.o.AskTimeout, func() {
		if c.asking == id {
			reply(nil, Errorf(CodeTimeout, "the application did not answer in %s", c.engine.o.AskTimeout))
		}
	})
}

// answered takes what the application said to the event that asked.
func (c *Call) answered(eventID string, ins *Instructions, err error) {
	if c.asking != eventID || c.ending != nil {
		return // something else has happened to the call meanwhile
	}
	c.asking = ""
	if err == nil && ins != nil {
		err = validateAll(ins.Instructions)
	}
	switch {
	case err != nil:
		c.applicationFailed(eventID, err)
	case ins != nil && len(ins.Instructions) > 0:
		c.instruct(ins)
	default:
		c.idle()
	}
}

// applicationFailed runs what the application stored for this case.
func (c *Call) applicationFailed(eventID string, err error) {
	fallback := len(c.app.FallbackInstructions) > 0 && !c.program.fallback
	message := err.Error()
	if ErrorCode(err) == CodeInternal {
		message = "the application could not be asked"
		c.log.Warn("the application could not be asked", "error", err)
	}
	c.publish("call.instructions.failed", "", map[string]any{
		"event_id": eventID, "code": ErrorCode(err), "detail": message, "fallback": fallback,
	})
	if fallback {
		c.program.fallback = true
		c.instruct(&Instructions{Instructions: c.app.FallbackInstructions})
		return
	}
	if c.idlePolicy() == IdleWait && c.info.State == CallAnswered {
		c.idle()
		return
	}
	c.hangup(Cause{Reason: ReasonAppFailed, Source: SourceSystem})
}

// websocketURL reports whether an application is one that we dial; it steers by commands.
func websocketURL(url string) bool {
	return strings.HasPrefix(url, "ws://") || strings.HasPrefix(url, "wss://")
}
