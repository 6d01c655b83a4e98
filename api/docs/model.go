package docs

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// reference is the contract as the page shows it.
type reference struct {
	Title, Version string
	Intro          template.HTML
	Contents       []heading
	Tags           []tag
	Schemas        []schema
}

type tag struct {
	Name, Anchor string
	Intro        template.HTML
	Operations   []operation
}

type operation struct {
	ID, Method, Path, Summary string
	Intro                     template.HTML
	Scope                     string
	Parameters                []property
	Body                      *content
	Responses                 []response
}

type content struct {
	Required bool
	Type     template.HTML
	Rows     []property
	Examples []example
}

type response struct {
	Status  string
	Success bool
	Intro   template.HTML
	Type    template.HTML
	Headers []property
	Samples []example
}

// example is a value, and for requests the command line that sends it.
type example struct{ Title, Text string }

type property struct {
	Name, In    string
	Type        template.HTML
	Required    bool
	ReadOnly    bool
	Constraints string
	Intro       template.HTML
}

type schema struct {
	Name  string
	Intro template.HTML
	Enum  []string
	Rows  []property
	Union []template.HTML
}

// newReference reads the contract.
func newReference(doc *openapi3.T) reference {
	r := reference{Title: doc.Info.Title, Version: doc.Info.Version}
	r.Intro, r.Contents = markdown(doc.Info.Description)
	for _, t := range doc.Tags {
		out := tag{Name: t.Name, Anchor: "tag-" + anchor(t.Name), Intro: text(t.Description)}
		for _, path := range doc.Paths.InMatchingOrder() {
			out.Operations = append(out.Operations, operationsOf(path, doc.Paths.Value(path), t.Name)...)
		}
		slices.SortStableFunc(out.Operations, func(a, b operation) int { return cmp.Compare(a.Path, b.Path) })
		r.Tags = append(r.Tags, out)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		r.Schemas = append(r.Schemas, newSchema(name, doc.Components.Schemas[name].Value))
	}
	return r
}

// operationsOf lists the operations of a path that have a tag, reading ones first.
func operationsOf(path string, item *openapi3.PathItem, tag string) (all []operation) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		if op := item.GetOperation(method); op != nil && slices.Contains(op.Tags, tag) {
			all = append(all, newOperation(method, path, item, op))
		}
	}
	return all
}

func newOperation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) operation {
	out := operation{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Intro: text(op.Description)}
	out.Scope, _ = op.Extensions["x-scope"].(string)
	url := path
	for _, p := range append(slices.Clone(item.Parameters), op.Parameters...) {
		row := newProperty(p.Value.Name, p.Value.Schema, p.Value.Required)
		row.In, row.Intro = p.Value.In, text(p.Value.Description)
		out.Parameters = append(out.Parameters, row)
		if p.Value.In == openapi3.ParameterInPath {
			url = strings.ReplaceAll(url, "{"+p.Value.Name+"}", fmt.Sprint(p.Value.Schema.Value.Example))
		}
	}
	out.Body = requestBody(method, url, op)
	for _, status := range slices.Sorted(maps.Keys(op.Responses.Map())) {
		out.Responses = append(out.Responses, newResponse(status, op.Responses.Value(status).Value))
	}
	return out
}

// requestBody describes the body and the command lines of an operation.
func requestBody(method, url string, op *openapi3.Operation) *content {
	if op.RequestBody == nil {
		return &content{Examples: []example{{Text: curl(method, url, nil)}}}
	}
	media := op.RequestBody.Value.Content["application/json"]
	c := &content{Required: op.RequestBody.Value.Required, Type: typeOf(media.Schema), Rows: rows(media.Schema.Value)}
	for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
		e := media.Examples[name].Value
		c.Examples = append(c.Examples, example{Title: e.Summary, Text: curl(method, url, e.Value)})
	}
	return c
}

