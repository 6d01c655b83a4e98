package engine_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
)

func TestBridgeDialsRingsAnswersAndConnects(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"bridge","to":"sip:{to_user}@10.0.0.5"},{"action":"play","url":"tone:440/100"}]}`)
		a, call := o.rings("100")
		b := <-o.dialed
		if b.out.To.URI != "sip:100@10.0.0.5" || b.out.From.URI != "sip:alice@example.com" || b.out.Key != "k1" {
			t.Errorf("dialled %+v", b.out)
		}
		b.say(engine.Signal{Kind: engine.SignalRinging, Status: 180})
		synctest.Wait()
		b.say(engine.Signal{Kind: engine.SignalEarlyMedia, Status: 183})
		synctest.Wait()
		if a.line.hears() != media.Source(b.line.mic) {
			t.Error("the caller does not hear early media")
		}
		b.say(engine.Signal{Kind: engine.SignalAnswered})
		time.Sleep(100 * time.Millisecond)
		if got := a.log(); got != "180 183 200" {
			t.Errorf("the caller saw %q", got)
		}
		if a.line.hears() != media.Source(b.line.mic) || b.line.hears() != media.Source(a.line.mic) {
			t.Error("they do not hear each other")
		}
		info := o.do(&engine.Inspect{CallID: call}).Call
		if info.BridgedWith == "" || info.Activity != "bridge" {
			t.Errorf("the call stands as %+v", info)
		}
		child := info.BridgedWith
		b.leave(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCallee})
		time.Sleep(time.Second)
		o.expect(call, "call.incoming", "call.ringing", "call.ringing", "call.answered", "call.bridged", "call.unbridged",
			"call.playback.started", "call.playback.completed", "call.instructions.completed", "call.ended")
		o.expect(child, "call.initiated", "call.ringing", "call.early_media", "call.answered", "call.bridged",
			"call.unbridged", "call.ended")
	})
}

func TestBridgeFailsAndTheProgramGoesOn(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"answer"},{"action":"bridge","to":"sip:bob@10.0.0.5"},{"action":"play","url":"tone:busy"}],"on_idle":"wait"}`)
		a, call := o.rings("100")
		b := <-o.dialed
		time.Sleep(100 * time.Millisecond)
		if a.line.hears() == nil {
			t.Error("the caller hears no ringback")
		}
		b.leave(engine.Cause{Reason: engine.ReasonBusy, Source: engine.SourceCallee, SIPStatus: 486})
		time.Sleep(time.Second)
		data, _ := o.last(call, "call.bridge.failed")
		if data["cause"] != "busy" || data["sip_status"] != 486.0 {
			t.Errorf("failed with %v", data)
		}
		if a.line.hears() == nil {
			t.Error("the program did not go on")
		}
	})
}

