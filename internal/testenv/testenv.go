// Package testenv gives tests a namespace of their own on a real API server.
//
// `make test` starts the testbed's control plane once and sets BELAY_TEST_KUBECONFIG; without it, tests that need an
// API server are skipped, loudly, unless BELAY_TEST_REQUIRE is set, which makes that a failure.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Env is a real API server and a namespace on it that ends with the test.
type Env struct {
	Config    *rest.Config
	Client    client.Client
	Scheme    *k8sruntime.Scheme
	Namespace string
}

var install = struct {
	once sync.Once
	err  error
}{}

// New returns an Env, with Belay's CRDs and the Gateway API's CRDs of routes established.
func New(t *testing.T) *Env {
	t.Helper()
	kubeconfig := os.Getenv("BELAY_TEST_KUBECONFIG")
	if kubeconfig == "" {
		if os.Getenv("BELAY_TEST_REQUIRE") != "" {
			t.Fatal("BELAY_TEST_KUBECONFIG is not set: run `make test-integration`")
		}
		t.Skip("SKIPPED: needs a real API server: run `make test-integration`, or set BELAY_TEST_KUBECONFIG")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatalf("loading %s: %v", kubeconfig, err)
	}
	cfg.QPS, cfg.Burst = 500, 1000
	scheme := Scheme()
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatalf("making client: %v", err)
	}
	install.once.Do(func() { install.err = installCRDs(context.Background(), c) })
	if install.err != nil {
		t.Fatalf("installing CRDs: %v", install.err)
	}
	ns := &corev1.Namespace{}
	ns.GenerateName = "t-"
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("creating namespace: %v", err)
	}
	t.Cleanup(func() { _ = c.Delete(context.Background(), ns) })
	return &Env{Config: cfg, Client: c, Scheme: scheme, Namespace: ns.Name}
}

// Scheme knows the built-in kinds and Belay's.
func Scheme() *k8sruntime.Scheme {
	s := k8sruntime.NewScheme()
	for _, add := range []func(*k8sruntime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}

// Root is the root folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	if filepath.IsAbs(file) {
		return filepath.Dir(filepath.Dir(filepath.Dir(file)))
	}
	dir, err := os.Getwd() // built with -trimpath: go test runs in the package's folder
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, e := os.Stat(filepath.Join(dir, "CHANGELOG.md")); e == nil {
			return dir
		}
		if _, e := os.Stat(filepath.Join(dir, "config", "crd")); e == nil {
			return dir
		}
	}
	panic("repository root not found")
}

func installCRDs(ctx context.Context, c client.Client) error {
	files, err := filepath.Glob(filepath.Join(Root(), "config", "crd", "belay.dev_*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no CRDs in config/crd: %w", err)
	}
	for _, kind := range []string{"httproutes", "grpcroutes", "tlsroutes", "tcproutes", "referencegrants"} {
		files = append(files, filepath.Join(gatewayAPIDir(), "config", "crd", "standard", "gateway.networking.k8s.io_"+kind+".yaml"))
	}
	var names []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("reading CRD: %w", err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(raw, u); err != nil {
			return fmt.Errorf("decoding %s: %w", f, err)
		}
		if err := applyCRD(ctx, c, u); err != nil {
			return fmt.Errorf("applying %s: %w", f, err)
		}
		names = append(names, u.GetName())
	}
	return waitEstablished(ctx, c, names)
}

func applyCRD(ctx context.Context, c client.Client, u *unstructured.Unstructured) error {
	delete(u.Object, "status")
	return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("belay-testenv"))
}

func waitEstablished(ctx context.Context, c client.Client, names []string) error {
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 60*time.Second, true, func(ctx context.Context) (bool, error) {
		for _, n := range names {
			crd := &apiextensionsv1.CustomResourceDefinition{}
			if err := c.Get(ctx, client.ObjectKey{Name: n}, crd); err != nil {
				return false, nil
			}
			if !established(crd) {
				return false, nil
			}
		}
		return true, nil
	})
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
			return true
		}
	}
	return false
}

// gatewayAPIDir is where the module cache keeps the Gateway API of the version in go.mod.
func gatewayAPIDir() string {
	version, err := moduleVersion("sigs.k8s.io/gateway-api")
	if err != nil {
		panic(err)
	}
	cache := os.Getenv("GOMODCACHE")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(goPath(home), "pkg", "mod")
	}
	return filepath.Join(cache, "sigs.k8s.io", "gateway-api@"+version)
}

func goPath(home string) string {
	if p := os.Getenv("GOPATH"); p != "" {
		return filepath.SplitList(p)[0]
	}
	return filepath.Join(home, "go")
}

func moduleVersion(module string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(Root(), "go.mod"))
	if err != nil {
		return "", fmt.Errorf("reading go.mod: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == module {
			return f[1], nil
		}
	}
	return "", errors.New(module + " is not in go.mod")
}
