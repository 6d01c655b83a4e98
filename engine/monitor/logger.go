package monitor

import (
	"fmt"
	"io"
	"log/slog"
	"reflect"
)

// LogFormat is how log lines look.
type LogFormat string

// The formats.
const (
	LogJSON LogFormat = "json"
	LogText LogFormat = "text"
)

// LogOptions tune a logger.
type LogOptions struct {
	Level  slog.Leveler // nil: info
	Format LogFormat    // "": json
	// ShowNumbers leaves phone numbers readable. Secrets never are.
	ShowNumbers bool
}

// NewLogger makes the logger of the program. It masks what must not stand in logs, in messages and in attributes at any
// depth of groups: values of attributes that are named like secrets, keys and tokens of Tipring wherever they appear,
// and phone numbers.
func NewLogger(w io.Writer, o LogOptions) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: masker{showNumbers: o.ShowNumbers}.replace}
	if o.Format == LogText {
		return slog.New(slog.NewTextHandler(w, h))
	}
	return slog.New(slog.NewJSONHandler(w, h))
}

// masker masks attributes.
type masker struct{ showNumbers bool }

// replace is a slog.HandlerOptions.ReplaceAttr.
func (m masker) replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.SourceKey) {
		return a
	}
	if isSecretName(a.Key) && !a.Value.Equal(slog.StringValue("")) {
		return slog.String(a.Key, "***")
	}
	switch v := a.Value.Any().(type) {
	case string:
		return slog.String(a.Key, m.mask(a.Key, v))
	case error:
		return slog.String(a.Key, m.mask(a.Key, v.Error()))
	case []byte:
		return slog.String(a.Key, m.mask(a.Key, string(v)))
	case fmt.Stringer:
		if a.Value.Kind() != slog.KindAny || isNil(v) {
			return a // times and durations
		}
		return slog.String(a.Key, m.mask(a.Key, v.String()))
	case []string:
		masked := make([]string, len(v))
		for i := range v {
			masked[i] = m.mask(a.Key, v[i])
		}
		return slog.Any(a.Key, masked)
	default:
		if a.Value.Kind() == slog.KindAny && v != nil { // a struct, a map: who knows what is in it
			return slog.String(a.Key, m.mask(a.Key, fmt.Sprintf("%+v", v)))
		}
	}
	return a
}

func (m masker) mask(name, s string) string {
	s = MaskSecrets(s)
	if m.showNumbers {
		return s
	}
	return maskNumbers(s, isAddressName(name))
}

// isNil reports whether v is a nil pointer in an interface, whose String might panic.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}
