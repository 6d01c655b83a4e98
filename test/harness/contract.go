package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract is openapi.yaml, to check responses against.
type contract struct{ router routers.Router }

// loadContract reads the contract once per test process.
var loadContract = sync.OnceValues(func() (*contract, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		return nil, fmt.Errorf("harness: openapi.yaml: %w", err)
	}
	doc.Servers = nil // paths are enough: the node has a port of its own
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("harness: openapi.yaml: %w", err)
	}
	return &contract{router}, nil
})

// check holds a response against the contract. Requests are not checked: tests send bad ones on purpose.
func (c *contract) check(req *http.Request, body []byte, res *http.Response, got []byte) error {
	req = req.Clone(context.Background())
	req.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		return nil //nolint:nilerr // not a path of the contract: the docs, or a test of 404 and 405
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	return openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body:    io.NopCloser(bytes.NewReader(got)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
}
