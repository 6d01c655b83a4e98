package recording

import (
	"fmt"
	"strings"
)

// Formats and tracks of engine.RecordingOptions.
const (
	formatWAV    = "wav"
	formatOgg    = "ogg"
	tracksBoth   = "both"
	tracksStereo = "stereo"
	tracksIn     = "in"
	tracksOut    = "out"
)

// name is where the file of a recording lies, under the root. Its parts are ids of ours, never what a customer wrote.
type name struct{ project, id, format string }

// partMark stands before the extension of a file that is not complete.
const partMark = ".part"

func (n name) whole() string { return n.project + "/" + n.id + "." + n.format }
func (n name) part() string  { return n.project + "/" + n.id + partMark + "." + n.format }

func fileName(project, id, format string) (name, error) {
	n := name{project, id, format}
	switch {
	case !isID(project):
		return name{}, fmt.Errorf("%w: project %q", ErrName, project)
	case !isID(id):
		return name{}, fmt.Errorf("%w: %q", ErrName, id)
	case format != formatWAV && format != formatOgg:
		return name{}, fmt.Errorf("%w: format %q", ErrName, format)
	}
	return n, nil
}

func isID(s string) bool {
	if s == "" || len(s) > 200 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// parseName reads the name of a file in a project's folder; part says that it is not complete.
func parseName(project, file string) (n name, part, ok bool) {
	id, format, found := strings.Cut(file, ".")
	if rest, cut := strings.CutPrefix(format, partMark[1:]+"."); cut {
		format, part = rest, true
	}
	n, err := fileName(project, id, format)
	return n, part, found && err == nil
}
