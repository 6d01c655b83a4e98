package transaction

import "strings"

// A glance is what the guard needs to know about a message before it is parsed.
type glance struct {
	callID  string
	request bool
	initial bool // a request other than ACK and CANCEL without a To tag: it would open a transaction outside a dialog
}

// glanceAt finds the Call-ID and the kind of a message without parsing it, in one pass over its header lines. ok is
// false if the message exceeds the limits.
func glanceAt(raw string, g *Guard) (m glance, ok bool) {
	head := raw
	if len(head) > g.HeaderBytes {
		head = head[:g.HeaderBytes]
	}
	end := strings.Index(head, "\r\n\r\n")
	if end >= 0 {
		head = head[:end]
	} else if len(raw) > g.HeaderBytes {
		return m, false
	}
	line, head, _ := strings.Cut(head, "\r\n")
	m.request = len(line) < 4 || !strings.EqualFold(line[:4], "SIP/")
	m.initial = m.request && !strings.HasPrefix(line, "ACK ") && !strings.HasPrefix(line, "CANCEL ")
	for n := 0; head != ""; n++ {
		if n == g.Headers {
			return m, false
		}
		line, head, _ = strings.Cut(head, "\r\n")
		if line == "" {
			continue
		}
		switch line[0] | 0x20 {
		case 'c', 'i':
			if value, ok := fieldValue(line, "Call-ID", "i"); ok && m.callID == "" {
				m.callID = unfolded(value, head)
			}
		case 't':
			if value, ok := fieldValue(line, "To", "t"); ok && m.initial {
				m.initial = !hasTag(value) && !hasTag(continuation(head))
			}
		}
	}
	return m, true
}

// fieldValue is the value of a header line that has one of two names.
func fieldValue(line, long, short string) (string, bool) {
	name, value, ok := strings.Cut(line, ":")
	name = strings.TrimRight(name, " \t")
	if !ok || !strings.EqualFold(name, long) && !strings.EqualFold(name, short) {
		return "", false
	}
	return strings.Trim(value, " \t"), true
}

// unfolded is the Call-ID of a line, or of its continuation if the line has none (RFC 3261 7.3.1).
func unfolded(value, rest string) string {
	if value != "" {
		return value
	}
	return strings.Trim(continuation(rest), " \t")
}

// continuation is the next line if it continues the header.
func continuation(rest string) string {
	if rest == "" || rest[0] != ' ' && rest[0] != '\t' {
		return ""
	}
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

// hasTag tells whether a To value has a tag parameter. It is a guess that is right for every message that parses;
// a wrong guess costs its sender a token of the bucket, no more.
func hasTag(value string) bool {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i:]
	}
	for {
		i := strings.IndexByte(value, ';')
		if i < 0 {
			return false
		}
		value = strings.TrimLeft(value[i+1:], " \t")
		if len(value) >= 3 && strings.EqualFold(value[:3], "tag") {
			return true
		}
	}
}
