package sip

import (
	"iter"
	"net/textproto"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// Limits of headers between applications and the wire.
const (
	maxCustomHeaders = 32
	maxHeaderValue   = 1024
)

// longName is the full name of a compact header (RFC 3261 7.3.3), or name itself.
func longName(name string) string {
	if len(name) != 1 {
		return name
	}
	switch strings.ToLower(name) {
	case "a":
		return "Accept-Contact"
	case "b":
		return "Referred-By"
	case "c":
		return "Content-Type"
	case "d":
		return "Request-Disposition"
	case "e":
		return "Content-Encoding"
	case "f":
		return "From"
	case "i":
		return "Call-ID"
	case "j":
		return "Reject-Contact"
	case "k":
		return "Supported"
	case "l":
		return "Content-Length"
	case "m":
		return "Contact"
	case "n":
		return "Identity-Info"
	case "o":
		return "Event"
	case "r":
		return "Refer-To"
	case "s":
		return "Subject"
	case "t":
		return "To"
	case "u":
		return "Allow-Events"
	case "v":
		return "Via"
	case "x":
		return "Session-Expires"
	case "y":
		return "Identity"
	}
	return name
}

// hasToken reports whether the list header name has token.
func hasToken(msg sip.Message, name, token string) bool {
	return slices.ContainsFunc(transaction.Values(msg, name), func(t string) bool { return strings.EqualFold(t, token) })
}

// splitQuoted cuts s at sep outside quoted strings and angle brackets.
func splitQuoted(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		quoted, bracket, start := false, false, 0
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '<':
				bracket = true
			case c == '>':
				bracket = false
			case c == sep && !bracket:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(s[start:])
	}
}

// quote makes s a quoted-string (RFC 3261 25.1).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// unquote reads a quoted-string; a bare token stays as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return unescape(s[1 : len(s)-1])
}

// unescape resolves the quoted pairs of what stands between quotes.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// sanitize drops control characters, so that what came from the wire cannot break a header or a log line.
func sanitize(s string) string {
	bad := func(r rune) bool { return r < ' ' || r == 0x7f }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return -1
		}
		return r
	}, s)
}

// cleanURI reports whether s can stand in a start-line and between angle brackets.
func cleanURI(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' || r == '"' }) < 0
}

// machinery reports whether a header belongs to SIP itself: an application neither sets nor sees it.
func machinery(name string) bool {
	name = strings.ToLower(longName(name))
	switch name {
	case "via", "from", "to", "call-id", "cseq", "contact", "max-forwards", "route", "record-route", "path", "service-route",
		"require", "supported", "unsupported", "allow", "allow-events", "accept", "accept-encoding",
		"accept-language", "session-expires", "min-se", "rseq", "rack", "event", "subscription-state",
		"refer-to", "referred-by", "refer-sub", "replaces", "join", "target-dialog", "expires", "min-expires", "mime-version",
		"authorization", "www-authenticate", "authentication-info", "timestamp", "retry-after", "warning",
		"user-agent", "server", "date", "info-package", "recv-info", "reason", "in-reply-to", "error-info":
		return true
	}
	return strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "security-")
}

func isToken(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && strings.IndexByte("-.!%*_+`'~", c) < 0 {
			return false
		}
	}
	return true
}

// checkHeaders refuses headers that an application may not set. Its errors are *engine.Error.
func checkHeaders(headers map[string]string) error {
	if len(headers) > maxCustomHeaders {
		return engine.Invalid("/headers", "at most %d headers can be set", maxCustomHeaders)
	}
	for name, v := range headers {
		pointer := "/headers/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(sanitize(name))
		switch {
		case !isToken(name):
			return engine.Invalid(pointer, "a header name is made of letters, digits and \"-.!%%*_+`'~\"")
		case machinery(name):
			return engine.Invalid(pointer, "%s is set by SIP itself", name)
		case len(v) > maxHeaderValue:
			return engine.Invalid(pointer, "a header value has at most %d bytes", maxHeaderValue)
		case sanitize(v) != v:
			return engine.Invalid(pointer, "a header value has no line breaks or other control characters")
		}
	}
	return nil
}

// appendHeaders adds an application's headers in a stable order; what checkHeaders refuses is left out.
func appendHeaders(msg sip.Message, headers map[string]string) {
	if checkHeaders(headers) != nil {
		return
	}
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		msg.AppendHeader(sip.NewHeader(name, headers[name]))
	}
}

// applicationHeaders are the headers of a request that an application sees, name in canonical form; several of one
// name are one list.
func applicationHeaders(req *sip.Request) map[string]string {
	var out map[string]string
	for _, h := range req.Headers() {
		name := h.Name()
		if machinery(name) || len(out) >= 2*maxCustomHeaders {
			continue
		}
		v := sanitize(h.Value())
		if len(v) > 4*maxHeaderValue {
			continue
		}
		if out == nil {
			out = make(map[string]string)
		}
		name = textproto.CanonicalMIMEHeaderKey(longName(name))
		if old, ok := out[name]; ok {
			v = old + ", " + v
		}
		out[name] = v
	}
	return out
}
