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
	{
		Name:      v1alpha1.PresetOTelHTTP,
		Of:        "the application itself, by OpenTelemetry's semantic conventions for HTTP servers",
		Total:     Selector{Name: "http_server_request_duration_seconds_count"},
		Bad:       Selector{Name: "http_server_request_duration_seconds_count", Matchers: `http_response_status_code=~"5.."`},
		Histogram: Selector{Name: "http_server_request_duration_seconds"},
	},
	{
		// The name of a service ends in the index of its backendRef, which changes with their order: any is taken. gRPC is left
		// out: Traefik labels calls that succeed with code 2.
		Name:      v1alpha1.PresetTraefik,
		Of:        "Traefik, for HTTPRoutes",
		Total:     Selector{Name: "traefik_service_requests_total"},
		Bad:       Selector{Name: "traefik_service_requests_total", Matchers: `code=~"5.."`},
		Histogram: Selector{Name: "traefik_service_request_duration_seconds"},
		Arms: &v1alpha1.CompareArms{Label: "service",
			Canary: "httproute-.+-svc-{{namespace}}-{{canary.service}}-[0-9]+@kubernetesgateway",
			Stable: "httproute-.+-svc-{{namespace}}-{{stable.service}}-[0-9]+@kubernetesgateway"},
	},
	{
		// All backends of a rule are one cluster; its endpoints are told apart where EnvoyProxy asks for that.
		Name:  v1alpha1.PresetEnvoyGateway,
		Of:    "Envoy Gateway, with telemetry.metrics.enablePerEndpointStats",
		Total: Selector{Name: "envoy_cluster_endpoint_rq_total", Matchers: `envoy_cluster_name=~"(http|grpc)route/.+"`},
		Bad:   Selector{Name: "envoy_cluster_endpoint_rq_error", Matchers: `envoy_cluster_name=~"(http|grpc)route/.+"`},
		Arms: &v1alpha1.CompareArms{Label: "envoy_endpoint_address",
			Canary: `\[?{{canary.addresses}}\]?:[0-9]+`,
			Stable: `\[?{{stable.addresses}}\]?:[0-9]+`},
		RefusedLatency: "Envoy Gateway measures the durations of both revisions in one histogram: take latency from the application, with preset http-server or otel-http",
	},
	{
		Name:      v1alpha1.PresetIstio,
		Of:        "Istio's gateways and the sidecars of callers",
		Total:     Selector{Name: "istio_requests_total", Matchers: `reporter="source",destination_service_namespace="{{namespace}}"`},
		Bad:       Selector{Name: "istio_requests_total", Matchers: `reporter="source",destination_service_namespace="{{namespace}}",response_code=~"5.."`},
		Histogram: Selector{Name: "istio_request_duration_milliseconds", Matchers: `reporter="source",destination_service_namespace="{{namespace}}"`},
		Unit:      v1alpha1.UnitMilliseconds,
		Arms:      &v1alpha1.CompareArms{Label: "destination_service_name", Canary: "{{canary.service}}", Stable: "{{stable.service}}"},
	},
	{
		// Envoy writes _ for the : of a cluster's name.
		Name:      v1alpha1.PresetCilium,
		Of:        "Cilium's Gateway API, by the metrics of its Envoy",
		Total:     Selector{Name: "envoy_cluster_upstream_rq_xx"},
		Bad:       Selector{Name: "envoy_cluster_upstream_rq_xx", Matchers: `envoy_response_code_class="5"`},
		Histogram: Selector{Name: "envoy_cluster_upstream_rq_time"},
		Unit:      v1alpha1.UnitMilliseconds,
		Arms: &v1alpha1.CompareArms{Label: "envoy_cluster_name",
			Canary: "(.+/)?{{namespace}}[_:]{{canary.service}}[_:][0-9]+",
			Stable: "(.+/)?{{namespace}}[_:]{{stable.service}}[_:][0-9]+"},
	},
	{
		// A request that got no answer has no status.
		Name:      v1alpha1.PresetLinkerd,
		Of:        "Linkerd's proxies of callers, for HTTPRoutes",
		Total:     Selector{Name: "outbound_http_route_backend_response_statuses_total", Matchers: `backend_namespace="{{namespace}}"`},
		Bad:       Selector{Name: "outbound_http_route_backend_response_statuses_total", Matchers: `backend_namespace="{{namespace}}",http_status=~"5..|"`},
		Histogram: Selector{Name: "outbound_http_route_backend_response_duration_seconds", Matchers: `backend_namespace="{{namespace}}"`},
		Arms:      &v1alpha1.CompareArms{Label: "backend_name", Canary: "{{canary.service}}", Stable: "{{stable.service}}"},
	},
	{
		Name:    v1alpha1.PresetNGINXGatewayFabric,
		Of:      "NGINX Gateway Fabric",
		Refused: "NGINX Gateway Fabric counts the requests of all backends together, so that the two revisions cannot be told apart: take the application's own metrics, with preset http-server or otel-http",
	},
}
