package api_test

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"testing"
	"time"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
)

func conferences(t *testing.T, f *fixture) {
	t.Helper()
	r := f.ok("POST", "/v1/conferences", `{"name":"board","start_on_moderator":true,"music":"file:m.wav"}`)
	cmd, ok := f.commander.last(t).(*engine.OpenConference)
	if !ok || cmd.Name != "board" || !cmd.StartOnModerator || cmd.ProjectID != "prj_default" || r.status != 201 {
		t.Errorf("%d %+v", r.status, f.commander.last(t))
	}
	bodies := map[string]string{
		"lock": ``, "unlock": `{}`, "end": ``, "play": `{"url":"tone:beep","volume_db":-3}`, "stop_playback": ``,
		"start_recording": `{"format":"ogg"}`, "stop_recording": ``, "pause_recording": `{"fill":"cut"}`, "resume_recording": ``,
	}
	for name, body := range bodies {
		conferenceAction(t, f, "/v1/conferences/conf_live/actions/", name, "", body)
	}
	for name, body := range map[string]string{
		"mute": ``, "unmute": ``, "deafen": ``, "undeafen": ``, "hold": `{"music":"file:m.wav"}`, "unhold": ``, "kick": ``,
		"set": `{"role":"coach","coach":["call_x"],"volume_db":-6}`, "play": `{"url":"tone:beep"}`, "stop_playback": ``,
	} {
		conferenceAction(t, f, "/v1/conferences/conf_live/participants/call_live/actions/", name, "call_live", body)
	}
	f.ok("DELETE", "/v1/conferences/conf_live/participants/call_live", "")
	if kick, ok := f.commander.last(t).(*engine.KickParticipant); !ok || kick.Participant != "call_live" {
		t.Errorf("%+v", f.commander.last(t))
	}
	f.ok("POST", "/v1/conferences/conf_live/participants", `{"call_id":"call_live","muted":true,"role":"monitor"}`)
	if join, ok := f.commander.last(t).(*engine.Join); !ok || join.Conference != "conf_live" || !join.Muted || join.Role != engine.RoleMonitor {
		t.Errorf("%+v", f.commander.last(t))
	}
	var c api.Conference
	f.ok("GET", "/v1/conferences/conf_live", "").json(t, &c)
	if c.Name != "daily" || len(c.Participants) != 1 {
		t.Errorf("%+v", c)
	}
	var p api.ParticipantList
	f.ok("GET", "/v1/conferences/conf_live/participants", "").json(t, &p)
	if len(p.Data) != 1 || p.Data[0].Role != engine.RoleModerator {
		t.Errorf("%+v", p)
	}
	f.ok("GET", "/v1/conferences/conf_live/participants/call_live", "")
	ended(t, f)
}

func conferenceAction(t *testing.T, f *fixture, path, name, participant, body string) {
	t.Helper()
	r := f.ok("POST", path+name, body)
	cmd, ok := f.commander.last(t).(engine.ConferenceAction)
	if !ok || cmd.Name() != name || cmd.Conference().ConferenceID != "conf_live" || cmd.Conference().Participant != participant ||
		cmd.Conference().ProjectID != "prj_default" {
		t.Errorf("%s arrived as %#v", name, f.commander.last(t))
		return
	}
	if r.status != 202 || r.string(t, "command_id") != "cmd_made" || r.string(t, "conference_id") != "conf_live" {
		t.Errorf("%s: %d %s", name, r.status, r.body)
	}
	want, err := engine.DecodeConferenceAction(name, participant != "", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := encode(t, cmd), encode(t, want); a != b {
		t.Errorf("%s arrived as %s, want %s", name, a, b)
	}
}

// ended looks at a conference that only the store knows, its events and its recording.
func ended(t *testing.T, f *fixture) {
	t.Helper()
	at := time.Date(2026, 10, 1, 12, 0, 1, 0, time.UTC)
	c := exampleConference("prj_default")
	c.ID, c.State, c.Participants, c.EndedAt = "conf_over", engine.ConferenceEnded, nil, &at
	rec := engine.RecordingInfo{
		ID: "rec_1", ProjectID: "prj_default", ConferenceID: "conf_over", State: engine.RecordingSaved, Format: "wav", Tracks: "in",
		Size: 8, SHA256: "abc", CreatedAt: at, EndedAt: &at,
	}
	if _, err := f.store.Append(context.Background(), []engine.Event{{
		ID: "evt_c1", Type: "conference.ended", Timestamp: time.Now(), Sequence: 1, ProjectID: "prj_default", ConferenceID: "conf_over",
		Data: []byte(`{}`), Conference: &c, Recording: &rec,
	}}); err != nil {
		t.Fatal(err)
	}
	if got := f.ok("GET", "/v1/conferences/conf_over", "").string(t, "state"); got != "ended" {
		t.Errorf("it is %s", got)
	}
	var list api.ConferenceList
	f.ok("GET", "/v1/conferences?state=ended&name=daily", "").json(t, &list)
	if len(list.Data) != 1 || list.Data[0].ID != "conf_over" {
		t.Errorf("%+v", list)
	}
	var events api.EventList
	f.ok("GET", "/v1/conferences/conf_over/events?after=0", "").json(t, &events)
	if len(events.Data) != 1 || events.Data[0].ConferenceID != "conf_over" {
		t.Errorf("%+v", events)
	}
	var recs api.RecordingList
	f.ok("GET", "/v1/recordings?conference_id=conf_over&state=saved", "").json(t, &recs)
	if len(recs.Data) != 1 || recs.Data[0].ID != "rec_1" {
		t.Errorf("%+v", recs)
	}
	f.ok("GET", "/v1/recordings/rec_1", "")
	if r := f.ok("GET", "/v1/recordings/rec_1/content", ""); string(r.body) != "RIFFdata" || r.header.Get("ETag") != `"abc"` ||
		r.header.Get("Content-Type") != "audio/wav" {
		t.Errorf("%v %q", r.header, r.body)
	}
	if r := f.ok("GET", "/v1/recordings/rec_1/content", "", header("Range", "bytes=4-")); r.status != http.StatusPartialContent ||
		string(r.body) != "data" {
		t.Errorf("%d %q", r.status, r.body)
	}
	f.ok("DELETE", "/v1/recordings/rec_1", "")
	f.ok("DELETE", "/v1/recordings/rec_1", "") // again, which does no harm
	if got := f.ok("GET", "/v1/recordings/rec_1", "").string(t, "state"); got != "deleted" {
		t.Errorf("it is %s", got)
	}
}

// cabinet is a folder of one recording.
type cabinet struct{ deleted bool }

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func (c *cabinet) Open(_ context.Context, r engine.RecordingInfo) (io.ReadSeekCloser, time.Time, error) {
	if r.ID != "rec_1" || c.deleted {
		return nil, time.Time{}, fs.ErrNotExist
	}
	return nopCloser{bytes.NewReader([]byte("RIFFdata"))}, time.Unix(1, 0), nil
}

func (c *cabinet) Delete(context.Context, engine.RecordingInfo) error { c.deleted = true; return nil }
