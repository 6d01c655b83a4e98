package engine

import (
	"net/url"
	"strings"
)

// An Address names a party: "sip:bob@example.com", "sips:…", "tel:+4930123", "+4930123", "client:alice".
type Address struct {
	URI  string // as given, without display name; a bare number keeps its "+"
	Name string // display name, may be empty
}

// ParseAddress takes an address as customers write it, with an optional display name: `Bob <sip:bob@example.com>`.
func ParseAddress(s string) (Address, error) {
	s = strings.TrimSpace(s)
	var a Address
	if i := strings.LastIndexByte(s, '<'); i >= 0 && strings.HasSuffix(s, ">") {
		a.Name, s = strings.Trim(strings.TrimSpace(s[:i]), `"`), s[i+1:len(s)-1]
	}
	a.URI = s
	if len(s) > 512 || strings.ContainsAny(s, " \"") || strings.ContainsAny(s+a.Name, "\r\n\t<>\"\\\x00") {
		return Address{}, Errorf(CodeValidation, "the address has characters that no address has, or over 512 of them")
	}
	switch a.Scheme() {
	case "sip", "sips":
		if a.Host() == "" {
			return Address{}, Errorf(CodeValidation, "%q has no host: write sip:user@host", s)
		}
	case "tel", "client":
		if a.User() == "" {
			return Address{}, Errorf(CodeValidation, "%q names nobody", s)
		}
	default:
		return Address{}, Errorf(CodeValidation, "%q is no address: write sip:user@host, +4930123 or client:name", s)
	}
	return a, nil
}

// Scheme is "sip", "sips", "tel", "client", or "" if URI has none of them. A bare number is "tel".
func (a Address) Scheme() string {
	scheme, _, ok := strings.Cut(a.URI, ":")
	if !ok {
		if strings.HasPrefix(a.URI, "+") && strings.Trim(a.URI[1:], "0123456789") == "" && len(a.URI) > 1 {
			return "tel"
		}
		return ""
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "sip", "sips", "tel", "client":
		return scheme
	}
	return ""
}

// User is the part that names the party: the user of a SIP URI (unescaped, "" if it has none), the number, the
// identity of a client.
func (a Address) User() string {
	rest := a.rest()
	if s := a.Scheme(); s == "sip" || s == "sips" {
		user, _, ok := strings.Cut(rest, "@")
		if !ok {
			return ""
		}
		user, _, _ = strings.Cut(user, ":") // a password is nobody's name
		user, _, _ = strings.Cut(user, ";") // RFC 3966 parameters in the user part
		if u, err := url.PathUnescape(user); err == nil {
			return u
		}
		return user
	}
	user, _, _ := strings.Cut(rest, ";")
	return user
}

// Host is host or host:port of a SIP URI, "" for others.
func (a Address) Host() string {
	if s := a.Scheme(); s != "sip" && s != "sips" {
		return ""
	}
	host := a.rest()
	if _, h, ok := strings.Cut(host, "@"); ok {
		host = h
	}
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host = host[:i]
	}
	return host
}

func (a Address) rest() string {
	if _, rest, ok := strings.Cut(a.URI, ":"); ok {
		return rest
	}
	return a.URI
}

// String writes the address as ParseAddress reads it.
func (a Address) String() string {
	if a.Name == "" {
		return a.URI
	}
	return `"` + a.Name + `" <` + a.URI + ">"
}
