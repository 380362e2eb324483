package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Info is the part of testbed.json that is needed here.
type Info struct {
	Dir           string            `json:"dir"`
	Programs      map[string]string `json:"programs"`
	Kubeconfig    string            `json:"kubeconfig"`
	APIServerURL  string            `json:"apiServerURL"`
	GatewayURL    string            `json:"gatewayURL"`
	GatewayName   string            `json:"gatewayName"`
	GatewayNS     string            `json:"gatewayNamespace"`
	PrometheusURL string            `json:"prometheusURL"`
	GitURL        string            `json:"gitURL"`
	GitRoot       string            `json:"gitRoot"`
	GitUser       string            `json:"gitUser"`
	GitPassword   string            `json:"gitPassword"`
	Logs          string            `json:"logs"`
	Images        string            `json:"images"`
}

// Bed is a running testbed, seen by its administrator.
type Bed struct {
	Info
	Client client.Client
	Config *rest.Config
	Work   string // folder for what is made on the way: logs, samples, clones
	Bin    string // folder with the programs of Build
	Ledger *Ledger
}

// Open connects to the testbed in folder dir.
func Open(dir, bin, work string) (*Bed, error) {
	ctrllog.SetLogger(logr.Discard()) // what the client library says about its watches is not part of the story
	b := &Bed{Bin: bin, Work: work}
	text, err := os.ReadFile(filepath.Join(dir, "testbed.json"))
	if err != nil {
		return nil, fmt.Errorf("no testbed is ready in %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &b.Info); err != nil {
		return nil, fmt.Errorf("reading testbed.json: %w", err)
	}
	if b.Config, err = clientcmd.BuildConfigFromFlags("", b.Kubeconfig); err != nil {
		return nil, fmt.Errorf("reading the testbed's kubeconfig: %w", err)
	}
	b.Config.QPS, b.Config.Burst = 200, 400
	if b.Client, err = client.New(b.Config, client.Options{Scheme: Scheme()}); err != nil {
		return nil, fmt.Errorf("connecting to the testbed's API server: %w", err)
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, fmt.Errorf("making the work folder: %w", err)
	}
	b.Ledger = LedgerIn(work)
	return b, nil
}

// Scheme knows the built-in kinds and Belay's.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // a programming error: the kinds are compiled in
		}
	}
	return s
}

// Apply applies all documents of the files, in the order of the files' names, to a namespace where they name none.
func (b *Bed) Apply(ctx context.Context, namespace string, files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		objects, err := Documents(files[name])
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		for _, o := range objects {
			if o.GetNamespace() == "" {
				o.SetNamespace(namespace)
			}
			if err := b.ApplyObject(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// ApplyObject applies one object by server-side apply, as a person with kubectl does.
func (b *Bed) ApplyObject(ctx context.Context, o *unstructured.Unstructured) error {
	err := b.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.ForceOwnership, client.FieldOwner("stage"))
	if err != nil {
		return fmt.Errorf("applying %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// Documents are the objects of a YAML file.
func Documents(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(o)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decoding YAML: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// Namespace makes a namespace.
func (b *Bed) Namespace(ctx context.Context, name string) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := b.Client.Create(ctx, ns); err != nil {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	return nil
}

// Secret makes a Secret with text in it.
func (b *Bed) Secret(ctx context.Context, namespace, name string, data map[string]string) error {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	if err := b.Client.Create(ctx, s); err != nil {
		return fmt.Errorf("making Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// Program is the path of one of the programs of Build.
func (b *Bed) Program(name string) string { return filepath.Join(b.Bin, name) }

// Plugin runs kubectl belay as the testbed's administrator and returns what it says and its exit code.
func (b *Bed) Plugin(ctx context.Context, args ...string) (string, int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Program("kubectl-belay"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+b.Kubeconfig)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return out.String(), exit.ExitCode(), nil
	}
	if err != nil {
		return out.String(), -1, fmt.Errorf("running kubectl belay %s: %w", strings.Join(args, " "), err)
	}
	return out.String(), 0, nil
}

// Poll asks until the answer is yes; what it lacked last is part of the error when the limit is over.
func Poll(ctx context.Context, what string, limit time.Duration, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, %s at most: %w", what, limit, err)
		case <-tick.C:
		}
	}
}
