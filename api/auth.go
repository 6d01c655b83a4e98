package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// authenticate finds the operation and the key of a request, and whether the one may do the other. The key is looked up
// by its hash, so no comparison depends on the secret.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		var err error
		if req.op, err = s.contract.find(r.Method, chi.RouteContext(r.Context()).RoutePattern()); err != nil {
			s.fail(w, r, err)
			return
		}
		req.stream = wantsEventStream(r)
		if req.key, err = s.keyOf(r); err != nil {
			s.fail(w, r, err)
			return
		}
		if req.op.scope != scopeAny && !req.key.May(req.op.scope) {
			s.fail(w, r, engine.Errorf(problem.CodeScopeMissing, "this needs the scope %s; the key has %s",
				req.op.scope, scopeList(req.key.Scopes)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) keyOf(r *http.Request) (session.Key, error) {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "Bearer") || secret == "" {
		return session.Key{}, engine.Errorf(problem.CodeUnauthorized, "send Authorization: Bearer and an API key")
	}
	key, err := s.o.Keys.Authenticate(r.Context(), secret)
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, session.ErrUnauthenticated):
		return session.Key{}, engine.Errorf(problem.CodeUnauthorized, "the API key is not valid, or was revoked")
	}
	requestOf(r.Context()).err = err
	return session.Key{}, engine.Errorf(problem.CodeUnavailable, "API keys cannot be checked at the moment")
}

func scopeList(scopes []session.Scope) string {
	if len(scopes) == 0 {
		return "none"
	}
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return strings.Join(names, ", ")
}
