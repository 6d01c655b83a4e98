package transaction

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

var errURI = errors.New("malformed URI")

// parseURI reads a URI of any scheme (RFC 3261 19.1). SIP URIs must have a host. Parameters and headers are split here:
// the sip package takes a header for a part of the last parameter.
func parseURI(text string, uri *sip.Uri) error {
	if text == "*" {
		uri.Host, uri.Wildcard = "*", true
		return nil
	}
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || !isScheme(scheme) || rest == "" || strings.ContainsAny(text, " \t<>\"") {
		return errURI
	}
	if !isSIPScheme(scheme) {
		return sip.ParseUri(text, uri)
	}
	host := len(scheme) + 1 + max(0, strings.IndexByte(rest, '@'))
	end := len(text)
	if i := strings.IndexAny(text[host:], ";?"); i >= 0 {
		end = host + i
	}
	if err := sip.ParseUri(text[:end], uri); err != nil {
		return err
	}
	if !isHost(uri.Host) || uri.Port < 0 || uri.Port > 65535 {
		return errURI
	}
	params, headers, _ := strings.Cut(text[end:], "?")
	addPairs(params, ";", &uri.UriParams)
	addPairs(headers, "&", &uri.Headers)
	return nil
}

// addPairs adds the "name=value" that stand in list between separators.
func addPairs(list, separator string, to *sip.HeaderParams) {
	for list != "" {
		var pair string
		pair, list, _ = strings.Cut(list, separator)
		if name, value, _ := strings.Cut(pair, "="); name != "" {
			to.Add(name, value)
		}
	}
}

// isHost tells whether s is a host name, an IPv4 address or an IPv6 address in brackets. Names are not judged further.
func isHost(s string) bool {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		ip, err := netip.ParseAddr(s[1 : len(s)-1])
		return err == nil && ip.Is6()
	}
	return isToken(s)
}

func isSIPScheme(scheme string) bool {
	return strings.EqualFold(scheme, "sip") || strings.EqualFold(scheme, "sips")
}

// isScheme tells whether s is a scheme of RFC 3261 25.1.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// parseAddress reads a name-addr or addr-spec with header parameters (RFC 3261 20.10). The display name stays escaped.
func parseAddress(text string, display *string, uri *sip.Uri, params *sip.HeaderParams) bool {
	text = strings.Trim(text, " \t")
	name, rest := "", text
	if strings.HasPrefix(text, `"`) {
		end := quotedEnd(text)
		if end < 0 {
			return false
		}
		name, rest = text[1:end], strings.TrimLeft(text[end+1:], " \t")
		if !strings.HasPrefix(rest, "<") {
			return false
		}
	} else if i := strings.IndexByte(text, '<'); i >= 0 {
		name, rest = strings.TrimRight(text[:i], " \t"), text[i:]
		if !isDisplayName(name) {
			return false
		}
	}
	var spec, tail string
	if strings.HasPrefix(rest, "<") {
		end := strings.IndexByte(rest, '>')
		if end < 0 {
			return false
		}
		spec, tail = rest[1:end], strings.TrimLeft(rest[end+1:], " \t")
		if tail != "" && tail[0] != ';' {
			return false
		}
	} else {
		// Without <> what follows ';' belongs to the header, and '?' may not stand there.
		spec, tail = cutParams(rest)
		if strings.Contains(spec, "?") {
			return false
		}
	}
	*display = name
	return parseURI(spec, uri) == nil && parseParams(tail, params)
}

// isDisplayName tells whether s is a display name without quotes: tokens and white space. Bytes beyond ASCII are let
// through, as phones send them.
func isDisplayName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x80 && c != ' ' && c != '\t' && !isToken(s[i:i+1]) {
			return false
		}
	}
	return true
}

// cutParams cuts text before its first ';' outside quotes.
func cutParams(text string) (head, params string) {
	if i := indexOutside(text, ';'); i >= 0 {
		return strings.TrimRight(text[:i], " \t"), text[i:]
	}
	return text, ""
}

