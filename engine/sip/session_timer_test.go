package sip

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

func message(headers ...string) *sip.Request {
	req := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", Host: "x"})
	for i := 0; i < len(headers); i += 2 {
		req.AppendHeader(sip.NewHeader(headers[i], headers[i+1]))
	}
	return req
}

func TestReadSessionExpires(t *testing.T) {
	for value, want := range map[string]sessionExpires{
		"1800": {1800, ""}, "90;refresher=uac": {90, "uac"}, " 90 ; x=y ; Refresher = UAS ": {90, "uas"}, "90;refresher=me": {90, ""},
	} {
		if got, ok, err := readSessionExpires(message("Session-Expires", value)); !ok || err != nil || got != want {
			t.Errorf("%q: %+v %v %v", value, got, ok, err)
		}
	}
	if got, ok, _ := readSessionExpires(message("x", "300;refresher=uac")); !ok || got.seconds != 300 {
		t.Errorf("compact form: %+v %v", got, ok)
	}
	for _, value := range []string{"0", "-1", "x", "99999999999"} {
		if _, ok, err := readSessionExpires(message("Session-Expires", value)); ok || err == nil {
			t.Errorf("%q was taken", value)
		}
	}
	if _, ok, err := readSessionExpires(message()); ok || err != nil {
		t.Error("a message without the header")
	}
}

// RFC 4028 9, table 2.
func TestAnswerTimer(t *testing.T) {
	ours := sessionExpires{seconds: 1800}
	for name, tt := range map[string]struct {
		headers  []string
		answer   sessionExpires
		tooSmall int
	}{
		"nothing":               {nil, sessionExpires{1800, "uas"}, 0},
		"supported":             {[]string{"Supported", "timer"}, sessionExpires{1800, "uas"}, 0},
		"no refresher":          {[]string{"Supported", "timer", "Session-Expires", "600"}, sessionExpires{600, "uas"}, 0},
		"uac":                   {[]string{"k", "foo, timer", "x", "600;refresher=uac"}, sessionExpires{600, "uac"}, 0},
		"uas":                   {[]string{"Supported", "timer", "Session-Expires", "600;refresher=uas"}, sessionExpires{600, "uas"}, 0},
		"longer than ours":      {[]string{"Supported", "timer", "Session-Expires", "7200"}, sessionExpires{1800, "uas"}, 0},
		"its Min-SE":            {[]string{"Supported", "timer", "Session-Expires", "7200", "Min-SE", "3600"}, sessionExpires{3600, "uas"}, 0},
		"too small":             {[]string{"Supported", "timer", "Session-Expires", "60"}, sessionExpires{}, 90},
		"too small, no timer":   {[]string{"Session-Expires", "60"}, sessionExpires{90, "uas"}, 0},
		"proxy asked, no timer": {[]string{"Session-Expires", "600;refresher=uac"}, sessionExpires{600, "uas"}, 0},
	} {
		timer, answer, tooSmall := answerTimer(message(tt.headers...), ours, 90)
		if answer != tt.answer && tooSmall == 0 || tooSmall != tt.tooSmall {
			t.Errorf("%s: %+v %d", name, answer, tooSmall)
		}
		if tooSmall == 0 && (timer.Seconds != answer.seconds || timer.Ours != (answer.refresher == "uas")) {
			t.Errorf("%s: timer %+v", name, timer)
		}
	}
}

func TestTimerMoments(t *testing.T) {
	for seconds, want := range map[int]time.Duration{1800: 1768 * time.Second, 90: 60 * time.Second, 96: 64 * time.Second} {
		timer := TimerState{Seconds: seconds}
		if timer.expireAfter() != want || timer.refreshAfter() != time.Duration(seconds)*time.Second/2 {
			t.Errorf("%d s: refresh after %v, expire after %v", seconds, timer.refreshAfter(), timer.expireAfter())
		}
	}
}

// short makes session intervals of the given seconds possible.
func short(seconds int) func(*settings) {
	return func(s *settings) {
		s.door.SessionExpires, s.door.MinSE = time.Duration(seconds)*time.Second, time.Second
	}
}

