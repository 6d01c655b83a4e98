package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
)

// into is the head of a command to a conference, or with a call to its seat.
func into(conference, call, id string) engine.ConferenceHeader {
	return engine.ConferenceHeader{ConferenceID: conference, Participant: call, ProjectID: "prj", CommandID: id}
}

// conference is the one of a name.
func (o *office) conference(name string) engine.ConferenceInfo {
	o.t.Helper()
	r := o.do(&engine.InspectConference{ConferenceID: name, ProjectID: "prj"})
	return *r.Conference
}

func TestConferenceOpensAndEndsOnDemand(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("room", `{"instructions":[{"action":"join","conference":"daily"},{"action":"send_dtmf","digits":"1"},{"action":"hangup"}]}`)
		alice, a := o.rings("room")
		bob, b := o.rings("room")
		c := o.conference("daily")
		if c.State != engine.ConferenceActive || len(c.Participants) != 2 || c.Participants[0].CallID != a {
			t.Fatalf("the conference is %+v", c)
		}
		if got := o.do(&engine.Inspect{CallID: a}).Call; got.ConferenceID != c.ID || got.Activity != "join" {
			t.Errorf("the call is in %q, doing %q", got.ConferenceID, got.Activity)
		}
		if alice.line.hears() == nil || bob.line.hears() == nil {
			t.Error("a participant hears nothing")
		}
		bob.leave(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller})
		synctest.Wait()
		o.do(&engine.Leave{Header: to(a, "leave-1")})
		time.Sleep(time.Second)
		o.expect(a, "call.incoming", "call.answered", "call.joined", "call.left", "call.dtmf.sent", "call.ended")
		o.expect(b, "call.incoming", "call.answered", "call.joined", "call.left", "call.ended")
		o.expect(c.ID, "conference.created", "conference.started", "conference.participant.joined",
			"conference.participant.joined", "conference.participant.left", "conference.participant.left", "conference.ended")
		if _, e := o.last(a, "call.left"); e.CommandID != "leave-1" {
			t.Errorf("call.left has the command %q", e.CommandID)
		}
		if data, e := o.last(c.ID, "conference.ended"); data["reason"] != "empty" || e.Conference.State != engine.ConferenceEnded {
			t.Errorf("the conference ended by %v", data["reason"])
		}
	})
}

func TestConferenceIsReadForAWhileAfterItsEnd(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		r := o.do(&engine.OpenConference{ProjectID: "prj", Name: "board"})
		o.refuses(engine.CodeConflict, &engine.OpenConference{ProjectID: "prj", Name: "board"})
		o.do(&engine.EndConference{ConferenceHeader: into("board", "", "end")})
		if c := o.conference(r.Conference.ID); c.State != engine.ConferenceEnded || c.EndReason != "ended" {
			t.Errorf("it is %+v", c)
		}
		o.refuses(engine.CodeConferenceEnded, &engine.LockConference{ConferenceHeader: into(r.Conference.ID, "", "")})
		o.refuses(engine.CodeConferenceNotFound, &engine.LockConference{ConferenceHeader: into("board", "", "")})
		o.do(&engine.OpenConference{ProjectID: "prj", Name: "board"}) // the name is free again
	})
}

func TestConferenceNobodyCameTo(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		r := o.do(&engine.OpenConference{ProjectID: "prj"})
		time.Sleep(2 * time.Hour)
		o.expect(r.Conference.ID, "conference.created", "conference.ended")
	})
}

func TestConferenceWaitsForItsModerator(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		settings := `"settings":{"start_on_moderator":true,"end_on_moderator_exit":true,"music":"tone:440/1000"}`
		o.app("guest", `{"instructions":[{"action":"join","conference":"board",`+settings+`},{"action":"hangup"}]}`)
		o.app("chair", `{"instructions":[{"action":"join","conference":"board","role":"moderator"},{"action":"hangup"}]}`)
		_, g := o.rings("guest")
		if c := o.conference("board"); c.State != engine.ConferenceWaiting || c.StartedAt != nil {
			t.Errorf("it did not wait: %+v", c)
		}
		_, m := o.rings("chair")
		id := o.conference("board").ID
		if c := o.conference("board"); c.State != engine.ConferenceActive {
			t.Errorf("it did not start: %+v", c)
		}
		o.do(&engine.Hangup{Header: to(m, "")})
		time.Sleep(time.Second)
		o.expect(id, "conference.created", "conference.participant.joined", "conference.started", "conference.participant.joined",
			"conference.participant.left", "conference.participant.left", "conference.ended")
		if data, _ := o.last(g, "call.left"); data["reason"] != "moderator_left" {
			t.Errorf("the guest left by %v", data["reason"])
		}
		o.expect(g, "call.incoming", "call.answered", "call.joined", "call.left", "call.ended")
	})
}

