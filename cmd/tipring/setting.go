package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Where a setting's value came from, weakest first.
const (
	fromDefault = "default"
	fromDev     = "--dev"
	fromFile    = "file"
	fromEnv     = "environment"
	fromFlag    = "flag"
)

// setting is one field of a Config with what its tags say.
type setting struct {
	name, group, help, def, dev string
	hasDev, secret              bool
	value                       reflect.Value
	source                      string
}

// settingsOf lists the settings of c in the order of its fields.
func settingsOf(c *Config) []*setting {
	v := reflect.ValueOf(c).Elem()
	var all []*setting
	group := ""
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("name")
		if name == "" {
			continue
		}
		if g := tag.Get("group"); g != "" {
			group = g
		}
		dev, hasDev := tag.Lookup("dev")
		all = append(all, &setting{
			name: name, group: group, help: tag.Get("help"), def: tag.Get("default"), dev: dev, hasDev: hasDev,
			secret: tag.Get("secret") != "", value: v.Field(i), source: fromDefault,
		})
	}
	return all
}

// env is the setting's name in the environment.
func (s *setting) env() string { return "TIPRING_" + strings.ToUpper(s.name) }

// flag is its name on the command line, without dashes before it.
func (s *setting) flag() string { return strings.ReplaceAll(s.name, "_", "-") }

// isBool reports whether the flag needs no value.
func (s *setting) isBool() bool { return s.value.Kind() == reflect.Bool }

// set reads text into the field.
func (s *setting) set(text, source string) error {
	if err := setValue(s.value, strings.TrimSpace(text)); err != nil {
		return err
	}
	s.source = source
	return nil
}

// String writes the value as set reads it.
func (s *setting) String() string { return formatValue(s.value) }

// shown is the value for people: secrets are hidden.
func (s *setting) shown() string {
	if v := s.String(); !s.secret || v == "" {
		return v
	}
	return "***"
}

func setValue(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: write 500ms, 30s, 5m or 72h", text)
		}
		*p = d
		return nil
	case *string:
		*p = text
		return nil
	}
	switch v.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		v.SetFloat(f)
	case reflect.Slice:
		return setSlice(v, text)
	default:
		return fmt.Errorf("a setting of type %s cannot be read", v.Type())
	}
	return nil
}

// setSlice reads values with commas between them.
func setSlice(v reflect.Value, text string) error {
	list := reflect.MakeSlice(v.Type(), 0, 4)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := setValue(e, part); err != nil {
			return err
		}
		list = reflect.Append(list, e)
	}
	if list.Len() == 0 {
		list = reflect.Zero(v.Type())
	}
	v.Set(list)
	return nil
}

func formatValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = formatValue(v.Index(i))
		}
		return strings.Join(parts, ", ")
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		s := x.String()
		for _, zero := range []string{"m0s", "h0m"} { // "72h0m0s" is 72h
			if strings.HasSuffix(s, zero) {
				s = s[:len(s)-2]
			}
		}
		return s
	case fmt.Stringer: // levels
		if m, ok := x.(encoding.TextMarshaler); ok {
			return marshalText(m)
		}
		return x.String()
	case encoding.TextMarshaler:
		return marshalText(x)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}

func marshalText(m encoding.TextMarshaler) string {
	b, err := m.MarshalText()
	if err != nil {
		return ""
	}
	if s := strings.ToLower(string(b)); s == "debug" || s == "info" || s == "warn" || s == "error" {
		return s
	}
	return string(b)
}

// errUnknown is the error for a name that no setting has; it names the one that is most like it.
func errUnknown(name string, known []string) error {
	best, distance := "", 1+len(name)/3
	for _, k := range known {
		if d := editDistance(name, k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	if best == "" {
		return fmt.Errorf("there is no setting %q", name)
	}
	return fmt.Errorf("there is no setting %q: did you mean %s?", name, best)
}

// editDistance is how many letters must be put in, left out or changed to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// errAll puts what went wrong before a list of errors.
func errAll(what string, errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s:\n%w", what, errors.Join(errs...))
}