// As UAS we refresh at half the interval by UPDATE if the far end takes it.
func TestRefreshByUpdate(t *testing.T) {
	h := newHouse(t, short(2))
	c := h.caller()
	leg, res := h.connect(c, plainOffer(), "Supported: timer", "Allow: INVITE, ACK, BYE, UPDATE")
	if header(res, "Session-Expires") != "2;refresher=uas" || header(res, "Require") != "timer" {
		t.Errorf("200 is\n%s", res)
	}
	for range 2 {
		req := c.request(sip.UPDATE)
		if len(req.Body()) != 0 || header(req, "Session-Expires") != "2;refresher=uac" || header(req, "Supported") != "timer" {
			t.Errorf("UPDATE\n%s", req)
		}
		c.respond(req, 200, "", "", "Session-Expires: 2;refresher=uac")
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// Without UPDATE a re-INVITE refreshes, with the description as it is.
func TestRefreshByReinvite(t *testing.T) {
	h := newHouse(t, short(2))
	c := h.caller()
	leg, res := h.connect(c, plainOffer(), "Supported: timer", "Allow: INVITE, ACK, BYE")
	c.send("INVITE", sdpText(2, 40000, "0", "a=sendonly"), "Supported: timer", "Session-Expires: 2;refresher=uas")
	held := c.response(200)
	c.ack("")
	h.signal(leg, engine.SignalHeld)
	req := c.request(sip.INVITE)
	if string(req.Body()) != string(held.Body()) || string(held.Body()) == string(res.Body()) {
		t.Errorf("refresh offers\n%s\nlast was\n%s", req.Body(), held.Body())
	}
	c.respond(req, 200, "", sdpText(2, 40000, "0", "a=sendonly"), "Session-Expires: 2;refresher=uac", "Require: timer")
	c.request(sip.ACK)
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// An UPDATE that is refused as a method is followed by a re-INVITE.
func TestRefreshUpdateRefused(t *testing.T) {
	h := newHouse(t, short(2))
	c := h.caller()
	h.connect(c, plainOffer(), "Supported: timer", "Allow: INVITE, ACK, BYE, UPDATE")
	c.respond(c.request(sip.UPDATE), 501, "", "")
	c.respond(c.request(sip.INVITE), 200, "", sdpText(2, 40000, "0"), "Session-Expires: 2;refresher=uac")
	c.request(sip.ACK)
}

// 422 to a refresh raises the interval.
func TestRefreshTooSmall(t *testing.T) {
	h := newHouse(t, short(2))
	c := h.caller()
	h.connect(c, plainOffer(), "Supported: timer", "Allow: UPDATE")
	c.respond(c.request(sip.UPDATE), 422, "", "", "Min-SE: 120")
	if req := c.request(sip.UPDATE); header(req, "Session-Expires") != "120;refresher=uac" || header(req, "Min-SE") != "120" {
		t.Errorf("UPDATE\n%s", req)
	}
}

// The far end said that it would refresh and does not: the session ends before it expires.
func TestSessionExpires(t *testing.T) {
	h := newHouse(t, short(3))
	c := h.caller()
	leg, res := h.connect(c, plainOffer(), "Supported: timer", "Session-Expires: 3;refresher=uac")
	if header(res, "Session-Expires") != "3;refresher=uac" {
		t.Errorf("200 is\n%s", res)
	}
	c.ok(sip.BYE)
	h.over(leg, engine.ReasonSessionTimer)
	h.empty()
}

// Each refresh of the far end starts the interval anew.
func TestPeerRefreshes(t *testing.T) {
	h := newHouse(t, short(3))
	c := h.caller()
	leg, _ := h.connect(c, plainOffer(), "Supported: timer", "Session-Expires: 3;refresher=uac")
	start := time.Now()
	for time.Since(start) < 2500*time.Millisecond { // beyond where it would have ended: 3 s − 1 s
		time.Sleep(500 * time.Millisecond)
		c.send("UPDATE", "", "Supported: timer", "Session-Expires: 3;refresher=uac")
		if res := c.response(200); header(res, "Session-Expires") != "3;refresher=uac" {
			t.Errorf("200 is\n%s", res)
		}
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// As UAC: 422 raises our interval; the answer's refresher is obeyed, and no refresher is us.
func TestTimerAsUAC(t *testing.T) {
	for name, tt := range map[string]struct {
		answer  []string
		refresh bool // by us
	}{
		"ours":         {[]string{"Session-Expires: 12;refresher=uac", "Require: timer"}, true},
		"no refresher": {[]string{"Session-Expires: 12"}, true},
		"theirs":       {[]string{"Session-Expires: 12;refresher=uas"}, false},
		"no timer":     {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, short(2))
			p := newPeer(t, h.addr)
			leg := h.dial(p)
			first := p.request(sip.INVITE)
			p.respond(first, 422, "x", "", "Min-SE: 12")
			p.request(sip.ACK)
			second := p.request(sip.INVITE)
			if header(second, "Session-Expires") != "12" || header(second, "Min-SE") != "12" || *second.CallID() != *first.CallID() {
				t.Errorf("INVITE\n%s", second)
			}
			p.respond(second, 200, "calleetag", plainOffer(), tt.answer...)
			p.request(sip.ACK)
			h.signal(leg, engine.SignalAnswered)
			s, err := decodeState(leg.State())
			if err != nil || s.Timer.Seconds != 12 || s.Timer.Ours != tt.refresh {
				t.Errorf("timer %+v %v", s.Timer, err)
			}
		})
	}
}
