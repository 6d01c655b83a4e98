package webrtc

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/turn/v5"
	pion "github.com/pion/webrtc/v4"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/token"
	"github.com/tipring/tipring/test/harness/browser"
)

const patience = 30 * time.Second

// A house is a door with what it needs; calls of pages arrive in calls.
type house struct {
	t     *testing.T
	door  *Door
	key   *token.Key
	media *rtp.Engine
	url   string
	calls chan arrived
}

type arrived struct {
	in  engine.Incoming
	leg *Leg
}

func newHouse(t *testing.T, change ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, calls: make(chan arrived, 8)}
	var err error
	if h.key, err = token.NewKey(bytes.Repeat([]byte{7}, token.SeedSize)); err != nil {
		t.Fatal(err)
	}
	h.media, err = rtp.New(rtp.Options{Bind: netip.MustParseAddr("127.0.0.1"), MinPort: 22000, MaxPort: 23999, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.media.Close() })
	serial := 0
	o := Options{
		Listen: Listen{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Loopback: true}, Media: h.media, Tokens: h.key, Node: "n1",
		Accept: func(in engine.Incoming, leg engine.Leg) (string, error) {
			serial++
			h.calls <- arrived{in, leg.(*Leg)}
			return "call_" + string(rune('a'+serial)), nil
		},
		Route: func(_ context.Context, c token.Claims, to string) (engine.Application, error) {
			if !c.MayCall(to) {
				return engine.Application{}, engine.Errorf(codeForbidden, "the token does not allow %s", to)
			}
			return engine.Application{ID: "app_1", ProjectID: c.ProjectID}, nil
		},
	}
	for _, f := range change {
		f(&o)
	}
	h.door, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.door.Close() })
	server := httptest.NewServer(h.door)
	t.Cleanup(server.Close)
	h.url = "ws" + strings.TrimPrefix(server.URL, "http")
	return h
}

func (h *house) token(identity string, change ...func(*token.Claims)) string {
	h.t.Helper()
	c := token.Claims{
		Identity: identity, ProjectID: "prj_1", Incoming: true, Outgoing: []string{"*"}, ExpiresAt: time.Now().Add(time.Hour),
	}
	for _, f := range change {
		f(&c)
	}
	s, err := h.key.Mint(c)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) call() arrived {
	h.t.Helper()
	select {
	case a := <-h.calls:
		return a
	case <-time.After(patience):
		h.t.Fatal("no call arrives")
		return arrived{}
	}
}

// A visitor is a page, and what it was welcomed with.
type visitor struct {
	*browser.Page
	hi map[string]any
}

func (h *house) connect(hello map[string]any) (*visitor, error) {
	h.t.Helper()
	p, err := browser.Connect(h.t, h.url, nil, hello)
	return &visitor{Page: p}, err
}

// page is a visitor that was welcomed.
func (h *house) page(identity string) *visitor {
	h.t.Helper()
	b, err := h.connect(map[string]any{"token": h.token(identity)})
	if err != nil {
		h.t.Fatal(err)
	}
	b.hi = b.Expect("welcome", "")
	return b
}

// signal waits for a signal of a leg.
func (h *house) signal(l engine.Leg, kind engine.SignalKind) engine.Signal {
	h.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s, ok := <-l.Signals():
			if !ok {
				h.t.Fatalf("the leg is over; signal %d was awaited", kind)
			}
			if s.Kind == kind {
				return s
			}
		case <-deadline:
			h.t.Fatalf("no signal %d", kind)
		}
	}
}

