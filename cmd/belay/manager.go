package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/belay-delivery/belay/analysis/web"
	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/analysisrun"
	"github.com/belay-delivery/belay/controllers/deliverypolicy"
	"github.com/belay-delivery/belay/controllers/drift"
	"github.com/belay-delivery/belay/controllers/repository"
	"github.com/belay-delivery/belay/controllers/revert"
	"github.com/belay-delivery/belay/controllers/rollout"
	"github.com/belay-delivery/belay/controllers/sync"
	"github.com/belay-delivery/belay/gitops/registry"
)

// newManager makes a manager whose caches hold what the controllers need and no more: pods and ReplicaSets of Rollouts
// alone, and no Secrets.
func newManager(cfg *rest.Config, o options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	caches, err := cacheOptions(o.namespaces)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Cache: caches, NewClient: newClient,
		Client: client.Options{Cache: &client.CacheOptions{Unstructured: true, DisableFor: []client.Object{&corev1.Secret{}},
			// A reconciliation sees what the one before it wrote. The client cannot do that for several namespaces.
			EnableReadYourWritesConsistency: ptr.To(len(caches.DefaultNamespaces) < 2)}},
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "manager.belay.dev",
		LeaderElectionNamespace:       o.leaderNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       ptr.To(20 * time.Second),
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	return mgr, nil
}

func cacheOptions(namespaces string) (cache.Options, error) {
	ours, err := labels.NewRequirement(v1alpha1.LabelRevision, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("selecting pods of Rollouts: %w", err)
	}
	checks, err := labels.NewRequirement(v1alpha1.LabelAnalysisRun, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, fmt.Errorf("selecting Jobs of AnalysisRuns: %w", err)
	}
	selected := cache.ByObject{Label: labels.NewSelector().Add(*ours), Transform: cache.TransformStripManagedFields()}
	slim := cache.ByObject{Transform: cache.TransformStripManagedFields()}
	o := cache.Options{ByObject: map[client.Object]cache.ByObject{
		&batchv1.Job{}: {Label: labels.NewSelector().Add(*checks), Transform: cache.TransformStripManagedFields()},
		&corev1.Pod{}:  selected, &appsv1.ReplicaSet{}: selected, &appsv1.Deployment{}: slim, &corev1.Service{}: slim, &discoveryv1.EndpointSlice{}: slim,
	}}
	for _, n := range commaList(namespaces) {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[n] = cache.Config{}
	}
	return o, nil
}

// ownNamespace is where a pod finds the name of its namespace.
var ownNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// bundleNamespace is where what Syncs have applied is kept; empty: nowhere.
func bundleNamespace(o options) string {
	own, _ := os.ReadFile(ownNamespace) // outside a cluster there is none
	found := cmp.Or(o.bundleNamespace, o.leaderNamespace, strings.TrimSpace(string(own)))
	if found == "none" {
		return ""
	}
	return found
}

// commaList reads --namespaces; none means all.
func commaList(value string) []string {
	var out []string
	for _, n := range strings.Split(value, ",") {
		if n = strings.TrimSpace(n); n != "" {
			out = append(out, n)
		}
	}
	return out
}

func addControllers(mgr ctrl.Manager, o options) error {
	source := repository.NewSource(mgr.GetAPIReader(), o.allowFileRepositories)
	dir, err := claimGitDir(o.gitDir)
	if err != nil {
		return err
	}
	source.Dir, source.MaxBytes = dir, o.gitMiB<<20
	recorder := mgr.GetEventRecorder("belay")
	setups := []func() error{
		func() error {
			policies, err := rollout.ParsePolicies(o.routePolicies)
			if err != nil {
				return fmt.Errorf("--route-policies: %w", err)
			}
			r := &rollout.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Scheme: mgr.GetScheme(), Clock: clock.RealClock{}, Recorder: recorder,
				Namespaces: commaList(o.namespaces), Policies: policies}
			return r.SetupWithManager(mgr, rollout.Options{MaxConcurrentReconciles: o.rollouts})
		},
		func() error {
			r := &analysisrun.Reconciler{DefaultAddress: o.prometheusAddress, Asker: web.Client{AllowLocal: o.allowLocalWebChecks}}
			return r.SetupWithManager(mgr, controller.Options{})
		},
		func() error {
			r := &repository.Reconciler{Client: mgr.GetClient(), Source: source, Recorder: recorder}
			return r.SetupWithManager(mgr, repository.Options{})
		},
		func() error { return (&deliverypolicy.Reconciler{Client: mgr.GetClient()}).SetupWithManager(mgr) },
		func() error {
			return (&deliverypolicy.Reconciler{Client: mgr.GetClient(), Cluster: true}).SetupWithManager(mgr)
		},
		func() error {
			r := &sync.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Config: mgr.GetConfig(), Source: source, Recorder: recorder,
				Registries: registry.Client{PlainHTTP: commaList(o.plainHTTPRegistries)},
				Drift:      &drift.Tracker{Namespaces: commaList(o.namespaces), Log: mgr.GetLogger().WithName("drift")}}
			if in := bundleNamespace(o); in != "" {
				r.Bundles = &sync.Shelf{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: in}
			}
			return r.SetupWithManager(mgr, sync.Options{})
		},
		func() error {
			r := &revert.Reconciler{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Source: source, Recorder: recorder, Version: version}
			return r.SetupWithManager(mgr, revert.Options{})
		},
	}
	for _, setup := range setups {
		if err := setup(); err != nil {
			return err
		}
	}
	if o.webhookAddress != "0" && o.webhookAddress != "" {
		receiver := &repository.Receiver{Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Address: o.webhookAddress}
		if err := mgr.Add(receiver); err != nil {
			return fmt.Errorf("adding the receiver of webhooks: %w", err)
		}
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	// Ready once the caches have been filled; a manager that waits for the lease is ready too.
	if err := mgr.AddReadyzCheck("caches", cachesFilled(mgr)); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}
