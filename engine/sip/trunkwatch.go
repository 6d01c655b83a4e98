package sip

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// What a trunk's watch does by default, and at most.
const (
	pingEvery     = 30 * time.Second
	pingTimeout   = 5 * time.Second  // without an answer a target is down
	registerFor   = 600              // seconds that we ask for
	registerAgain = 30 * time.Second // after a failure, growing to …
	registerMost  = 10 * time.Minute
	leaveTimeout  = 2 * time.Second // for taking a registration back
)

// trunkWatches are the watches of trunks, by their ids.
type trunkWatches struct {
	mu   sync.Mutex
	live map[string]*trunkWatch
	over bool
}

// trunkWatch is the watch of one trunk. Its goroutine owns registration; status is what others see.
type trunkWatch struct {
	door  *Door
	trunk engine.Trunk
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	status engine.TrunkStatus
}

// WatchTrunks watches these trunks and no others, until the next call, or the door's end.
func (d *Door) WatchTrunks(trunks []engine.Trunk) {
	d.watches.mu.Lock()
	defer d.watches.mu.Unlock()
	if d.watches.over {
		return
	}
	wanted := map[string]bool{}
	for _, t := range trunks {
		if t.PingS < 0 && !t.Register {
			continue
		}
		wanted[t.ID] = true
		if w := d.watches.live[t.ID]; w != nil {
			if reflect.DeepEqual(w.trunk, t) {
				continue
			}
			w.stop()
		}
		d.watches.live[t.ID] = d.newWatch(t)
	}
	for id, w := range d.watches.live {
		if !wanted[id] {
			w.stop()
			delete(d.watches.live, id)
		}
	}
}

// stopWatching ends all watches, and waits for them: registrations are taken back.
func (d *Door) stopWatching() {
	d.watches.mu.Lock()
	d.watches.over = true
	live := d.watches.live
	d.watches.live = nil
	d.watches.mu.Unlock()
	for _, w := range live {
		w.stop()
	}
	for _, w := range live {
		<-w.done
	}
}

// TrunkStatus is how a trunk is; false if it is not watched.
func (d *Door) TrunkStatus(id string) (engine.TrunkStatus, bool) {
	d.watches.mu.Lock()
	w := d.watches.live[id]
	d.watches.mu.Unlock()
	if w == nil {
		return engine.TrunkStatus{}, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.Clone(), true
}

// down reports whether a target of a trunk did not answer its last ping.
func (d *Door) down(id, uri string) bool {
	s, _ := d.TrunkStatus(id)
	for _, t := range s.Targets {
		if t.URI == uri {
			return t.State == engine.TrunkDown
		}
	}
	return false
}

func (d *Door) newWatch(t engine.Trunk) *trunkWatch {
	ctx, stop := context.WithCancel(context.Background())
	w := &trunkWatch{door: d, trunk: t, stop: stop, done: make(chan struct{})}
	for _, target := range t.Targets {
		w.status.Targets = append(w.status.Targets, engine.TargetStatus{URI: target.URI, State: engine.TrunkUnknown})
	}
	go func() { // ends with stop
		defer close(w.done)
		var parts sync.WaitGroup
		if t.PingS >= 0 {
			for i := range t.Targets {
				parts.Go(func() { w.ping(ctx, i) })
			}
		}
		if t.Register {
			parts.Go(func() { w.register(ctx) })
		}
		parts.Wait()
	}()
	return w
}

// tell publishes a change.
func (w *trunkWatch) tell(change engine.TrunkChange, data map[string]any) {
	if w.door.o.TrunkChanged != nil {
		w.door.o.TrunkChanged(w.trunk, change, data)
	}
}

// ping asks target i again and again whether it is there.
func (w *trunkWatch) ping(ctx context.Context, i int) {
	every := pingEvery
	if w.trunk.PingS > 0 {
		every = time.Duration(w.trunk.PingS) * time.Second
	}
	uri := w.trunk.Targets[i].URI
	x := w.door.newExtra(uri, nil)
	for {
		asking, cancel := context.WithTimeout(ctx, pingTimeout)
		began := time.Now()
		res, err := x.send(asking, sip.OPTIONS, nil)
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.pinged(i, res, err, time.Since(began))
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return
		}
	}
}

