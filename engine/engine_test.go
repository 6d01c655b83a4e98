package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
)

func TestStaticInstructionsAnswerPlayAndHangUp(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"answer"},{"action":"play","url":"tone:440/1000"}]}`)
		p, call := o.rings("100")
		o.expect(call, "call.incoming", "call.answered", "call.playback.started")
		time.Sleep(3 * time.Second)
		o.expect(call, "call.incoming", "call.answered", "call.playback.started", "call.playback.completed",
			"call.instructions.completed", "call.ended")
		if got := p.log(); got != "200 hangup:instructions_completed" {
			t.Errorf("the phone saw %q", got)
		}
		data, _ := o.last(call, "call.playback.completed")
		if ms := data["played_ms"].(float64); ms < 980 || ms > 1040 {
			t.Errorf("a second of tone lasted %v ms", ms)
		}
	})
}

func TestAPlayAnswersACallThatRings(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"play","url":"tone:440/100"}]}`)
		p, _ := o.rings("100")
		time.Sleep(time.Second)
		if got := p.log(); got != "200 hangup:instructions_completed" {
			t.Errorf("the phone saw %q", got)
		}
	})
}

func TestRingWithEarlyMediaPlaysBeforeTheAnswer(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"ring","early_media":true},{"action":"play","url":"tone:440/100"},{"action":"reject","status":486}]}`)
		p, call := o.rings("100")
		time.Sleep(time.Second)
		if got := p.log(); got != "183 hangup:rejected" {
			t.Errorf("the phone saw %q", got)
		}
		data, _ := o.last(call, "call.ended")
		if data["sip_status"] != 486.0 || data["cause"] != "rejected" {
			t.Errorf("ended with %v", data)
		}
	})
}

func TestWebhookProgramGathersAndIsAskedAgain(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"webhook_url":"https://app.example/hook"}`)
		o.answer = func(e engine.Event) (*engine.Instructions, error) {
			switch e.Type {
			case "call.incoming":
				return list(t, `{"action":"answer"}`, `{"action":"gather","prompt":{"url":"tone:440/60000"},"max_digits":4}`), nil
			case "call.gather.completed":
				return list(t, `{"action":"play","url":"tone:dtmf/{digits}"}`), nil
			}
			return nil, nil
		}
		p, call := o.rings("100")
		time.Sleep(500 * time.Millisecond)
		if p.line.hears() == nil {
			t.Error("the prompt is not heard")
		}
		p.key("12")
		synctest.Wait()
		if p.line.hears() != nil {
			t.Error("a digit did not stop the prompt")
		}
		p.key("3#")
		time.Sleep(5 * time.Second)
		o.expect(call, "call.incoming", "call.answered", "call.dtmf.received", "call.dtmf.received", "call.dtmf.received",
			"call.dtmf.received", "call.gather.completed", "call.playback.started", "call.playback.completed",
			"call.instructions.completed", "call.ended")
		data, _ := o.last(call, "call.gather.completed")
		if data["digits"] != "123" || data["reason"] != "finish_key" || data["valid"] != true {
			t.Errorf("gathered %v", data)
		}
		data, _ = o.last(call, "call.playback.started")
		if data["url"] != "tone:dtmf/123" {
			t.Errorf("played %v", data["url"])
		}
	})
}

