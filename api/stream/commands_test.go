package stream_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/engine"
)

func TestCommands(t *testing.T) {
	s := newSite(t, allScopes, nil)
	s.do.answer = func(_ context.Context, cmd engine.Command) (engine.Reply, error) {
		switch c := cmd.(type) {
		case *engine.Originate:
			return engine.Reply{Call: &engine.CallInfo{ID: "call_new", To: c.To}, CommandID: "cmd_1"}, nil
		case *engine.Hangup:
			return engine.Reply{}, engine.Errorf(engine.CodeCallEnded, "it is over")
		case *engine.Echo:
			panic("boom")
		}
		return engine.Reply{Call: &engine.CallInfo{ID: cmd.Target()}, CommandID: cmd.(engine.Action).Head().CommandID}, nil
	}
	c := s.dial()
	c.send(`{"type":"command","command_id":"c1","call_id":"call_1","action":"play","url":"tone:busy","loop":2}`)
	if m := c.expect("reply"); m.Status != "accepted" || m.CommandID != "c1" || m.CallID != "call_1" {
		t.Errorf("play: %+v", m)
	}
	play := s.do.commands()[0].(*engine.Play)
	if play.URL != "tone:busy" || play.Loop != 2 || play.CallID != "call_1" || play.ProjectID != project || play.CommandID != "c1" {
		t.Errorf("the engine got %+v", play)
	}
	c.send(`{"type":"command","command_id":"c2","action":"originate","to":"sip:bob@example.com","ring_timeout_s":5}`)
	if m := c.expect("reply"); m.CallID != "call_new" || m.CommandID != "c2" || !strings.Contains(string(m.Call), "sip:bob@example.com") {
		t.Errorf("originate: %+v", m)
	}
	if o := s.do.commands()[1].(*engine.Originate); o.ProjectID != project || o.RingTimeoutS != 5 {
		t.Errorf("the engine got %+v", o)
	}
	c.send(`{"type":"command","command_id":"c3","call_id":"call_1","action":"hangup"}`)
	if m := c.expect("reply"); m.Status != "error" || m.Error.Code != engine.CodeCallEnded || m.Error.Status != 409 {
		t.Errorf("hangup: %+v", m)
	}
	c.send(`{"type":"command","command_id":"c4","call_id":"call_1","action":"echo"}`)
	if m := c.expect("reply"); m.Error.Code != engine.CodeInternal {
		t.Errorf("a panic: %+v", m)
	}
	c.send(`{"type":"instructions","event_id":"evt_1","call_id":"call_1","instructions":[{"action":"answer"}],"mode":"append"}`)
	if m := c.expect("reply"); m.Status != "accepted" || m.EventID != "evt_1" {
		t.Errorf("instructions: %+v", m)
	}
	got := s.do.commands()
	if run := got[len(got)-1].(*engine.Run); run.CallID != "call_1" || run.Mode != engine.ModeAppend || len(run.Instructions.Instructions) != 1 {
		t.Errorf("the engine got %+v", run)
	}
	c.send(`{"type":"ack","cursor":"x"}`)
	c.send(`{"type":"ping"}`)
	c.expect("pong")
}

