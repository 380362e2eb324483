package presets

import "github.com/belay-delivery/belay/api/v1alpha1"

// All presets, those of applications first. docs/presets.md says where each one's series come from.
var All = []Preset{
	{
		Name:      v1alpha1.PresetHTTPServer,
		Of:        "the application itself, by HTTP middleware such as client_golang's promhttp",
		Total:     Selector{Name: "http_requests_total"},
		Bad:       Selector{Name: "http_requests_total", Matchers: `code=~"5.."`},
		Histogram: Selector{Name: "http_request_duration_seconds"},
	},
}
