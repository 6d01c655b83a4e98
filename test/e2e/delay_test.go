package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// A page speaks in bursts to a phone, Opus here and G.711 there: each is heard. How long one is on its way is told, not judged.
func TestDelayFromAPageToAPhone(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	alice := open(t, n, c, map[string]any{"identity": "alice", "allow_outgoing": []string{"sip:*"}})
	alice.Bursts = true
	bob := phone.New(t, phone.Options{User: "bob"})
	alice.Take(alice.Command("call", map[string]any{"to": bob.URI(), "sdp": alice.Offer(600)}))
	call := bob.Expect()
	call.Answer()
	alice.Expect("event", "call.answered")
	const bursts = 15
	harness.Eventually(t, "the bursts are heard", func() bool { return len(call.Heard().Onsets()) > bursts }, nil)
	var delays []time.Duration
	said := alice.Said()
	heard := call.Heard().Onsets()
	for _, at := range heard[len(heard)-bursts:] {
		i, found := slices.BinarySearchFunc(said, at, time.Time.Compare)
		if !found {
			i--
		}
		if i < 0 {
			t.Fatal("heard before it was said")
		}
		delays = append(delays, at.Sub(said[i]))
	}
	slices.Sort(delays)
	if longest := delays[len(delays)-1]; longest > 450*time.Millisecond { // then it would be that of the burst before
		t.Errorf("a burst took %v", longest)
	}
	t.Logf("from a page's packet to the phone's: median %v, longest %v", delays[len(delays)/2], delays[len(delays)-1])
}
