package sip

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

func TestInboundCall(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer(), "X-Order: 4711", "Subject: pizza", "Authorization: Digest username=\"x\"")
	if msg, _ := c.read(); msg.(*sip.Response).StatusCode != 100 {
		t.Fatalf("first answer\n%s", msg)
	}
	call := h.call()
	in := call.in
	if in.From.URI != "sip:bob@peer.example" || in.From.Name != `Bob "B" Brown` || in.To.User() != "100" {
		t.Errorf("incoming %+v", in)
	}
	if in.Headers["X-Order"] != "4711" || in.Headers["Subject"] != "pizza" || len(in.Headers) != 2 {
		t.Errorf("headers %v", in.Headers)
	}
	if in.Key == "" || in.SIPCallID != c.callID || in.Source != c.addr.String() {
		t.Errorf("incoming %+v", in)
	}
	ctx := context.Background()
	if err := call.leg.Ring(ctx, false); err != nil {
		t.Fatal(err)
	}
	ringing := c.response(180)
	if len(ringing.Body()) != 0 || toTag(ringing) == "" || ringing.Contact() == nil {
		t.Errorf("180 is\n%s", ringing)
	}
	if err := call.leg.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	res := c.response(200)
	if toTag(res) != toTag(ringing) {
		t.Error("the To-tag changed between 180 and 200 (RFC 3261 8.2.6.2)")
	}
	d := described(t, res)
	if l := d.line(); l.port == 0 || l.direction != sendrecv || len(l.codecs) != 2 || l.codecs[0].Name != "PCMU" ||
		l.codecs[1].PayloadType != 101 {
		t.Errorf("answer\n%s", res.Body())
	}
	if header(res, "Allow") == "" || header(res, "Supported") != "timer" {
		t.Errorf("200 is\n%s", res)
	}
	c.learn(res)
	c.ack("")
	if s := h.signal(call.leg, engine.SignalAnswered); s.Status != 200 {
		t.Errorf("%+v", s)
	}
	c.ack("") // again: absorbed
	c.send("BYE", "", `Reason: Q.850;cause=16;text="Terminated"`)
	c.response(200)
	cause := h.over(call.leg, engine.ReasonNormal)
	if cause.Source != engine.SourceCaller || cause.Q850 != 16 || cause.Text != "Terminated" {
		t.Errorf("cause %+v", cause)
	}
	h.empty()
	if err := call.leg.Answer(ctx); engine.ErrorCode(err) != engine.CodeInvalidState {
		t.Errorf("Answer after the end: %v", err)
	}
}

func TestCancel(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	c.write(c.text("CANCEL", c.cseq, c.invited, ""))
	for range 2 { // 200 to the CANCEL and 487 to the INVITE, whichever comes first
		res := c.next().(*sip.Response)
		if res.CSeq().MethodName == sip.CANCEL {
			if res.StatusCode != 200 {
				t.Errorf("CANCEL got %d", res.StatusCode)
			}
			continue
		}
		if res.StatusCode != 487 {
			t.Errorf("INVITE got %d", res.StatusCode)
		}
		c.ackFailure(res)
	}
	if cause := h.over(leg, engine.ReasonCancelled); cause.Source != engine.SourceCaller {
		t.Errorf("cause %+v", cause)
	}
	if err := leg.Answer(context.Background()); err == nil {
		t.Error("a cancelled call was answered")
	}
	h.empty()
}

// A CANCEL that crosses our 200 changes nothing (RFC 3261 9.2).
func TestCancelAfterAnswer(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	remote := c.remote
	c.remote = ""
	c.write(c.text("CANCEL", 1, c.invited, ""))
	if res := c.next().(*sip.Response); res.CSeq().MethodName != sip.CANCEL {
		t.Errorf("got\n%s", res)
	}
	c.remote = remote
	c.send("OPTIONS", "")
	c.response(200)
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

func TestNoACK(t *testing.T) {
	h := newHouse(t, func(s *settings) { s.layer.T1 = 5 * time.Millisecond })
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(200))
	bye := c.request(sip.BYE) // after 64*T1 without an ACK
	c.respond(bye, 200, "", "")
	if cause := h.over(leg, engine.ReasonNoACK); cause.Source != engine.SourceSystem {
		t.Errorf("cause %+v", cause)
	}
	if toTag(bye) != c.tag || fromTag(bye) != c.remote {
		t.Errorf("BYE of another dialog\n%s", bye)
	}
	h.empty()
}

