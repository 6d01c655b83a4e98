package engine_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
)

// Of a flood of rejections some are told; the first one behind it says how many were not. One that comes from a trunk is its
// project's.
func TestRejectionsAreBounded(t *testing.T) {
	story(t, engine.Options{Project: "prj_default"}, func(o *office) {
		o.trunks = []engine.Trunk{{ID: "trk", ProjectID: "prj_b", AllowedIPs: []string{"192.0.2.0/24"}}}
		for range 1000 {
			o.e.TellRejection(engine.Rejection{Rule: engine.RuleNoNumber, SIPStatus: 404, Source: "198.51.100.1:5060"})
		}
		o.mu.Lock()
		told := len(o.events)
		o.mu.Unlock()
		if told < 10 || told > 100 {
			t.Errorf("%d of 1000 are told", told)
		}
		time.Sleep(time.Second)
		o.e.TellRejection(engine.Rejection{Rule: engine.RuleNoNumber, SIPStatus: 404, Source: "192.0.2.7:5060"})
		o.mu.Lock()
		last := o.events[len(o.events)-1]
		first := o.events[0]
		o.mu.Unlock()
		var data struct {
			Suppressed int    `json:"suppressed"`
			TrunkID    string `json:"trunk_id"`
		}
		if err := json.Unmarshal(last.Data, &data); err != nil {
			t.Fatal(err)
		}
		if data.Suppressed != 1000-told || data.TrunkID != "trk" || last.ProjectID != "prj_b" || first.ProjectID != "prj_default" || first.Type != "call.rejected" {
			t.Errorf("%+v %+v of %s, first of %s", last, data, last.ProjectID, first.ProjectID)
		}
	})
}