// parseParams reads ";name=value;name" into params. A quoted value that the sip package would quote again when it
// writes (one with white space) loses its quotes.
func parseParams(text string, params *sip.HeaderParams) bool {
	for text != "" {
		if text[0] != ';' {
			return false
		}
		text = text[1:]
		part := text
		if i := indexOutside(text, ';'); i >= 0 {
			part, text = text[:i], text[i:]
		} else {
			text = ""
		}
		name, value, _ := strings.Cut(part, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if name == "" {
			if value != "" {
				return false
			}
			continue // ";;" and a last ";" are sent by some
		}
		if strings.ContainsAny(name, " \t\"") {
			return false
		}
		if strings.HasPrefix(value, `"`) {
			end := quotedEnd(value)
			if end != len(value)-1 {
				return false
			}
			if strings.ContainsAny(value, " \t") {
				value = value[1:end]
			}
		} else if strings.ContainsAny(value, " \t\"") {
			return false
		}
		params.Add(sip.ASCIIToLower(name), value)
	}
	return true
}

// quotedEnd is the index of the quote that closes the quoted string at the start of text, or -1.
func quotedEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// indexOutside is the index of c in text outside quoted strings and <>, or -1.
func indexOutside(text string, c byte) int {
	inside := false
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"' && !inside:
			end := quotedEnd(text[i:])
			if end < 0 {
				return -1
			}
			i += end
		case text[i] == '<':
			inside = true
		case text[i] == '>':
			inside = false
		case text[i] == c && !inside:
			return i
		}
	}
	return -1
}

// vias reads a Via header, which may hold several values (RFC 3261 20.42).
func (p *parser) vias(value string) *fault {
	p.once(seenVia)
	for more := true; more; {
		var one string
		one, value, more = cutElement(value)
		via := &sip.ViaHeader{}
		if !parseVia(one, via) {
			return badRequest("malformed Via")
		}
		p.msg.AppendHeader(via)
	}
	return nil
}

// cutElement cuts the first element of a comma-separated list.
func cutElement(list string) (element, rest string, more bool) {
	if i := indexOutside(list, ','); i >= 0 {
		return strings.Trim(list[:i], " \t"), strings.Trim(list[i+1:], " \t"), true
	}
	return strings.Trim(list, " \t"), "", false
}

// parseVia reads "SIP / 2.0 / UDP host : port ; params".
func parseVia(text string, via *sip.ViaHeader) bool {
	name, rest, ok1 := strings.Cut(text, "/")
	version, rest, ok2 := strings.Cut(rest, "/")
	rest = strings.TrimLeft(rest, " \t")
	i := strings.IndexAny(rest, " \t")
	if !ok1 || !ok2 || i < 0 {
		return false
	}
	via.ProtocolName, via.ProtocolVersion, via.Transport = strings.Trim(name, " \t"), strings.Trim(version, " \t"), rest[:i]
	if !strings.EqualFold(via.ProtocolName, "SIP") || !isToken(via.ProtocolVersion) || !isToken(via.Transport) {
		return false
	}
	sentBy, params := cutParams(strings.TrimLeft(rest[i:], " \t"))
	return parseSentBy(sentBy, via) && parseParams(params, &via.Params)
}

func parseSentBy(text string, via *sip.ViaHeader) bool {
	host, port := text, ""
	if strings.HasPrefix(text, "[") {
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return false
		}
		host, port = text[:end+1], strings.TrimLeft(text[end+1:], " \t")
	} else if i := strings.IndexByte(text, ':'); i >= 0 {
		host, port = strings.TrimRight(text[:i], " \t"), text[i:]
	}
	if !isHost(host) {
		return false
	}
	via.Host = strings.Trim(host, "[]") // as the sip package has it
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(strings.Trim(strings.TrimPrefix(port, ":"), " \t"), 10, 16)
	via.Port = int(n)
	return err == nil && n > 0 && port[0] == ':'
}

// addresses reads a header of addresses in a comma-separated list.
func (p *parser) addresses(name, value string) *fault {
	name = longName(name)
	for more := true; more; {
		var (
			one, display string
			uri          sip.Uri
			params       sip.HeaderParams
		)
		one, value, more = cutElement(value)
		if !parseAddress(one, &display, &uri, &params) || uri.Wildcard && !strings.EqualFold(name, "Contact") {
			return badRequest("malformed " + name)
		}
		switch {
		case strings.EqualFold(name, "Contact"):
			p.msg.AppendHeader(&sip.ContactHeader{DisplayName: display, Address: uri, Params: params})
		case strings.EqualFold(name, "Route"):
			p.msg.AppendHeader(&sip.RouteHeader{Address: uri})
		case strings.EqualFold(name, "Record-Route"):
			p.msg.AppendHeader(&sip.RecordRouteHeader{Address: uri})
		case strings.EqualFold(name, "Refer-To"):
			p.msg.AppendHeader(&sip.ReferToHeader{Address: uri})
		default:
			p.msg.AppendHeader(&sip.ReferredByHeader{DisplayName: display, Address: uri, Params: params})
		}
	}
	return nil
}
