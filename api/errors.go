package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// requestError is a request that does not fit the contract, with all that is wrong with it.
type requestError struct {
	code   engine.Code
	detail string
	fields []problem.Field
}

func (e *requestError) Error() string { return string(e.code) + ": " + e.detail }

// fail answers with the problem details of err. It is the only way in which the API says no.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	req := requestOf(r.Context())
	d := details(err, req.id)
	d.Instance = r.URL.Path
	switch d.Status {
	case http.StatusInternalServerError:
		req.err = err
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="tipring"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	if err := d.Write(w); err != nil {
		req.err = errors.Join(req.err, err)
	}
}

// details is the problem that err is for a customer.
func details(err error, requestID string) problem.Details {
	if e, ok := errors.AsType[*requestError](err); ok {
		return problem.New(e.code, requestID, e.detail, e.fields...)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem.From(engine.Errorf(problem.CodeTooLarge, "a body has %d bytes at most", e.Limit), requestID)
	}
	switch {
	case errors.Is(err, session.ErrNotFound):
		err = engine.Errorf(engine.CodeNotFound, "there is nothing with this id in the project")
	case errors.Is(err, session.ErrExists):
		err = engine.Errorf(engine.CodeConflict, "it exists already")
	case errors.Is(err, session.ErrCursor):
		err = engine.Errorf(problem.CodeMalformed, "the cursor is none that this API gave, or too old: begin without it")
	case errors.Is(err, session.ErrClosed):
		err = engine.Errorf(problem.CodeUnavailable, "this node is stopping")
	}
	return problem.From(err, requestID)
}

// decodeError is what the generated code could not decode although it was valid: instructions name their own faults.
func decodeError(err error) error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	return engine.Errorf(problem.CodeMalformed, "%v", err)
}

func (s *Server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	routes := chi.RouteContext(r.Context()).Routes
	methods := allowed(func(m string) bool { return routes.Match(chi.NewRouteContext(), m, r.URL.Path) })
	w.Header().Set("Allow", strings.Join(methods, ", "))
	s.fail(w, r, engine.Errorf(problem.CodeMethodNotAllowed, "%s takes %s", r.URL.Path, strings.Join(methods, ", ")))
}

// notFound turns the store's ErrNotFound into one that names what was looked for.
func notFound(err error, what, id string) error {
	if errors.Is(err, session.ErrNotFound) {
		return engine.Errorf(engine.CodeNotFound, "there is no %s %q", what, id)
	}
	return err
}

// project is the one that the request's key belongs to.
func project(ctx context.Context) string { return requestOf(ctx).key.ProjectID }
