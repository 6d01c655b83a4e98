package sip

import (
	"slices"
	"strings"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// traceAfter is how long the messages of a leg are told after it is over: those that end its transactions.
const traceAfter = 2 * time.Second

// Trace implements engine.Tracer.
func (l *Leg) Trace(t *engine.Trail) { l.trail.Trace(t) }

// follow lets the messages of a Call-ID be told to t, until unfollow.
func (d *Door) follow(callID string, t *engine.Tracing) {
	if !d.o.Trail {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.traced[callID] = append(slices.Clip(d.traced[callID]), t)
}

func (d *Door) unfollow(callID string, t *engine.Tracing) {
	if !d.o.Trail {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var rest []*engine.Tracing
	for _, other := range d.traced[callID] {
		if other != t {
			rest = append(rest, other)
		}
	}
	if d.traced[callID] = rest; len(rest) == 0 {
		delete(d.traced, callID)
	}
}

// trace tells a message to the legs of its Call-ID.
func (d *Door) trace(m transaction.Trace) {
	d.mu.Lock()
	list := d.traced[m.CallID]
	d.mu.Unlock()
	if len(list) == 0 {
		return
	}
	e := entry(m)
	for _, t := range list {
		t.Note(e)
	}
}

func entry(m transaction.Trace) engine.TrailEntry {
	e := engine.TrailEntry{
		At: m.Time.UTC(), Kind: engine.TrailKindSIP, Direction: engine.TrailIn,
		SIP: &engine.TrailSIP{Transport: m.Transport, Remote: m.Remote.String(), Message: withoutSecrets(m.Raw)},
	}
	if m.Sent {
		e.Direction = engine.TrailOut
	}
	return e
}

// removed stands in the place of what was secret.
const removed = "removed"

// withoutSecrets is a message without credentials (RFC 8760, 7616), keys of SRTP (RFC 4568) and passwords of ICE (RFC 8839).
func withoutSecrets(raw string) string {
	var out strings.Builder
	written, hiding := 0, false // hiding: a header with credentials goes on in the next line if that is indented
	for at := 0; at < len(raw); {
		end := strings.IndexByte(raw[at:], '\n')
		if end < 0 {
			end = len(raw) - at - 1
		}
		end += at + 1
		line := raw[at:end]
		hiding = hiding && line[0] != '\r' && (line[0] == ' ' || line[0] == '\t') || credentials(line)
		if clean := cleanLine(line, hiding); clean != line {
			out.WriteString(raw[written:at])
			out.WriteString(clean)
			written = end
		}
		at = end
	}
	if written == 0 {
		return raw
	}
	out.WriteString(raw[written:])
	return out.String()
}

// credentials reports whether a line begins a header that proves who somebody is.
func credentials(line string) bool {
	if line[0]|0x20 != 'a' && line[0]|0x20 != 'p' {
		return false
	}
	name, _, found := strings.Cut(line, ":")
	if !found {
		return false
	}
	switch strings.ToLower(strings.TrimRight(name, " \t")) {
	case "authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info":
		return true
	}
	return false
}

// cleanLine is a line without its secrets; hiding says that it is of a header with credentials.
func cleanLine(line string, hiding bool) string {
	switch {
	case hiding:
		return hide(line)
	case strings.HasPrefix(line, "a=crypto:"):
		if suite, _, found := strings.Cut(line, "inline:"); found {
			return suite + "inline:" + removed + ending(line)
		}
	case strings.HasPrefix(line, "a=ice-pwd:"):
		return "a=ice-pwd:" + removed + ending(line)
	case strings.HasPrefix(line, "k="):
		return "k=" + removed + ending(line)
	}
	return line
}

func ending(line string) string { return line[len(strings.TrimRight(line, "\r\n")):] }

// hide leaves of credentials what is said in the clear of a digest; of others nothing but the scheme.
func hide(line string) string {
	name, value, begins := strings.Cut(line, ":")
	if !begins || strings.ContainsAny(name, " \t\"=") && strings.TrimRight(name, " \t") != strings.TrimSpace(name) {
		name, value, begins = "", line, false
	}
	scheme, params, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	if begins && !strings.EqualFold(scheme, "Digest") && !strings.Contains(scheme, "=") {
		return name + ": " + scheme + " " + removed + ending(line)
	}
	if !begins || strings.Contains(scheme, "=") {
		scheme, params = "", strings.TrimSpace(value)
	}
	var kept []string
	for p := range strings.SplitSeq(strings.TrimRight(params, "\r\n"), ",") {
		key, _, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(key) {
		case "username", "realm", "uri", "algorithm", "qop", "nc", "nonce":
			kept = append(kept, strings.TrimSpace(p))
		}
	}
	kept = append(kept, `response="`+removed+`"`)
	prefix := " "
	if begins {
		prefix = name + ": "
	}
	if scheme != "" {
		prefix += scheme + " "
	}
	return prefix + strings.Join(kept, ", ") + ending(line)
}
