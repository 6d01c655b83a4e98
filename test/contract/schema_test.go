package contract

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/media"
	"github.com/tipring/tipring/engine/session"
)

// structs are the types that schemas are mapped to by x-go-type.
var structs = map[string]any{
	"engine.CallInfo": engine.CallInfo{}, "engine.Cause": engine.Cause{}, "engine.Credentials": engine.Credentials{},
	"engine.Originate": engine.Originate{}, "engine.Prompt": engine.Prompt{}, "engine.Instructions": engine.Instructions{},
	"engine.Answer": engine.Answer{}, "engine.Ring": engine.Ring{}, "engine.Reject": engine.Reject{}, "engine.Hangup": engine.Hangup{},
	"engine.Play": engine.Play{}, "engine.Gather": engine.Gather{}, "engine.Bridge": engine.Bridge{}, "engine.Unbridge": engine.Unbridge{},
	"engine.Hold": engine.Hold{}, "engine.Unhold": engine.Unhold{}, "engine.Mute": engine.Mute{}, "engine.Unmute": engine.Unmute{},
	"engine.SendDTMF": engine.SendDTMF{}, "engine.Echo": engine.Echo{}, "engine.Wait": engine.Wait{}, "engine.Stop": engine.Stop{},
	"engine.Run": engine.Run{}, "engine.Application": engine.Application{}, "engine.Number": engine.Number{}, "engine.Event": engine.Event{},
	"engine.Join": engine.Join{}, "engine.SeekPlayback": engine.SeekPlayback{}, "engine.LockConference": engine.LockConference{},
	"engine.OpenConference": engine.OpenConference{}, "engine.StopConferencePlay": engine.StopConferencePlay{}, "engine.StopConferenceRecording": engine.StopConferenceRecording{},
	"engine.DeafenParticipant": engine.DeafenParticipant{}, "engine.SetParticipant": engine.SetParticipant{}, "engine.Leave": engine.Leave{},
	"engine.StartRecording": engine.StartRecording{}, "engine.UnholdParticipant": engine.UnholdParticipant{}, "engine.ConferenceInfo": engine.ConferenceInfo{},
	"engine.KickParticipant": engine.KickParticipant{}, "engine.PauseConferenceRecording": engine.PauseConferenceRecording{}, "engine.ResumeRecording": engine.ResumeRecording{},
	"engine.UnlockConference": engine.UnlockConference{}, "engine.PausePlayback": engine.PausePlayback{}, "engine.MuteParticipant": engine.MuteParticipant{},
	"engine.PauseRecording": engine.PauseRecording{}, "engine.UndeafenParticipant": engine.UndeafenParticipant{}, "engine.PlayConference": engine.PlayConference{},
	"engine.EndConference": engine.EndConference{}, "engine.ResumeConferenceRecording": engine.ResumeConferenceRecording{}, "engine.ParticipantInfo": engine.ParticipantInfo{},
	"engine.ResumePlayback": engine.ResumePlayback{}, "engine.UnmuteParticipant": engine.UnmuteParticipant{}, "engine.RecordConference": engine.RecordConference{},
	"engine.RecordingInfo": engine.RecordingInfo{}, "engine.StopRecording": engine.StopRecording{}, "engine.ConferenceSettings": engine.ConferenceSettings{},
	"engine.HoldParticipant": engine.HoldParticipant{},
	"engine.Trunk":           engine.Trunk{}, "engine.TrunkTarget": engine.TrunkTarget{}, "engine.TrunkAuth": engine.TrunkAuth{}, "engine.Diagnosis": engine.Diagnosis{},
	"engine.TrunkStatus": engine.TrunkStatus{}, "engine.TargetStatus": engine.TargetStatus{},
	"engine.TrailCommand": engine.TrailCommand{}, "engine.TrailSIP": engine.TrailSIP{}, "engine.TrailPage": engine.TrailPage{},
	"media.Quality": media.Quality{}, "session.Key": session.Key{}, "problem.Details": problem.Details{}, "problem.Field": problem.Field{},
}

// TestSchemasAreStructs: a schema that is mapped to a struct has the struct's properties, of the same types, and requires
// those that the struct always writes (in answers) or cannot do without (in requests).
func TestSchemasAreStructs(t *testing.T) {
	doc := contract(t)
	seen := map[string]bool{}
	for name, ref := range doc.Components.Schemas {
		goType, _ := ref.Value.Extensions["x-go-type"].(string)
		if goType == "" || len(ref.Value.Enum) > 0 || goType == "json.RawMessage" || goType == "engine.Instruction" {
			continue
		}
		v, ok := structs[goType]
		if !ok {
			t.Errorf("%s is mapped to %s, which this test does not know", name, goType)
			continue
		}
		seen[goType] = true
		compare(t, name, ref.Value, reflect.TypeOf(v))
	}
	for goType := range structs {
		if !seen[goType] {
			t.Errorf("no schema is mapped to %s", goType)
		}
	}
}

