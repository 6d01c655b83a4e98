package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tipring/tipring/api"
)

// pages reads a list to its end and gives the pages' ids.
func pages(t *testing.T, f *fixture, path string) (all [][]string) {
	t.Helper()
	after := ""
	for {
		r := f.ok("GET", path+after, "")
		var list struct {
			Data       []struct{ ID string }
			HasMore    bool   `json:"has_more"`
			NextCursor string `json:"next_cursor"`
		}
		r.json(t, &list)
		ids := []string{}
		for _, d := range list.Data {
			ids = append(ids, d.ID)
		}
		all = append(all, ids)
		if !list.HasMore {
			return all
		}
		if list.NextCursor == "" || len(all) > 100 {
			t.Fatalf("%s", r.body)
		}
		after = "&after=" + list.NextCursor
	}
}

func TestPaging(t *testing.T) {
	f := newFixture(t)
	app := f.ok("POST", "/v1/applications", `{"name":"x"}`).string(t, "id")
	other := f.ok("POST", "/v1/applications", `{"name":"y"}`).string(t, "id")
	var made, calls []string
	for i := range 7 {
		r := f.ok("POST", "/v1/numbers", fmt.Sprintf(`{"number":"n%d","application_id":"%s"}`, i, app))
		made = append(made, r.string(t, "id"))
		f.ok("POST", "/v1/numbers", fmt.Sprintf(`{"number":"o%d","application_id":"%s"}`, i, other))
		call := fmt.Sprintf("call_%d", i)
		f.publish(call, "prj_default", "call.incoming")
		calls = append(calls, call)
	}
	slices.Reverse(made) // newest first
	for path, sizes := range map[string][]int{
		"/v1/numbers?limit=3&application_id=" + app:   {3, 3, 1},
		"/v1/numbers?limit=100&application_id=" + app: {7},
	} {
		got := pages(t, f, path)
		if flat := slices.Concat(got...); !slices.Equal(flat, made) {
			t.Errorf("%s: %v, want %v", path, flat, made)
		}
		for i, size := range sizes {
			if i >= len(got) || len(got[i]) != size {
				t.Errorf("%s: pages %v, want sizes %v", path, got, sizes)
			}
		}
	}
	if n := len(slices.Concat(pages(t, f, "/v1/numbers?limit=4")...)); n != 14 {
		t.Errorf("%d numbers", n)
	}
	got := slices.Concat(pages(t, f, "/v1/calls?limit=2")...)
	slices.Sort(got)
	if !slices.Equal(got, calls) {
		t.Errorf("%v", got)
	}
	// Events of all calls, oldest first, each once.
	events := slices.Concat(pages(t, f, "/v1/events?limit=2")...)
	if len(events) != 7 || len(slices.Compact(slices.Clone(events))) != 7 {
		t.Errorf("%v", events)
	}
	f.publish("call_0", "prj_default", "call.answered", "call.held", "call.unheld", "call.ended")
	r := f.ok("GET", "/v1/calls/call_0/events?limit=2&after=1", "")
	var list api.EventList
	r.json(t, &list)
	if len(list.Data) != 2 || !list.HasMore || list.NextCursor != "3" || list.Data[0].Sequence != 2 {
		t.Errorf("%s", r.body)
	}
	r = f.ok("GET", "/v1/calls/call_0/events?limit=2&after=3", "")
	r.json(t, &list)
	if len(list.Data) != 2 || list.HasMore || list.NextCursor != "5" {
		t.Errorf("%s", r.body)
	}
}

func TestEventFilters(t *testing.T) {
	f := newFixture(t)
	f.publish("call_a", "prj_default", "call.incoming", "call.answered", "call.dtmf.received", "call.ended")
	f.publish("call_b", "prj_default", "call.initiated", "call.ended")
	f.publish("call_c", "prj_other", "call.incoming")
	for query, want := range map[string]int{
		"":                                    6,
		"?types=call.ended":                   2,
		"?types=call.dtmf.*,call.initiated":   2,
		"?types=*":                            6,
		"?call_id=call_b":                     2,
		"?call_id=call_c":                     0,
		"?application_id=app_1&types=call.a*": 1,
		"?application_id=app_2":               0,
		"?from=now":                           0,
		"?types=call.ended&call_id=call_b&from=start": 1,
	} {
		var list api.EventList
		f.ok("GET", "/v1/events"+query, "").json(t, &list)
		if len(list.Data) != want || list.HasMore || list.NextCursor == "" {
			t.Errorf("%s: %d events, want %d: %+v", query, len(list.Data), want, list)
		}
	}
	f.refused(f.do("GET", "/v1/events?types=Call!", ""), 400, "malformed_request")
}
