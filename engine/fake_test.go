package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/codec"
	"github.com/tipring/tipring/engine/dtmf"
	"github.com/tipring/tipring/engine/media"
)

// phoneLine is a line with no wire: it pulls what it hears every 20 ms, as a shard does.
type phoneLine struct {
	mu    sync.Mutex
	heard media.Source
	mic   *media.Player
	muted map[media.Direction]bool
	taps  []media.Tap
	stop  chan struct{}
}

func newLine() *phoneLine {
	clip, err := media.NewClip(8000, make([]int16, 160))
	if err != nil {
		panic(err)
	}
	l := &phoneLine{mic: media.NewPlayer(clip, -1), muted: map[media.Direction]bool{}, stop: make(chan struct{})}
	go l.pull()
	return l
}

func (l *phoneLine) pull() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var f media.Frame
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
		}
		l.mu.Lock()
		s := l.heard
		l.mu.Unlock()
		if s != nil && s != media.Source(l.mic) {
			if err := s.ReadFrame(&f); err != nil {
				l.mu.Lock()
				if l.heard == s {
					l.heard = nil
				}
				l.mu.Unlock()
			}
		}
	}
}

func (l *phoneLine) Hear(s media.Source) { l.mu.Lock(); l.heard = s; l.mu.Unlock() }
func (l *phoneLine) Mic() media.Source   { return l.mic }
func (l *phoneLine) Tap(t media.Tap) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps = append(l.taps, t)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.taps = slices.DeleteFunc(l.taps, func(o media.Tap) bool { return o == t })
	}
}
func (l *phoneLine) Mute(d media.Direction, on bool) { l.mu.Lock(); l.muted[d] = on; l.mu.Unlock() }
func (l *phoneLine) Codec() codec.Codec {
	return codec.Codec{Name: "PCMU", ClockRate: 8000, SampleRate: 8000}
}
func (l *phoneLine) Quality() media.Quality { return media.Quality{Codec: "PCMU/8000"} }

func (l *phoneLine) hears() media.Source { l.mu.Lock(); defer l.mu.Unlock(); return l.heard }

// phone is a leg with no wire, steered by the test as if it were the far end.
type phone struct {
	line     *phoneLine
	signals  chan engine.Signal
	mu       sync.Mutex
	did      []string
	over     bool
	panics   bool // in SendDTMF
	autoACK  bool
	out      engine.Outgoing
	failHold error
}

func newPhone() *phone {
	return &phone{line: newLine(), signals: make(chan engine.Signal, 64), autoACK: true}
}

func (p *phone) note(s string) { p.mu.Lock(); p.did = append(p.did, s); p.mu.Unlock() }

func (p *phone) log() string { p.mu.Lock(); defer p.mu.Unlock(); return strings.Join(p.did, " ") }

func (p *phone) Ring(_ context.Context, early bool) error {
	if early {
		p.note("183")
	} else {
		p.note("180")
	}
	return nil
}

func (p *phone) Answer(context.Context) error {
	p.note("200")
	if p.autoACK {
		p.say(engine.Signal{Kind: engine.SignalAnswered})
	}
	return nil
}

func (p *phone) Hangup(_ context.Context, c engine.Cause) error {
	p.note("hangup:" + string(c.Reason))
	p.leave(engine.Cause{Reason: c.Reason, Source: c.Source, SIPStatus: c.SIPStatus})
	return nil
}

func (p *phone) Hold(_ context.Context, on bool) error {
	if p.failHold != nil {
		return p.failHold
	}
	if on {
		p.note("hold")
	} else {
		p.note("unhold")
	}
	return nil
}