func TestConferenceRefuses(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("small", `{"on_idle":"wait","instructions":[{"action":"join","conference":"small","settings":{"max_participants":2}}]}`)
		o.app("chair", `{"on_idle":"wait","instructions":[{"action":"join","conference":"small","role":"moderator"}]}`)
		_, a := o.rings("small")
		o.do(&engine.LockConference{ConferenceHeader: into("small", "", "lock-1")})
		_, b := o.rings("small")
		if data, _ := o.last(b, "call.command.failed"); data["code"] != string(engine.CodeConferenceLocked) {
			t.Errorf("a locked conference said %v", data)
		}
		_, m := o.rings("chair")
		if data, _ := o.last(m, "call.joined"); data["role"] != "moderator" {
			t.Errorf("the lock kept the moderator out")
		}
		o.do(&engine.UnlockConference{ConferenceHeader: into("small", "", "unlock-1")})
		_, d := o.rings("small")
		if data, _ := o.last(d, "call.command.failed"); data["code"] != string(engine.CodeCapacity) {
			t.Errorf("a full conference said %v", data)
		}
		o.refuses(engine.CodeInvalidState, &engine.UnlockConference{ConferenceHeader: into("small", "", "")})
		o.refuses(engine.CodeParticipantNotFound, &engine.MuteParticipant{ConferenceHeader: into("small", b, "")})
		o.refuses(engine.CodeValidation, &engine.Join{Header: to(a, ""), Conference: "x", Role: "king"})
		o.refuses(engine.CodeInvalidState, &engine.Leave{Header: to(d, "")})
		o.do(&engine.Join{Header: to(d, "join-2"), Conference: "conf_unknown"})
		if data, _ := o.last(d, "call.command.failed"); data["code"] != string(engine.CodeConferenceNotFound) {
			t.Errorf("an unknown id said %v", data)
		}
	})
}

func TestConferenceParticipants(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("room", `{"on_idle":"wait","instructions":[{"action":"join","conference":"daily"}]}`)
		_, a := o.rings("room")
		_, b := o.rings("room")
		role, loud, coach := engine.RoleCoach, -6.0, []string{a}
		for i, cmd := range []engine.ConferenceAction{
			&engine.MuteParticipant{}, &engine.UnmuteParticipant{}, &engine.DeafenParticipant{}, &engine.UndeafenParticipant{},
			&engine.HoldParticipant{Music: "tone:440/1000"}, &engine.UnholdParticipant{},
			&engine.SetParticipant{Role: &role, Coach: &coach, VolumeDB: &loud}, &engine.KickParticipant{},
		} {
			*cmd.Conference() = into("daily", b, fmt.Sprintf("cmd-%d", i))
			r := o.do(cmd)
			if cmd.Name() == "mute" && !r.Participant.Muted || cmd.Name() == "set" && r.Participant.VolumeDB != loud {
				t.Errorf("%s: the participant is %+v", cmd.Name(), r.Participant)
			}
			if again := o.do(cmd); !again.Replayed {
				t.Errorf("%s was done twice", cmd.Name())
			}
		}
		id := o.conference("daily").ID
		o.expect(id, "conference.created", "conference.started", "conference.participant.joined", "conference.participant.joined",
			"conference.participant.muted", "conference.participant.unmuted", "conference.participant.deafened",
			"conference.participant.undeafened", "conference.participant.held", "conference.participant.unheld",
			"conference.participant.updated", "conference.participant.left")
		if data, _ := o.last(b, "call.left"); data["reason"] != "kicked" {
			t.Errorf("the kicked one left by %v", data["reason"])
		}
		if got := o.do(&engine.Inspect{CallID: b}).Call; got.State != engine.CallAnswered || got.ConferenceID != "" {
			t.Errorf("the kicked call is %s, in %q", got.State, got.ConferenceID)
		}
	})
}