func TestGatherTimesOut(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"answer"},{"action":"gather","prompt":{"url":"tone:440/2000"},"timeout_ms":3000,"inter_digit_timeout_ms":1000,"min_digits":2}]}`)
		_, call := o.rings("100")
		time.Sleep(4900 * time.Millisecond)
		if got := o.types(call); got[len(got)-1] == "call.ended" {
			t.Error("the first digit's time ran during the prompt")
		}
		time.Sleep(time.Second)
		data, _ := o.last(call, "call.gather.completed")
		if data["reason"] != "timeout" || data["digits"] != "" || data["valid"] != false {
			t.Errorf("gathered %v", data)
		}
		p, call := o.rings("100")
		p.key("7")
		time.Sleep(1500 * time.Millisecond)
		data, _ = o.last(call, "call.gather.completed")
		if data["reason"] != "timeout" || data["digits"] != "7" || data["valid"] != false {
			t.Errorf("gathered %v", data)
		}
	})
}

func TestDigitsKeyedAheadAreGathered(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"answer"},{"action":"play","url":"tone:440/2000"},{"action":"gather","max_digits":3}]}`)
		p, call := o.rings("100")
		p.key("#42") // the # belongs to what was before
		time.Sleep(2500 * time.Millisecond)
		p.key("1")
		synctest.Wait()
		data, _ := o.last(call, "call.gather.completed")
		if data["digits"] != "421" || data["reason"] != "max_digits" {
			t.Errorf("gathered %v", data)
		}
	})
}

func TestAFailingApplicationFallsBack(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"webhook_url":"https://app.example/hook","fallback_instructions":[{"action":"play","url":"tone:440/100"}]}`)
		o.answer = func(engine.Event) (*engine.Instructions, error) { return nil, errors.New("connection refused") }
		p, call := o.rings("100")
		time.Sleep(2 * time.Second)
		o.expect(call, "call.incoming", "call.instructions.failed", "call.answered", "call.playback.started",
			"call.playback.completed", "call.instructions.completed", "call.ended")
		if got := p.log(); got != "200 hangup:instructions_completed" {
			t.Errorf("the phone saw %q", got)
		}
	})
}

func TestAnApplicationThatNeverAnswersIsGivenUp(t *testing.T) {
	story(t, engine.Options{AskTimeout: 20 * time.Second}, func(o *office) {
		o.app("100", `{"webhook_url":"https://app.example/hook"}`)
		_, call := o.rings("100")
		time.Sleep(19 * time.Second)
		o.expect(call, "call.incoming")
		time.Sleep(2 * time.Second)
		o.expect(call, "call.incoming", "call.instructions.failed", "call.ended")
		data, _ := o.last(call, "call.ended")
		if data["cause"] != "application_failed" || data["source"] != "system" {
			t.Errorf("ended with %v", data)
		}
	})
}

func TestInvalidInstructionsOfAnApplicationAreStated(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"webhook_url":"https://app.example/hook"}`)
		o.answer = func(engine.Event) (*engine.Instructions, error) {
			return list(t, `{"action":"play","url":"gopher://x"}`), nil
		}
		_, call := o.rings("100")
		time.Sleep(time.Second)
		data, _ := o.last(call, "call.instructions.failed")
		if data["code"] != "validation_failed" {
			t.Errorf("failed with %v", data)
		}
	})
}

func TestRESTSteersACallThatWaits(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		p, call := o.rings("100")
		o.expect(call, "call.incoming")
		o.refuses(engine.CodeInvalidState, &engine.Hold{Header: to(call, "c0")})
		o.do(&engine.Answer{Header: to(call, "c1")})
		o.do(&engine.Play{Header: to(call, "c2"), URL: "tone:440/60000"})
		o.do(&engine.Hold{Header: to(call, "c3")})
		if p.line.hears() != nil {
			t.Error("a held call hears the prompt")
		}
		o.do(&engine.Unhold{Header: to(call, "c4")})
		if p.line.hears() == nil {
			t.Error("the prompt does not go on after the hold")
		}
		o.do(&engine.Mute{Header: to(call, "c5"), Direction: "both"})
		r := o.do(&engine.Inspect{CallID: call})
		if len(r.Call.Muted) != 2 || r.Call.Activity != "play" || r.Call.State != engine.CallAnswered {
			t.Errorf("the call stands as %+v", r.Call)
		}
		o.do(&engine.Stop{Header: to(call, "c6")})
		o.do(&engine.SendDTMF{Header: to(call, "c7"), Digits: "12"})
		time.Sleep(time.Second)
		o.do(&engine.Hangup{Header: to(call, "c8")})
		o.expect(call, "call.incoming", "call.answered", "call.playback.started", "call.held", "call.unheld", "call.muted",
			"call.stopped", "call.playback.completed", "call.dtmf.sent", "call.ended")
		for typ, id := range map[string]string{
			"call.answered": "c1", "call.playback.completed": "c2", "call.held": "c3", "call.dtmf.sent": "c7", "call.ended": "c8",
		} {
			if _, e := o.last(call, typ); e.CommandID != id {
				t.Errorf("%s has command %q, want %s", typ, e.CommandID, id)
			}
		}
	})
}