func (p *phone) SendDTMF(ctx context.Context, digits string) error {
	if p.panics {
		panic("a leg with a fault")
	}
	select {
	case <-time.After(time.Duration(len(digits)) * 200 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	p.note("dtmf:" + digits)
	return nil
}

func (p *phone) Audio() media.Line             { return p.line }
func (p *phone) Signals() <-chan engine.Signal { return p.signals }
func (p *phone) State() []byte                 { return nil }

func (p *phone) say(s engine.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.signals <- s
	}
}

func (p *phone) key(keys string) {
	for _, k := range []byte(keys) {
		p.say(engine.Signal{Kind: engine.SignalDigit, Digit: dtmf.Digit{Key: k, Method: dtmf.RFC4733}})
	}
}

// leave ends the leg from the far end.
func (p *phone) leave(c engine.Cause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.over = true
	p.signals <- engine.Signal{Kind: engine.SignalEnded, Cause: &c}
	close(p.signals)
	close(p.line.stop)
}

// office is an engine with its surroundings.
type office struct {
	t      *testing.T
	e      *engine.Engine
	mu     sync.Mutex
	events []engine.Event
	apps   map[string]engine.Application // by number, and by id
	trunks []engine.Trunk
	answer func(engine.Event) (*engine.Instructions, error)
	dialed chan *phone
	refuse error // what Dial returns
}

func newOffice(t *testing.T, o engine.Options) *office {
	of := &office{t: t, apps: map[string]engine.Application{}, dialed: make(chan *phone, 16)}
	o.Node, o.Sink, o.Directory = "n1", of, of
	o.Dialers = map[string]engine.Dialer{"sip": of, "tel": of}
	if o.Prompts == nil {
		o.Prompts = engine.NewLibrary(engine.LibraryOptions{})
	}
	of.e = engine.New(o)
	return of
}

func (o *office) Publish(e engine.Event) {
	o.mu.Lock()
	o.events = append(o.events, e)
	answer := o.answer
	o.mu.Unlock()
	if e.Answer != nil && answer != nil {
		go func() { e.Answer(answer(e)) }()
	}
}

func (o *office) Route(_ context.Context, number string) (engine.Application, bool) {
	a, ok := o.apps[number]
	return a, ok
}

func (o *office) Match(_ context.Context, number string) (engine.Number, bool) {
	a, ok := o.apps[number]
	return engine.Number{ID: "num_" + number, Number: number, ProjectID: a.ProjectID, ApplicationID: a.ID}, ok
}

func (o *office) Trunk(_ context.Context, _, id, number string) (engine.Trunk, *engine.Error) {
	return engine.PickTrunk(o.trunks, id, number)
}

func (o *office) TrunkFrom(_ context.Context, from netip.Addr) (engine.Trunk, bool) {
	for _, t := range o.trunks {
		for _, s := range t.AllowedIPs {
			if p, err := engine.ParseNetwork(s); err == nil && p.Contains(from) {
				return t, true
			}
		}
	}
	return engine.Trunk{}, false
}

func (o *office) Application(_ context.Context, _, id string) (engine.Application, bool) {
	a, ok := o.apps[id]
	return a, ok
}

func (o *office) Dial(_ context.Context, out engine.Outgoing) (engine.Leg, error) {
	if o.refuse != nil {
		return nil, o.refuse
	}
	p := newPhone()
	p.out = out
	o.dialed <- p
	return p, nil
}

func (o *office) Resume(context.Context, []byte) (engine.Leg, error) {
	return nil, errors.New("nothing to resume")
}

func (o *office) app(number, text string) {
	o.t.Helper()
	var a engine.Application
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		o.t.Fatal(err)
	}
	a.ID, a.ProjectID = "app_"+number, "prj"
	o.apps[number], o.apps[a.ID] = a, a
}

// rings lets a phone call a number.
func (o *office) rings(number string) (*phone, string) {
	o.t.Helper()
	p := newPhone()
	c, err := o.e.Accept(engine.Incoming{
		From: engine.Address{URI: "sip:alice@example.com", Name: "Alice"}, To: engine.Address{URI: "sip:" + number + "@tip.ring"},
		SIPCallID: "abc", Key: "k1",
	}, p)
	if err != nil {
		o.t.Fatal(err)
	}
	synctest.Wait()
	return p, c.ID()
}

