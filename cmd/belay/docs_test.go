package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// TestOperationsPage: every flag and every metric of the manager is in docs/operations.md.
func TestOperationsPage(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	fs := flag.NewFlagSet("belay", flag.ContinueOnError)
	(&options{}).bind(fs)
	fs.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(page, "`--"+f.Name+"`") {
			t.Errorf("flag --%s is not documented", f.Name)
		}
	})
	found := 0
	descs := make(chan *prometheus.Desc, 1024)
	go func() {
		metrics.Registry.(prometheus.Collector).Describe(descs)
		close(descs)
	}()
	for d := range descs {
		_, rest, ok := strings.Cut(d.String(), `fqName: "belay_`)
		if !ok {
			continue
		}
		found++
		name, _, _ := strings.Cut(rest, `"`)
		if !strings.Contains(page, "`belay_"+name+"`") {
			t.Errorf("metric belay_%s is not documented", name)
		}
	}
	if found < 5 {
		t.Errorf("found %d metrics of Belay, want at least 5", found)
	}
}

func TestGitDirIsOfOneManager(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "git")
	first, err := claimGitDir(dir)
	if err != nil || first != filepath.Join(dir, "copies") {
		t.Fatalf("claimed %q, %v", first, err)
	}
	second, err := claimGitDir(dir)
	if err != nil || second == first {
		t.Errorf("a second manager gets %q, %v", second, err)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"defaults":         {nil, ""},
		"address":          {[]string{"--prometheus-address=prometheus:9090"}, "--prometheus-address"},
		"no rollouts":      {[]string{"--concurrent-rollouts=0"}, "--concurrent-rollouts"},
		"no room for Git":  {[]string{"--git-size=0"}, "--git-size"},
		"no port":          {[]string{"--plain-http-registries=r.example.com:5000,localhost"}, "--plain-http-registries \"localhost\" must be HOST:PORT"},
		"no policy":        {[]string{"--route-policies=securitypolicies"}, "--route-policies"},
		"no requests":      {[]string{"--kube-api-qps=0"}, "--kube-api-qps"},
		"an audit nowhere": {[]string{"--audit=otpl"}, `--audit "otpl" must be stdout, otlp, or the path of a file with a slash, e.g. ./otpl`},
		"an audit's URL":   {[]string{"--audit=https://user:pass@c:4318"}, "--audit takes no URL: it must be otlp"},
		"audit twice":      {[]string{"--audit=/a,./b"}, `--audit "/a,./b" must name stdout, otlp and a file once each at most`},
		"audits":           {[]string{"--audit=stdout, otlp,/var/log/audit.jsonl"}, ""},
		"address is fine":  {[]string{"--prometheus-address=https://prometheus:9090"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o, fs := options{}, flag.NewFlagSet("belay", flag.ContinueOnError)
			o.bind(fs)
			if err := fs.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			err := o.validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestG18_AuditPlaces: what is wrong with the collector is said before anything starts, and only where there is one.
func TestG18_AuditPlaces(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
	o, fs := options{}, flag.NewFlagSet("belay", flag.ContinueOnError)
	o.bind(fs)
	for audit, want := range map[string]string{"": "[] ", "stdout": "[stdout] ", "./otlp": "[file] ./otlp", "otlp": "[otlp] ", "/x/a.jsonl, otlp": "[file otlp] /x/a.jsonl"} {
		o.audit = audit
		to, path, err := o.auditTo()
		if got := fmt.Sprint(to, " ", path); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", audit, got, err, want)
		}
		const text = "--audit otlp: OTEL_EXPORTER_OTLP_ENDPOINT must be a URL such as http://collector.monitoring:4318"
		if err, named := o.validate(), strings.HasSuffix(audit, "otlp") && audit != "./otlp"; named != (err != nil) || named && err.Error() != text {
			t.Errorf("%q: %v", audit, err)
		}
	}
}

func TestWhereBundlesAreKept(t *testing.T) {
	ownNamespace = filepath.Join(t.TempDir(), "namespace")
	want := func(o options, want string) {
		t.Helper()
		if got := bundleNamespace(o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	want(options{}, "")
	want(options{leaderNamespace: "ops"}, "ops")
	if err := os.WriteFile(ownNamespace, []byte("belay-system\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(options{}, "belay-system")
	want(options{bundleNamespace: "bundles", leaderNamespace: "ops"}, "bundles")
	want(options{bundleNamespace: "none", leaderNamespace: "ops"}, "")
}

func TestCachesAreNarrow(t *testing.T) {
	o, err := cacheOptions("shop, ops")
	if err != nil {
		t.Fatal(err)
	}
	if len(o.DefaultNamespaces) != 2 {
		t.Errorf("namespaces: %v", o.DefaultNamespaces)
	}
	for kind, by := range o.ByObject {
		if by.Transform == nil {
			t.Errorf("%T is cached whole", kind)
		}
	}
}
