package monitor

import "strings"

// minDigits is the length from which a row of digits counts as a phone number.
const minDigits = 7

// MaskNumber hides the middle of a phone number: "+4930123456789" becomes "+4930*******89".
func MaskNumber(s string) string { return maskNumbers(s, true) }

// maskNumbers masks each phone number in s: digits behind a "+", or behind "sip:" or "tel:", and, if bare, any row of
// them. Digits within a word, such as an id's, are left alone.
func maskNumbers(s string, bare bool) string {
	if !strings.ContainsAny(s, "0123456789") {
		return s
	}
	out := []byte(s)
	for i := 0; i < len(out); {
		plus := out[i] == '+' || strings.HasPrefix(s[i:], "%2B") || strings.HasPrefix(s[i:], "%2b")
		start := i
		switch {
		case out[i] == '+':
			start++
		case plus:
			start += 3
		case !isDigit(out[i]):
			i++
			continue
		}
		end := start
		for end < len(out) && isDigit(out[end]) {
			end++
		}
		inWord := i > 0 && (isLetter(out[i-1]) || out[i-1] == '_') || end < len(out) && (isLetter(out[end]) || out[end] == '_')
		if end-start >= minDigits && (plus || (bare || isURIUser(s[:i])) && !inWord) {
			hide(out[start:end])
		}
		i = max(end, i+1)
	}
	return string(out)
}

// isURIUser reports whether what follows before is the user of a SIP URI, or a number of a tel URI.
func isURIUser(before string) bool {
	return strings.HasSuffix(before, "sip:") || strings.HasSuffix(before, "sips:") || strings.HasSuffix(before, "tel:")
}

// hide stars the middle of a row of digits: four stay in front (a country and an area, two if the row is short), two at
// the end.
func hide(digits []byte) {
	front := 4
	if len(digits) < 10 {
		front = 2
	}
	for i := front; i < len(digits)-2; i++ {
		digits[i] = '*'
	}
}

// MaskSecrets hides what is a secret by its look: API keys ("tpk_…"), webhook secrets ("whsec_…"), the values of
// Authorization headers, and passwords in URLs.
func MaskSecrets(s string) string {
	for _, prefix := range []string{"tpk_", "whsec_", "Bearer ", "Basic "} {
		s = maskBehind(s, prefix)
	}
	return maskUserinfo(s)
}

// maskBehind replaces the word that follows each prefix.
func maskBehind(s, prefix string) string {
	if !strings.Contains(s, prefix) {
		return s
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, prefix)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end := 0
		for end < len(rest) && (isLetter(rest[end]) || isDigit(rest[end]) || strings.IndexByte("+/=-_.~*", rest[end]) >= 0) {
			end++
		}
		b.WriteString(prefix)
		if end > 0 {
			b.WriteString("***")
		}
		s = rest[end:]
	}
}

// maskUserinfo replaces the password of scheme://user:password@host.
func maskUserinfo(s string) string {
	from := 0
	for {
		i := strings.Index(s[from:], "://")
		if i < 0 {
			return s
		}
		from += i + len("://")
		authority := s[from:]
		if end := strings.IndexAny(authority, "/?# \t\n\"'"); end >= 0 {
			authority = authority[:end]
		}
		at := strings.LastIndexByte(authority, '@')
		if colon := strings.IndexByte(authority, ':'); at >= 0 && colon >= 0 && colon < at {
			s = s[:from+colon+1] + "***" + s[from+at:]
		}
	}
}

// isSecretName reports whether an attribute of this name holds a secret.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	for _, part := range []string{"secret", "password", "passwd", "authorization", "api_key", "apikey", "credential", "cookie"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == "token" || strings.HasSuffix(name, "_token")
}

// isAddressName reports whether an attribute of this name holds whom one calls: there a number may come without "+".
func isAddressName(name string) bool {
	switch strings.ToLower(name) {
	case "from", "to", "number", "caller", "callee", "called", "user", "uri", "contact", "address", "aor", "identity",
		"request_uri", "target":
		return true
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
