package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/media"
)

func sipEntry(n int, text string) TrailEntry {
	return TrailEntry{At: time.Unix(int64(n), 0).UTC(), Kind: TrailKindSIP, SIP: &TrailSIP{Message: text}}
}

// Of more than a trail keeps, the beginning and the newest stay, in order, and what is missing is counted.
func TestTrailIsBounded(t *testing.T) {
	trail := new(Trail)
	for i := range 1000 {
		trail.Add(sipEntry(i, "m"))
	}
	r := trail.Record()
	if len(r.Entries) != maxTrailEntries || r.Dropped != 1000-maxTrailEntries {
		t.Fatalf("%d entries, %d dropped", len(r.Entries), r.Dropped)
	}
	if first, last := r.Entries[0].At.Unix(), r.Entries[len(r.Entries)-1].At.Unix(); first != 0 || last != 999 {
		t.Errorf("from %d to %d", first, last)
	}
	if e := r.Entries[maxTrailFirst-1]; e.At.Unix() != maxTrailFirst-1 {
		t.Errorf("the first are not those that came first: %v", e.At)
	}

	trail = new(Trail)
	for i := range 100 {
		trail.Add(sipEntry(i, strings.Repeat("x", 2*maxTrailText)))
	}
	r = trail.Record()
	total := 0
	for _, e := range r.Entries {
		if total += e.size(); len(e.SIP.Message) != maxTrailText || !e.SIP.Truncated {
			t.Fatalf("%d bytes, truncated: %v", len(e.SIP.Message), e.SIP.Truncated)
		}
	}
	if total > maxTrailBytes || r.Dropped == 0 || r.Entries[len(r.Entries)-1].At.Unix() != 99 {
		t.Errorf("%d bytes, %d dropped", total, r.Dropped)
	}
	var none *Trail
	none.Add(sipEntry(1, "m"))
	if r := none.Record(); len(r.Entries) != 0 {
		t.Errorf("%+v", r)
	}
}

// Figures of a long call stand wider apart, from its beginning to its end.
func TestSamplesOfALongCall(t *testing.T) {
	trail := new(Trail)
	begin := time.Unix(1_000_000, 0)
	at := begin
	for at.Sub(begin) < 4*time.Hour {
		next := trail.measure(at, &media.Quality{PacketsReceived: uint64(at.Sub(begin) / time.Second), MOS: 4.3456, Codec: "PCMU/8000"})
		if next < sampleEvery {
			t.Fatalf("the next in %v", next)
		}
		at = at.Add(next)
	}
	list := trail.Record().Entries
	if len(list) > maxSamples || len(list) < maxSamples/3 {
		t.Errorf("%d samples", len(list))
	}
	if !list[0].At.Equal(begin) || at.Sub(list[len(list)-1].At) > 10*time.Minute {
		t.Errorf("from %v to %v", list[0].At, list[len(list)-1].At)
	}
	for i, e := range list {
		if q := e.Quality; q.PacketsReceived != uint64(e.At.Sub(begin)/time.Second) || q.MOS != 4.35 || q.Codec != "PCMU/8000" {
			t.Fatalf("%d: %+v", i, q)
		}
		if i > 0 && !e.At.After(list[i-1].At) {
			t.Fatalf("%d is not behind %d", i, i-1)
		}
	}
}

func TestWithoutSecrets(t *testing.T) {
	for in, want := range map[string]string{
		`{"url":"tone:440"}`:                                `{"url":"tone:440"}`,
		`{"auth":{"username":"a","password":"s3cret"}}`:     `{"auth":{"password":"removed","username":"a"}}`,
		`{"headers":{"Authorization":"Bearer s3cret"}}`:     `{"headers":{"Authorization":"removed"}}`,
		`{"instructions":[{"auth":{"Password":"s3cret"}}]}`: `{"instructions":[{"auth":{"Password":"removed"}}]}`,
		`{"url":"https://a:s3cret@x.example/p?q"}`:          `{"url":"https://removed@x.example/p?q"}`,
		`{"url":"https://x.example/a@b"}`:                   `{"url":"https://x.example/a@b"}`,
		`{"token":`:                                         ``,
	} {
		if got := string(WithoutSecrets([]byte(in))); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := WithoutSecrets([]byte(`{"x":"` + strings.Repeat("a", maxTrailText) + `"}`)); len(got) > 100 {
		t.Errorf("%d bytes", len(got))
	}
}

// What a leg told before its call had a trail is in it, in order; of a call without one nothing is kept.
func TestTracing(t *testing.T) {
	var tr Tracing
	for i := range maxEarly + 5 {
		tr.Note(sipEntry(i, "m"))
	}
	trail := new(Trail)
	tr.Trace(trail)
	tr.Note(sipEntry(100, "m"))
	if r := trail.Record(); len(r.Entries) != maxEarly+1 || r.Entries[maxEarly].At.Unix() != 100 {
		t.Errorf("%+v", r.Entries)
	}
	var off Tracing
	off.Note(sipEntry(1, "m"))
	off.Trace(nil)
	off.Note(sipEntry(2, "m"))
	if len(off.early) != 0 {
		t.Errorf("%+v", off.early)
	}
}
