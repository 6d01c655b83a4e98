package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/browser"
	"github.com/tipring/tipring/test/harness/phone"
)

// open opens a page with a token that the API made.
func open(t *testing.T, n *harness.Node, c *harness.Client, token map[string]any) *browser.Page {
	t.Helper()
	made := c.Must(http.MethodPost, "/v1/tokens", token).Text("token")
	p, err := browser.Connect(t, "ws://"+n.HTTP+"/rtc", nil, map[string]any{"token": made})
	if err != nil {
		t.Fatal(err)
	}
	if w := p.Expect("welcome", ""); w["identity"] != token["identity"] {
		t.Errorf("%v", w)
	}
	return p
}

// A page calls a phone, and a phone a page: Opus on one side, G.711 on the other, tones both ways. A key of the page is gathered,
// one of the application shown.
func TestPagesAndPhones(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("echo", map[string]any{"instructions": []any{do("answer"), do("echo")}})
	alice := open(t, n, c, map[string]any{"identity": "alice", "allow_incoming": true, "allow_outgoing": []string{"sip:*", "echo", "client:*", "conference:*"}})

	bob := phone.New(t, phone.Options{User: "bob"})
	r := alice.Command("call", map[string]any{"to": bob.URI(), "sdp": alice.Offer(500)})
	alice.Take(r)
	call := bob.Expect()
	call.Ring()
	alice.Expect("event", "call.ringing")
	call.Answer()
	alice.Expect("event", "call.answered")
	call.Play(phone.Tone(900))
	alice.Hears(900)
	call.WaitTone(500)
	id := r["call_id"].(string)
	media := c.Must(http.MethodGet, "/v1/calls/"+id, nil)
	if got := media.Text("media.codec"); got != "opus/48000/2" {
		t.Errorf("the page speaks %s", got)
	}
	if r := alice.Command("hangup", map[string]any{"call_id": id}); r["status"] != "accepted" {
		t.Errorf("%v", r)
	}
	tl := string(c.Must(http.MethodGet, "/v1/calls/"+id+"/timeline?kind=page", nil).Body)
	if all := strings.Count(tl, "a=ice-pwd:"); all < 2 || all != strings.Count(tl, "a=ice-pwd:removed") || !strings.Contains(tl, `"resume":"removed"`) {
		t.Errorf("the timeline of a page's call has secrets, or not its frames: %s", tl)
	}
	call.WaitEnded()
	alice.Silence()

	c.Answering("page", map[string]any{"instructions": []any{do("bridge", "to", "client:alice")}})
	caller := phone.New(t, phone.Options{User: "carol"}).Call(n.URI("page"), phone.CallOptions{})
	incoming := alice.Expect("event", "call.incoming")
	alice.Command("ringing", map[string]any{"call_id": incoming["call_id"]})
	alice.Take(alice.Command("accept", map[string]any{"call_id": incoming["call_id"], "sdp": alice.Offer(600)}))
	caller.WaitAnswered()
	caller.Play(phone.Tone(1200))
	alice.Forget()
	alice.Hears(1200)
	caller.WaitTone(600)
	caller.Hangup()
	alice.Expect("event", "call.ended")
	alice.Silence()

	refused := alice.Command("call", map[string]any{"to": "tel:+4930123", "sdp": alice.Offer(500)})
	if refused["status"] != "error" || !strings.Contains(refused["error"].(map[string]any)["detail"].(string), "does not allow") {
		t.Errorf("%v", refused)
	}
}

// Two pages and a phone are in a conference that one of them opened by its name.
func TestPagesInAConference(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("room", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "daily")}})
	var pages []*browser.Page
	for i, identity := range []string{"alice", "bob"} {
		p := open(t, n, c, map[string]any{"identity": identity, "allow_outgoing": []string{"conference:daily"}})
		p.Take(p.Command("call", map[string]any{"to": "conference:daily", "sdp": p.Offer(float64(500 + 400*i))}))
		p.Expect("event", "call.answered")
		pages = append(pages, p)
	}
	pages[0].Hears(900)
	pages[1].Hears(500)
	carol := phone.New(t, phone.Options{User: "carol"}).Call(n.URI("room"), phone.CallOptions{})
	carol.WaitAnswered()
	carol.WaitTone(500, 900)
}

// A page's keys are gathered; keys of the application come as events.
func TestKeysOfAPage(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("menu", map[string]any{"on_idle": "wait", "instructions": []any{
		do("answer"), do("gather", "max_digits", 2), do("send_dtmf", "digits", "{digits}"),
	}})
	p := open(t, n, c, map[string]any{"identity": "alice", "allow_outgoing": []string{"menu"}})
	r := p.Command("call", map[string]any{"to": "menu", "sdp": p.Offer(500)})
	p.Take(r)
	p.Expect("event", "call.answered")
	p.Command("dtmf", map[string]any{"call_id": r["call_id"], "digits": "42"})
	for _, want := range []string{"4", "2"} {
		if e := p.Expect("event", "call.dtmf"); e["data"].(map[string]any)["digit"] != want {
			t.Errorf("%v, want %s", e, want)
		}
	}
}

// A page connects whom it talks to with somebody else, and leaves.
func TestAPageTransfers(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	alice := open(t, n, c, map[string]any{"identity": "alice", "allow_outgoing": []string{"sip:*"}})
	bob, carol := phone.New(t, phone.Options{User: "bob"}), phone.New(t, phone.Options{User: "carol"})
	r := alice.Command("call", map[string]any{"to": bob.URI(), "sdp": alice.Offer(500)})
	alice.Take(r)
	call := bob.Expect()
	call.Answer()
	alice.Expect("event", "call.answered")
	call.Play(phone.Tone(900))
	alice.Hears(900)
	for to, code := range map[string]string{"tel:+49": "forbidden", "": "validation_failed"} {
		refused := alice.Command("transfer", map[string]any{"call_id": r["call_id"], "to": to})
		if e, _ := refused["error"].(map[string]any); e["code"] != code {
			t.Errorf("%q: %v", to, refused)
		}
	}
	if r := alice.Command("transfer", map[string]any{"call_id": r["call_id"], "to": carol.URI()}); r["status"] != "accepted" {
		t.Fatalf("%v", r)
	}
	if e := alice.Expect("event", "call.ended"); e["data"].(map[string]any)["cause"] != "transferred" {
		t.Errorf("%v", e)
	}
	next := carol.Expect()
	next.Answer()
	next.Play(phone.Tone(1300))
	call.WaitTone(1300)
	next.WaitTone(900)
}
