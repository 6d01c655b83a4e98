package phone

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// State of a Call.
type State string

// The states. An outgoing call begins as Calling, an incoming one as Incoming.
const (
	Calling  State = "calling"
	Incoming State = "incoming"
	Ringing  State = "ringing"
	Answered State = "answered"
	Over     State = "over"
	accepted State = "accepted" // our 200 is out, its ACK not in
)

// A Call is one dialog of a phone, with its audio.
type Call struct {
	phone    *Phone
	audio    *audio
	id       string
	outgoing bool
	opts     CallOptions
	invite   Message // incoming: theirs

	// guarded by phone.mu
	state         State
	peer          netip.AddrPort
	local, remote string // From and To of our requests
	target        string
	routes        []string
	cseq          int
	tx            *transaction // the first INVITE
	txs           map[string]*transaction
	answers       map[string]Message
	acked         int
	sdp, theirs   SDP
	early         []Message // provisional responses over 100
	offers        []Message // re-INVITEs and UPDATEs that came
	infos         []Message
	pending       []Message // requests for a Manual phone
	refusals      []int
	ended         Ended
}

// CallOptions of an outgoing call.
type CallOptions struct {
	From    string  // name-addr; "": the phone's own
	Headers []Field // more header fields
	NoOffer bool    // INVITE without SDP
	Body    *string // instead of our SDP
	NoACK   bool    // never acknowledges
}

// Ended is how a call ended.
type Ended struct {
	Method  string // "BYE" or "CANCEL" that came; "" if a final response did it, or we hung up
	Status  int    // of the final response
	Reason  string // Reason header
	ByUs    bool
	Message Message
}

func (c *Call) end(e Ended) {
	if c.state != Over {
		c.state, c.ended = Over, e
		c.audio.mu.Lock()
		c.audio.sends = false
		c.audio.mu.Unlock()
	}
}

// offer describes what the phone can do.
func (c *Call) offer() SDP {
	d := SDP{Session: uint64(time.Now().UnixNano()), Version: 1, Addr: c.phone.Addr().Addr(), Port: c.audio.port(), Direction: "sendrecv", Streams: 1, PTime: 20}
	for _, name := range c.phone.o.Codecs {
		switch name {
		case "PCMU":
			d.Payloads = append(d.Payloads, Payload{0, "PCMU", 8000})
		case "PCMA":
			d.Payloads = append(d.Payloads, Payload{8, "PCMA", 8000})
		default:
			d.Payloads = append(d.Payloads, Payload{uint8(110 + len(d.Payloads)), name, 8000}) // one that nobody knows
		}
	}
	if !c.phone.o.NoEvents {
		d.Payloads = append(d.Payloads, Payload{101, "telephone-event", 8000})
	}
	return d
}

// answerTo answers an offer: our favorite codec among theirs, with their numbers.
func (c *Call) answerTo(theirs SDP) SDP {
	d := c.sdp
	d.Payloads = nil
	for _, name := range c.phone.o.Codecs {
		if p, ok := theirs.Payload(name); ok {
			d.Payloads = append(d.Payloads, p)
			break
		}
	}
	if p, ok := theirs.Payload("telephone-event"); ok && !c.phone.o.NoEvents {
		d.Payloads = append(d.Payloads, p)
	}
	d.Direction, d.Streams = complement(theirs.Direction), theirs.Streams
	if d.String() != c.sdp.String() {
		d.Version++
	}
	return d
}

// readOffer takes an offer and makes our answer of it. "" is no offer.
func (c *Call) readOffer(body string) bool {
	if body == "" {
		return true
	}
	d, err := ParseSDP(body)
	if err != nil {
		c.phone.t.Errorf("%s: offer: %v\n%s", c.phone.user, err, body)
		return false
	}
	c.theirs = d
	c.sdp = c.answerTo(d)
	return true
}

// State of the call now.
func (c *Call) State() State {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	if c.state == accepted {
		return Answered
	}
	return c.state
}

// ID is the SIP Call-ID.
func (c *Call) ID() string { return c.id }

// Invite is the INVITE that came.
func (c *Call) Invite() Message { return c.invite }

// Theirs is the other side's newest description; Ours is the phone's.
func (c *Call) Theirs() SDP {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return c.theirs
}

// Ours is the phone's newest description.
func (c *Call) Ours() SDP {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return c.sdp
}

