package gatewayapi

import "github.com/belay-delivery/belay/api/v1alpha1"

// MatchOf is the match of a step as routes are told; nil for nil.
func MatchOf(m *v1alpha1.Match) *Match {
	if m == nil {
		return nil
	}
	out := &Match{}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, Condition{Type: string(h.Type), Name: h.Name, Value: h.Value})
	}
	for _, q := range m.QueryParams {
		out.QueryParams = append(out.QueryParams, Condition{Type: string(q.Type), Name: q.Name, Value: q.Value})
	}
	for _, method := range m.Methods {
		out.Methods = append(out.Methods, string(method))
	}
	return out
}