// TestConferenceCommands: a command with a conference steers it, and with a call as well that call's seat.
func TestConferenceCommands(t *testing.T) {
	s := newSite(t, allScopes, nil)
	s.do.answer = func(_ context.Context, cmd engine.Command) (engine.Reply, error) {
		a := cmd.(engine.ConferenceAction).Conference()
		r := engine.Reply{CommandID: a.CommandID, Conference: &engine.ConferenceInfo{ID: a.ConferenceID}}
		if a.Participant != "" {
			r.Participant = &engine.ParticipantInfo{CallID: a.Participant}
		}
		return r, nil
	}
	c := s.dial()
	c.send(`{"type":"command","command_id":"c1","conference_id":"daily","action":"lock"}`)
	if m := c.expect("reply"); m.Status != "accepted" || m.CommandID != "c1" || m.ConferenceID != "daily" || m.Participant != nil {
		t.Errorf("lock: %+v", m)
	}
	c.send(`{"type":"command","command_id":"c2","conference_id":"daily","call_id":"call_1","action":"set","volume_db":-6}`)
	if m := c.expect("reply"); m.Status != "accepted" || m.CallID != "call_1" || !strings.Contains(string(m.Participant), "call_1") {
		t.Errorf("set: %+v", m)
	}
	got := s.do.commands()
	if lock := got[0].(*engine.LockConference); lock.ProjectID != project || lock.Target() != "daily" {
		t.Errorf("the engine got %+v", lock)
	}
	if set := got[1].(*engine.SetParticipant); set.Participant != "call_1" || *set.VolumeDB != -6 || set.CommandID != "c2" {
		t.Errorf("the engine got %+v", set)
	}
}

func TestBadFrames(t *testing.T) {
	for frame, want := range map[string]struct {
		typ     string
		code    engine.Code
		pointer string
	}{
		`not JSON`:                             {"error", "malformed_request", ""},
		`null`:                                 {"error", "malformed_request", ""},
		`[]`:                                   {"error", "malformed_request", ""},
		`{} {}`:                                {"error", "malformed_request", ""},
		`{}`:                                   {"error", engine.CodeValidation, "/type"},
		`{"type":7}`:                           {"error", engine.CodeValidation, "/type"},
		`{"type":"dance"}`:                     {"error", engine.CodeValidation, "/type"},
		`{"type":"subscribe","tpyes":[]}`:      {"error", engine.CodeValidation, "/tpyes"},
		`{"type":"subscribe","types":"x"}`:     {"error", engine.CodeValidation, "/types"},
		`{"type":"ack","cursor":1}`:            {"error", engine.CodeValidation, "/cursor"},
		`{"type":"command"}`:                   {"error", engine.CodeValidation, "/action"},
		`{"type":"command","action":"answer"}`: {"error", engine.CodeValidation, "/call_id"},
		`{"type":"command","command_id":"c","action":"answer"}`:                                 {"reply", engine.CodeValidation, "/call_id"},
		`{"type":"command","command_id":"c","call_id":"call_1","action":"dance"}`:               {"reply", engine.CodeValidation, "/action"},
		`{"type":"command","command_id":"c","call_id":"call_1","action":"play","u":1}`:          {"reply", engine.CodeValidation, "/u"},
		`{"type":"command","command_id":"c","call_id":5,"action":"play"}`:                       {"reply", engine.CodeValidation, "/call_id"},
		`{"type":"command","command_id":"c","call_id":"call_1","action":"originate"}`:           {"reply", engine.CodeValidation, "/call_id"},
		`{"type":"command","command_id":"c","action":"originate","two":"x"}`:                    {"reply", engine.CodeValidation, "/two"},
		`{"type":"command","command_id":"c","conference_id":"r","action":"mute"}`:               {"reply", engine.CodeValidation, "/action"},
		`{"type":"command","command_id":"c","conference_id":"r","call_id":"x","action":"lock"}`: {"reply", engine.CodeValidation, "/action"},
		`{"type":"command","command_id":"c","conference_id":"r","action":"lock","loud":1}`:      {"reply", engine.CodeValidation, "/loud"},
		`{"type":"instructions","event_id":"e","instructions":[{"action":"run"}]}`:              {"reply", engine.CodeValidation, "/action"},
		`{"type":"instructions","event_id":"e","instructions":[],"mode":"x"}`:                   {"reply", engine.CodeValidation, "/mode"},
		`{"type":"instructions","event_id":"e","instructions":[]}`:                              {"reply", engine.CodeValidation, "/call_id"},
	} {
		t.Run(frame, func(t *testing.T) {
			s := newSite(t, allScopes, nil)
			c := s.dial()
			c.send(frame)
			m := c.expect(want.typ)
			pointer := ""
			if len(m.Error.Errors) > 0 {
				pointer = m.Error.Errors[0].Pointer
			}
			if m.Error.Code != want.code || pointer != want.pointer {
				t.Errorf("got %+v, want %+v", m.Error, want)
			}
			if n := len(s.do.commands()); n != 0 {
				t.Errorf("%d commands were carried out", n)
			}
			c.send(`{"type":"ping"}`)
			c.expect("pong") // it lives
		})
	}
}

