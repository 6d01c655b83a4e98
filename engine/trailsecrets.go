package engine

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// removed stands in the place of what was secret.
const removed = "removed"

// secrets are the properties of JSON, in lower case, that no trail keeps.
func secrets() []string {
	return []string{"password", "token", "resume", "secret", "credential", "authorization", "x-api-key"}
}

// WithoutSecrets replaces in a JSON object the values of properties that are secret, and users in URLs, by "removed", and what is longer than a
// trail keeps by a note.
func WithoutSecrets(object []byte) json.RawMessage {
	if len(object) > maxTrailText {
		return json.RawMessage(`{"note":"too long to be kept"}`)
	}
	low := bytes.ToLower(object)
	found := func(name string) bool { return bytes.Contains(low, []byte(`"`+name+`"`)) }
	if !slices.ContainsFunc(secrets(), found) && !bytes.Contains(low, []byte("://")) {
		return object
	}
	var v any
	if json.Unmarshal(object, &v) != nil {
		return nil
	}
	out, err := json.Marshal(conceal(v))
	if err != nil {
		return nil
	}
	return out
}

func conceal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if slices.Contains(secrets(), strings.ToLower(k)) {
				v[k] = removed
			} else {
				v[k] = conceal(v[k])
			}
		}
	case []any:
		for i := range v {
			v[i] = conceal(v[i])
		}
	case string:
		return withoutUserinfo(v)
	}
	return v
}

// withoutUserinfo removes user and password of a URL.
func withoutUserinfo(s string) string {
	if !strings.Contains(s, "://") || !strings.Contains(s, "@") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil || u.User == nil {
		return s
	}
	u.User = url.User(removed)
	return u.String()
}
