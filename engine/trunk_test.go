package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
)

func TestPickTrunk(t *testing.T) {
	list := []engine.Trunk{
		{ID: "world", Destinations: []string{"+*"}},
		{ID: "germany", Destinations: []string{"+49*"}},
		{ID: "also", Destinations: []string{"+49*", "+4930123"}},
		{ID: "none"},
	}
	for _, c := range []struct {
		trunks     []engine.Trunk
		id, number string
		want       string
		code       engine.Code
	}{
		{list, "", "+43123", "world", ""},
		{list, "", "+4940", "germany", ""},
		{list, "", "+4930123", "also", ""},
		{list, "also", "+4940", "also", ""},
		{list, "germany", "+43123", "", engine.CodeDestinationDenied},
		{list[1:], "", "+19005551234", "", engine.CodeDestinationDenied},
		{list[3:], "", "+49", "", engine.CodeDestinationDenied},
		{list, "gone", "+49", "", engine.CodeValidation},
		{nil, "", "+49", "", engine.CodeNoRoute},
	} {
		got, err := engine.PickTrunk(c.trunks, c.id, c.number)
		var code engine.Code
		if err != nil {
			code = err.Code
		}
		if got.ID != c.want || code != c.code {
			t.Errorf("%s by %q: %s, %s", c.number, c.id, got.ID, code)
		}
	}
}

// A trunk has no more calls at once, and begins no more in a second, than it says; a call that is over, or could not be
// dialled, makes room.
func TestTrunkLimits(t *testing.T) {
	story(t, engine.Options{}, func(o *office) {
		busy := engine.Cause{Reason: engine.ReasonBusy, Source: engine.SourceCallee}
		o.trunks = []engine.Trunk{{
			ID: "trk", Name: "carrier", ProjectID: "prj", Destinations: []string{"+49*"}, MaxCalls: 2, CallerIDs: []string{"+4911", "+4922"},
			Codecs: []string{"PCMA"},
		}}
		call := func(from string) (*phone, error) {
			_, err := o.e.Do(context.Background(), &engine.Originate{ProjectID: "prj", From: from, To: "+4930", OnIdle: engine.IdleWait})
			if err != nil {
				return nil, err
			}
			return <-o.dialed, nil
		}
		a, err := call("+4922")
		if err != nil || a.out.Trunk.ID != "trk" || a.out.From.URI != "+4922" || len(a.out.Codecs) != 1 {
			t.Fatalf("%v %+v", err, a)
		}
		b, err := call("+1999")
		if err != nil || b.out.From.URI != "+4911" {
			t.Fatalf("%v: a number that is not the trunk's is shown", err)
		}
		if _, err := call(""); engine.ErrorCode(err) != engine.CodeCapacity {
			t.Errorf("a third call: %v", err)
		}
		a.leave(busy)
		synctest.Wait()
		if n := o.e.TrunkCalls()["trk"]; n != 1 {
			t.Errorf("%d calls are left", n)
		}
		c, err := call("")
		if err != nil {
			t.Fatal(err)
		}
		b.leave(busy)
		synctest.Wait()
		o.refuse = engine.Errorf(engine.CodeUnsupported, "no")
		if _, err := call(""); err == nil || o.e.TrunkCalls()["trk"] != 1 {
			t.Errorf("a call that could not be dialled counts: %v %v", err, o.e.TrunkCalls())
		}
		o.refuse = nil
		o.trunks[0].MaxCalls, o.trunks[0].CallsPerSecond = 0, 1
		time.Sleep(time.Second)
		d, err := call("")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call(""); engine.ErrorCode(err) != engine.CodeCapacity {
			t.Errorf("two calls in a second: %v", err)
		}
		c.leave(busy)
		d.leave(busy)
	})
}