// Provisional are the responses over 100 and under 200 to our INVITE.
func (c *Call) Provisional() []Message {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return slices.Clone(c.early)
}

// Offers are the re-INVITEs and UPDATEs that came.
func (c *Call) Offers() []Message {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return slices.Clone(c.offers)
}

// Infos are the INFO requests that came.
func (c *Call) Infos() []Message {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return slices.Clone(c.infos)
}

// Wait waits for a state, or fails the test.
func (c *Call) Wait(want State) {
	c.phone.t.Helper()
	c.phone.await(fmt.Sprintf("%s's call is %s", c.phone.user, want), func() bool { return c.State() == want },
		func() string { return fmt.Sprintf("it is %s %+v", c.State(), c.ended.Status) })
}

// WaitAnswered waits for the answer.
func (c *Call) WaitAnswered() { c.phone.t.Helper(); c.Wait(Answered) }

// WaitEnded waits for the end and says how it came.
func (c *Call) WaitEnded() Ended {
	c.phone.t.Helper()
	c.Wait(Over)
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	return c.ended
}

// WaitEarly waits for a provisional response of that status.
func (c *Call) WaitEarly(status int) Message {
	c.phone.t.Helper()
	var m Message
	c.phone.await(fmt.Sprintf("%s gets %d", c.phone.user, status), func() bool {
		i := slices.IndexFunc(c.Provisional(), func(m Message) bool { return m.Status() == status })
		if i >= 0 {
			m = c.Provisional()[i]
		}
		return i >= 0
	}, nil)
	return m
}

// WaitOffer waits for the n-th (from 1) re-INVITE or UPDATE.
func (c *Call) WaitOffer(n int) Message {
	c.phone.t.Helper()
	c.phone.await(fmt.Sprintf("%s gets offer %d", c.phone.user, n), func() bool { return len(c.Offers()) >= n }, nil)
	return c.Offers()[n-1]
}

// WaitRequest waits for a request that a Manual phone has not answered, and takes it.
func (c *Call) WaitRequest(method string) Message {
	c.phone.t.Helper()
	var m Message
	c.phone.await(c.phone.user+" gets "+method, func() bool {
		c.phone.mu.Lock()
		defer c.phone.mu.Unlock()
		i := slices.IndexFunc(c.pending, func(m Message) bool { return m.Method() == method })
		if i >= 0 {
			m = c.pending[i]
			c.pending = slices.Delete(c.pending, i, i+1)
		}
		return i >= 0
	}, nil)
	return m
}

// Reply answers a request by hand.
func (c *Call) Reply(req Message, status int, reason, body string, headers ...Field) {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.respond(req, status, reason, body, headers...)
	if req.Method() == "BYE" && status < 300 {
		c.end(Ended{Method: "BYE", Reason: req.Get("Reason"), Message: req})
	}
}

// Ring answers an incoming call with 180.
func (c *Call) Ring() {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.state = Ringing
	c.respond(c.invite, 180, "Ringing", "")
}

// EarlyMedia answers with 183 and SDP: the caller hears the phone before the answer.
func (c *Call) EarlyMedia() {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.state = Ringing
	c.respond(c.invite, 183, "Session Progress", c.sdp.String())
	c.audio.agree(c.theirs, c.sdp)
}

// Answer takes an incoming call; it returns before the ACK.
func (c *Call) Answer(headers ...Field) {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	if c.state == Over {
		return
	}
	c.state = accepted
	c.respond(c.invite, 200, "OK", c.sdp.String(), headers...)
	if c.invite.Body != "" {
		c.audio.agree(c.theirs, c.sdp)
	}
}

// Reject refuses an incoming call.
func (c *Call) Reject(status int, reason string, headers ...Field) {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.respond(c.invite, status, reason, "", headers...)
	c.end(Ended{Status: status, ByUs: true})
}

// RefuseOffers lets the next re-INVITEs and UPDATEs fail with these statuses.
func (c *Call) RefuseOffers(status ...int) {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.refusals = append(c.refusals, status...)
}

// Hangup ends the call by what fits its state: CANCEL, 486 or BYE, and waits until that is answered.
func (c *Call) Hangup(headers ...Field) {
	c.phone.t.Helper()
	p := c.phone
	p.mu.Lock()
	var tx *transaction
	switch {
	case c.state == Over:
	case c.outgoing && (c.state == Calling || c.state == Ringing):
		c.cancel()
		tx = c.tx // its 487 ends the call
	case !c.outgoing && (c.state == Incoming || c.state == Ringing):
		c.respond(c.invite, 486, "Busy Here", "")
		c.end(Ended{Status: 486, ByUs: true})
	default:
		tx = c.request("BYE", "", headers)
		c.end(Ended{ByUs: true})
	}
	p.mu.Unlock()
	if tx != nil {
		c.final(tx)
	}
}

