package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/media/mediatest"
	"github.com/tipring/tipring/test/harness"
	"github.com/tipring/tipring/test/harness/phone"
)

// saved waits for a call's recording and downloads it.
func saved(t *testing.T, c *harness.Client, call string) (info harness.Event, file []byte) {
	t.Helper()
	e := c.WaitEvent(call, "call.recording.saved")
	id := e.Text("recording.id")
	r := c.Must(http.MethodGet, "/v1/recordings/"+id+"/content", nil)
	if got := sha256.Sum256(r.Body); hex.EncodeToString(got[:]) != e.Text("recording.sha256") {
		t.Errorf("the download has not the sum that the event names")
	}
	return e, r.Body
}

// channels are the two channels of a WAV file of µ-law or of 16 bits.
func channels(t *testing.T, file []byte) (left, right []int16) {
	t.Helper()
	at := bytes.Index(file, []byte("data"))
	if len(file) < 44 || at < 0 || file[22] != 2 {
		t.Fatalf("no WAV file of two channels: % x", file[:min(44, len(file))])
	}
	data := file[at+8:]
	if file[20] == 7 {
		mulaw, _ := codec.ByName("PCMU", 8000)
		dec, err := mulaw.NewDecoder()
		if err != nil {
			t.Fatal(err)
		}
		pcm, err := dec.Decode(nil, data)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(pcm); i += 2 {
			left, right = append(left, pcm[i]), append(right, pcm[i+1])
		}
		return left, right
	}
	for ; len(data) >= 4; data = data[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(data)))
		right = append(right, int16(binary.LittleEndian.Uint16(data[2:])))
	}
	return left, right
}

// A bridged call is recorded in two channels while its packets go on being relayed; a pause is left out.
func TestRecordABridgedCall(t *testing.T) {
	alice, bob, n := connect(t, phone.Options{Codecs: []string{"PCMU"}}, phone.Options{Codecs: []string{"PCMU"}})
	c := n.Client()
	alice.Play(phone.Tone(400))
	bob.Play(phone.Tone(900))
	alice.WaitTone(900)
	bob.WaitTone(400)
	call := c.Must(http.MethodGet, "/v1/calls?direction=inbound", nil).Text("data.0.id")
	c.Action(call, "start_recording", map[string]any{"tracks": "stereo"})
	c.WaitEvent(call, "call.recording.started")
	time.Sleep(time.Second)
	if got := c.Call(call).Text("media.relayed"); got != "true" {
		t.Error("a recorded call is not relayed any more")
	}
	c.Action(call, "pause_recording", map[string]any{"fill": "cut"})
	time.Sleep(500 * time.Millisecond)
	c.Action(call, "resume_recording", nil)
	time.Sleep(time.Second)
	c.Action(call, "stop_recording", nil)
	e, file := saved(t, c, call)
	left, right := channels(t, file)
	if d := time.Duration(len(left)) * time.Second / 8000; d < 1500*time.Millisecond || d > 2600*time.Millisecond {
		t.Errorf("the recording lasts %v, the event says %s ms", d, e.Text("recording.duration_ms"))
	}
	half := len(left) / 4
	for _, c := range []struct {
		what      string
		pcm       []int16
		has, hasn float64
	}{{"the far end, left", left, 400, 900}, {"what it hears, right", right, 900, 400}} {
		pcm := c.pcm[half : 3*half]
		if l := mediatest.ToneLevel(pcm, 8000, c.has); l < -30 {
			t.Errorf("%s: %v Hz has %.1f dB", c.what, c.has, l)
		}
		if l := mediatest.ToneLevel(pcm, 8000, c.hasn); l > -40 {
			t.Errorf("%s: %v Hz of the other has %.1f dB", c.what, c.hasn, l)
		}
	}
}

// What is recorded of a call that hangs up is saved; it can be read in parts and deleted.
func TestRecordingOutlivesTheCall(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("memo", map[string]any{"instructions": []any{
		do("answer"), do("start_recording", "tracks", "in"), do("wait", "duration_ms", 60000),
	}})
	p := phone.New(t, phone.Options{}).Call(n.URI("memo"), phone.CallOptions{})
	p.WaitAnswered()
	p.Play(phone.Tone(400))
	call := c.Must(http.MethodGet, "/v1/calls?limit=1", nil).Text("data.0.id")
	c.WaitEvent(call, "call.recording.started")
	time.Sleep(time.Second)
	p.Hangup()
	e, file := saved(t, c, call)
	id := e.Text("recording.id")
	part := c.Do(http.MethodGet, "/v1/recordings/"+id+"/content", nil, "Range", "bytes=4-11")
	if part.Status != http.StatusPartialContent || !bytes.Equal(part.Body, file[4:12]) {
		t.Errorf("a range gave %d, %q", part.Status, part.Body)
	}
	if got := c.Must(http.MethodGet, "/v1/recordings?call_id="+call, nil).Text("data.0.id"); got != id {
		t.Errorf("the list has %q", got)
	}
	c.Must(http.MethodDelete, "/v1/recordings/"+id, nil)
	if r := c.Do(http.MethodGet, "/v1/recordings/"+id+"/content", nil); r.Status != http.StatusNotFound && r.Status != http.StatusGone {
		t.Errorf("a deleted recording gave %d", r.Status)
	}
}

// The mix of a conference is recorded.
func TestRecordAConference(t *testing.T) {
	n := harness.NewNode(t, harness.NodeOptions{})
	c := n.Client()
	c.Answering("talk", map[string]any{"on_idle": "wait", "instructions": []any{
		do("join", "conference", "talk", "settings", map[string]any{"record": "mix"}),
	}})
	s := gathered(t, n, c, "talk", 400, 900)
	s[0].WaitTone(900)
	s[1].WaitTone(400)
	time.Sleep(time.Second)
	conference := c.Must(http.MethodGet, "/v1/conferences/talk", nil).Text("id")
	c.Must(http.MethodPost, "/v1/conferences/talk/actions/end", nil)
	var id string
	harness.Eventually(t, "the recording is saved", func() bool {
		r := c.Must(http.MethodGet, "/v1/recordings?conference_id="+conference, nil)
		id = r.Text("data.0.id")
		return r.Text("data.0.state") == "saved"
	}, nil)
	clip, err := media.Decode(c.Must(http.MethodGet, "/v1/recordings/"+id+"/content", nil).Body, media.WAVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pcm := clip.PCM()
	tail := pcm[len(pcm)-clip.Rate():] // the last second: both speak
	for _, hz := range []float64{400, 900} {
		if l := mediatest.ToneLevel(tail, clip.Rate(), hz); l < -30 {
			t.Errorf("%v Hz has %.1f dB in the recording", hz, l)
		}
	}
}
