package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// seat is a party in a conference: its phone, and its call.
type seat struct {
	*phone.Call
	id string
}

// gathered lets phones call a number that joins a conference; each speaks a tone of its own.
func gathered(t *testing.T, n *harness.Node, c *harness.Client, number string, hz ...float64) []seat {
	t.Helper()
	var seats []seat
	for i, f := range hz {
		p := phone.New(t, phone.Options{User: fmt.Sprintf("p%d", i)}).Call(n.URI(number), phone.CallOptions{})
		p.WaitAnswered()
		p.Play(phone.Tone(f))
		seats = append(seats, seat{Call: p, id: newestCall(t, c)})
	}
	return seats
}

// newestCall is the id of the call that came last.
func newestCall(t *testing.T, c *harness.Client) string {
	t.Helper()
	id := c.Must(http.MethodGet, "/v1/calls?limit=1", nil).Text("data.0.id")
	c.WaitEvent(id, "call.joined")
	return id
}

// Three hear each other and nobody himself; who is muted, deafened, held or put out is not heard, or hears nothing.
func TestConference(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("daily", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "daily")}})
	s := gathered(t, n, c, "daily", 400, 600, 900)
	s[0].WaitTone(600, 900)
	s[1].WaitTone(400, 900)
	s[2].WaitTone(400, 600)

	participant := func(i int, action string, params any) {
		t.Helper()
		c.Must(http.MethodPost, "/v1/conferences/daily/participants/"+s[i].id+"/actions/"+action, params)
	}
	participant(2, "mute", nil)
	s[0].WaitTone(600)
	s[1].WaitTone(400)
	s[2].WaitTone(400, 600) // he still hears
	participant(2, "unmute", nil)
	s[0].WaitTone(600, 900)
	participant(2, "deafen", nil)
	s[2].WaitQuiet()
	s[0].WaitTone(600, 900) // he is still heard
	participant(2, "undeafen", nil)
	participant(1, "hold", map[string]any{"music": "tone:300"})
	s[1].WaitTone(300)
	s[0].WaitTone(900)
	participant(1, "unhold", nil)
	s[1].WaitTone(400, 900)

	list := c.Must(http.MethodGet, "/v1/conferences/daily/participants", nil)
	if got := list.Text("data.2.call_id"); got != s[2].id {
		t.Errorf("the third participant is %q", got)
	}
	participant(2, "kick", nil)
	s[2].WaitQuiet()
	s[0].WaitTone(600)
	if e := c.WaitEvent(s[2].id, "call.left"); e.Text("reason") != "kicked" {
		t.Errorf("he left by %q", e.Text("reason"))
	}
	c.Must(http.MethodPost, "/v1/conferences/daily/actions/end", nil)
	s[0].WaitQuiet()
	if got := c.Must(http.MethodGet, "/v1/conferences?name=daily", nil).Text("data.0.state"); got != "ended" {
		t.Errorf("the conference is %q", got)
	}
}

// A coach is heard by the one whom he coaches, a monitor by nobody; both hear all.
func TestCoachAndMonitor(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("talk", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "talk")}})
	s := gathered(t, n, c, "talk", 400, 600)
	c.Answering("coach", map[string]any{"on_idle": "wait", "instructions": []any{
		do("join", "conference", "talk", "role", "coach", "coach", []string{s[0].id}),
	}})
	coach := gathered(t, n, c, "coach", 900)[0]
	s[0].WaitTone(600, 900)
	s[1].WaitTone(400)
	coach.WaitTone(400, 600)
	c.Must(http.MethodPost, "/v1/conferences/talk/participants/"+coach.id+"/actions/set", map[string]any{"role": "monitor"})
	s[0].WaitTone(600)
	coach.WaitTone(400, 600)
	c.Must(http.MethodPost, "/v1/conferences/talk/participants/"+coach.id+"/actions/set", map[string]any{"role": "participant"})
	s[1].WaitTone(400, 900)
}

// Who is alone hears music, all hear an announcement, and one hears his own in its place.
func TestConferenceAnnouncements(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("hall", map[string]any{"on_idle": "wait", "instructions": []any{
		do("join", "conference", "hall", "settings", map[string]any{"music": "tone:350/1000", "entry_tone": "tone:1500/400"}),
	}})
	s := gathered(t, n, c, "hall", 400)
	s[0].WaitTone(350)
	s = append(s, gathered(t, n, c, "hall", 600)...)
	s[0].WaitTone(600)
	s[1].WaitTone(400)
	c.Must(http.MethodPost, "/v1/conferences/hall/actions/play", map[string]any{"url": "tone:1200/60000"})
	s[0].WaitTone(600, 1200)
	s[1].WaitTone(400, 1200)
	c.Must(http.MethodPost, "/v1/conferences/hall/actions/stop_playback", nil)
	s[0].WaitTone(600)
	c.Must(http.MethodPost, "/v1/conferences/hall/participants/"+s[1].id+"/actions/play", map[string]any{"url": "tone:1200/60000"})
	s[1].WaitTone(1200)
	s[0].WaitTone(600)
}

// A call goes from a conference into a bridge and back.
func TestBetweenBridgeAndConference(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("talk", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "talk")}})
	s := gathered(t, n, c, "talk", 400, 600, 900)
	c.Action(s[0].id, "bridge", map[string]any{"with": s[1].id})
	s[0].WaitTone(600)
	s[1].WaitTone(400)
	s[2].WaitQuiet()
	for i := range 2 {
		c.Action(s[i].id, "join", map[string]any{"conference": "talk"})
	}
	s[2].WaitTone(400, 600)
	s[0].WaitTone(600, 900)
}

// Who speaks is told.
func TestWhoSpeaks(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("talk", map[string]any{"on_idle": "wait", "instructions": []any{do("join", "conference", "talk")}})
	s := gathered(t, n, c, "talk", 400, 600)
	conference := c.Must(http.MethodGet, "/v1/conferences/talk", nil).Text("id")
	find := func(typ, call string) func() bool {
		return func() bool {
			events := c.Must(http.MethodGet, "/v1/conferences/"+conference+"/events?after=0", nil).Object()["data"].([]any)
			for _, e := range events {
				ev := harness.Event{Data: e.(map[string]any)}
				if ev.Text("type") == typ && ev.Text("data.participant.call_id") == call {
					return true
				}
			}
			return false
		}
	}
	harness.Eventually(t, "the first speaks", find("conference.participant.speaking_started", s[0].id), nil)
	harness.Eventually(t, "the second speaks", find("conference.participant.speaking_started", s[1].id), nil)
	s[1].Play(phone.Silence())
	harness.Eventually(t, "the second fell silent", find("conference.participant.speaking_stopped", s[1].id), nil)
	time.Sleep(time.Second) // a steady voice must not be gated away
	s[1].WaitTone(400)
}