func compare(t *testing.T, name string, schema *openapi3.Schema, typ reflect.Type) {
	t.Helper()
	fields := jsonFields(typ)
	for _, property := range slices.Sorted(maps.Keys(schema.Properties)) {
		field, ok := fields[property]
		if !ok {
			t.Errorf("%s.%s is not in %s", name, property, typ)
			continue
		}
		if want, got := kindOf(schema.Properties[property].Value), jsonKind(field.Type); want != got {
			t.Errorf("%s.%s is %s, in %s %s", name, property, want, typ, got)
		}
	}
	for property, field := range fields {
		if schema.Properties[property] == nil {
			t.Errorf("%s of %s is not in %s", property, typ, name)
			continue
		}
		always := !strings.Contains(field.Tag.Get("json"), ",omitempty")
		required := slices.Contains(schema.Required, property)
		if required && !always {
			t.Errorf("%s.%s is required, but %s may leave it out", name, property, typ)
		}
		if always && !required && name != "Instructions" && name != "ProblemField" {
			t.Errorf("%s.%s is always in %s, but not required", name, property, typ)
		}
	}
}

// jsonFields are the members that a struct has as JSON, embedded ones included.
func jsonFields(typ reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for f := range typ.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			maps.Copy(fields, jsonFields(f.Type))
		case tag != "-" && f.IsExported():
			fields[tag] = f
		}
	}
	return fields
}

func kindOf(s *openapi3.Schema) string {
	if len(s.AllOf) > 0 {
		return kindOf(s.AllOf[0].Value)
	}
	if s.Items != nil {
		return "array of " + kindOf(s.Items.Value)
	}
	if len(s.OneOf) > 0 || s.Type == nil {
		return "object"
	}
	if s.Format == "date-time" {
		return "string" // time.Time, or a string of its form
	}
	return s.Type.Slice()[0]
}

func jsonKind(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.Pointer:
		return jsonKind(typ.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		if typ.String() == "json.RawMessage" {
			return "object"
		}
		return "array of " + jsonKind(typ.Elem())
	case reflect.Struct:
		if typ.String() == "time.Time" {
			return "string"
		}
		return "object"
	case reflect.Map:
		return "object"
	default:
		return typ.String()
	}
}

func typeName(v any) string { return reflect.TypeOf(v).String() }

// TestEnums: a schema of values has those of the constants of the type that it is mapped to.
func TestEnums(t *testing.T) {
	doc := contract(t)
	folders := map[string][]string{
		"engine":  {"engine", "api/problem"}, // the API has codes of its own
		"session": {"engine/session"},
	}
	for name, ref := range doc.Components.Schemas {
		goType, _ := ref.Value.Extensions["x-go-type"].(string)
		pkg, typ, ok := strings.Cut(goType, ".")
		if !ok || len(ref.Value.Enum) == 0 {
			continue
		}
		inCode := map[string]bool{}
		for _, folder := range folders[pkg] {
			for _, v := range constants(t, filepath.Join(root, folder), typ) {
				inCode[v] = true
			}
		}
		inContract := map[string]bool{}
		for _, v := range enum(doc, name) {
			inContract[v] = true
		}
		if missing, extra := difference(inCode, inContract); len(missing)+len(extra) > 0 || len(inCode) == 0 {
			t.Errorf("%s: only in the code %q, only in the contract %q", name, missing, extra)
		}
	}
}

// constants lists the values of the string constants of a type, whether the type is written with its package or without.
func constants(t *testing.T, dir, typ string) (values []string) {
	t.Helper()
	for _, f := range files(t, dir) {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				spec := s.(*ast.ValueSpec)
				name := ""
				switch e := spec.Type.(type) {
				case *ast.Ident:
					name = e.Name
				case *ast.SelectorExpr:
					name = e.Sel.Name
				}
				for _, v := range spec.Values {
					if lit, ok := v.(*ast.BasicLit); ok && name == typ && lit.Kind == token.STRING {
						text, _ := strconv.Unquote(lit.Value)
						values = append(values, text)
					}
				}
			}
		}
	}
	return values
}

// TestErrorCodes: every code has its documentation, and its status is one that the contract knows.
func TestErrorCodes(t *testing.T) {
	doc := contract(t)
	documented := map[string]bool{}
	for _, d := range problem.Docs() {
		documented[string(d.Code)] = true
		if d.Status < 400 || d.Title == "" || d.Text == "" {
			t.Errorf("%+v", d)
		}
	}
	codes := map[string]bool{}
	for _, c := range enum(doc, "ErrorCode") {
		codes[c] = true
	}
	if missing, extra := difference(codes, documented); len(missing)+len(extra) > 0 {
		t.Errorf("not documented: %q, not in the contract: %q", missing, extra)
	}
	for name, r := range doc.Components.Responses {
		media := r.Value.Content[problem.ContentType]
		example, _ := media.Example.(map[string]any)
		d, ok := problem.Lookup(engine.Code(fmt.Sprint(example["code"])))
		if !ok || fmt.Sprint(example["status"]) != fmt.Sprint(d.Status) || example["title"] != d.Title ||
			example["type"] != "/docs/errors/"+string(d.Code) {
			t.Errorf("the example of %s is not what the server says: %v", name, example)
		}
	}
}

// TestUpdates: what can be changed of a resource is what can be given when it is made.
func TestUpdates(t *testing.T) {
	doc := contract(t)
	for _, name := range []string{"Application", "Number"} {
		given, changed := map[string]bool{}, map[string]bool{}
		for property, p := range doc.Components.Schemas[name].Value.Properties {
			if !p.Value.ReadOnly {
				given[property] = true
			}
		}
		for property := range doc.Components.Schemas[name+"Update"].Value.Properties {
			changed[property] = true
		}
		if missing, extra := difference(given, changed); len(missing)+len(extra) > 0 {
			t.Errorf("%sUpdate lacks %q and has %q beside", name, missing, extra)
		}
	}
}
