package transaction

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Reasons for which a stream cannot be split any further; the connection must be closed.
var (
	errStreamHeader = errors.New("headers exceed the limit")
	errStreamLength = errors.New("no usable Content-Length")
	errStreamBody   = errors.New("message exceeds the limit")
	errStreamSyntax = errors.New("stray CR between messages")
)

// A splitter cuts a stream into messages by Content-Length (RFC 3261 18.3), whatever the chunks are that it comes in.
type splitter struct {
	guard   *Guard
	buf     []byte
	scanned int  // bytes of buf that hold no end of headers
	need    int  // length of the message whose headers are whole, else 0
	crlf    bool // one CRLF was seen since the last message
}

func (s *splitter) add(chunk []byte) { s.buf = append(s.buf, chunk...) }

// pending tells whether a message has begun.
func (s *splitter) pending() bool { return len(s.buf) > 0 }

// next gives the next whole message, or "" if more bytes are needed. ping is a keep-alive (CRLF CRLF) that wants a CRLF
// back (RFC 5626 3.5.1). After an error raw holds the headers of the bad message, if they were whole.
func (s *splitter) next() (raw string, ping bool, err error) {
	for len(s.buf) > 0 && s.buf[0] == '\r' {
		if len(s.buf) == 1 {
			return "", false, nil
		}
		if s.buf[1] != '\n' {
			return "", false, errStreamSyntax
		}
		s.drop(2)
		if s.crlf = !s.crlf; !s.crlf {
			return "", true, nil
		}
	}
	if len(s.buf) == 0 {
		return "", false, nil
	}
	s.crlf = false
	if s.need == 0 {
		if head, err := s.measure(); err != nil || s.need == 0 {
			return head, false, err
		}
	}
	if len(s.buf) < s.need {
		return "", false, nil
	}
	raw = string(s.buf[:s.need])
	s.drop(s.need)
	return raw, false, nil
}

// measure sets need once the headers are whole.
func (s *splitter) measure() (head string, err error) {
	end := bytes.Index(s.buf[s.scanned:], []byte("\r\n\r\n"))
	if end < 0 {
		s.scanned = max(0, len(s.buf)-3)
		if s.scanned > s.guard.HeaderBytes {
			return "", errStreamHeader
		}
		return "", nil
	}
	end += s.scanned
	if end > s.guard.HeaderBytes {
		return "", errStreamHeader
	}
	head = string(s.buf[:end+4])
	length, ok := bodyLength(head)
	switch {
	case !ok:
		return head, errStreamLength
	case length > s.guard.MessageBytes-len(head):
		return head, errStreamBody
	}
	s.need = len(head) + length
	return "", nil
}

// drop takes n bytes off the front. The rest is moved, not sliced, so that the buffer does not grow without end.
func (s *splitter) drop(n int) {
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	s.scanned, s.need = 0, 0
}

// bodyLength is the one value of the Content-Length headers.
func bodyLength(head string) (n int, ok bool) {
	_, fields, _ := strings.Cut(head, "\r\n")
	for fields != "" && !strings.HasPrefix(fields, "\r\n") {
		var field string
		field, fields = nextField(fields)
		if field == "" || field[0]|0x20 != 'c' && field[0]|0x20 != 'l' {
			continue
		}
		value, found := fieldValue(field, "Content-Length", "l")
		if !found {
			continue
		}
		v, err := strconv.ParseUint(value, 10, 31)
		if err != nil || ok && int(v) != n {
			return 0, false
		}
		n, ok = int(v), true
	}
	return n, ok
}
