package api

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-chi/chi/v5"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
)

// validate refuses requests that do not fit the contract.
func (s *Server) validate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		err := checkParameters(r, req.op)
		if err == nil {
			err = checkBody(req.op, req.body)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkParameters checks path, query and headers: what is wrong with them is malformed_request.
func checkParameters(r *http.Request, op *operation) error {
	for name := range r.URL.Query() {
		if !op.query[name] {
			return engine.Errorf(problem.CodeMalformed, "%s has no query parameter %q", op.OperationID, name)
		}
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, Route: &op.route, PathParams: pathParams(r),
		Options: &openapi3filter.Options{
			ExcludeRequestBody: true, SkipSettingDefaults: true, MultiError: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // authenticate did it
		},
	}
	err := openapi3filter.ValidateRequest(r.Context(), input)
	if err == nil {
		return nil
	}
	var reasons []string
	for _, e := range flatten(err) {
		reasons = append(reasons, parameterReason(e))
	}
	return &requestError{code: problem.CodeMalformed, detail: strings.Join(reasons, "; ")}
}

func pathParams(r *http.Request) map[string]string {
	params := chi.RouteContext(r.Context()).URLParams
	m := make(map[string]string, len(params.Keys))
	for i, k := range params.Keys {
		m[k] = params.Values[i]
	}
	return m
}

func parameterReason(err error) string {
	e, ok := errors.AsType[*openapi3filter.RequestError](err)
	if !ok || e.Parameter == nil {
		return err.Error()
	}
	reason := e.Reason
	if schema, ok := errors.AsType[*openapi3.SchemaError](e.Err); ok {
		reason = schema.Reason
	} else if parse, ok := errors.AsType[*openapi3filter.ParseError](e.Err); ok {
		reason = parse.Reason
	} else if reason == "" && e.Err != nil {
		reason = e.Err.Error()
	}
	return fmt.Sprintf("%s parameter %q: %s", e.Parameter.In, e.Parameter.Name, reason)
}

// checkBody checks a body: what is no JSON is malformed_request, what does not fit is validation_failed with all faults.
func checkBody(op *operation, body []byte) error {
	if len(body) == 0 {
		if op.needsBody {
			return engine.Errorf(problem.CodeMalformed, "%s needs a body", op.OperationID)
		}
		return nil
	}
	value, err := parseBody(body)
	if err != nil {
		return err
	}
	fields := unknownProperties(op.body, value, "")
	err = op.body.VisitJSON(value, openapi3.VisitAsRequest(), openapi3.MultiErrors(), openapi3.DisableSchemaErrorDetails())
	for _, leaf := range leaves(err) {
		f := problem.Field{Pointer: pointer(leaf.JSONPointer()), Detail: leaf.Reason}
		if !slices.Contains(fields, f) {
			fields = append(fields, f)
		}
	}
	if len(fields) == 0 {
		if err != nil {
			return fmt.Errorf("api: a body is not valid for no stated reason: %w", err)
		}
		return nil
	}
	detail := strings.TrimPrefix(fields[0].Pointer+": "+fields[0].Detail, ": ")
	if n := len(fields) - 1; n > 0 {
		detail += fmt.Sprintf(" (and %d more)", n)
	}
	return &requestError{code: engine.CodeValidation, detail: detail, fields: fields[:min(len(fields), maxFields)]}
}

// maxFields bounds the faults that an answer lists.
const maxFields = 50

// unknownProperties finds the properties that the contract does not name, at any depth.
func unknownProperties(schema *openapi3.Schema, value any, at string) (fields []problem.Field) {
	switch value := value.(type) {
	case []any:
		if schema.Items == nil {
			return nil
		}
		for i, v := range value {
			fields = append(fields, unknownProperties(schema.Items.Value, v, at+"/"+strconv.Itoa(i))...)
		}
	case map[string]any:
		properties, closed := propertiesOf(schema, value)
		names := make([]string, 0, len(value))
		for name := range value {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			here := at + pointer([]string{name})
			switch p := properties[name]; {
			case p != nil:
				fields = append(fields, unknownProperties(p.Value, value[name], here)...)
			case closed:
				fields = append(fields, problem.Field{Pointer: here, Detail: "there is no parameter of this name"})
			}
		}
	}
	return fields
}

// propertiesOf collects what an object may have, across allOf, and the branch of oneOf that its discriminator names.
// It is closed unless additional properties are allowed, or the branch is not known.
func propertiesOf(schema *openapi3.Schema, value map[string]any) (properties openapi3.Schemas, closed bool) {
	properties, closed = openapi3.Schemas{}, true
	if a := schema.AdditionalProperties; a.Schema != nil || a.Has != nil && *a.Has {
		closed = false
	}
	maps.Copy(properties, schema.Properties)
	parts := schema.AllOf
	if d := schema.Discriminator; d != nil {
		branch := oneOf(schema, d, value)
		if branch == nil {
			return properties, false // validation says so
		}
		parts = append(slices.Clone(parts), branch)
	}
	for _, part := range parts {
		more, c := propertiesOf(part.Value, value)
		closed = closed && c
		maps.Copy(properties, more)
	}
	return properties, closed
}

func oneOf(schema *openapi3.Schema, d *openapi3.Discriminator, value map[string]any) *openapi3.SchemaRef {
	name, _ := value[d.PropertyName].(string)
	for _, branch := range schema.OneOf {
		if branch.Ref != "" && branch.Ref == d.Mapping[name].Ref {
			return branch
		}
	}
	return nil
}

// leaves are the schema errors that have no other as their cause.
func leaves(err error) (found []*openapi3.SchemaError) {
	for _, e := range flatten(err) {
		schema, ok := errors.AsType[*openapi3.SchemaError](e)
		if !ok {
			continue
		}
		if deeper := leaves(schema.Origin); len(deeper) > 0 {
			found = append(found, deeper...)
			continue
		}
		found = append(found, schema)
	}
	return found
}

// flatten lists the errors that err is made of.
func flatten(err error) (all []error) {
	if err == nil {
		return nil
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked
	case openapi3.MultiError:
		for _, e := range e {
			all = append(all, flatten(e)...)
		}
		return all
	case *openapi3.SchemaError, *openapi3filter.RequestError:
		return []error{err}
	case interface{ Unwrap() []error }:
		for _, e := range e.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	if multi, ok := errors.AsType[openapi3.MultiError](err); ok {
		return flatten(multi)
	}
	return []error{err}
}

// pointer makes a JSON pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		p = strings.ReplaceAll(p, "~", "~0")
		b.WriteString(strings.ReplaceAll(p, "/", "~1"))
	}
	return b.String()
}