func TestACommandIDRunsOnce(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		p, call := o.rings("100")
		o.do(&engine.Answer{Header: to(call, "")})
		first := o.do(&engine.SendDTMF{Header: to(call, "same"), Digits: "5"})
		again := o.do(&engine.SendDTMF{Header: to(call, "same"), Digits: "5"})
		time.Sleep(time.Second)
		if first.Replayed || !again.Replayed {
			t.Errorf("replayed: %v, %v", first.Replayed, again.Replayed)
		}
		if got := p.log(); got != "200 dtmf:5" {
			t.Errorf("the phone saw %q", got)
		}
	})
}

func TestActivitiesReplaceEachOther(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		_, call := o.rings("100")
		o.do(&engine.Play{Header: to(call, "p1"), URL: "tone:440/60000"})
		o.do(&engine.Gather{Header: to(call, "g1")})
		data, e := o.last(call, "call.playback.completed")
		if data["reason"] != "replaced" || e.CommandID != "p1" {
			t.Errorf("the first activity ended with %v", data)
		}
		// two that come before the first has ended: the one that never began is told, too
		for i := range 3 {
			if _, err := o.e.Do(o.t.Context(), &engine.Echo{Header: to(call, fmt.Sprint("e", i))}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
	})
}

func TestRingTimeoutAndMaxDuration(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		r := o.do(&engine.Originate{ProjectID: "prj", To: "sip:bob@example.com", RingTimeoutS: 5})
		p := <-o.dialed
		p.say(engine.Signal{Kind: engine.SignalRinging, Status: 180})
		time.Sleep(6 * time.Second)
		o.expect(r.Call.ID, "call.initiated", "call.ringing", "call.ended")
		if data, _ := o.last(r.Call.ID, "call.ended"); data["cause"] != "no_answer" {
			t.Errorf("ended with %v", data)
		}
		r = o.do(&engine.Originate{ProjectID: "prj", To: "sip:bob@example.com", MaxDurationS: 10})
		p = <-o.dialed
		p.say(engine.Signal{Kind: engine.SignalAnswered})
		time.Sleep(9 * time.Second)
		o.expect(r.Call.ID, "call.initiated", "call.answered")
		time.Sleep(2 * time.Second)
		if data, _ := o.last(r.Call.ID, "call.ended"); data["cause"] != "max_duration" {
			t.Errorf("ended with %v", data)
		}
	})
}

func TestOutboundCallRunsItsInstructions(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		r := o.do(&engine.Originate{
			ProjectID: "prj", To: "sip:bob@example.com", ClientState: "order 7",
			Instructions: list(t, `{"action":"play","url":"tone:440/200"}`).Instructions,
		})
		p := <-o.dialed
		o.refuses(engine.CodeInvalidState, &engine.Play{Header: to(r.Call.ID, ""), URL: "tone:440/200"})
		p.say(engine.Signal{Kind: engine.SignalAnswered})
		time.Sleep(time.Second)
		o.expect(r.Call.ID, "call.initiated", "call.answered", "call.playback.started", "call.playback.completed",
			"call.instructions.completed", "call.ended")
		if _, e := o.last(r.Call.ID, "call.ended"); e.ClientState != "order 7" {
			t.Errorf("client_state is %q", e.ClientState)
		}
	})
}

