package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tipring/tipring/engine/session"
)

// TestExamples sends every example of a body in the contract, as a reader of the documentation would.
func TestExamples(t *testing.T) {
	f := newFixture(t)
	doc := f.server.Document()
	put := func(kind session.Kind, id, unique, value string) {
		t.Helper()
		item := session.Item{Kind: kind, Project: "prj_default", ID: id, Unique: unique, Value: []byte(value)}
		if err := f.store.Put(context.Background(), item); err != nil {
			t.Fatal(err)
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if op.RequestBody == nil {
				continue
			}
			for name, example := range op.RequestBody.Value.Content["application/json"].Examples {
				put(session.KindApplication, "app_01k8m2c4", "", `{"id":"app_01k8m2c4","project_id":"prj_default","name":"hello"}`)
				put(session.KindApplication, "app_01k8m9zz", "", `{"id":"app_01k8m9zz","project_id":"prj_default","name":"other"}`)
				put(session.KindNumber, "num_01k8m2d9", "taken", `{"id":"num_01k8m2d9","project_id":"prj_default","number":"taken","application_id":"app_01k8m2c4"}`)
				put(session.KindTrunk, "trk_01k8m2d9", "", `{"id":"trk_01k8m2d9","project_id":"prj_default","name":"c","targets":[{"uri":"sip:b"}],"destinations":["*"]}`)
				body, err := json.Marshal(example.Value.Value)
				if err != nil {
					t.Fatal(err)
				}
				url := strings.NewReplacer("{call_id}", "call_live", "{conference_id}", "conf_live", "{application_id}", "app_01k8m2c4", "{number_id}", "num_01k8m2d9", "{trunk_id}", "trk_01k8m2d9").Replace(path)
				sent := strings.ReplaceAll(string(body), "call_01k8m3v0q2e7", "call_live") // the call that there is
				if r := f.ok(method, url, sent); r.status >= 300 {
					t.Errorf("%s, %s: %d %s", op.OperationID, name, r.status, r.body)
				}
			}
		}
	}
}
