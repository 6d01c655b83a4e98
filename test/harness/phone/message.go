package phone

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Message is a SIP message as text: header fields in their order, nothing interpreted. The phone has its own reader
// on purpose: what it judges must not be read by the parser that it judges.
type Message struct {
	Start  string // request line or status line
	Fields []Field
	Body   string
}

// A Field is one header field.
type Field struct{ Name, Value string }

// Parse reads a whole message; its body is what follows the empty line, cut to Content-Length if there is one.
func Parse(b []byte) (Message, error) {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return Message{}, errors.New("phone: a message without an empty line")
	}
	lines := strings.Split(string(head), "\r\n")
	m := Message{Start: lines[0], Body: string(body)}
	for _, l := range lines[1:] {
		if (strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t")) && len(m.Fields) > 0 {
			m.Fields[len(m.Fields)-1].Value += " " + strings.TrimSpace(l) // RFC 3261 7.3.1: folded
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			return Message{}, fmt.Errorf("phone: header line without a colon: %q", l)
		}
		m.Fields = append(m.Fields, Field{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	if n, err := strconv.Atoi(m.Get("Content-Length")); err == nil && n >= 0 && n < len(m.Body) {
		m.Body = m.Body[:n]
	}
	if !strings.Contains(m.Start, "SIP/2.0") {
		return Message{}, fmt.Errorf("phone: not a SIP start line: %q", m.Start)
	}
	return m, nil
}

// String is the message as it goes over the wire, with its Content-Length.
func (m Message) String() string {
	var b strings.Builder
	b.WriteString(m.Start + "\r\n")
	for _, f := range m.Fields {
		if long(f.Name) != "content-length" {
			b.WriteString(f.Name + ": " + f.Value + "\r\n")
		}
	}
	b.WriteString("Content-Length: " + strconv.Itoa(len(m.Body)) + "\r\n\r\n" + m.Body)
	return b.String()
}

// long is a field's name in lower case and long form (RFC 3261 7.3.3, 20).
func long(name string) string {
	switch name = strings.ToLower(name); name {
	case "i":
		return "call-id"
	case "m":
		return "contact"
	case "e":
		return "content-encoding"
	case "l":
		return "content-length"
	case "c":
		return "content-type"
	case "f":
		return "from"
	case "s":
		return "subject"
	case "k":
		return "supported"
	case "t":
		return "to"
	case "v":
		return "via"
	case "x":
		return "session-expires"
	}
	return name
}

// Get is the first field of that name, "" if there is none.
func (m Message) Get(name string) string {
	for _, f := range m.Fields {
		if long(f.Name) == long(name) {
			return f.Value
		}
	}
	return ""
}

// All are the values of that name in order, with lists (Via, Record-Route, Route) taken apart.
func (m Message) All(name string) []string {
	var out []string
	for _, f := range m.Fields {
		if long(f.Name) != long(name) {
			continue
		}
		switch long(name) {
		case "via", "record-route", "route", "contact":
			out = append(out, list(f.Value)...)
		default:
			out = append(out, f.Value)
		}
	}
	return out
}

// list splits at commas that stand outside of quotes and angle brackets.
func list(s string) []string {
	var out []string
	start, quoted, angle := 0, false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			angle = true
		case c == '>':
			angle = false
		case c == ',' && !angle:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// Add appends a field.
func (m *Message) Add(name, value string) { m.Fields = append(m.Fields, Field{name, value}) }

// Set replaces a field, or appends it.
func (m *Message) Set(name, value string) {
	for i, f := range m.Fields {
		if long(f.Name) == long(name) {
			m.Fields[i].Value = value
			return
		}
	}
	m.Add(name, value)
}

// Method of a request, "" for a response.
func (m Message) Method() string {
	if m.Status() != 0 {
		return ""
	}
	method, _, _ := strings.Cut(m.Start, " ")
	return method
}

// URI is a request's Request-URI.
func (m Message) URI() string {
	parts := strings.Fields(m.Start)
	if len(parts) != 3 || m.Status() != 0 {
		return ""
	}
	return parts[1]
}

// Status of a response, 0 for a request.
func (m Message) Status() int {
	rest, ok := strings.CutPrefix(m.Start, "SIP/2.0 ")
	if !ok {
		return 0
	}
	code, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.Atoi(code)
	return n
}

// CSeq is the number and method of that field.
func (m Message) CSeq() (int, string) {
	n, method, _ := strings.Cut(m.Get("CSeq"), " ")
	i, _ := strconv.Atoi(n)
	return i, strings.TrimSpace(method)
}

// Branch is the branch of the topmost Via.
func (m Message) Branch() string {
	if v := m.All("Via"); len(v) > 0 {
		return param(v[0], "branch")
	}
	return ""
}

// param finds ;name=value behind the angle brackets of a field's value.
func param(value, name string) string {
	if i := strings.LastIndexByte(value, '>'); i >= 0 {
		value = value[i+1:]
	}
	for p := range strings.SplitSeq(value, ";") {
		n, v, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

// uri is what stands in the angle brackets of a field's value, or the value up to its parameters.
func uri(value string) string {
	if i := strings.IndexByte(value, '<'); i >= 0 {
		if j := strings.IndexByte(value[i:], '>'); j > 0 {
			return value[i+1 : i+j]
		}
	}
	u, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(u)
}