func TestAPanicEndsOneCall(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		_, other := o.rings("100")
		p, call := o.rings("100")
		o.do(&engine.Answer{Header: to(call, "")})
		p.panics = true
		o.do(&engine.Run{Header: to(call, ""), Instructions: *list(t, `{"action":"send_dtmf","digits":"1"}`)})
		time.Sleep(time.Second)
		if data, _ := o.last(call, "call.command.failed"); data["code"] != "internal" {
			t.Errorf("failed with %v", data)
		}
		o.do(&engine.Answer{Header: to(other, "")})
		if s := o.e.Stats(); s.Panics != 1 {
			t.Errorf("%d panics", s.Panics)
		}
	})
}

func TestUnknownNumbersProjectsAndCalls(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		_, err := o.e.Accept(engine.Incoming{To: engine.Address{URI: "sip:nobody@x"}}, newIdlePhone())
		if engine.ErrorCode(err) != engine.CodeNoRoute {
			t.Errorf("got %v", err)
		}
		o.app("100", `{}`)
		_, call := o.rings("100")
		o.refuses(engine.CodeCallNotFound, &engine.Answer{Header: engine.Header{CallID: "call_x"}})
		o.refuses(engine.CodeCallNotFound, &engine.Answer{Header: engine.Header{CallID: call, ProjectID: "other"}})
		o.refuses(engine.CodeValidation, &engine.Play{Header: to(call, ""), URL: "ftp://x"})
		o.refuses(engine.CodeNoRoute, &engine.Originate{To: "client:alice"})
	})
}

func TestDrainRefusesNewCallsAndWaits(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		p, _ := o.rings("100")
		drained := make(chan error, 1)
		go func() { drained <- o.e.Drain(o.t.Context()) }()
		synctest.Wait()
		o.refuses(engine.CodeDraining, &engine.Originate{To: "sip:bob@example.com"})
		select {
		case <-drained:
			t.Error("drained with a call left")
		default:
		}
		p.leave(engine.Cause{Reason: engine.ReasonCancelled, Source: engine.SourceCaller})
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

// records remembers calls that are over, as the store does.
type records map[string]engine.CallRecord

func (r records) Call(_ context.Context, _, id string) (engine.CallRecord, error) {
	rec, ok := r[id]
	if !ok {
		return rec, errors.New("no such call")
	}
	return rec, nil
}

func TestCommandsToACallThatIsOver(t *testing.T) {
	known := records{}
	story(t, engine.Options{Records: known}, func(o *office) {
		o.app("100", `{}`)
		p, call := o.rings("100")
		o.do(&engine.Answer{Header: to(call, "c1")})
		p.leave(engine.Cause{Reason: engine.ReasonNormal})
		synctest.Wait()
		_, e := o.last(call, "call.ended")
		o.refuses(engine.CodeCallEnded, &engine.Answer{Header: to(call, "")}) // before anything was written
		if r := o.do(&engine.Inspect{CallID: call}); r.Call.State != engine.CallEnded {
			t.Errorf("the call reads as %+v", r.Call)
		}
		known[call] = *e.Call
		time.Sleep(time.Minute) // the engine has forgotten it: the store answers
		o.refuses(engine.CodeCallEnded, &engine.Answer{Header: to(call, "")})
		o.refuses(engine.CodeCallEnded, &engine.Answer{Header: to(call, "c2")})
		if r := o.do(&engine.Answer{Header: to(call, "c1")}); !r.Replayed || r.Call.State != engine.CallEnded {
			t.Errorf("the same command again: %+v", r)
		}
		if r := o.do(&engine.Inspect{CallID: call}); r.Call.State != engine.CallEnded {
			t.Errorf("the call reads as %+v", r.Call)
		}
	})
}

func TestACallThatEndsWhileItIsReadCanBeRead(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{}`)
		for range 300 {
			p, call := o.rings("100")
			go p.leave(engine.Cause{Reason: engine.ReasonNormal})
			for state := engine.CallInitiated; state != engine.CallEnded; {
				r, err := o.e.Do(o.t.Context(), &engine.Inspect{CallID: call})
				if err != nil {
					t.Fatal(err)
				}
				state = r.Call.State
			}
		}
	})
}
