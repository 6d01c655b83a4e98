package transaction

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Header is the value of the first header named name, in its long or compact form; "" if there is none.
func Header(m sip.Message, name string) string {
	for _, h := range headersOf(m) {
		if sameName(h.Name(), name) {
			return h.Value()
		}
	}
	return ""
}

// Headers are the values of all headers named name, in order, one for each header line.
func Headers(m sip.Message, name string) []string {
	var values []string
	for _, h := range headersOf(m) {
		if sameName(h.Name(), name) {
			values = append(values, h.Value())
		}
	}
	return values
}

// Values are the comma-separated elements of all headers named name, trimmed and none empty. Commas in quotes or <> do
// not separate.
func Values(m sip.Message, name string) []string {
	var values []string
	for _, list := range Headers(m, name) {
		for more := true; more; {
			var one string
			if one, list, more = cutElement(list); one != "" {
				values = append(values, one)
			}
		}
	}
	return values
}

func headersOf(m sip.Message) []sip.Header {
	switch m := m.(type) {
	case *sip.Request:
		return m.Headers()
	case *sip.Response:
		return m.Headers()
	}
	return nil
}

func sameName(a, b string) bool {
	return strings.EqualFold(a, b) || len(a) != len(b) && strings.EqualFold(longName(a), longName(b))
}

// longName is the long form of a compact header name (IANA, SIP header fields), any other name unchanged.
func longName(name string) string {
	if len(name) != 1 {
		return name
	}
	switch name[0] | 0x20 {
	case 'a':
		return "Accept-Contact"
	case 'b':
		return "Referred-By"
	case 'c':
		return "Content-Type"
	case 'd':
		return "Request-Disposition"
	case 'e':
		return "Content-Encoding"
	case 'f':
		return "From"
	case 'i':
		return "Call-ID"
	case 'j':
		return "Reject-Contact"
	case 'k':
		return "Supported"
	case 'l':
		return "Content-Length"
	case 'm':
		return "Contact"
	case 'n':
		return "Identity-Info"
	case 'o':
		return "Event"
	case 'r':
		return "Refer-To"
	case 's':
		return "Subject"
	case 't':
		return "To"
	case 'u':
		return "Allow-Events"
	case 'v':
		return "Via"
	case 'x':
		return "Session-Expires"
	case 'y':
		return "Identity"
	}
	return name
}
