package api

import "context"

// ListNodes implements StrictServerInterface.
func (h *handlers) ListNodes(context.Context, ListNodesRequestObject) (ListNodesResponseObject, error) {
	list := ListNodes200JSONResponse{Data: []Node{}}
	if h.Nodes != nil {
		list.Data = append(list.Data, h.Nodes()...)
	}
	return list, nil
}