// CancelAtOnce sends CANCEL without waiting for any response to the INVITE, nor for its own.
func (c *Call) CancelAtOnce() {
	c.phone.mu.Lock()
	defer c.phone.mu.Unlock()
	c.cancel()
}

// Request sends a request in the dialog and waits for its final response.
func (c *Call) Request(method, body string, headers ...Field) Message {
	c.phone.t.Helper()
	c.phone.mu.Lock()
	tx := c.request(method, body, headers)
	c.phone.mu.Unlock()
	return c.final(tx)
}

func (c *Call) final(tx *transaction) Message {
	c.phone.t.Helper()
	var m Message
	c.phone.await(fmt.Sprintf("%s gets an answer to %s", c.phone.user, tx.req.Method()), func() bool {
		c.phone.mu.Lock()
		defer c.phone.mu.Unlock()
		m = tx.final
		return m.Start != ""
	}, nil)
	return m
}

// Hold puts the other side on hold with direction "sendonly" or "inactive", and returns the answer's direction.
func (c *Call) Hold(direction string) string { c.phone.t.Helper(); return c.reoffer(direction) }

// Unhold takes the other side back.
func (c *Call) Unhold() string { c.phone.t.Helper(); return c.reoffer("sendrecv") }

func (c *Call) reoffer(direction string) string {
	c.phone.t.Helper()
	c.phone.mu.Lock()
	c.sdp.Direction = direction
	c.sdp.Version++
	body := c.sdp.String()
	c.phone.mu.Unlock()
	m := c.Request("INVITE", body)
	if m.Status() != 200 {
		c.phone.t.Fatalf("%s: re-INVITE: %s", c.phone.user, m.Start)
	}
	d, err := ParseSDP(m.Body)
	if err != nil {
		c.phone.t.Fatalf("%s: answer: %v", c.phone.user, err)
	}
	return d.Direction
}

// Play changes what the phone says; it begins with silence.
func (c *Call) Play(s Sound) { c.audio.play(s) }

// SendKeys keys digits as RFC 4733 events and waits until they are sent.
func (c *Call) SendKeys(digits string) {
	c.phone.t.Helper()
	c.sendKeys(digits, nil)
}

// SendKeysLossy keys digits whose first packets and whose end packets are all lost on the way.
func (c *Call) SendKeysLossy(digits string) {
	c.phone.t.Helper()
	c.sendKeys(digits, func(p *press) { p.skipHead, p.skipEnd, p.pauses = true, true, 10 })
}

// SendLongKey holds a key down.
func (c *Call) SendLongKey(key byte, d time.Duration) {
	c.phone.t.Helper()
	c.sendKeys(string(key), func(p *press) { p.packets = int(d / packetTime) })
}

func (c *Call) sendKeys(digits string, edit func(*press)) {
	c.phone.t.Helper()
	if strings.Trim(digits, keypad) != "" {
		c.phone.t.Fatalf("%s: no such keys: %q", c.phone.user, digits)
	}
	if !c.audio.key(digits, edit) {
		c.phone.t.Fatalf("%s: telephone-event was not agreed", c.phone.user)
	}
	c.phone.await(c.phone.user+" has sent its keys", func() bool { return c.audio.keysLeft() == 0 }, nil)
}

// SendInfo keys digits by SIP INFO (application/dtmf-relay).
func (c *Call) SendInfo(digits string) {
	c.phone.t.Helper()
	for _, d := range digits {
		m := c.Request("INFO", fmt.Sprintf("Signal=%c\r\nDuration=160\r\n", d), Field{"Content-Type", "application/dtmf-relay"})
		if m.Status() != 200 {
			c.phone.t.Fatalf("%s: INFO: %s", c.phone.user, m.Start)
		}
	}
}

// RTP sends bytes from the phone's media socket as they are, to where its audio goes.
func (c *Call) RTP(b []byte) error {
	c.audio.mu.Lock()
	to := c.audio.remote
	c.audio.mu.Unlock()
	_, err := c.audio.rtp.WriteToUDPAddrPort(b, to)
	return err
}
