package api

import (
	"context"
	"net/netip"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
)

// DiagnoseInbound implements StrictServerInterface.
func (h *handlers) DiagnoseInbound(ctx context.Context, r DiagnoseInboundRequestObject) (DiagnoseInboundResponseObject, error) {
	if h.Diagnose == nil {
		return nil, engine.Errorf(problem.CodeUnavailable, "this node takes no calls")
	}
	var source netip.Addr
	if s := or(r.Body.SourceIP, ""); s != "" {
		var err error
		if source, err = netip.ParseAddr(s); err != nil {
			return nil, engine.Invalid("/source_ip", "is no address: write 192.0.2.1")
		}
	}
	return DiagnoseInbound200JSONResponse(h.Diagnose(ctx, project(ctx), r.Body.To, source)), nil
}