// pinged notes what came of a ping: any answer but 408 and 503 says that the target works.
func (w *trunkWatch) pinged(i int, res *sip.Response, err error, took time.Duration) {
	state, data := engine.TrunkUp, map[string]any{"target": w.trunk.Targets[i].URI}
	switch {
	case err != nil:
		state, data["detail"] = engine.TrunkDown, "it does not answer"
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, transaction.ErrTimeout) {
			data["detail"] = "it cannot be reached"
		}
	case res.StatusCode == 408 || res.StatusCode == 503:
		state, data["sip_status"] = engine.TrunkDown, res.StatusCode
	}
	w.mu.Lock()
	t := &w.status.Targets[i]
	was := t.State
	t.State, t.RoundTripMS = state, 0
	if err == nil {
		t.SIPStatus, t.RoundTripMS = res.StatusCode, math.Round(took.Seconds()*1e5)/100
	}
	w.mu.Unlock()
	switch {
	case state == was || was == engine.TrunkUnknown && state == engine.TrunkUp:
	case state == engine.TrunkUp:
		w.tell(engine.TrunkIsUp, data)
	default:
		w.tell(engine.TrunkIsDown, data)
	}
}

// register keeps us registered at the first target that takes us (RFC 3261 10.2), and takes it back in the end.
func (w *trunkWatch) register(ctx context.Context) {
	wait := registerAgain
	var at *extra // where we are registered
	for ctx.Err() == nil {
		expires, status, x, err := w.registerSomewhere(ctx, at)
		if ctx.Err() != nil { // perhaps in the middle of it: what was registered before is taken back
			break
		}
		if at = x; x == nil {
			w.registered(time.Time{}, status, err)
			if !w.pause(ctx, wait) {
				return
			}
			wait = min(2*wait, registerMost)
			continue
		}
		w.registered(time.Now().Add(expires), status, nil)
		wait = registerAgain
		w.pause(ctx, max(expires*4/5, time.Second))
	}
	if at == nil {
		return
	}
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	_, _ = at.send(leaving, sip.REGISTER, w.registration(at, 0)) // else it expires
}

func (*trunkWatch) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// registerSomewhere registers at x, or at the first target that takes us; nil if none does.
func (w *trunkWatch) registerSomewhere(ctx context.Context, x *extra) (expires time.Duration, status int, at *extra, err error) {
	var tries []*extra
	if x != nil {
		tries = append(tries, x)
	}
	for _, t := range orderTargets(w.trunk.Targets, func(int) int { return 0 }) {
		if x == nil || x.uri != t.URI {
			tries = append(tries, w.door.newExtra(t.URI, w.trunk.Auth))
		}
	}
	for _, x := range tries {
		seconds := registerFor
		for range 2 { // 423 asks for longer
			asking, cancel := context.WithTimeout(ctx, 4*pingTimeout)
			var res *sip.Response
			res, err = x.send(asking, sip.REGISTER, w.registration(x, seconds))
			cancel()
			if err != nil {
				break
			}
			status = res.StatusCode
			if n, e := strconv.Atoi(transaction.Header(res, "Min-Expires")); status == 423 && e == nil && n > seconds && n < 1<<20 {
				seconds = n
				continue
			}
			if res.IsSuccess() {
				return grantedFor(res, x.contactUser, seconds), status, x, nil
			}
			break
		}
	}
	return 0, status, nil, err
}

// registration completes a REGISTER.
func (w *trunkWatch) registration(x *extra, seconds int) func(*sip.Request, transaction.Target) {
	return func(req *sip.Request, to transaction.Target) {
		contact := w.door.contact(x.contactUser, to)
		req.AppendHeader(contact)
		req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(seconds)))
	}
}

// grantedFor is how long a 200 to a REGISTER keeps our contact (RFC 3261 10.2.4).
func grantedFor(res *sip.Response, user string, asked int) time.Duration {
	seconds := asked
	if n, err := strconv.Atoi(transaction.Header(res, "Expires")); err == nil {
		seconds = n
	}
	for _, v := range transaction.Values(res, "Contact") {
		var uri sip.Uri
		var params sip.HeaderParams
		if _, err := sip.ParseAddressValue(v, &uri, &params); err != nil || uri.User != user {
			continue
		}
		if n, err := strconv.Atoi(params.GetOr("expires", "")); err == nil {
			seconds = n
		}
	}
	return time.Duration(min(max(seconds, 1), 86400)) * time.Second
}

