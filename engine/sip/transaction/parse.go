package transaction

import (
	"math"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// A fault is what is wrong with a message, as the status and reason phrase of the response to it.
type fault struct {
	status int
	reason string
}

func (f *fault) Error() string { return strconv.Itoa(f.status) + " " + f.reason }

func badRequest(reason string) *fault { return &fault{sip.StatusBadRequest, "Bad Request: " + reason} }

// parse reads one whole message (RFC 3261 7). With a fault the message holds what could be read, so that a request can
// be answered if its Via, From, To, Call-ID and CSeq are there; it is nil if raw is not SIP at all. Header names in
// compact form become long ones, names of parameters become lower case, bytes of a datagram after the body are dropped.
func parse(raw string) (sip.Message, *fault) {
	head, body, whole := strings.Cut(raw, "\r\n\r\n")
	line, fields, _ := strings.Cut(head, "\r\n")
	msg, bad := parseStartLine(line)
	if msg == nil {
		return nil, bad
	}
	if !whole {
		bad = first(bad, badRequest("no empty line after the headers"))
	}
	lines := strings.Count(head, "\r\n")
	if strings.Count(head, "\n") != lines || strings.Count(head, "\r") != lines || strings.IndexByte(head, 0) >= 0 {
		return msg, first(bad, badRequest("CR, LF or NUL within a line"))
	}
	p := parser{msg: msg, length: -1}
	for fields != "" {
		var field string
		field, fields = nextField(fields)
		bad = first(bad, p.field(field))
	}
	switch {
	case p.length < 0:
		p.length = len(body)
	case p.length > len(body):
		bad = first(bad, badRequest("Content-Length exceeds the message"))
		p.length = len(body)
	}
	if p.length > 0 {
		msg.SetBody([]byte(body[:p.length]))
	} else if p.seen&seenLength == 0 {
		msg.SetBody(nil)
	}
	return msg, first(bad, p.validate())
}

// A parser collects the headers of one message.
type parser struct {
	msg    sip.Message
	length int  // Content-Length, -1 without
	seen   seen // the headers that may stand once only
}

type seen uint8

const (
	seenVia seen = 1 << iota
	seenFrom
	seenTo
	seenCallID
	seenCSeq
	seenMaxForwards
	seenLength
)

// once notes the header s and tells whether it is the first of its kind.
func (p *parser) once(s seen) bool {
	was := p.seen & s
	p.seen |= s
	return was == 0
}

// first keeps the fault that was found first.
func first(a, b *fault) *fault {
	if a != nil {
		return a
	}
	return b
}

// nextField cuts one header field with its continuation lines, which are unfolded (RFC 3261 7.3.1).
func nextField(fields string) (field, rest string) {
	field, rest, _ = strings.Cut(fields, "\r\n")
	for rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
		var more string
		more, rest, _ = strings.Cut(rest, "\r\n")
		field = strings.TrimRight(field, " \t") + " " + strings.Trim(more, " \t")
	}
	return field, rest
}

func parseStartLine(line string) (sip.Message, *fault) {
	if len(line) >= 4 && strings.EqualFold(line[:4], "SIP/") {
		return parseStatusLine(line)
	}
	method, rest, ok1 := strings.Cut(line, " ")
	uri, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) {
		return nil, badRequest("malformed request line")
	}
	var recipient sip.Uri
	bad := parseRequestURI(uri, &recipient)
	req := sip.NewRequest(sip.RequestMethod(method), recipient)
	if !strings.EqualFold(version, "SIP/2.0") {
		if !strings.HasPrefix(version, "SIP/") || strings.Contains(version, " ") {
			bad = first(bad, badRequest("malformed request line"))
		}
		bad = first(bad, &fault{sip.StatusVersionNotSupported, "Version Not Supported"})
	}
	return req, bad
}

func parseRequestURI(text string, uri *sip.Uri) *fault {
	if err := parseURI(text, uri); err != nil {
		if scheme, _, ok := strings.Cut(text, ":"); ok && isScheme(scheme) && !isSIPScheme(scheme) {
			return &fault{416, "Unsupported URI Scheme"}
		}
		return badRequest("malformed Request-URI")
	}
	if uri.Wildcard || len(uri.Headers) > 0 { // RFC 3261 19.1.1: no headers in a Request-URI
		return badRequest("malformed Request-URI")
	}
	return nil
}

