package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/test/testbed/parts"
)

// gatewayLabel on a GatewayClass names the Gateway whose process serves it: without it every gateway would claim every class.
const gatewayLabel = "testbed.belay.dev/gateway"

// GatewayOptions describe one process of the gateway, with a Gateway and a GatewayClass of its own.
type GatewayOptions struct {
	Name     string        // of the Gateway, in namespace gateway-system
	Class    string        // of the GatewayClass
	Port     int           // where traffic enters
	APIPort  int           // of its own API, with /ping
	Throttle time.Duration // least time between two configuration changes; Traefik's own default is 2 s
}

// arguments are Traefik's.
func (o GatewayOptions) arguments() []string {
	return []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false", // or it calls out
		"--entrypoints.web.address=127.0.0.1:" + port(o.Port), "--entrypoints.traefik.address=127.0.0.1:" + port(o.APIPort),
		"--entrypoints.web.transport.lifecycle.gracetimeout=1s", "--entrypoints.traefik.transport.lifecycle.gracetimeout=1s",
		"--providers.providersthrottleduration=" + o.Throttle.String(),
		"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.statusaddress.ip=127.0.0.1",
		"--providers.kubernetesgateway.labelselector=" + gatewayLabel + "=" + o.Name,
		"--ping=true", "--ping.entrypoint=traefik", "--api=true", "--api.insecure=true", "--api.dashboard=false",
		"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=traefik",
		"--metrics.prometheus.addserviceslabels=true", "--metrics.prometheus.addrouterslabels=true",
		"--metrics.prometheus.buckets=0.005,0.01,0.025,0.05,0.1,0.25,0.5,1,2.5,5", "--log.level=INFO",
	}
}

func gatewayEnv(kubeconfig string) []string {
	return []string{"KUBECONFIG=" + kubeconfig, "KUBERNETES_SERVICE_HOST="}
}

func (t *Testbed) startGateway(ctx context.Context, c *cluster) error {
	first, err := t.slot.Ports(2)
	if err != nil {
		return err
	}
	o := GatewayOptions{Name: gatewayName, Class: gatewayClass, Port: first, APIPort: first + 1, Throttle: t.opts.Throttle}
	t.info.GatewayURL, t.info.GatewayAPIURL = fmt.Sprintf("http://127.0.0.1:%d", o.Port), fmt.Sprintf("http://127.0.0.1:%d", o.APIPort)
	t.info.GatewayClass, t.info.GatewayName, t.info.GatewayNS = o.Class, o.Name, gatewayNamespace
	if err := c.createGateway(ctx, o); err != nil {
		return err
	}
	argv := append([]string{t.info.Programs[parts.Traefik]}, o.arguments()...)
	if err := t.spawn(Gateway, gatewayEnv(t.info.Kubeconfig), argv...); err != nil {
		return err
	}
	return await(ctx, "the gateway's process", func(ctx context.Context) error { return answers(ctx, t.info.GatewayAPIURL+"/ping") })
}

// AnotherGateway makes the objects of one more gateway beside the testbed's own, and returns the command and the environment of its
// process, which the caller runs inside the testbed's network. Prometheus does not scrape it.
func AnotherGateway(ctx context.Context, info Info, o GatewayOptions) (argv, env []string, err error) {
	if o.Name == info.GatewayName || o.Class == info.GatewayClass {
		return nil, nil, fmt.Errorf("Gateway %s of class %s is the testbed's own: choose another name and class", o.Name, o.Class)
	}
	c, err := connect(info.Kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	if err := c.createGateway(ctx, o); err != nil {
		return nil, nil, err
	}
	program := info.Programs[parts.Traefik]
	return append([]string{program}, o.arguments()...), append(os.Environ(), gatewayEnv(info.Kubeconfig)...), nil
}

// createGateway makes the class and the Gateway, whose one listener takes routes of all namespaces.
func (c *cluster) createGateway(ctx context.Context, o GatewayOptions) error {
	gateway := map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
		"metadata": map[string]any{"name": o.Name, "namespace": gatewayNamespace},
		"spec": map[string]any{
			"gatewayClassName": o.Class,
			"listeners": []any{map[string]any{
				"name": "http", "protocol": "HTTP", "port": int64(o.Port), // Traefik attaches a listener to the entry point of its port
				"allowedRoutes": map[string]any{"namespaces": map[string]any{"from": "All"}},
			}},
		},
	}
	class := map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
		"metadata": map[string]any{"name": o.Class, "labels": map[string]any{gatewayLabel: o.Name}},
		"spec":     map[string]any{"controllerName": "traefik.io/gateway-controller"},
	}
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": gatewayNamespace}}
	for _, object := range []map[string]any{namespace, class, gateway} {
		if err := c.apply(ctx, &unstructured.Unstructured{Object: object}); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) hasGateway(ctx context.Context) error {
	g, err := c.dynamic.Resource(resources["Gateway"]).Namespace(gatewayNamespace).Get(ctx, gatewayName, metav1.GetOptions{})
	if err == nil && !hasCondition(g, "Programmed") {
		err = errors.New("the Gateway is not programmed")
	}
	return err
}
