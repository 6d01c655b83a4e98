package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
)

// writeUsage prints the help of a command that takes the settings.
func writeUsage(w io.Writer, command string, settings []*setting) {
	fmt.Fprintf(w, `Usage: tipring %s [--config FILE] [--dev] [settings]

  --config FILE   read settings from a YAML file (TIPRING_CONFIG)
  --dev           for trying out: loopback only, a key, demo numbers, private URLs allowed

Settings, as flags; each is also a line in the file (http_listen: ":8080") and a variable in the environment
(TIPRING_HTTP_LISTEN). Flags win over the environment, the environment over the file.
`, command)
	group := ""
	for _, s := range settings {
		if s.group != group {
			group = s.group
			fmt.Fprintf(w, "\n%s\n", group)
		}
		def := s.def
		if def == "" {
			def = "empty"
		}
		fmt.Fprintf(w, "  --%s (%s)\n%s\n", s.flag(), def, wrap(s.help, "        ", 100))
	}
}

// writeSample prints a file with every setting, its sentence and its default.
func writeSample(w io.Writer, settings []*setting) {
	fmt.Fprint(w, `# Every setting of Tipring with its default. What is left out keeps its default.
#
#   tipring serve --config config.yaml
#   tipring check-config --config config.yaml     # says what is in force, or what is wrong
#
# Each has a twin in the environment (http_listen: TIPRING_HTTP_LISTEN) and as a flag (--http-listen). Flags win over the
# environment, the environment over this file. Lists are written [a, b].
`)
	group := ""
	for _, s := range settings {
		if s.group != group {
			group = s.group
			fmt.Fprintf(w, "\n# ---- %s ----\n", group)
		}
		fmt.Fprintf(w, "\n%s\n%s: %s\n", wrap(s.help, "# ", 118), s.name, yamlValue(s, s.String()))
	}
}

// writeConfig prints what is in force and where it came from, as a file that means the same, secrets apart.
func writeConfig(w io.Writer, settings []*setting) {
	for _, s := range settings {
		line := fmt.Sprintf("%s: %s", s.name, yamlValue(s, s.shown()))
		fmt.Fprintf(w, "%-50s # %s\n", line, s.source)
	}
}

// yamlValue writes a value such that YAML reads the same text.
func yamlValue(s *setting, text string) string {
	if s.value.Kind() == reflect.Slice {
		var parts []string
		for part := range strings.SplitSeq(text, ", ") {
			if part != "" {
				parts = append(parts, fmt.Sprintf("%q", part))
			}
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	if k := s.value.Kind(); k == reflect.Bool || k == reflect.Int || k == reflect.Float64 {
		return text
	}
	if text == "" || strings.ContainsAny(text, ":#*&!|>'\"%@`{}[], ") {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// wrap breaks a sentence into lines of at most width characters, each behind indent.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
