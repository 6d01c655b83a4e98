package api

import (
	_ "embed"
	"fmt"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"github.com/tipring/tipring/engine/session"
)

//go:embed openapi.gen.yaml
var openapi string

// contractSource is openapi.yaml as it was written.
func contractSource() []byte { return []byte(openapi) }

// contract is openapi.yaml, ready to check requests with.
type contract struct {
	doc        *openapi3.T
	operations map[string]*operation // by method, space, path
}

// operation is one operation of the contract.
type operation struct {
	*openapi3.Operation
	route      routers.Route
	scope      session.Scope // "any": every key may
	query      map[string]bool
	body       *openapi3.Schema // nil: it takes none
	needsBody  bool
	idempotent bool // it takes an Idempotency-Key
}

// scopeAny is x-scope of operations that need no scope.
const scopeAny session.Scope = "any"

func loadContract() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contractSource())
	if err != nil {
		return nil, fmt.Errorf("api: openapi.yaml: %w", err)
	}
	c := &contract{doc: doc, operations: map[string]*operation{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o := &operation{Operation: op, query: map[string]bool{}}
			o.route = routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
			scope, ok := op.Extensions["x-scope"].(string)
			if !ok {
				return nil, fmt.Errorf("api: openapi.yaml: %s names no x-scope", op.OperationID)
			}
			o.scope = session.Scope(scope)
			for _, p := range op.Parameters {
				switch {
				case p.Value.In == openapi3.ParameterInQuery:
					o.query[p.Value.Name] = true
				case p.Value.Name == headerIdempotencyKey:
					o.idempotent = true
				}
			}
			if op.RequestBody != nil {
				o.body = op.RequestBody.Value.Content["application/json"].Schema.Value
				o.needsBody = op.RequestBody.Value.Required
			}
			c.operations[method+" "+path] = o
		}
	}
	return c, nil
}

// find gives the operation of a route: chi's patterns are the contract's paths.
func (c *contract) find(method, pattern string) (*operation, error) {
	if op := c.operations[method+" "+pattern]; op != nil {
		return op, nil
	}
	return nil, fmt.Errorf("api: the contract has no %s %s", method, pattern)
}

// allowed lists the methods that the router knows for a path.
func allowed(matches func(method string) bool) (methods []string) {
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		if matches(m) {
			methods = append(methods, m)
		}
	}
	return methods
}
