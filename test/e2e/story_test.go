package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

func TestMain(m *testing.M) {
	status := m.Run()
	harness.Cleanup()
	os.Exit(status)
}

// do is an instruction.
func do(action string, params ...any) harness.Instruction { return harness.Do(action, params...) }

// script answers events by their type, once each; everything else says nothing.
func script(answers map[string][]harness.Instruction) func(harness.Event) []harness.Instruction {
	return func(e harness.Event) []harness.Instruction { return answers[e.Type] }
}

// steered is a node with a number "desk" whose calls wait for commands from outside.
func steered(t *testing.T) (*harness.Node, *harness.Client) {
	t.Helper()
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("desk", map[string]any{"on_idle": "wait"})
	return n, c
}

// incoming waits for the newest call that has not been answered, and gives its id.
func incoming(t *testing.T, c *harness.Client) string {
	t.Helper()
	id := ""
	harness.Eventually(t, "a call is listed", func() bool {
		var page struct {
			Data []struct{ ID string } `json:"data"`
		}
		r := c.Must("GET", "/v1/calls?state=initiated&direction=inbound", nil)
		if err := json.Unmarshal(r.Body, &page); err != nil {
			t.Fatalf("%v: %s", err, r.Body)
		}
		if len(page.Data) == 0 {
			return false
		}
		id = page.Data[0].ID
		return true
	}, nil)
	return id
}

// answered is a call from a new phone to the number "desk", answered by REST.
func answered(t *testing.T, n *harness.Node, c *harness.Client, o phone.Options) (*phone.Call, string) {
	t.Helper()
	call := phone.New(t, o).Call(n.URI("desk"), phone.CallOptions{})
	id := incoming(t, c)
	c.Action(id, "answer", nil)
	call.WaitAnswered()
	c.WaitEvent(id, "call.answered")
	return call, id
}

// talk checks that two phones hear each other's tone, and only that.
func talk(t *testing.T, a, b *phone.Call) {
	t.Helper()
	a.Play(phone.Tone(600))
	b.Play(phone.Tone(900))
	b.WaitTone(600)
	a.WaitTone(900)
}

// relayed checks that numbered packets go from a to b untouched: none missing, none repeated, none out of order.
func relayed(t *testing.T, a, b *phone.Call) {
	t.Helper()
	a.Play(phone.Numbered())
	harness.Eventually(t, "numbered packets arrive", func() bool { return len(b.Heard().Numbers()) > 0 }, nil)
	since := time.Now()
	h := b.WaitPackets(50, since)
	n := h.Numbers()
	if len(n) != len(h.Packets) {
		t.Errorf("%d of %d packets carry a number: the rest was not relayed", len(n), len(h.Packets))
	}
	for i := 1; i < len(n); i++ {
		if n[i] != n[i-1]+1 {
			t.Errorf("packet %d after packet %d", n[i], n[i-1])
		}
	}
	if h.Missing() != 0 || len(h.SSRCs()) != 1 {
		t.Errorf("%d missing, %d sources", h.Missing(), len(h.SSRCs()))
	}
}

// ordered checks that types occur in this order, whatever is between them.
func ordered(t *testing.T, have []string, want ...string) {
	t.Helper()
	i := 0
	for _, typ := range have {
		if i < len(want) && typ == want[i] {
			i++
		}
	}
	if i < len(want) {
		t.Errorf("events %v: %s is not where it should be in %v", have, want[i], want)
	}
}

// cause waits for a call's end and checks why.
func cause(t *testing.T, c *harness.Client, id string, want ...string) harness.Event {
	t.Helper()
	e := c.WaitEvent(id, "call.ended")
	if !slices.Contains(want, e.Text("cause")) {
		t.Errorf("call ended by %q, want %v: %v", e.Text("cause"), want, e.Data)
	}
	return e
}