func TestTwentyBadFramesClose(t *testing.T) {
	s := newSite(t, allScopes, nil)
	c := s.dial()
	for range 20 {
		c.send(`{`)
	}
	code, before := c.closed()
	if code != websocket.ClosePolicyViolation || len(before) != 20 {
		t.Errorf("close code %d behind %d frames", code, len(before))
	}
}

func TestBinaryAndOversize(t *testing.T) {
	s := newSite(t, allScopes, nil)
	c := s.dial()
	if err := c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	c.expect("error")
	_ = c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","x":"`+strings.Repeat("x", stream.ReadLimit)+`"}`))
	if code, _ := c.closed(); code != websocket.CloseMessageTooBig {
		t.Errorf("close code %d", code)
	}
}

// TestCommandOrder sends commands to a slow call and a fast one: the slow one keeps its order and does not hold up the
// other.
func TestCommandOrder(t *testing.T) {
	s := newSite(t, allScopes, nil)
	release := make(chan struct{})
	s.do.answer = func(ctx context.Context, cmd engine.Command) (engine.Reply, error) {
		if cmd.Target() == "call_slow" {
			select {
			case <-release:
			case <-ctx.Done():
				return engine.Reply{}, ctx.Err()
			}
		}
		return engine.Reply{CommandID: cmd.(engine.Action).Head().CommandID}, nil
	}
	c := s.dial()
	const n = 20
	for i := range n {
		c.send(fmt.Sprintf(`{"type":"command","command_id":"s%d","call_id":"call_slow","action":"answer"}`, i))
		c.send(fmt.Sprintf(`{"type":"command","command_id":"f%d","call_id":"call_fast","action":"answer"}`, i))
	}
	for i := range n {
		if m := c.expect("reply"); m.CommandID != fmt.Sprintf("f%d", i) {
			t.Fatalf("reply to %s, want f%d", m.CommandID, i)
		}
	}
	close(release)
	for i := range n {
		if m := c.expect("reply"); m.CommandID != fmt.Sprintf("s%d", i) || m.Status != "accepted" {
			t.Fatalf("reply %+v, want s%d", m, i)
		}
	}
}

func TestCommandLimits(t *testing.T) {
	t.Run("rate", func(t *testing.T) {
		s := newSite(t, allScopes, func(o *stream.Options) { o.Pace = stream.Pace{CommandRate: 0.001, CommandBurst: 3} })
		c := s.dial()
		refused := 0
		for i := range 10 {
			c.send(fmt.Sprintf(`{"type":"command","command_id":"c%d","call_id":"call_%d","action":"answer"}`, i, i))
			if c.expect("reply").Error.Code == "rate_limited" {
				refused++
			}
		}
		if refused != 7 {
			t.Errorf("%d of 10 were refused, want 7", refused)
		}
	})
	t.Run("under way", func(t *testing.T) {
		s := newSite(t, allScopes, func(o *stream.Options) { o.Pace = stream.Pace{CommandRate: 1e6} })
		release := make(chan struct{})
		s.do.answer = func(context.Context, engine.Command) (engine.Reply, error) {
			<-release
			return engine.Reply{}, nil
		}
		c := s.dial()
		for range 257 {
			c.send(`{"type":"command","command_id":"c","call_id":"call_1","action":"answer"}`)
		}
		if m := c.expect("reply"); m.Error.Code != "rate_limited" {
			t.Errorf("got %+v", m)
		}
		close(release)
		for range 256 {
			if m := c.expect("reply"); m.Status != "accepted" {
				t.Fatalf("got %+v", m)
			}
		}
	})
}