func TestTheCallerGivesUpWhileItRings(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"bridge","to":"sip:bob@10.0.0.5"}]}`)
		a, _ := o.rings("100")
		b := <-o.dialed
		b.say(engine.Signal{Kind: engine.SignalRinging})
		synctest.Wait()
		a.leave(engine.Cause{Reason: engine.ReasonCancelled, Source: engine.SourceCaller})
		time.Sleep(time.Second)
		if got := b.log(); got != "hangup:cancelled" {
			t.Errorf("the other phone saw %q", got)
		}
	})
}

func TestTheCallerHangsUpABridge(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		o.app("100", `{"instructions":[{"action":"bridge","to":"sip:bob@10.0.0.5"}]}`)
		a, _ := o.rings("100")
		b := <-o.dialed
		b.say(engine.Signal{Kind: engine.SignalAnswered})
		time.Sleep(time.Second)
		a.leave(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller})
		time.Sleep(time.Second)
		if got := b.log(); got != "hangup:normal" {
			t.Errorf("the other phone saw %q", got)
		}
	})
}

func twoCalls(o *office) (a, b *phone, x, y string) {
	o.app("100", `{}`)
	a, x = o.rings("100")
	b, y = o.rings("100")
	o.do(&engine.Answer{Header: to(x, "")})
	o.do(&engine.Answer{Header: to(y, "")})
	return a, b, x, y
}

func TestBridgeByRESTAndUnbridge(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		a, b, x, y := twoCalls(o)
		o.do(&engine.Play{Header: to(y, "p"), URL: "tone:440/60000"})
		o.do(&engine.Bridge{Header: to(x, "b"), With: y})
		if a.line.hears() != media.Source(b.line.mic) || b.line.hears() != media.Source(a.line.mic) {
			t.Error("they do not hear each other")
		}
		o.do(&engine.Hold{Header: to(x, "h")})
		if a.line.hears() != nil {
			t.Error("a held call hears its peer")
		}
		o.do(&engine.Unhold{Header: to(x, "u")})
		if a.line.hears() != media.Source(b.line.mic) {
			t.Error("the peer is not back after the hold")
		}
		o.do(&engine.Unbridge{Header: to(y, "un")})
		if a.line.hears() != nil || b.line.hears() != nil {
			t.Error("they hear each other still")
		}
		o.refuses(engine.CodeInvalidState, &engine.Unbridge{Header: to(x, "un2")})
		if _, e := o.last(y, "call.unbridged"); e.CommandID != "un" {
			t.Errorf("call.unbridged has command %q", e.CommandID)
		}
		if _, e := o.last(x, "call.bridged"); e.CommandID != "b" {
			t.Errorf("call.bridged has command %q", e.CommandID)
		}
	})
}

func TestABridgeEndsWithThePeerByPolicy(t *testing.T) {
	for policy, want := range map[engine.PeerHangup]engine.CallState{
		engine.PeerHangupContinue: engine.CallAnswered, engine.PeerHangupHangup: engine.CallEnded, "": engine.CallEnded,
	} {
		t.Run(string(policy), func(t *testing.T) {
			story(t, engine.Options{}, func(o *office) {
				_, b, x, y := twoCalls(o)
				o.do(&engine.Bridge{Header: to(x, "b"), With: y, OnPeerHangup: policy})
				b.leave(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceCaller})
				time.Sleep(time.Second)
				_, e := o.last(x, "call.unbridged")
				state := e.Call.Info.State
				if got := o.types(x); got[len(got)-1] == "call.ended" {
					state = engine.CallEnded
				}
				if state != want {
					t.Errorf("the call is %s, want %s", state, want)
				}
			})
		})
	}
}

// Opposite bridges asked for at once ended each other in the sketch that visited in the order of the request.
func TestOppositeBridgesAtOnce(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		a, b, x, y := twoCalls(o)
		for i := range 60 {
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = o.e.Do(o.t.Context(), &engine.Bridge{Header: to(x, fmt.Sprint("x", i)), With: y}) })
			wg.Go(func() { _, _ = o.e.Do(o.t.Context(), &engine.Bridge{Header: to(y, fmt.Sprint("y", i)), With: x}) })
			wg.Wait()
			synctest.Wait()
			if a.line.hears() != media.Source(b.line.mic) || b.line.hears() != media.Source(a.line.mic) {
				t.Fatalf("round %d: they do not hear each other: %v %v", i, o.types(x), o.types(y))
			}
		}
	})
}

// Three calls bridged in all directions at once: whoever is bridged at the end is bridged with somebody who is bridged
// with him.
func TestBridgesInAllDirections(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		_, _, x, y := twoCalls(o)
		_, z := o.rings("100")
		o.do(&engine.Answer{Header: to(z, "")})
		ids := []string{x, y, z}
		var wg sync.WaitGroup
		for i := range 90 {
			wg.Go(func() {
				_, _ = o.e.Do(o.t.Context(), &engine.Bridge{Header: to(ids[i%3], ""), With: ids[(i+1+i%2)%3]})
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		with := map[string]string{}
		for _, id := range ids {
			with[id] = o.do(&engine.Inspect{CallID: id}).Call.BridgedWith
		}
		for id, peer := range with {
			if peer != "" && with[peer] != id {
				t.Errorf("%s is bridged with %s, who is bridged with %q", id, peer, with[peer])
			}
		}
	})
}
