package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

func putApplication(tb testing.TB, s session.Store, project, id string) {
	tb.Helper()
	putJSON(tb, s, session.Item{Kind: session.KindApplication, Project: project, ID: id},
		engine.Application{ID: id, ProjectID: project, Name: "the one called " + id})
}

func putNumber(tb testing.TB, s session.Store, project, number, application string) {
	tb.Helper()
	putJSON(tb, s, session.Item{Kind: session.KindNumber, Project: project, ID: "num_" + number, Unique: number},
		engine.Number{ID: "num_" + number, ProjectID: project, Number: number, ApplicationID: application})
}

func putJSON(tb testing.TB, s session.Store, it session.Item, v any) {
	tb.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	it.Value = value
	if err := s.Put(tb.Context(), it); err != nil {
		tb.Fatal(err)
	}
}

func directory(tb testing.TB, s session.Store) *session.Directory {
	tb.Helper()
	d, err := session.NewDirectory(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestRouteLongestMatchWins(t *testing.T) {
	s := memory(t)
	for _, id := range []string{"app_all", "app_de", "app_berlin", "app_exact", "app_demo"} {
		putApplication(t, s, "p", id)
	}
	for number, app := range map[string]string{
		"+49*": "app_de", "+4930*": "app_berlin", "+4930123": "app_exact", "demo": "app_demo", "+4999": "app_gone",
	} {
		putNumber(t, s, "p", number, app)
	}
	d := directory(t, s)
	route := func(number string) string {
		a, ok := d.Route(t.Context(), number)
		if ok != (a.ID != "") {
			t.Errorf("%s: %v, %+v", number, ok, a)
		}
		return a.ID
	}
	for number, want := range map[string]string{
		"+4930123": "app_exact", "+49301234": "app_berlin", "+4930": "app_berlin", "+493": "app_de", "+49": "app_de",
		"demo": "app_demo", "demo2": "", "+1": "", "": "", "+4999": "",
	} {
		if got := route(number); got != want {
			t.Errorf("%q goes to %q, want %q", number, got, want)
		}
	}
	putNumber(t, s, "p", "*", "app_all")
	waitFor(t, "the catch-all", func() bool { return route("+1") == "app_all" && route("") == "app_all" })
	if got := route("+4930123"); got != "app_exact" {
		t.Errorf("the catch-all caught %q", got)
	}
}

func TestDirectoryFollowsChanges(t *testing.T) {
	s := memory(t)
	d := directory(t, s)
	putApplication(t, s, "p1", "app_1")
	waitFor(t, "the application", func() bool { _, ok := d.Application(t.Context(), "p1", "app_1"); return ok })
	if _, ok := d.Application(t.Context(), "p2", "app_1"); ok {
		t.Error("another project finds it too")
	}
	if a, _ := d.Application(t.Context(), "p1", "app_1"); a.Name != "the one called app_1" {
		t.Errorf("got %+v", a)
	}
	// A number of another project does not lead to it.
	putNumber(t, s, "p2", "+2", "app_1")
	putNumber(t, s, "p1", "+1", "app_1")
	waitFor(t, "the number", func() bool { _, ok := d.Route(t.Context(), "+1"); return ok })
	if _, ok := d.Route(t.Context(), "+2"); ok {
		t.Error("a number leads to another project's application")
	}
	if err := s.Delete(t.Context(), session.KindNumber, "p1", "num_+1"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the number's end", func() bool { _, ok := d.Route(t.Context(), "+1"); return !ok })
}

func TestDirectoryLeavesOutWhatIsDamaged(t *testing.T) {
	s := memory(t)
	putApplication(t, s, "p", "app_1")
	putNumber(t, s, "p", "+1", "app_1")
	bad := session.Item{Kind: session.KindApplication, Project: "p", ID: "app_2", Value: []byte(`{"instructions":[{"action":"fly"}]}`)}
	if err := s.Put(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	d := directory(t, s)
	if _, ok := d.Route(t.Context(), "+1"); !ok {
		t.Error("one damaged application took the others with it")
	}
	if err := d.Damaged(); err == nil || !strings.Contains(err.Error(), "app_2") {
		t.Errorf("damaged: %v", err)
	}
}

// TestFreshStore: who writes through it may call the number at once.
func TestFreshStore(t *testing.T) {
	s := memory(t)
	d := directory(t, s)
	fresh := d.Fresh(s)
	for i := range 50 {
		number := fmt.Sprintf("+49%d", i)
		putApplication(t, fresh, "p", "app_"+number)
		putNumber(t, fresh, "p", number, "app_"+number)
		if a, ok := d.Route(t.Context(), number); !ok || a.ID != "app_"+number {
			t.Fatalf("%s goes to %q", number, a.ID)
		}
		if err := fresh.Delete(t.Context(), session.KindNumber, "p", "num_"+number); err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Route(t.Context(), number); ok {
			t.Fatalf("%s goes somewhere though it is deleted", number)
		}
	}
}

// BenchmarkDirectoryChange is a write of one number among ten thousand, until the directory knows.
func BenchmarkDirectoryChange(b *testing.B) {
	s := memory(b)
	putApplication(b, s, "p", "app_1")
	var items []session.Item
	for i := range 10_000 {
		number := fmt.Sprintf("+49%05d", i)
		items = append(items, session.Item{
			Kind: session.KindNumber, Project: "p", ID: "num_" + number, Unique: number,
			Value: fmt.Appendf(nil, `{"number":%q,"application_id":"app_1"}`, number),
		})
	}
	if err := s.Create(b.Context(), items...); err != nil {
		b.Fatal(err)
	}
	fresh := directory(b, s).Fresh(s)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		putNumber(b, fresh, "p", fmt.Sprintf("+48%d", i), "app_1")
	}
}

func BenchmarkRoute(b *testing.B) {
	s := memory(b)
	putApplication(b, s, "p", "app_1")
	for i := range 1000 {
		putNumber(b, s, "p", fmt.Sprintf("+49%04d*", i), "app_1")
	}
	d := directory(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := d.Route(b.Context(), "+4905001234567"); !ok {
			b.Fatal("no route")
		}
	}
}
