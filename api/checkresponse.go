package api

import (
	"fmt"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/go-chi/chi/v5"
)

// checkResponse fails responses that do not fit the contract, with Options.ValidateResponses. Streams pass unchecked.
func (s *Server) checkResponse(next http.Handler) http.Handler {
	if !s.o.ValidateResponses {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, err := s.contract.find(r.Method, chi.RouteContext(r.Context()).RoutePattern())
		if err != nil || op.OperationID == "openStream" || wantsEventStream(r) {
			next.ServeHTTP(w, r)
			return
		}
		rec := &recorder{header: w.Header()}
		next.ServeHTTP(rec, r)
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{
				Request: r, Route: &op.route, PathParams: pathParams(r),
			},
			Status: rec.code(), Header: w.Header(),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		input.SetBodyBytes(rec.body.Bytes())
		if err := openapi3filter.ValidateResponse(r.Context(), input); err != nil {
			w.Header().Del("Content-Length")
			s.fail(w, r, fmt.Errorf("api: the response to %s does not fit the contract: %w", op.OperationID, err))
			return
		}
		rec.flush(w)
	})
}
