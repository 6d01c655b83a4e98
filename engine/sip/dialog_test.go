package sip

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

func someState(tb testing.TB) DialogState {
	tb.Helper()
	m, err := freshMedia().answer([]byte(plainOffer()), audioCodecs())
	if err != nil {
		tb.Fatal(err)
	}
	return DialogState{
		Format: stateFormat, Inbound: true, Key: "k", CallID: "c@x", LocalTag: "us", RemoteTag: "them",
		Local: `"Us" <sip:100@here>`, Remote: `<sip:bob@there>;x=y`, RemoteTarget: "sip:bob@192.0.2.7:5070;transport=tcp",
		RouteSet: []string{"sip:p1.example;lr", "sip:p2.example:5062"}, LocalUser: "100",
		LocalCSeq: 7, RemoteCSeq: 8, InviteCSeq: 6, Transport: "UDP", Source: netip.MustParseAddrPort("192.0.2.7:5060"),
		Allow: []string{"INVITE", "update"}, Media: m, Timer: TimerState{Seconds: 1800, Ours: true, MinSE: 90},
		Credentials: &engine.Credentials{Username: "u", Password: "p"}, Confirmed: true,
	}
}

func TestDialogStateRoundTrip(t *testing.T) {
	s := someState(t)
	got, err := decodeState(s.encode())
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Media.Layout { // what an m-line said is kept in the fields of MediaState
		l := s.Media.Layout[i]
		s.Media.Layout[i] = mediaLine{Kind: l.Kind, Proto: l.Proto, Formats: l.Formats}
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("got\n%+v\nwant\n%+v", got, s)
	}
	// Every field has a name of its own in the JSON: a renamed field would lose calls at a rolling update.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(s.encode(), &fields); err != nil {
		t.Fatal(err)
	}
	if want := reflect.TypeFor[DialogState]().NumField(); len(fields) != want {
		t.Errorf("%d names for %d fields", len(fields), want)
	}
	if n := len(s.encode()); n > 4096 {
		t.Errorf("a state has %d bytes", n)
	}
}

func TestDialogRequest(t *testing.T) {
	s := someState(t)
	req, err := s.request(sip.BYE, 9)
	if err != nil {
		t.Fatal(err)
	}
	want := "BYE sip:bob@192.0.2.7:5070;transport=tcp SIP/2.0\r\n" +
		"Route: <sip:p1.example;lr>\r\nRoute: <sip:p2.example:5062>\r\nMax-Forwards: 70\r\n" +
		"From: \"Us\" <sip:100@here>;tag=us\r\nTo: <sip:bob@there>;x=y;tag=them\r\nCall-ID: c@x\r\nCSeq: 9 BYE\r\n\r\n"
	if got := req.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if hop, err := s.hop(); err != nil || hop.Host != "p1.example" {
		t.Errorf("hop %v %v", hop, err)
	}
	s.RemoteTarget = "nonsense"
	if _, err := s.request(sip.BYE, 9); err == nil {
		t.Error("a request to nowhere")
	}
}

func TestStrictRouterRoute(t *testing.T) {
	s := someState(t)
	s.RouteSet = []string{"sip:strict.example?X=y", "sip:p2.example;lr"}
	target, routes, err := s.route()
	if err != nil || target.String() != "sip:strict.example" || !slices.Equal(routes, []string{"sip:p2.example;lr", s.RemoteTarget}) {
		t.Errorf("%s %v %v", target.String(), routes, err)
	}
}

func TestNextCSeq(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	day := at("2026-01-02T00:00:00Z")
	const perDay = 4 * 24 * 3600
	for _, tt := range []struct {
		last uint32
		now  time.Time
		want uint32
	}{
		{0, day, perDay},
		{perDay, day, perDay + 1},
		{perDay + 500, day, perDay + 501},
		{perDay, day.Add(time.Second), perDay + 4},
		{5, at("2020-01-01T00:00:00Z"), 6},
		{7, at("2090-01-01T00:00:00Z"), 8},
	} {
		if got := nextCSeq(tt.last, tt.now); got != tt.want {
			t.Errorf("after %d at %v: %d, want %d", tt.last, tt.now, got, tt.want)
		}
	}
}

func TestBehindNAT(t *testing.T) {
	for _, tt := range []struct {
		contact, source string
		route           bool
		lost            bool
	}{
		{"sip:a@192.168.1.5:5062", "203.0.113.5:31000", false, true},
		{"sip:a@192.168.1.5", "203.0.113.5:31000", true, false},
		{"sip:a@192.168.1.5", "10.0.0.9:5060", false, false},
		{"sip:a@198.51.100.1", "203.0.113.5:31000", false, false},
		{"sip:a@127.0.0.1", "203.0.113.5:31000", false, true},
		{"sip:a@0.0.0.0", "10.0.0.9:5060", false, true},
		{"sip:a@127.0.0.1:5062", "127.0.0.1:31000", false, false},
		{"sip:a@phone.example", "203.0.113.5:31000", false, false},
		{"sip:a@[fd00::1]", "[2001:db8::1]:5060", false, true},
	} {
		s := DialogState{RemoteTarget: tt.contact, Transport: "UDP", Source: netip.MustParseAddrPort(tt.source)}
		if tt.route {
			s.RouteSet = []string{tt.contact}
		}
		hop, err := s.hop()
		if err != nil {
			t.Fatal(err)
		}
		if to, lost := s.behindNAT(hop); lost != tt.lost || lost && to.Addr != s.Source {
			t.Errorf("%s from %s: %v %v", tt.contact, tt.source, to, lost)
		}
	}
}

func TestRecordedRoutes(t *testing.T) {
	msg := message("Record-Route", `"P, one" <sip:p1;lr;x="a,b">;q=1, <sip:p2>`, "record-route", "<sip:p3;lr>")
	if got := strings.Join(recordedRoutes(msg), " "); got != `sip:p1;lr;x="a,b" sip:p2 sip:p3;lr` {
		t.Errorf("routes %s", got)
	}
}

func TestTagsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		tag := newTag()
		if len(tag) < 16 || !isToken(tag) || seen[tag] { // RFC 3261 19.3: at least 32 random bits
			t.Fatalf("tag %q", tag)
		}
		seen[tag] = true
	}
}
