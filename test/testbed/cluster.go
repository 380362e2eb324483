package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/gateway-api/pkg/consts"
)

const (
	gatewayClass     = "traefik"
	gatewayName      = "gateway"
	gatewayNamespace = "gateway-system"
	fieldManager     = "belay-testbed"
)

// resources are the kinds that the testbed writes.
var resources = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition":         {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"ValidatingAdmissionPolicy":        {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	"ValidatingAdmissionPolicyBinding": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
	"Namespace":                        {Version: "v1", Resource: "namespaces"},
	"GatewayClass":                     {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"},
	"Gateway":                          {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
}

// cluster is the testbed's API server, as its administrator sees it.
type cluster struct {
	typed   kubernetes.Interface
	dynamic dynamic.Interface
}

func connect(kubeconfig string) (*cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	c := &cluster{}
	if c.typed, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	c.dynamic, err = dynamic.NewForConfig(config)
	return c, err
}

func (c *cluster) isReady(ctx context.Context) error {
	_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

// apply creates or updates an object by server-side apply.
func (c *cluster) apply(ctx context.Context, o *unstructured.Unstructured) error {
	resource, ok := resources[o.GetKind()]
	if !ok {
		return fmt.Errorf("unexpected kind %s", o.GetKind())
	}
	_, err := c.dynamic.Resource(resource).Namespace(o.GetNamespace()).
		Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}

// installGatewayAPI applies all definitions in the folder, and waits until the API server serves them.
func (c *cluster) installGatewayAPI(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no Gateway API definitions in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(files))
	for i, f := range files {
		wg.Go(func() { errs[i] = c.applyFile(ctx, f) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return await(ctx, "the Gateway API definitions", c.hasGatewayAPI)
}

func (c *cluster) applyFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading definitions: %w", err)
	}
	defer f.Close()
	for decoder := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		var o unstructured.Unstructured
		if err := decoder.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if err := c.apply(ctx, &o); err != nil {
			return err
		}
	}
}

// hasGatewayAPI returns nil once every definition is established and of the version that the testbed was made for.
func (c *cluster) hasGatewayAPI(ctx context.Context) error {
	list, err := c.dynamic.Resource(resources["CustomResourceDefinition"]).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		o := &list.Items[i]
		if v, ours := o.GetAnnotations()[consts.BundleVersionAnnotation]; ours && v != consts.BundleVersion {
			return fmt.Errorf("%s is of version %s, want %s", o.GetName(), v, consts.BundleVersion)
		}
		if !hasCondition(o, "Established") {
			return fmt.Errorf("%s is not established", o.GetName())
		}
	}
	return nil
}

func hasCondition(o *unstructured.Unstructured, kind string) bool {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return false
	}
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind && m["status"] == "True" {
			return true
		}
	}
	return false
}

func (c *cluster) hasServiceAccount(ctx context.Context) error {
	_, err := c.typed.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// hasMetrics returns nil once the API server passes questions about what pods use on to the node.
func (c *cluster) hasMetrics(ctx context.Context) error {
	_, err := c.typed.Discovery().RESTClient().Get().AbsPath("/apis/metrics.k8s.io/v1beta1/nodes").DoRaw(ctx)
	return err
}

// hasNode returns nil once a node is ready and takes pods.
func (c *cluster) hasNode(ctx context.Context) error {
	nodes, err := c.typed.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range nodes.Items {
		n := &nodes.Items[i]
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue && len(n.Spec.Taints) == 0 {
				return nil
			}
		}
	}
	return errors.New("no node is ready")
}