// registered notes what came of a registration, and tells when that changes.
func (w *trunkWatch) registered(until time.Time, status int, err error) {
	w.mu.Lock()
	was := w.status.Registration
	w.status.Registration, w.status.RegisteredUntil, w.status.SIPStatus = engine.RegistrationFailed, nil, status
	if !until.IsZero() {
		u := until.UTC()
		w.status.Registration, w.status.RegisteredUntil = engine.Registered, &u
	}
	now := w.status.Registration
	w.mu.Unlock()
	if now == was {
		return
	}
	data := map[string]any{}
	if status != 0 {
		data["sip_status"] = status
	}
	if now == engine.Registered {
		w.tell(engine.TrunkRegistered, data)
		return
	}
	if err != nil {
		data["detail"] = strings.TrimPrefix(err.Error(), "transaction: ")
	}
	w.door.log.Warn("a trunk does not register us", "trunk", w.trunk.ID, "status", status, "error", err)
	w.tell(engine.TrunkRegistrationFailed, data)
}

// extra sends requests out of any dialog to one address, with what challenges want. One goroutine uses it.
type extra struct {
	door        *Door
	uri         string
	contactUser string
	callID, tag string
	cseq        uint32
	auth        authenticator
}

func (d *Door) newExtra(uri string, auth *engine.TrunkAuth) *extra {
	x := &extra{door: d, uri: uri, callID: newCallID(""), tag: newTag()}
	if auth != nil {
		x.contactUser = contactUser(auth.Username)
		x.auth.credentials = &engine.Credentials{Username: auth.Username, Password: auth.Password}
	}
	return x
}

// send sends a request and waits for its final response. complete adds what it carries.
func (x *extra) send(ctx context.Context, method sip.RequestMethod, complete func(*sip.Request, transaction.Target)) (*sip.Response, error) {
	target, err := ParseTarget(x.uri)
	if err != nil {
		return nil, err
	}
	to, err := x.resolve(ctx, target)
	if err != nil {
		return nil, err
	}
	answered := map[string]bool{}
	for tries := 0; ; tries++ {
		res, err := x.once(ctx, method, target, to, complete)
		if err != nil || res.StatusCode != sip.StatusUnauthorized && res.StatusCode != sip.StatusProxyAuthRequired || tries == maxTries {
			return res, err
		}
		if x.auth.credentials == nil || x.auth.challenged(res, answered) != nil {
			return res, nil //nolint:nilerr // a challenge that we cannot answer is the answer
		}
	}
}

// resolve finds an address of a target: of the first of its servers, if SRV has some.
func (x *extra) resolve(ctx context.Context, uri sip.Uri) (transaction.Target, error) {
	type found struct {
		to  transaction.Target
		err error
	}
	c := make(chan found, 1)
	x.door.layer.Services(ctx, uri, func(servers []sip.Uri) {
		if len(servers) > 0 {
			uri = servers[0]
		}
		x.door.layer.Resolve(ctx, uri, func(to transaction.Target, err error) { c <- found{to, err} })
	})
	select {
	case f := <-c:
		return f.to, f.err
	case <-ctx.Done():
		return transaction.Target{}, ctx.Err()
	}
}

func (x *extra) once(
	ctx context.Context, method sip.RequestMethod, target sip.Uri, to transaction.Target, complete func(*sip.Request, transaction.Target),
) (*sip.Response, error) {
	x.cseq = nextCSeq(x.cseq, time.Now())
	req := sip.NewRequest(method, target)
	us := x.door.layer.Contact(to)
	local, remote := sip.Uri{Scheme: "sip", User: x.contactUser, Host: us.Host, Port: us.Port}, target
	if method == sip.REGISTER { // whose address it is
		local = sip.Uri{Scheme: "sip", User: x.contactUser, Host: target.Host}
		remote = local
	}
	remote.UriParams = nil
	callID := sip.CallIDHeader(x.callID)
	req.AppendHeader(sip.NewHeader("From", "<"+local.String()+">;tag="+x.tag))
	req.AppendHeader(sip.NewHeader("To", "<"+remote.String()+">"))
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: x.cseq, MethodName: method})
	if complete != nil {
		complete(req, to)
	}
	if err := x.auth.authorize(req); err != nil {
		return nil, err
	}
	type result struct {
		res *sip.Response
		err error
	}
	c := make(chan result, 1)
	_, err := x.door.layer.Request(req, to, func(res *sip.Response, err error) {
		if err == nil && res.IsProvisional() {
			return
		}
		c <- result{res, err}
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-c:
		return r.res, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
