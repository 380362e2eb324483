package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// adoption is what is asked for.
type adoption struct {
	service string
	print   bool
}

func (a *app) adoptCommand() *cobra.Command {
	o := adoption{}
	cmd := &cobra.Command{
		Use:   "adopt DEPLOYMENT",
		Short: "Make a Rollout that takes over a Deployment and its pods",
		Long: "Make a Rollout that takes over a Deployment and its pods; none is restarted.\n\nThe Service and the routes are found: a Service that selects the Deployment's pods, and the routes that refer to it.\n" +
			"With --print nothing is changed: the manifest is written to standard output, for Git.",
		Example: "  kubectl belay adopt cart --print > rollout.yaml\n  kubectl belay adopt cart",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.adopt(cmd.Context(), args[0], o) },
	}
	cmd.Flags().BoolVar(&o.print, "print", false, "Write the Rollout's manifest to standard output and change nothing")
	cmd.Flags().StringVar(&o.service, "service", "", "Service that users of the Deployment call, where more than one selects its pods")
	return cmd
}

func (a *app) adopt(ctx context.Context, name string, o adoption) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	d := &appsv1.Deployment{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, d); err != nil {
		return fmt.Errorf("reading Deployment %s/%s: %w", namespace, name, err)
	}
	if err := adoptable(ctx, c, d); err != nil {
		return err
	}
	service, routes, err := trafficOf(ctx, c, d, o.service)
	if err != nil {
		return err
	}
	r := rolloutFor(d, service, routes)
	if o.print {
		return a.printRollout(r)
	}
	if err := c.Create(ctx, r, client.FieldOwner("kubectl-belay")); err != nil {
		return fmt.Errorf("creating Rollout %s/%s: %w", namespace, r.Name, err)
	}
	_, err = fmt.Fprintf(a.streams.Out, "Rollout %s takes over Deployment %s, with Service %s and %s; no pod is restarted\nwatch it: kubectl belay status %s -w\nput it into Git: kubectl belay adopt %s --print; to give the pods back: kubectl belay release %s\n",
		r.Name, name, service, kindsAndNames(routes), r.Name, name, r.Name)
	return err
}

// adoptable says what would keep the controller from taking a Deployment over.
func adoptable(ctx context.Context, c client.Client, d *appsv1.Deployment) error {
	switch owner := metav1.GetControllerOf(d); {
	case len(d.Spec.Selector.MatchExpressions) > 0:
		return fmt.Errorf("the selector of Deployment %s has matchExpressions: only a selector of matchLabels can be taken over", d.Name)
	case owner != nil:
		return fmt.Errorf("Deployment %s is controlled by %s %s, which would undo what Belay does to it", d.Name, owner.Kind, owner.Name)
	case len(d.Name) > 52:
		return fmt.Errorf("the name of Deployment %s has more than 52 characters, and that of a Rollout must not: write the manifest by hand, with another name and workloadRef", d.Name)
	}
	var list v1alpha1.RolloutList
	if err := c.List(ctx, &list, client.InNamespace(d.Namespace)); err != nil {
		return fmt.Errorf("listing Rollouts: %w", err)
	}
	for i := range list.Items {
		if ref := list.Items[i].Spec.WorkloadRef; ref != nil && ref.Name == d.Name && list.Items[i].Name != d.Name {
			return fmt.Errorf("Deployment %s is taken over by Rollout %s already", d.Name, list.Items[i].Name)
		}
	}
	return nil
}

// routesOf lists the routes of a namespace, of every kind that the cluster serves.
func routesOf(ctx context.Context, c client.Client, namespace string) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, kind := range []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"} {
		mapping, err := c.RESTMapper().RESTMapping(schema.GroupKind{Group: gatewayv1.GroupName, Kind: kind})
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("finding the version of %s: %w", kind, err)
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(mapping.GroupVersionKind)
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("listing %ss: %w", kind, err)
		}
		out = append(out, list.Items...)
	}
	return out, nil
}

