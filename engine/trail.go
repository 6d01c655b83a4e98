package engine

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tipring/tipring/engine/media"
)

// Limits of a Trail.
const (
	maxTrailFirst   = 200       // entries that are kept however many come
	maxTrailEntries = 300       // with the newest ones
	maxTrailBytes   = 256 << 10 // of entries
	maxTrailText    = 16 << 10  // of one
	maxSamples      = 120
	sampleEvery     = 2 * time.Second // until maxSamples; then every second sample goes, and they come half as often
	trailSettles    = 2 * time.Second // from the end of a call until its trail is written: its last SIP messages are in it
)

// A Trail is what a call keeps of how it went beside its events: commands, signalling, figures of its audio. Its methods may be
// called from any goroutine; a nil Trail keeps nothing.
type Trail struct {
	mu      sync.Mutex
	entries []TrailEntry
	bytes   int
	dropped int
	samples []sample
	every   time.Duration // from one sample to the next
	codec   string        // of the last sample
	path    string
}

// TrailKind is what an entry of a timeline is.
type TrailKind string

// The kinds. Events and webhooks are not in a Trail: the log and the deliveries have them.
const (
	TrailKindEvent   TrailKind = "event"
	TrailKindCommand TrailKind = "command"
	TrailKindWebhook TrailKind = "webhook"
	TrailKindSIP     TrailKind = "sip"
	TrailKindPage    TrailKind = "page"
	TrailKindQuality TrailKind = "quality"
)

// TrailDirection is seen from the platform.
type TrailDirection string

// The directions.
const (
	TrailIn  TrailDirection = "in"
	TrailOut TrailDirection = "out"
)

// TrailEntry is one thing that happened to a call; of the pointers the one that Kind names is set.
type TrailEntry struct {
	At        time.Time      `json:"at"`
	Kind      TrailKind      `json:"kind"`
	Direction TrailDirection `json:"direction,omitempty"`
	Command   *TrailCommand  `json:"command,omitempty"`
	SIP       *TrailSIP      `json:"sip,omitempty"`
	Page      *TrailPage     `json:"page,omitempty"`
	Quality   *media.Quality `json:"quality,omitempty"`
}

// TrailCommand is a command to the call.
type TrailCommand struct {
	Action     string          `json:"action"`
	Origin     string          `json:"origin"` // "request", "instructions"
	CommandID  string          `json:"command_id,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"` // without passwords
	Error      string          `json:"error,omitempty"`      // why it was refused
}

// TrailSIP is a SIP message. Who adds it has removed what is secret.
type TrailSIP struct {
	Transport string `json:"transport"` // "UDP"
	Remote    string `json:"remote"`    // "ip:port"
	Message   string `json:"message"`
	Truncated bool   `json:"truncated,omitempty"`
}

// TrailPage is a frame of the signalling with a page. Who adds it has removed what is secret.
type TrailPage struct {
	Type  string          `json:"type"`
	Frame json.RawMessage `json:"frame"`
}

// TrailRecord is a Trail as it is kept, oldest entry first.
type TrailRecord struct {
	Entries []TrailEntry `json:"entries"`
	Dropped int          `json:"dropped"`
}

// Trails keeps the trails of calls that are over. SaveTrail does not block.
type Trails interface {
	SaveTrail(project, callID string, r TrailRecord)
}

// A Tracer is a Leg that tells what its signalling sends and receives. Trace is called once; what came before is told then.
// A Tracing helps.
type Tracer interface{ Trace(t *Trail) }

// Tracing is a leg's way to the trail of its call: it keeps what it is told until it knows the trail.
type Tracing struct {
	mu    sync.Mutex
	trail *Trail
	known bool
	early []TrailEntry
}

// maxEarly bounds what a Tracing keeps.
const maxEarly = 16

// Trace gives the trail; nil: there is none.
func (t *Tracing) Trace(trail *Trail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trail, t.known = trail, true
	for _, e := range t.early {
		trail.Add(e)
	}
	t.early = nil
}

// Note takes an entry.
func (t *Tracing) Note(e TrailEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.known:
		t.trail.Add(e)
	case len(t.early) < maxEarly:
		t.early = append(t.early, e)
	}
}

// sample is a media.Quality in little space: a call may have many.
type sample struct {
	at                            time.Time
	codec, path                   string
	received, sent, lost, dropped uint32
	concealed                     uint32
	loss, jitter, roundTrip       float32
	remoteLoss, remoteJitter      float32
	buffer, mos                   float32
	relayed                       bool
}

// Add takes an entry. Of many it keeps the first and the newest.
func (t *Trail) Add(e TrailEntry) {
	if t == nil {
		return
	}
	if s := e.SIP; s != nil && len(s.Message) > maxTrailText {
		cut := *s
		cut.Message, cut.Truncated = strings.ToValidUTF8(s.Message[:maxTrailText], ""), true
		e.SIP = &cut
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries = append(t.entries, e)
	t.bytes += e.size()
	for len(t.entries) > maxTrailEntries || t.bytes > maxTrailBytes && len(t.entries) > 1 {
		oldest := maxTrailFirst
		if len(t.entries) <= maxTrailEntries { // few, but long
			oldest = min(maxTrailFirst, len(t.entries)/2)
		}
		t.bytes -= t.entries[oldest].size()
		t.entries = slices.Delete(t.entries, oldest, oldest+1)
		t.dropped++
	}
}

// size is about what an entry takes.
func (e *TrailEntry) size() int {
	n := 100
	switch {
	case e.SIP != nil:
		n += len(e.SIP.Message)
	case e.Command != nil:
		n += len(e.Command.Parameters) + len(e.Command.Error)
	case e.Page != nil:
		n += len(e.Page.Frame)
	}
	return n
}

// measure takes the figures of the audio, and tells after how long it wants the next.
func (t *Trail) measure(now time.Time, q *media.Quality) (next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.samples) >= maxSamples {
		kept := t.samples[:0]
		for i := 0; i < len(t.samples); i += 2 {
			kept = append(kept, t.samples[i])
		}
		t.samples = kept
		t.every *= 2
	}
	if q.Codec != t.codec { // one string for all samples
		t.codec = q.Codec
	}
	if q.Path != t.path {
		t.path = q.Path
	}
	t.samples = append(t.samples, sample{
		at: now, codec: t.codec, path: t.path, relayed: q.Relayed,
		received: uint32(q.PacketsReceived), sent: uint32(q.PacketsSent), lost: uint32(q.PacketsLost),
		dropped: uint32(q.PacketsDropped), concealed: uint32(q.ConcealedMS),
		loss: float32(q.LossPercent), jitter: float32(q.JitterMS), roundTrip: float32(q.RoundTripMS),
		remoteLoss: float32(q.RemoteLoss), remoteJitter: float32(q.RemoteJitterMS),
		buffer: float32(q.JitterBufferMS), mos: float32(q.MOS),
	})
	t.every = max(t.every, sampleEvery)
	return t.every
}