func TestConferenceAnnouncements(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("room", `{"on_idle":"wait","instructions":[{"action":"join","conference":"daily"}]}`)
		_, a := o.rings("room")
		_, _ = o.rings("room")
		id := o.conference("daily").ID
		o.do(&engine.PlayConference{ConferenceHeader: into("daily", "", "play-1"), URL: "tone:440/1000"})
		time.Sleep(3 * time.Second)
		if data, e := o.last(id, "conference.playback.completed"); data["reason"] != "completed" || data["played_ms"] != 1000.0 ||
			e.CommandID != "play-1" {
			t.Errorf("the announcement ended by %v", data)
		}
		o.do(&engine.PlayConference{ConferenceHeader: into("daily", a, "play-2"), URL: "tone:440/5000"})
		time.Sleep(time.Second)
		o.do(&engine.PlayConference{ConferenceHeader: into("daily", a, "play-3"), URL: "tone:440/5000"})
		if data, _ := o.last(id, "conference.playback.completed"); data["reason"] != "replaced" {
			t.Errorf("the replaced announcement ended by %v", data)
		}
		time.Sleep(time.Second)
		o.do(&engine.StopConferencePlay{ConferenceHeader: into("daily", a, "stop-1")})
		o.refuses(engine.CodeInvalidState, &engine.StopConferencePlay{ConferenceHeader: into("daily", a, "")})
		o.do(&engine.PlayConference{ConferenceHeader: into("daily", "", "play-4"), URL: "file:none.wav"})
		if data, _ := o.last(id, "conference.playback.failed"); data["code"] != string(engine.CodeMediaUnavailable) {
			t.Errorf("an unknown file said %v", data)
		}
	})
}

// TestCallMovesBetweenBridgeAndConference is three parties who talk in pairs and all together.
func TestCallMovesBetweenBridgeAndConference(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		alice, a := o.rings("idle")
		bob, b := o.rings("idle")
		_, c := o.rings("idle")
		o.do(&engine.Bridge{Header: to(a, "bridge-1"), With: b})
		for i, call := range []string{a, b, c} {
			o.do(&engine.Join{Header: to(call, fmt.Sprintf("join-%d", i)), Conference: "talk"})
		}
		if n := len(o.conference("talk").Participants); n != 3 {
			t.Fatalf("%d are in", n)
		}
		o.do(&engine.Bridge{Header: to(b, "bridge-2"), With: a})
		if alice.line.hears() != bob.line.Mic() || bob.line.hears() != alice.line.Mic() {
			t.Error("the bridge does not hear")
		}
		if n := len(o.conference("talk").Participants); n != 1 {
			t.Errorf("%d are left in the conference", n)
		}
		o.expect(a, "call.incoming", "call.answered", "call.instructions.completed", "call.bridged", "call.unbridged", "call.joined",
			"call.left", "call.bridged")
	})
}

// TestConferenceUnderTurmoil lets many come and go at once: nobody hangs between two conferences of one name.
func TestConferenceUnderTurmoil(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("idle", `{"on_idle":"wait","instructions":[{"action":"answer"}]}`)
		var calls []string
		for range 8 {
			_, id := o.rings("idle")
			calls = append(calls, id)
		}
		var wg sync.WaitGroup
		for i, call := range calls {
			wg.Go(func() {
				for n := range 50 {
					_, err := o.e.Do(context.Background(), &engine.Join{Header: to(call, fmt.Sprintf("j-%d-%d", i, n)), Conference: "x"})
					if err != nil {
						t.Error(err)
					}
					if n%3 == 0 {
						time.Sleep(time.Duration(i+n) * time.Millisecond)
					}
					_, err = o.e.Do(context.Background(), &engine.Leave{Header: to(call, fmt.Sprintf("l-%d-%d", i, n))})
					if err != nil && engine.ErrorCode(err) != engine.CodeInvalidState {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		for _, call := range calls {
			if got := o.do(&engine.Inspect{CallID: call}).Call; got.Activity == "join" && got.ConferenceID == "" {
				t.Errorf("the call %s waits for a seat for ever", call)
			}
		}
		for _, typ := range []string{"conference.participant.joined", "call.joined"} {
			n := len(slices.DeleteFunc(o.types(""), func(s string) bool { return s != typ }))
			if n == 0 {
				t.Errorf("there was no %s", typ)
			}
		}
	})
}

func TestConferenceDoesNotKeepTheNode(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.do(&engine.OpenConference{ProjectID: "prj", Name: "empty"})
		if err := o.e.Drain(context.Background()); err != nil {
			t.Error(err)
		}
		if got := strings.Join(o.types(""), " "); got != "conference.created conference.ended" {
			t.Errorf("the events are %s", got)
		}
	})
}