// Who answered must not send BYE before the ACK (RFC 3261 15).
func TestHangupBeforeACK(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	c.learn(c.response(200))
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceApp}); err != nil {
		t.Fatal(err)
	}
	h.over(leg, engine.ReasonNormal)
	c.send("OPTIONS", "") // an answer to it without a BYE before it shows that none was sent
	c.response(200)
	c.cseq-- // the ACK has the number of the INVITE
	c.ack("")
	if bye := c.ok(sip.BYE); !strings.Contains(header(bye, "Reason"), "cause=16") {
		t.Errorf("BYE is\n%s", bye)
	}
	h.empty()
}

func TestReject(t *testing.T) {
	for name, tt := range map[string]struct {
		cause  engine.Cause
		status int
	}{
		"busy":     {engine.Cause{Reason: engine.ReasonBusy}, 486},
		"rejected": {engine.Cause{Reason: engine.ReasonRejected}, 603},
		"status":   {engine.Cause{Reason: engine.ReasonRejected, SIPStatus: 488}, 488},
		"normal":   {engine.Cause{Reason: engine.ReasonNormal}, 480},
		"headers":  {engine.Cause{SIPStatus: 403, Text: "Go away", Headers: map[string]string{"X-Why": "so"}}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c := h.caller()
			c.send("INVITE", plainOffer())
			leg := h.call().leg
			if err := leg.Hangup(context.Background(), tt.cause); err != nil {
				t.Fatal(err)
			}
			res := c.response(tt.status)
			c.ackFailure(res)
			h.over(leg, tt.cause.Reason)
			if tt.cause.Text != "" && (res.Reason != tt.cause.Text || header(res, "X-Why") != "so") {
				t.Errorf("response\n%s", res)
			}
			h.empty()
		})
	}
}

func TestAcceptRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		status int
		retry  bool
	}{
		"no route": {engine.Errorf(engine.CodeNoRoute, "nobody"), 404, false},
		"full":     {engine.Errorf(engine.CodeCapacity, "full"), 503, true},
		"draining": {engine.Errorf(engine.CodeDraining, "draining"), 503, true},
		"fault":    {errors.New("oops"), 500, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(s *settings) {
				s.door.Accept = func(engine.Incoming, engine.Leg) error { return tt.err }
			})
			c := h.caller()
			c.send("INVITE", plainOffer())
			res := c.response(tt.status)
			if (header(res, "Retry-After") != "") != tt.retry {
				t.Errorf("response\n%s", res)
			}
			c.ackFailure(res)
			h.empty()
		})
	}
}

func TestEarlyMediaToCaller(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	ctx := context.Background()
	if err := leg.Ring(ctx, true); err != nil {
		t.Fatal(err)
	}
	early := c.response(183)
	d := described(t, early)
	if err := leg.Answer(ctx); err != nil {
		t.Fatal(err)
	}
	res := c.response(200)
	if string(res.Body()) != string(early.Body()) {
		t.Errorf("the answer changed between 183 and 200:\n%s\n%s", early.Body(), res.Body())
	}
	if d.line().port == 0 {
		t.Error("early media refused")
	}
	c.learn(res)
	c.ack("")
	h.signal(leg, engine.SignalAnswered)
}

func TestOfferlessInvite(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", "")
	leg := h.call().leg
	if err := leg.Answer(context.Background()); err != nil {
		t.Fatal(err)
	}
	res := c.response(200)
	d := described(t, res)
	if names := formatNames(d.line().codecs); names != "PCMU PCMA opus G722 telephone-event telephone-event" {
		t.Errorf("offer in the 200 has %q", names)
	}
	c.learn(res)
	c.ack(sdpText(1, 40000, "8", "a=sendrecv"))
	h.signal(leg, engine.SignalAnswered)
	eventually(t, "the answer's codec is in use", func() bool { return leg.Audio().Codec().Name == "PCMA" })
}

func formatNames(fs []Format) string {
	var names []string
	for _, f := range fs {
		names = append(names, f.Name)
	}
	return strings.Join(names, " ")
}

// An ACK without the answer leaves no session: it is ended at once.
func TestOfferlessInviteWithoutAnswer(t *testing.T) {
	for name, body := range map[string]string{"none": "", "other codec": sdpText(1, 40000, "18"), "rubbish": "v=0\r\nrubbish"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c := h.caller()
			c.send("INVITE", "")
			leg := h.call().leg
			if err := leg.Answer(context.Background()); err != nil {
				t.Fatal(err)
			}
			c.learn(c.response(200))
			c.ack(body)
			c.ok(sip.BYE)
			h.over(leg, engine.ReasonNoCodec)
			h.empty()
		})
	}
}

