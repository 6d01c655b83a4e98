package contract

import (
	"go/ast"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestDeliveries: the API shows of a webhook delivery what package webhook keeps of it for customers.
func TestDeliveries(t *testing.T) {
	doc := contract(t)
	internal := map[string]bool{"project_id": true, "endpoint": true, "sequence": true, "event": true} // what redelivery needs
	for schema, typ := range map[string]string{"WebhookDelivery": "Delivery", "DeliveryAttempt": "Attempt"} {
		kept, shown := structTags(t, filepath.Join(root, "api", "webhook"), typ), map[string]bool{}
		for property := range doc.Components.Schemas[schema].Value.Properties {
			shown[property] = true
		}
		missing, extra := difference(kept, shown)
		for _, m := range missing {
			if !internal[m] {
				t.Errorf("%s lacks %s", schema, m)
			}
		}
		if len(extra) > 0 {
			t.Errorf("webhook.%s has no %q", typ, extra)
		}
	}
	states, shown := map[string]bool{}, map[string]bool{}
	for _, v := range constants(t, filepath.Join(root, "api", "webhook"), "State") {
		states[v] = true
	}
	for _, v := range enum(doc, "DeliveryState") {
		shown[v] = true
	}
	if missing, extra := difference(states, shown); len(missing)+len(extra) > 0 {
		t.Errorf("states: not shown %q, never kept %q", missing, extra)
	}
}

// structTags lists the JSON members of a struct.
func structTags(t *testing.T, dir, typ string) map[string]bool {
	t.Helper()
	tags := map[string]bool{}
	for _, f := range files(t, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != typ {
				return true
			}
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				if field.Tag == nil {
					continue
				}
				text, _ := strconv.Unquote(field.Tag.Value)
				name, _, _ := strings.Cut(reflect.StructTag(text).Get("json"), ",")
				tags[name] = true
			}
			return false
		})
	}
	if len(tags) == 0 {
		t.Fatalf("%s has no struct %s", dir, typ)
	}
	return tags
}
