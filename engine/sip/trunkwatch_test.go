package sip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// watched is a house that tells what happens to trunks.
func watched(t *testing.T) (*house, chan string) {
	changes := make(chan string, 64)
	return newHouse(t, func(s *settings) {
		s.door.TrunkChanged = func(tr engine.Trunk, change engine.TrunkChange, data map[string]any) {
			changes <- strings.TrimSpace(fmt.Sprint(tr.ID, " ", change, " ", data["target"], " ", data["sip_status"]))
		}
	}), changes
}

func expectChange(t *testing.T, changes chan string, want string) {
	t.Helper()
	select {
	case got := <-changes:
		if got != want {
			t.Fatalf("%q happened, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%q did not happen", want)
	}
}

const digestChallenge = `WWW-Authenticate: Digest realm="carrier", nonce="n1", qop="auth", algorithm=SHA-256`

// A carrier asks for a longer time, then for credentials, and takes us; we come again in time, with credentials at once, and take
// the registration back in the end. Its first server refuses us: the second one is asked.
func TestTrunkRegisters(t *testing.T) {
	h, changes := watched(t)
	closed, p := newPeer(t, h.addr), newPeer(t, h.addr)
	trunk := engine.Trunk{
		ID: "trk", PingS: -1, Register: true, Auth: &engine.TrunkAuth{Username: "4930", Password: "s3cret"},
		Targets: []engine.TrunkTarget{{URI: "sip:" + closed.addr.String()}, {URI: "sip:" + p.addr.String(), Priority: 1}},
	}
	h.door.WatchTrunks([]engine.Trunk{trunk})
	closed.respond(closed.request(sip.REGISTER), 403, "x", "")

	first := p.request(sip.REGISTER)
	if to := first.To(); to.Address.User != "4930" || first.Contact() == nil || first.Contact().Address.User != "4930" ||
		first.Recipient.User != "" || first.Recipient.String() != "sip:"+p.addr.String() {
		t.Errorf("REGISTER\n%s", first)
	}
	p.respond(first, 423, "x", "", "Min-Expires: 1200")
	longer := p.request(sip.REGISTER)
	if transaction.Header(longer, "Expires") != "1200" || longer.CSeq().SeqNo <= first.CSeq().SeqNo || callIDOf(longer) != callIDOf(first) {
		t.Errorf("after 423\n%s", longer)
	}
	p.respond(longer, 401, "x", "", digestChallenge)
	authorized := p.request(sip.REGISTER)
	if auth := transaction.Header(authorized, "Authorization"); !strings.Contains(auth, `username="4930"`) || !strings.Contains(auth, "SHA-256") {
		t.Errorf("credentials %q", auth)
	}
	p.respond(authorized, 200, "x", "", fmt.Sprintf("Contact: <%s>;expires=2", authorized.Contact().Address.String()))
	expectChange(t, changes, "trk trunk.registered <nil> 200")
	if s, ok := h.door.TrunkStatus("trk"); !ok || s.Registration != engine.Registered || time.Until(*s.RegisteredUntil) > 2*time.Second {
		t.Errorf("%+v", s)
	}
	again := p.request(sip.REGISTER)
	if transaction.Header(again, "Authorization") == "" {
		t.Errorf("without credentials\n%s", again)
	}
	p.respond(again, 200, "x", "", fmt.Sprintf("Contact: <%s>;expires=60", again.Contact().Address.String()))
	h.door.WatchTrunks(nil)
	if gone := p.ok(sip.REGISTER); transaction.Header(gone, "Expires") != "0" {
		t.Errorf("at the end\n%s", gone)
	}
}

// A carrier that refuses us is told once.
func TestTrunkRegistrationFails(t *testing.T) {
	h, changes := watched(t)
	p := newPeer(t, h.addr)
	h.door.WatchTrunks([]engine.Trunk{{
		ID: "trk", PingS: -1, Register: true, Auth: &engine.TrunkAuth{Username: "4930", Password: "wrong"},
		Targets: []engine.TrunkTarget{{URI: "sip:" + p.addr.String()}},
	}})
	p.respond(p.request(sip.REGISTER), 401, "x", "", digestChallenge)
	p.respond(p.request(sip.REGISTER), 401, "x", "", digestChallenge)
	expectChange(t, changes, "trk trunk.registration_failed <nil> 401")
}

// A target that says 503 is down, and tried last; when it answers again it is up, whatever it thinks of OPTIONS.
func TestTrunkIsPinged(t *testing.T) {
	h, changes := watched(t)
	p, silent := newPeer(t, h.addr), newPeer(t, h.addr) // it is not down before pingTimeout
	uri := "sip:" + p.addr.String()
	trunk := engine.Trunk{ID: "trk", PingS: 1, Targets: []engine.TrunkTarget{{URI: uri}, {URI: "sip:" + silent.addr.String(), Priority: 1}}}
	h.door.WatchTrunks([]engine.Trunk{trunk})
	first := func() int {
		t.Helper()
		c, err := h.door.newTrunkCall(&trunk, "+4930")
		if err != nil || len(c.targets) != 2 {
			t.Fatal(err)
		}
		return c.targets[0].via.Port
	}
	p.respond(p.request(sip.OPTIONS), 200, "x", "")
	state := func(want engine.TargetState) func() bool {
		return func() bool {
			s, _ := h.door.TrunkStatus("trk")
			return slices.ContainsFunc(s.Targets, func(t engine.TargetStatus) bool { return t.URI == uri && t.State == want })
		}
	}
	eventually(t, "the target is up", state(engine.TrunkUp))
	if got := first(); got != int(p.addr.Port()) {
		t.Errorf("port %d is tried first", got)
	}
	p.respond(p.request(sip.OPTIONS), 503, "x", "")
	expectChange(t, changes, "trk trunk.down "+uri+" 503")
	h.door.WatchTrunks([]engine.Trunk{trunk}) // the same: it goes on
	if got := first(); got == int(p.addr.Port()) {
		t.Error("what is down is tried first")
	}
	p.respond(p.request(sip.OPTIONS), 405, "x", "")
	expectChange(t, changes, "trk trunk.up "+uri+" <nil>")
	h.door.WatchTrunks(nil)
	if _, ok := h.door.TrunkStatus("trk"); ok {
		t.Error("a trunk that is gone has a status")
	}
}