func (s *sample) quality() *media.Quality {
	round := func(v float32) float64 { return math.Round(float64(v)*100) / 100 }
	return &media.Quality{
		Codec: s.codec, Path: s.path, Relayed: s.relayed,
		PacketsReceived: uint64(s.received), PacketsSent: uint64(s.sent), PacketsLost: uint64(s.lost),
		PacketsDropped: uint64(s.dropped), ConcealedMS: uint64(s.concealed),
		LossPercent: round(s.loss), JitterMS: round(s.jitter), RoundTripMS: round(s.roundTrip),
		RemoteLoss: round(s.remoteLoss), RemoteJitterMS: round(s.remoteJitter),
		JitterBufferMS: round(s.buffer), MOS: round(s.mos),
	}
}

// Record is the trail as it stands.
func (t *Trail) Record() TrailRecord {
	if t == nil {
		return TrailRecord{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]TrailEntry, 0, len(t.entries)+len(t.samples))
	all = append(all, t.entries...)
	for i := range t.samples {
		s := &t.samples[i]
		all = append(all, TrailEntry{At: s.at, Kind: TrailKindQuality, Quality: s.quality()})
	}
	slices.SortStableFunc(all, func(a, b TrailEntry) int { return a.At.Compare(b.At) })
	return TrailRecord{Entries: all, Dropped: t.dropped}
}

// command notes a command that came at a time, and why it was refused, if it was.
func (t *Trail) command(at time.Time, action, id string, parameters any, from origin, err error) {
	if t == nil {
		return
	}
	raw, failed := json.Marshal(parameters)
	if failed != nil {
		raw = nil // structs of plain values always marshal
	}
	e := TrailCommand{Action: action, Origin: "request", CommandID: id, Parameters: WithoutSecrets(raw)}
	if from == inProgram {
		e.Origin = "instructions"
	}
	if err != nil {
		e.Error = detail(err)
	}
	t.Add(TrailEntry{At: at.UTC(), Kind: TrailKindCommand, Direction: TrailIn, Command: &e})
}

// sample takes the figures of the call's audio again and again, from the loop, until the call is over.
func (c *Call) sample() {
	if c.trail == nil || c.ended {
		return
	}
	q := c.leg.Audio().Quality()
	next := c.trail.measure(time.Now().UTC(), &q)
	c.sampling = time.AfterFunc(next, func() { c.post(c.sample) })
}

// trace lets the leg tell the trail what its signalling does.
func (c *Call) trace() {
	if t, ok := c.leg.(Tracer); ok {
		t.Trace(c.trail)
	}
}

// note lets the trail of its call know an action that came from outside.
func (e *Engine) note(began time.Time, a Action, r Reply, err error) {
	e.mu.Lock()
	c := e.calls[a.Head().CallID]
	e.mu.Unlock()
	if h := a.Head(); c != nil && !r.Replayed && (h.ProjectID == "" || h.ProjectID == c.info.ProjectID) {
		c.trail.command(began, a.Name(), h.CommandID, a, outside, err)
	}
}

// inspectTrail reads the trail of a call that lives here, or did a moment ago.
func (e *Engine) inspectTrail(cmd *InspectTrail) (Reply, error) {
	e.mu.Lock()
	c := e.calls[cmd.CallID]
	over, ended := e.over[cmd.CallID]
	e.mu.Unlock()
	trail, project := over.trail, over.record.Info.ProjectID
	if c != nil {
		trail, project = c.trail, c.info.ProjectID // neither changes after newCall
	}
	if c == nil && !ended || cmd.ProjectID != "" && project != cmd.ProjectID {
		return Reply{}, Errorf(CodeCallNotFound, "there is no call %q", cmd.CallID)
	}
	r := trail.Record()
	return Reply{Trail: &r}, nil
}

// SaveTrails gives the trails of calls that ended just now to Trails, as a node does that stops.
func (e *Engine) SaveTrails() {
	e.mu.Lock()
	ids := slices.Collect(maps.Keys(e.over))
	e.mu.Unlock()
	for _, id := range ids {
		e.saveTrail(id)
	}
}

// saveTrail gives the trail of a call that is over to Trails, once.
func (e *Engine) saveTrail(callID string) {
	e.mu.Lock()
	o, ok := e.over[callID]
	save := ok && o.trail != nil && !o.saved
	if save {
		o.saved = true
		e.over[callID] = o
	}
	e.mu.Unlock()
	if save {
		e.o.Trails.SaveTrail(o.record.Info.ProjectID, callID, o.trail.Record())
	}
}