// echoed is a call of a page that hears itself.
func (h *house) echoed(b *visitor, hz float64) (leg *Leg, id, resume string) {
	h.t.Helper()
	r := b.Command("call", map[string]any{"to": "echo", "sdp": b.Offer(hz), "headers": map[string]any{"X-A": "1"}})
	b.Take(r)
	a := h.call()
	if err := a.leg.Answer(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	if e := b.Expect("event", "call.answered"); e["call_id"] != r["call_id"] {
		h.t.Errorf("%v", e)
	}
	h.signal(a.leg, engine.SignalAnswered)
	a.leg.Audio().Hear(a.leg.Audio().Mic())
	b.Hears(hz)
	return a.leg, r["call_id"].(string), r["resume"].(string)
}

func TestAPageCalls(t *testing.T) {
	h := newHouse(t)
	b := h.page("alice")
	if b.hi["identity"] != "alice" || b.hi["session"] == "" || b.hi["incoming"] != true {
		t.Errorf("%v", b.hi)
	}
	leg, id, _ := h.echoed(b, 500)
	if c := leg.Audio().Codec(); c.Name != "opus" {
		t.Errorf("%v", c)
	}
	q := leg.rtp.Quality()
	if q.PacketsReceived == 0 || q.PacketsSent == 0 {
		t.Errorf("%+v", q)
	}
	// Keys, both ways.
	if r := b.Command("dtmf", map[string]any{"call_id": id, "digits": "7"}); r["status"] != "accepted" {
		t.Errorf("%v", r)
	}
	if s := h.signal(leg, engine.SignalDigit); s.Digit.Key != '7' || s.Digit.Method != dtmf.Info {
		t.Errorf("%+v", s)
	}
	if err := leg.SendDTMF(context.Background(), "5#"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"5", "#"} {
		if e := b.Expect("event", "call.dtmf"); e["data"].(map[string]any)["digit"] != want {
			t.Errorf("%v, want %s", e, want)
		}
	}
	if r := b.Command("hold", map[string]any{"call_id": id, "on": true}); r["status"] != "accepted" {
		t.Errorf("%v", r)
	}
	h.signal(leg, engine.SignalHeld)
	b.Command("hold", map[string]any{"call_id": id, "on": false})
	h.signal(leg, engine.SignalUnheld)
	if r := b.Command("hangup", map[string]any{"call_id": id}); r["status"] != "accepted" {
		t.Errorf("%v", r)
	}
	if s := h.signal(leg, engine.SignalEnded); s.Cause.Reason != engine.ReasonNormal || s.Cause.Source != engine.SourceCaller {
		t.Errorf("%+v", s.Cause)
	}
	b.Expect("event", "call.ended")
	if r := b.Command("hangup", map[string]any{"call_id": id}); r["status"] != "error" {
		t.Errorf("%v", r)
	}
}

// Two pages of one identity ring; the first that accepts has the call, and the other one is told.
func TestAPageIsCalled(t *testing.T) {
	h := newHouse(t)
	first, second, other := h.page("bob"), h.page("bob"), h.page("carol")
	to := engine.Address{URI: "client:bob"}
	dialled, err := h.door.Dial(context.Background(), engine.Outgoing{
		ProjectID: "prj_1", CallID: "call_1", From: engine.Address{URI: "sip:x@example.com", Name: "X"}, To: to,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []*visitor{first, second} {
		if e := b.Expect("event", "call.incoming"); e["call_id"] != "call_1" || e["data"].(map[string]any)["from_name"] != "X" {
			t.Errorf("%v", e)
		}
	}
	first.Command("ringing", map[string]any{"call_id": "call_1"})
	h.signal(dialled, engine.SignalRinging)
	if r := other.Command("accept", map[string]any{"call_id": "call_1", "sdp": other.Offer(900)}); r["status"] != "error" {
		t.Errorf("somebody else accepts: %v", r)
	}
	second.Take(second.Command("accept", map[string]any{"call_id": "call_1", "sdp": second.Offer(700)}))
	h.signal(dialled, engine.SignalAnswered)
	if e := first.Expect("event", "call.ended"); e["data"].(map[string]any)["cause"] != "answered_elsewhere" {
		t.Errorf("%v", e)
	}
	if r := first.Command("accept", map[string]any{"call_id": "call_1", "sdp": first.Offer(900)}); r["status"] != "error" {
		t.Errorf("a second one accepts: %v", r)
	}
	dialled.Audio().Hear(dialled.Audio().Mic())
	second.Hears(700)
	if err := dialled.Hangup(context.Background(), engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceApp}); err != nil {
		t.Error(err)
	}
	if e := second.Expect("event", "call.ended"); e["data"].(map[string]any)["cause"] != "normal" {
		t.Errorf("%v", e)
	}
	// All refuse; nobody is there.
	dialled, _ = h.door.Dial(context.Background(), engine.Outgoing{ProjectID: "prj_1", CallID: "call_2", To: to})
	first.Command("reject", map[string]any{"call_id": "call_2"})
	second.Command("reject", map[string]any{"call_id": "call_2", "cause": "busy"})
	if s := h.signal(dialled, engine.SignalEnded); s.Cause.Reason != engine.ReasonBusy {
		t.Errorf("%+v", s.Cause)
	}
	for project, identity := range map[string]string{"prj_1": "client:nobody", "prj_2": "client:bob"} {
		dialled, _ = h.door.Dial(context.Background(), engine.Outgoing{ProjectID: project, CallID: "call_3", To: engine.Address{URI: identity}})
		if s := h.signal(dialled, engine.SignalEnded); s.Cause.Reason != engine.ReasonUnavailable {
			t.Errorf("%+v", s.Cause)
		}
	}
}

// A socket is cut: the audio goes on. The page comes back with its session and misses nothing; or with none, and gives the
// call a new peer connection.
func TestAPageComesBack(t *testing.T) {
	h := newHouse(t)
	b := h.page("alice")
	leg, id, resume := h.echoed(b, 500)
	_ = b.WS.Close()
	if err := leg.SendDTMF(context.Background(), "9"); err != nil {
		t.Fatal(err)
	}
	b.Forget()
	b.Hears(500)
	back, err := h.connect(map[string]any{"token": h.token("alice"), "session": b.hi["session"], "after": 1, "calls": []any{map[string]any{"call_id": id}}})
	if err != nil {
		t.Fatal(err)
	}
	w := back.Expect("welcome", "")
	if w["session"] != b.hi["session"] || w["calls"].([]any)[0].(map[string]any)["alive"] != true {
		t.Errorf("%v", w)
	}
	if e := back.Expect("event", "call.dtmf"); e["data"].(map[string]any)["digit"] != "9" {
		t.Errorf("%v", e)
	}
	b.Silence()
	_ = b.PC.Close()
	again := h.page("alice")
	if r := again.Command("resume", map[string]any{"call_id": id, "resume": "1zzzzz.x", "sdp": again.Offer(900)}); r["status"] != "error" {
		t.Errorf("a forged token: %v", r)
	}
	again.Silence()
	r := again.Command("resume", map[string]any{"call_id": id, "resume": resume, "sdp": again.Offer(900)})
	again.Take(r)
	again.Expect("event", "call.resumed")
	again.Hears(900)
	if r := again.Command("hangup", map[string]any{"call_id": id}); r["status"] != "accepted" {
		t.Errorf("%v", r)
	}
	h.signal(leg, engine.SignalEnded)
}

func TestBadPages(t *testing.T) {
	h := newHouse(t)
	refused := func(name string, hello map[string]any, code int, want string) {
		t.Helper()
		b, err := h.connect(hello)
		if err != nil {
			t.Fatal(err)
		}
		m := b.Expect("error", "")
		if got := m["error"].(map[string]any)["code"]; got != want {
			t.Errorf("%s: %v, want %s", name, m, want)
		}
		b.Closed()
		_ = code
	}
	expired := h.token("alice", func(c *token.Claims) { c.ExpiresAt = time.Now().Add(-time.Hour) })
	refused("no token", map[string]any{}, closeToken, "token_invalid")
	refused("expired", map[string]any{"token": expired}, closeToken, "token_expired")
	refused("noise", map[string]any{"token": "a.b.c"}, closeToken, "token_invalid")

	header := http.Header{"Origin": {"https://evil.example"}}
	if _, res, err := websocket.DefaultDialer.Dial(h.url, header); err == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign origin: %v", err)
	}
	b, err := h.connect(map[string]any{"token": h.token("eve", func(c *token.Claims) { c.Outgoing = []string{"echo"}; c.Incoming = false })})
	if err != nil {
		t.Fatal(err)
	}
	b.Expect("welcome", "")
	offer := b.Offer(500)
	for name, f := range map[string]struct {
		action string
		fields map[string]any
		code   string
	}{
		"not allowed":         {"call", map[string]any{"to": "+4930", "sdp": offer}, "forbidden"},
		"nobody":              {"call", map[string]any{"sdp": offer}, "validation_failed"},
		"no description":      {"call", map[string]any{"to": "echo"}, "bad_sdp"},
		"junk":                {"call", map[string]any{"to": "echo", "sdp": "v=0\r\nm=audio x\r\n"}, "bad_sdp"},
		"video only":          {"call", map[string]any{"to": "echo", "sdp": strings.ReplaceAll(offer, "m=audio", "m=video")}, "bad_sdp"},
		"no codec of ours":    {"call", map[string]any{"to": "echo", "sdp": strings.NewReplacer("opus/", "x1/", "PCMU/", "x2/", "PCMA/", "x3/", "G722/", "x4/", " 9 0 8 ", " ", " 0 8 9 ", " ", " 9 ", " ", " 0 8 ", " ").Replace(offer)}, ""},
		"a huge description":  {"call", map[string]any{"to": "echo", "sdp": offer + strings.Repeat("a=x\r\n", 8000)}, "bad_sdp"},
		"an unknown action":   {"dance", map[string]any{"call_id": "x"}, ""},
		"somebody's call":     {"hangup", map[string]any{"call_id": "call_zz"}, "call_not_found"},
		"another's new token": {"renew", map[string]any{"token": h.token("mallory")}, "forbidden"},
	} {
		r := b.Command(f.action, f.fields)
		e, _ := r["error"].(map[string]any)
		if r["status"] != "error" || f.code != "" && e["code"] != f.code {
			t.Errorf("%s: %v, want %s", name, r, f.code)
		}
	}
	if r := b.Command("renew", map[string]any{"token": h.token("eve")}); r["status"] != "accepted" || r["expires_at"] == nil {
		t.Errorf("renew: %v", r)
	}
	if len(h.calls) != 0 {
		t.Error("a call arrived")
	}
	// A frame that is too large, and too many.
	_ = b.WS.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","to":"`+strings.Repeat("x", maxFrame)+`"}`))
	b.Closed()
	c := h.page("fast")
	for range int(frameBurst) * 2 {
		if c.WS.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`)) != nil {
			break
		}
	}
	if m := c.Expect("error", ""); m["error"].(map[string]any)["code"] != "rate_limited" {
		t.Errorf("%v", m)
	}
}

// The same command, sent twice, is carried out once.
func TestACommandTwice(t *testing.T) {
	h := newHouse(t)
	b := h.page("alice")
	m := map[string]any{"type": "command", "command_id": "c1", "action": "call", "to": "echo", "sdp": b.Offer(500)}
	b.Send(m)
	b.Send(m)
	first, second := b.Expect("reply", ""), b.Expect("reply", "")
	if first["call_id"] != second["call_id"] || first["call_id"] == nil {
		t.Errorf("%v, %v", first, second)
	}
	h.call()
	if len(h.calls) != 0 {
		t.Error("two calls arrived")
	}
}

func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"type":"hello","token":"x","calls":[{"call_id":"c"}]}`, `{"type":"command","action":"candidate","candidate":{"candidate":"candidate:1 1 udp 1 127.0.0.1 9 typ host"}}`,
		`{"type":"command","action":"stats","rtt_ms":1e300}`, `[]`, `null`, `{"type":"ping"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := decode(b)
		if err == nil && (frame == nil || frame.Type == "") {
			t.Fatalf("%s", b)
		}
		if err != nil {
			if _, err := json.Marshal(problemOf(err)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A page that reaches nothing but the relay has audio all the same; the relay leads nowhere else.
func TestRelay(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.TURN = TURN{Addr: netip.MustParseAddrPort("127.0.0.1:0")} })
	b := h.page("alice")
	var servers []pion.ICEServer
	for _, s := range b.hi["ice_servers"].([]any) {
		m := s.(map[string]any)
		for _, u := range m["urls"].([]any) {
			servers = append(servers, pion.ICEServer{URLs: []string{u.(string)}, Username: m["username"].(string), Credential: m["credential"]})
		}
	}
	if len(servers) != 2 {
		t.Fatalf("%v", b.hi["ice_servers"])
	}
	b.Relays = servers
	h.echoed(b, 500)

	for name, way := range map[string]string{"alice": b.hi["ice_servers"].([]any)[0].(map[string]any)["credential"].(string), "wrong": "x"} {
		m := b.hi["ice_servers"].([]any)[0].(map[string]any)
		address := strings.TrimSuffix(strings.TrimPrefix(m["urls"].([]any)[0].(string), "turn:"), "?transport=udp")
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client, err := turn.NewClient(&turn.ClientConfig{
			STUNServerAddr: address, TURNServerAddr: address, Conn: conn, Username: m["username"].(string), Password: way, Realm: turnRealm,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Listen(); err != nil {
			t.Fatal(err)
		}
		relayed, err := client.Allocate()
		if name == "wrong" {
			if err == nil {
				t.Error("wrong credentials are taken")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		victim, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer victim.Close()
		_, _ = relayed.WriteTo([]byte("hello"), victim.LocalAddr()) // the address is ours, the port is not
		if _, err := relayed.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 99), Port: 9}); err == nil {
			t.Error("a permission for a foreign address was given")
		}
		_ = victim.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, _, err := victim.ReadFrom(make([]byte, 100)); err == nil {
			t.Errorf("%d bytes were relayed to another port", n)
		}
	}
}

// A stranger's packets at the media port, a DTLS ClientHello among them, reach no call: neither one that is being set up nor
// one that talks.
func TestStrangersAtTheMediaPort(t *testing.T) {
	h := newHouse(t)
	stranger, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(h.door.media))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		hello := append([]byte{0x16, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 58, 1, 0, 0, 46, 0, 0, 0, 0, 0, 0, 0, 46, 0xfe, 0xfd}, make([]byte, 44)...)
		binding := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...) // of no user
		media := append([]byte{0x80, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, make([]byte, 60)...)
		for {
			for _, p := range [][]byte{hello, binding, media, {}, {0}} {
				_, _ = stranger.Write(p)
			}
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	b := h.page("alice")
	leg, _, _ := h.echoed(b, 500)
	b.Forget()
	b.Hears(500)
	close(stop)
	<-stopped
	if q := leg.rtp.Quality(); q.PacketsLost > 5 || q.PacketsDropped > 0 {
		t.Errorf("%+v", q)
	}
	_ = stranger.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := stranger.Read(make([]byte, 1500)); err == nil {
		t.Errorf("the stranger was answered with %d bytes", n)
	}
}
