package engine

import (
	"encoding/json"
	"fmt"
	"strings"
)

// fill replaces the placeholders in an instruction's strings and checks the result: {from} {to} {from_user} {to_user}
// {call_id} {session_id} {digits}. What a caller chose is escaped, so that it stays one part of an address or a URL.
func (c *Call) fill(a Action) (Action, error) {
	raw, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if strings.IndexByte(string(raw[1:]), '{') >= 0 {
		var params map[string]any
		if err := json.Unmarshal(raw, &params); err != nil {
			return nil, err
		}
		filled, err := json.Marshal(replaceIn(params, c.placeholder))
		if err != nil {
			return nil, err
		}
		if a, err = DecodeAction(a.Name(), filled); err != nil {
			return nil, err
		}
	}
	return a, Validate(a)
}

func (c *Call) placeholder(name string) (string, bool) {
	switch name {
	case "from":
		return c.from.URI, true
	case "to":
		return c.to.URI, true
	case "from_user":
		return escape(c.from.User()), true
	case "to_user":
		return escape(c.to.User()), true
	case "call_id":
		return c.info.ID, true
	case "session_id":
		return c.info.SessionID, true
	case "digits":
		return c.program.digits, true // 0-9*#A-D
	}
	return "", false
}

// replaceIn walks a JSON value. A brace that encloses no known name stays as it is.
func replaceIn(v any, value func(string) (string, bool)) any {
	switch v := v.(type) {
	case string:
		return replaceString(v, value)
	case map[string]any:
		for k, e := range v {
			v[k] = replaceIn(e, value)
		}
	case []any:
		for i, e := range v {
			v[i] = replaceIn(e, value)
		}
	}
	return v
}

func replaceString(s string, value func(string) (string, bool)) string {
	var out strings.Builder
	for {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(s[open:], '}')
		if end < 0 {
			break
		}
		out.WriteString(s[:open])
		if v, ok := value(s[open+1 : open+end]); ok {
			out.WriteString(v)
			s = s[open+end+1:]
			continue
		}
		out.WriteByte('{')
		s = s[open+1:]
	}
	out.WriteString(s)
	return out.String()
}

// escape keeps the characters that are plain in the user part of a SIP URI and in a URL, and encodes the others.
func escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		b := s[i]
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', strings.IndexByte("-_.+*~", b) >= 0:
			out.WriteByte(b)
		default:
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}