func (o *office) types(call string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var types []string
	for _, e := range o.events {
		if call == "" || e.CallID+e.ConferenceID == call {
			types = append(types, e.Type)
		}
	}
	return types
}

// last is the data of the newest event of a type.
func (o *office) last(call, typ string) (map[string]any, engine.Event) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range slices.Backward(o.events) {
		if e.Type == typ && (call == "" || e.CallID+e.ConferenceID == call) {
			var data map[string]any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				o.t.Fatal(err)
			}
			return data, e
		}
	}
	o.t.Fatalf("there is no %s", typ)
	return nil, engine.Event{}
}

func (o *office) expect(call string, want ...string) {
	o.t.Helper()
	if got := o.types(call); !slices.Equal(got, want) {
		o.t.Errorf("events of the call:\n got %v\nwant %v", got, want)
	}
}

func (o *office) do(cmd engine.Command) engine.Reply {
	o.t.Helper()
	r, err := o.e.Do(o.t.Context(), cmd)
	if err != nil {
		o.t.Fatalf("%T: %v", cmd, err)
	}
	synctest.Wait()
	return r
}

func (o *office) refuses(code engine.Code, cmd engine.Command) {
	o.t.Helper()
	_, err := o.e.Do(o.t.Context(), cmd)
	if engine.ErrorCode(err) != code {
		o.t.Errorf("%T: got %v, want %s", cmd, err, code)
	}
}

// close ends what is left and checks what holds for every call: sequences without a gap, one end, and one event for
// each command.
func (o *office) close() {
	o.t.Helper()
	o.e.HangupAll(engine.Cause{Reason: engine.ReasonNormal, Source: engine.SourceSystem})
	time.Sleep(10 * time.Second)
	if err := o.e.Drain(o.t.Context()); err != nil {
		o.t.Error(err)
	}
	synctest.Wait()
	if n := o.e.Calls(); n != 0 {
		o.t.Errorf("%d calls are left", n)
	}
	sequence := map[string]uint64{}
	ended := map[string]bool{}
	commands := map[string]int{}
	for _, e := range o.events {
		subject := e.CallID + e.ConferenceID // one of them is empty
		if subject == "" {
			continue
		}
		file := strings.HasSuffix(e.Type, ".recording.saved") || strings.HasSuffix(e.Type, ".recording.failed")
		if ended[subject] && !file {
			o.t.Errorf("%s after the end", e.Type)
		}
		if sequence[subject]++; e.Sequence != sequence[subject] {
			o.t.Errorf("%s has sequence %d, want %d", e.Type, e.Sequence, sequence[subject])
		}
		ended[subject] = ended[subject] || e.Type == "call.ended" || e.Type == "conference.ended"
		if e.CommandID != "" {
			commands[e.CommandID]++
		}
	}
	for id, n := range commands {
		if n != 1 {
			o.t.Errorf("command %s has %d events", id, n)
		}
	}
	for subject, over := range ended {
		if !over {
			o.t.Errorf("%s has no end", subject)
		}
	}
}

func story(t *testing.T, o engine.Options, f func(*office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		of := newOffice(t, o)
		f(of)
		of.close()
	})
}

func to(call, id string) engine.Header { return engine.Header{CallID: call, CommandID: id} }

func list(t *testing.T, instructions ...string) *engine.Instructions {
	t.Helper()
	var ins engine.Instructions
	if err := json.Unmarshal([]byte(`{"instructions":[`+strings.Join(instructions, ",")+`]}`), &ins); err != nil {
		t.Fatal(err)
	}
	return &ins
}

// newIdlePhone is a phone whose line nobody pulls.
func newIdlePhone() *phone {
	p := newPhone()
	close(p.line.stop)
	return p
}