func parseStatusLine(line string) (sip.Message, *fault) {
	version, rest, _ := strings.Cut(line, " ")
	code, reason, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if err != nil || len(code) != 3 || status < 100 || status > 699 {
		return nil, badRequest("malformed status line")
	}
	res := sip.NewResponse(int(status), reason)
	if !strings.EqualFold(version, "SIP/2.0") {
		return res, &fault{sip.StatusVersionNotSupported, "Version Not Supported"}
	}
	return res, nil
}

// field adds one header field to the message.
func (p *parser) field(field string) *fault {
	name, value, ok := strings.Cut(field, ":")
	name = strings.TrimRight(name, " \t")
	if !ok || !isToken(name) {
		return badRequest("malformed header")
	}
	value = strings.Trim(value, " \t")
	var buf [20]byte // no name that is known here is longer
	switch string(lower(&buf, name)) {
	case "via", "v":
		return p.vias(value)
	case "from", "f":
		h := &sip.FromHeader{}
		if !p.once(seenFrom) || !parseAddress(value, &h.DisplayName, &h.Address, &h.Params) || h.Address.Wildcard {
			return badRequest("malformed From")
		}
		p.msg.AppendHeader(h)
	case "to", "t":
		h := &sip.ToHeader{}
		if !p.once(seenTo) || !parseAddress(value, &h.DisplayName, &h.Address, &h.Params) || h.Address.Wildcard {
			return badRequest("malformed To")
		}
		p.msg.AppendHeader(h)
	case "call-id", "i":
		h := sip.CallIDHeader(value)
		if !p.once(seenCallID) || value == "" || strings.ContainsAny(value, " \t,;") {
			return badRequest("malformed Call-ID")
		}
		p.msg.AppendHeader(&h)
	case "cseq":
		return p.cseq(value)
	case "max-forwards":
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil || !p.once(seenMaxForwards) {
			return badRequest("malformed Max-Forwards")
		}
		h := sip.MaxForwardsHeader(n)
		p.msg.AppendHeader(&h)
	case "content-length", "l":
		return p.contentLength(value)
	case "content-type", "c":
		h := sip.ContentTypeHeader(value)
		p.msg.AppendHeader(&h)
	case "contact", "m", "route", "record-route", "refer-to", "r", "referred-by", "b":
		return p.addresses(name, value)
	default:
		p.msg.AppendHeader(sip.NewHeader(longName(name), value))
	}
	return nil
}

// lower is name in lower case, or empty if it is longer than any name that matters.
func lower(buf *[20]byte, name string) []byte {
	if len(name) > len(buf) {
		return nil
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)]
}

func (p *parser) cseq(value string) *fault {
	number, method := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		number, method = value[:i], strings.TrimLeft(value[i:], " \t")
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n > math.MaxInt32 || !isToken(method) || !p.once(seenCSeq) { // 8.1.1.5: below 2**31
		return badRequest("malformed CSeq")
	}
	p.msg.AppendHeader(&sip.CSeqHeader{SeqNo: uint32(n), MethodName: sip.RequestMethod(method)})
	return nil
}

// contentLength takes the same value twice as one (some send it so).
func (p *parser) contentLength(value string) *fault {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil || p.length >= 0 && p.length != int(n) {
		return badRequest("malformed Content-Length")
	}
	if p.once(seenLength) {
		p.length = int(n)
		h := sip.ContentLengthHeader(n)
		p.msg.AppendHeader(&h)
	}
	return nil
}

// validate checks the headers that every message must have (RFC 3261 8.1.1 and 8.2). A missing Max-Forwards is
// accepted: clients of RFC 2543 do not send it.
func (p *parser) validate() *fault {
	switch {
	case p.seen&seenVia == 0:
		return badRequest("no Via")
	case p.seen&seenFrom == 0:
		return badRequest("no From")
	case p.seen&seenTo == 0:
		return badRequest("no To")
	case p.seen&seenCallID == 0:
		return badRequest("no Call-ID")
	case p.seen&seenCSeq == 0:
		return badRequest("no CSeq")
	}
	// A fault in one of them may have left it out; that fault is reported already.
	if req, ok := p.msg.(*sip.Request); ok && req.CSeq() != nil && req.Method != req.CSeq().MethodName {
		return badRequest("CSeq is of another method")
	}
	return nil
}

// isToken tells whether s is a token of RFC 3261 25.1.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' {
			continue
		}
		switch c {
		case '-', '.', '!', '%', '*', '_', '+', '`', '\'', '~':
		default:
			return false
		}
	}
	return s != ""
}
