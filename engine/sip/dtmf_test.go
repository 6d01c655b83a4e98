package sip

import (
	"context"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
)

func TestInfoDigits(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	for _, tt := range []struct {
		name, body string
		headers    []string
		status     int
		key        byte
	}{
		{"relay", "Signal=5\r\nDuration=160\r\n", []string{"Content-Type: application/dtmf-relay"}, 200, '5'},
		{"plain", "#", []string{"Content-Type: application/dtmf"}, 200, '#'},
		{"case and parameter", "Signal= *\r\n", []string{"Content-Type: Application/DTMF-Relay;charset=utf-8"}, 200, '*'},
		{"empty", "", nil, 200, 0},
		{"other body", "x", []string{"Content-Type: application/media_control+xml"}, 415, 0},
		{"malformed", "Signal=Q", []string{"Content-Type: application/dtmf-relay"}, 400, 0},
		{"package", "x", []string{"Info-Package: trickle-ice", "Content-Type: application/trickle-ice-sdpfrag"}, 469, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			c.send("INFO", tt.body, tt.headers...)
			res := c.response(tt.status)
			if tt.status == 415 && header(res, "Accept") == "" || tt.status == 469 && header(res, "Recv-Info") == "" {
				t.Errorf("response\n%s", res)
			}
			if tt.key != 0 {
				if s := h.signal(leg, engine.SignalDigit); s.Digit.Key != tt.key || s.Digit.Method != dtmf.Info {
					t.Errorf("digit %+v", s.Digit)
				}
			}
		})
	}
}

// Four INFOs back to back arrive as four digits in order (defect S1 of sipgo).
func TestInfoOrder(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, plainOffer())
	const keys = "1234567890*#"
	for i := range keys {
		c.send("INFO", "Signal="+keys[i:i+1], "Content-Type: application/dtmf-relay")
	}
	for i := range keys {
		c.response(200)
		if s := h.signal(leg, engine.SignalDigit); s.Digit.Key != keys[i] {
			t.Fatalf("digit %d is %c", i, s.Digit.Key)
		}
	}
}

// A press that comes by RFC 4733 and by INFO counts once; presses of one way all count.
func TestPressesOnce(t *testing.T) {
	now := time.Unix(0, 0)
	var p presses
	for i, tt := range []struct {
		key    byte
		method dtmf.Method
		after  time.Duration
		counts bool
	}{
		{'1', dtmf.RFC4733, 0, true},
		{'1', dtmf.Info, 50 * time.Millisecond, false},
		{'1', dtmf.Info, 200 * time.Millisecond, true}, // the other way first
		{'1', dtmf.RFC4733, 80 * time.Millisecond, false},
		{'2', dtmf.RFC4733, 0, true}, // two presses, then their twins
		{'2', dtmf.RFC4733, 150 * time.Millisecond, true},
		{'2', dtmf.Info, 0, false},
		{'2', dtmf.Info, 0, false},
		{'3', dtmf.RFC4733, 0, true},
		{'4', dtmf.Info, 0, true},
		{'3', dtmf.Info, 3 * time.Second, true}, // too late for a twin
	} {
		now = now.Add(tt.after)
		if got := p.counts(dtmf.Digit{Key: tt.key, Method: tt.method}, now); got != tt.counts {
			t.Errorf("press %d (%c by %s) counts: %v", i, tt.key, tt.method, got)
		}
	}
}

func TestSendDTMFByInfo(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, sdpText(1, 40000, "0"), "Allow: INVITE, ACK, BYE, INFO")
	done := make(chan error, 1)
	go func() { done <- leg.SendDTMF(context.Background(), "5w#") }()
	for _, key := range []byte{'5', '#'} {
		req := c.request(sip.INFO)
		d, err := dtmf.ParseInfo(header(req, "Content-Type"), req.Body())
		if err != nil || d.Key != key {
			t.Fatalf("INFO\n%s: %v", req, err)
		}
		c.respond(req, 200, "", "")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() { done <- leg.SendDTMF(context.Background(), "1") }()
	c.respond(c.request(sip.INFO), 415, "", "")
	if err := <-done; engine.ErrorCode(err) != engine.CodeUnsupported {
		t.Errorf("refused INFO: %v", err)
	}
	if err := leg.SendDTMF(context.Background(), "x"); engine.ErrorCode(err) != engine.CodeValidation {
		t.Errorf("no key: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := leg.SendDTMF(ctx, "ww"); err == nil {
		t.Error("a cancelled wait gave no error")
	}
}

func TestSendDTMFUnsupported(t *testing.T) {
	h := newHouse(t)
	c := h.caller()
	leg, _ := h.connect(c, sdpText(1, 40000, "0"), "Allow: INVITE, ACK, BYE")
	if err := leg.SendDTMF(context.Background(), "1"); engine.ErrorCode(err) != engine.CodeUnsupported {
		t.Errorf("got %v", err)
	}
	c.send("BYE", "")
	c.response(200)
	h.over(leg, engine.ReasonNormal)
	if err := leg.SendDTMF(context.Background(), "1"); engine.ErrorCode(err) != engine.CodeInvalidState {
		t.Errorf("after the end: %v", err)
	}
}