func TestInviteRefusals(t *testing.T) {
	video := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5000 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"
	for name, tt := range map[string]struct {
		body    string
		headers []string
		status  int
		header  string
		value   string
	}{
		"unknown extension": {plainOffer(), []string{"Require: 100rel, timer, foo"}, 420, "Unsupported", "100rel, foo"},
		"other body":        {"hello", []string{"Content-Type: text/plain"}, 415, "Accept", "application/sdp"},
		"encoded body":      {plainOffer(), []string{"Content-Encoding: gzip"}, 415, "Accept-Encoding", "identity"},
		"compact encoding":  {plainOffer(), []string{"e: gzip"}, 415, "Accept-Encoding", "identity"},
		"no codec":          {sdpText(1, 40000, "18"), nil, 488, "Warning", `304 tipring "Media type not available"`},
		"video only":        {video, nil, 488, "", ""},
		"malformed body":    {"v=0\r\nx", nil, 400, "", ""},
		"short interval":    {plainOffer(), []string{"Supported: timer", "Session-Expires: 30"}, 422, "Min-SE", "90"},
		"short, compact":    {plainOffer(), []string{"k: timer", "x: 30"}, 422, "Min-SE", "90"},
		"star contact":      {plainOffer(), []string{"Contact: *"}, 400, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c := h.caller()
			c.send("INVITE", tt.body, tt.headers...)
			res := c.response(tt.status)
			if tt.header != "" && header(res, tt.header) != tt.value {
				t.Errorf("%s is %q, want %q", tt.header, header(res, tt.header), tt.value)
			}
			c.ackFailure(res)
			h.empty()
			if len(h.calls) > 0 {
				t.Error("the engine got a call")
			}
		})
	}
}

func TestOutOfDialog(t *testing.T) {
	h := newHouse(t)
	for method, status := range map[string]int{
		"OPTIONS": 200, "BYE": 481, "INFO": 481, "UPDATE": 481, "PRACK": 481,
		"REGISTER": 405, "SUBSCRIBE": 405, "MESSAGE": 405, "REFER": 405, "NOTIFY": 405, "PUBLISH": 405, "DANCE": 501,
	} {
		t.Run(method, func(t *testing.T) {
			c := h.caller()
			c.send(method, "")
			res := c.response(status)
			if status != 481 && header(res, "Allow") != methods {
				t.Errorf("Allow is %q", header(res, "Allow"))
			}
			if method == "OPTIONS" && (header(res, "Accept") == "" || header(res, "Supported") != "timer") {
				t.Errorf("response\n%s", res)
			}
		})
	}
	t.Run("unknown dialog", func(t *testing.T) {
		for _, method := range []string{"INVITE", "BYE", "OPTIONS", "INFO"} {
			c := h.caller()
			c.remote = "nobody"
			c.send(method, "")
			res := c.response(481)
			if method == "INVITE" {
				c.ackFailure(res)
			}
		}
	})
}

// Requests of someone who guessed Call-ID and our tag but not the caller's find no dialog.
func TestForeignTag(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	c.tag = "other"
	c.send("BYE", "")
	c.response(481)
	c.tag = "peertag"
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
}

// The caller may give up by BYE, too (RFC 3261 15).
func TestByeBeforeAnswer(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	c.send("INVITE", plainOffer())
	leg := h.call().leg
	if err := leg.Ring(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	invite := c.cseq
	c.learn(c.response(180))
	c.send("BYE", "")
	statuses := map[sip.RequestMethod]int{}
	for range 2 {
		res := c.next().(*sip.Response)
		statuses[res.CSeq().MethodName] = res.StatusCode
	}
	if statuses[sip.BYE] != 200 || statuses[sip.INVITE] != 487 {
		t.Errorf("statuses %v", statuses)
	}
	c.cseq = invite
	c.write(c.text("ACK", invite, c.invited, ""))
	h.over(leg, engine.ReasonCancelled)
	h.empty()
}

func TestRecordRouteInbound(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	proxy := newPeer(t, h.addr)
	rr := "Record-Route: <sip:" + proxy.addr.String() + ";lr>, <sip:far.example;lr;x=1>"
	leg, res := h.connect(c, plainOffer(), rr)
	if got := len(res.GetHeaders("record-route")); got == 0 {
		t.Error("2xx without Record-Route (RFC 3261 12.1.1)")
	}
	if err := leg.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal}); err != nil {
		t.Fatal(err)
	}
	bye := proxy.ok(sip.BYE)
	if got := routesOf(bye); got != "<sip:"+proxy.addr.String()+";lr> <sip:far.example;lr;x=1>" {
		t.Errorf("routes %s", got)
	}
	if bye.Recipient.String() != "sip:bob@"+c.addr.String() {
		t.Errorf("Request-URI %s", bye.Recipient.String())
	}
}

func routesOf(req *sip.Request) string {
	var routes []string
	for _, h := range req.GetHeaders("route") {
		routes = append(routes, h.Value())
	}
	return strings.Join(routes, " ")
}