// trafficOf finds the Service of a Deployment's pods and the routes of its namespace that refer to it.
func trafficOf(ctx context.Context, c client.Client, d *appsv1.Deployment, asked string) (string, []v1alpha1.RouteReference, error) {
	var services corev1.ServiceList
	if err := c.List(ctx, &services, client.InNamespace(d.Namespace)); err != nil {
		return "", nil, fmt.Errorf("listing Services: %w", err)
	}
	routes, err := routesOf(ctx, c, d.Namespace)
	if err != nil {
		return "", nil, err
	}
	var selecting, routed []string
	found := map[string][]v1alpha1.RouteReference{}
	for i := range services.Items {
		s := &services.Items[i]
		if !selects(s, d.Spec.Template.Labels) {
			continue
		}
		selecting = append(selecting, s.Name)
		for j := range routes {
			if refersTo(&routes[j], s) {
				found[s.Name] = append(found[s.Name], v1alpha1.RouteReference{Kind: routes[j].GetKind(), Name: routes[j].GetName()})
			}
		}
		if len(found[s.Name]) > 0 {
			routed = append(routed, s.Name)
		}
	}
	switch {
	case asked != "" && !slices.Contains(selecting, asked):
		return "", nil, fmt.Errorf("--service=%s: it does not select the pods of Deployment %s; those that do: %s", asked, d.Name, orNone(selecting))
	case asked != "" && len(found[asked]) == 0, asked == "" && len(routed) == 0:
		return "", nil, fmt.Errorf("no route refers to a Service of Deployment %s (%s): a Rollout shifts traffic by routes", d.Name, orNone(selecting))
	case asked == "" && len(routed) > 1:
		return "", nil, fmt.Errorf("routes refer to more than one Service of Deployment %s: say --service, with one of %s", d.Name, strings.Join(routed, ", "))
	case asked == "":
		asked = routed[0]
	}
	return asked, found[asked], nil
}

func kindsAndNames(routes []v1alpha1.RouteReference) string {
	var out []string
	for _, r := range routes {
		out = append(out, r.Kind+" "+r.Name)
	}
	return strings.Join(out, ", ")
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// selects says whether a Service of the user's selects pods with these labels.
func selects(s *corev1.Service, labels map[string]string) bool {
	if len(s.Spec.Selector) == 0 || s.Labels[v1alpha1.LabelRollout] != "" {
		return false
	}
	for key, value := range s.Spec.Selector {
		if key != v1alpha1.LabelRole && labels[key] != value {
			return false
		}
	}
	return true
}

// refersTo says whether a rule of a route has a Service of the route's namespace as a backend.
func refersTo(route *unstructured.Unstructured, s *corev1.Service) bool {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	for _, rule := range rules {
		fields, ok := rule.(map[string]any)
		if !ok {
			continue
		}
		refs, _, _ := unstructured.NestedSlice(fields, "backendRefs")
		for _, ref := range refs {
			b, ok := ref.(map[string]any)
			if !ok || b["name"] != s.Name {
				continue
			}
			kind, namespace := b["kind"], b["namespace"]
			if (kind == nil || kind == "Service") && (namespace == nil || namespace == s.Namespace) {
				return true
			}
		}
	}
	return false
}

// rolloutFor is a Rollout in the words of the Deployment, with steps to begin with.
func rolloutFor(d *appsv1.Deployment, service string, routes []v1alpha1.RouteReference) *v1alpha1.Rollout {
	step := func(name string, weight int32) v1alpha1.Step {
		return v1alpha1.Step{Name: name, Weight: &weight, Hold: "2m"}
	}
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name},
		Spec: v1alpha1.RolloutSpec{WorkloadRef: &v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name},
			RevisionHistoryLimit: d.Spec.RevisionHistoryLimit,
			Traffic:              v1alpha1.Traffic{StableService: service, Routes: routes},
			Strategy: v1alpha1.Strategy{Canary: &v1alpha1.CanaryStrategy{
				Steps: []v1alpha1.Step{step("first", 5), step("quarter", 25), step("half", 50), step("all", 100)}}}}}
	r.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
	if s := d.Spec.ProgressDeadlineSeconds; s != nil {
		r.Spec.ProgressDeadline = v1alpha1.Duration(fmt.Sprintf("%ds", *s))
	}
	return r
}

// printRollout writes a manifest without status.
func (a *app) printRollout(r *v1alpha1.Rollout) error {
	data, err := yaml.Marshal(map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Rollout",
		"metadata": map[string]any{"name": r.Name, "namespace": r.Namespace}, "spec": r.Spec})
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	_, err = fmt.Fprintf(a.streams.Out, "# Takes over Deployment %s. The Deployment, Service %s and its routes stay in Git as they are;\n# leave spec.paused out of the Deployment. Without spec.replicas the Deployment's number counts, also where an HPA sets it.\n# Add spec.analysis to have metrics judged.\n%s",
		r.Spec.WorkloadRef.Name, r.Spec.Traffic.StableService, data)
	return err
}