func newResponse(status string, r *openapi3.Response) response {
	out := response{Status: status, Success: status < "400"}
	if r.Description != nil {
		out.Intro = text(*r.Description)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		h := r.Headers[name].Value
		row := newProperty(name, h.Schema, false)
		row.Intro = text(h.Description)
		out.Headers = append(out.Headers, row)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Content)) {
		media := r.Content[kind]
		if out.Type == "" {
			out.Type = typeOf(media.Schema)
		}
		if media.Example != nil {
			out.Samples = append(out.Samples, example{Title: kind, Text: pretty(media.Example)})
		}
		for _, name := range slices.Sorted(maps.Keys(media.Examples)) {
			out.Samples = append(out.Samples, example{Title: kind, Text: pretty(media.Examples[name].Value.Value)})
		}
	}
	return out
}

func newSchema(name string, s *openapi3.Schema) schema {
	out := schema{Name: name, Intro: text(s.Description), Rows: rows(s)}
	for _, v := range s.Enum {
		out.Enum = append(out.Enum, fmt.Sprint(v))
	}
	for _, branch := range s.OneOf {
		out.Union = append(out.Union, typeOf(branch))
	}
	return out
}

// rows are the properties of an object, those of allOf first, required ones before the others.
func rows(s *openapi3.Schema) (all []property) {
	for _, part := range s.AllOf {
		all = append(all, rows(part.Value)...)
	}
	for name, p := range s.Properties {
		all = append(all, newProperty(name, p, slices.Contains(s.Required, name)))
	}
	slices.SortFunc(all, func(a, b property) int {
		if a.Required != b.Required {
			if a.Required {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

func newProperty(name string, ref *openapi3.SchemaRef, required bool) property {
	s := ref.Value
	p := property{Name: name, Required: required, ReadOnly: s.ReadOnly, Type: typeOf(ref), Constraints: constraints(s)}
	if ref.Ref == "" { // else its own entry says it
		p.Intro = text(s.Description)
	}
	return p
}

// typeOf names a type, with a link if it has an entry.
func typeOf(ref *openapi3.SchemaRef) template.HTML {
	if ref == nil {
		return ""
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		return template.HTML(fmt.Sprintf(`<a href="#schema-%[1]s">%[1]s</a>`, template.HTMLEscapeString(name))) //nolint:gosec // escaped
	}
	s := ref.Value
	switch {
	case len(s.AllOf) == 1:
		return typeOf(s.AllOf[0])
	case s.Items != nil:
		return "list of " + typeOf(s.Items)
	case s.AdditionalProperties.Schema != nil:
		return "map of " + typeOf(s.AdditionalProperties.Schema)
	}
	name := strings.Join(s.Type.Slice(), " or ")
	if s.Format != "" && s.Format != "int64" {
		name += " (" + s.Format + ")"
	}
	return template.HTML(template.HTMLEscapeString(name)) //nolint:gosec // escaped
}

// constraints says in a few words what values may be.
func constraints(s *openapi3.Schema) string {
	var all []string
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			if v != nil {
				values = append(values, fmt.Sprint(v))
			}
		}
		all = append(all, strings.Join(values, " | "))
	}
	switch {
	case s.Min != nil && s.Max != nil:
		all = append(all, fmt.Sprintf("%v to %v", *s.Min, *s.Max))
	case s.Min != nil:
		all = append(all, fmt.Sprintf("at least %v", *s.Min))
	}
	if s.MaxLength != nil {
		all = append(all, fmt.Sprintf("at most %d characters", *s.MaxLength))
	}
	if s.MaxItems != nil {
		all = append(all, fmt.Sprintf("at most %d", *s.MaxItems))
	}
	if s.Default != nil {
		all = append(all, fmt.Sprintf("default %v", s.Default))
	}
	return strings.Join(all, "; ")
}

// curl is the command line of a request.
func curl(method, url string, body any) string {
	var b strings.Builder
	b.WriteString("curl")
	if method != http.MethodGet && (method != http.MethodPost || body == nil) {
		b.WriteString(" -X " + method)
	}
	b.WriteString(" $TIPRING" + url + ` -H "Authorization: Bearer $KEY"`)
	if body != nil {
		text := strings.ReplaceAll(pretty(body), "'", `'\''`)
		b.WriteString(" \\\n  -H 'Content-Type: application/json' -d '" + text + "'")
	}
	return b.String()
}

// pretty is a value as JSON, or a text as it is.
func pretty(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func text(s string) template.HTML {
	html, _ := markdown(s)
	return html
}
