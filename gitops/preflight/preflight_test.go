package preflight

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func workload(t *testing.T, group, kind, pod string) *unstructured.Unstructured {
	return object(t, fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: web, namespace: shop}, spec: {replicas: 2, template: {spec: %s}}}", group, kind, pod))
}

func TestReferences(t *testing.T) {
	pod := `
{serviceAccountName: web, imagePullSecrets: [{name: pull}],
 volumes: [{name: a, configMap: {name: conf}}, {name: b, secret: {secretName: tls}}, {name: c, persistentVolumeClaim: {claimName: data}},
   {name: d, projected: {sources: [{configMap: {name: pc}}, {secret: {name: ps}}, {secret: {name: maybe, optional: true}}]}},
   {name: e, configMap: {name: perhaps, optional: true}}],
 initContainers: [{name: i, env: [{name: A, valueFrom: {configMapKeyRef: {name: ic, key: k}}}]}],
 containers: [{name: c, image: i, envFrom: [{configMapRef: {name: ec}}, {secretRef: {name: es}}, {secretRef: {name: eo, optional: true}}],
   env: [{name: A, valueFrom: {secretKeyRef: {name: vs, key: k}}}, {name: B, value: x}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}`
	var got []string
	for _, r := range References(workload(t, "apps/v1", "Deployment", pod)) {
		got = append(got, strings.TrimPrefix(r.Field, "spec.template.spec.")+" "+r.Target.String())
	}
	want := []string{
		"containers[0].envFrom[0].configMapRef.name ConfigMap shop/ec", "containers[0].envFrom[1].secretRef.name Secret shop/es",
		"containers[0].env[0].valueFrom.secretKeyRef.name Secret shop/vs", "imagePullSecrets[0] Secret shop/pull",
		"initContainers[0].env[0].valueFrom.configMapKeyRef.name ConfigMap shop/ic", "serviceAccountName ServiceAccount shop/web",
		"volumes[0].configMap.name ConfigMap shop/conf", "volumes[1].secret.secretName Secret shop/tls",
		"volumes[2].persistentVolumeClaim.claimName PersistentVolumeClaim shop/data", "volumes[3].projected.sources[0].configMap.name ConfigMap shop/pc",
		"volumes[3].projected.sources[1].secret.name Secret shop/ps",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for kind, at := range map[string]string{"Rollout": "belay.dev/v1alpha1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "Job": "batch/v1"} {
		if len(References(workload(t, at, kind, "{serviceAccountName: web}"))) != 1 {
			t.Errorf("%s: its pods are not seen", kind)
		}
	}
	cron := object(t, "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c, namespace: shop}, spec: {jobTemplate: {spec: {template: {spec: {serviceAccountName: web}}}}}}")
	if got := References(cron); len(got) != 1 || got[0].Field != "spec.jobTemplate.spec.template.spec.serviceAccountName" {
		t.Errorf("CronJob: %v", got)
	}
	if got := References(workload(t, "apps/v1", "Deployment", "{serviceAccountName: default}")); len(got) != 0 {
		t.Errorf("the ServiceAccount that every namespace has: %v", got)
	}
	set := object(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: s, namespace: shop}, spec: {volumeClaimTemplates: [{metadata: {name: data}}],
 template: {spec: {volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]}}}}`)
	if got := References(set); len(got) != 0 {
		t.Errorf("a claim that the StatefulSet makes itself: %v", got)
	}
}

func TestOpenReferences(t *testing.T) {
	web := workload(t, "apps/v1", "Deployment", "{serviceAccountName: web, volumes: [{name: a, secret: {secretName: tls}}, {name: b, secret: {secretName: token}}, {name: c, configMap: {name: ca}}, {name: d, configMap: {name: conf}}]}")
	bundle := []*unstructured.Unstructured{web,
		object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: conf, namespace: shop}}"),
		object(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: other}}"),
		object(t, "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: c, namespace: shop}, spec: {secretName: tls}}"),
		object(t, "{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: token, namespace: shop}}"),
		object(t, "{apiVersion: trust.cert-manager.io/v1, kind: Bundle, metadata: {name: b, namespace: shop, annotations: {belay.dev/provides: \"ConfigMap/ca, Secret/x\"}}}"),
	}
	open, targets := Open(bundle)
	if diff := cmp.Diff([]Target{{Kind: "ServiceAccount", Namespace: "shop", Name: "web"}}, targets); diff != "" || len(open) != 1 {
		t.Errorf("open %v, targets (-want +got):\n%s", open, diff)
	}
}

func quota(name string, hard, used corev1.ResourceList) corev1.ResourceQuota {
	q := corev1.ResourceQuota{}
	q.Namespace, q.Name, q.Spec.Hard, q.Status.Used = "shop", name, hard, used
	return q
}

func amount(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func TestOverQuota(t *testing.T) {
	const half = "{containers: [{name: c, image: i, resources: {requests: {cpu: 500m, memory: 1Gi}}}]}"
	const other = "{containers: [{name: c, image: j, resources: {requests: {cpu: 500m, memory: 1Gi}}}]}"
	deployment, rollout := workload(t, "apps/v1", "Deployment", half), workload(t, "belay.dev/v1alpha1", "Rollout", half)
	configMap := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}")
	for name, test := range map[string]struct {
		changes []Change
		quota   corev1.ResourceQuota
		want    string
	}{
		"each fits, the sum does not": {
			changes: []Change{{Desired: deployment, Resource: "deployments"}, {Desired: rollout, Resource: "rollouts"}},
			quota:   quota("q", amount("requests.cpu", "2"), amount("requests.cpu", "500m")),
			want:    "ResourceQuota shop/q: requests.cpu would be 500m used + 2 of this bundle, more than 2 (most of it from Deployment web, Rollout web)",
		},
		"it fits exactly": {
			changes: []Change{{Desired: deployment, Resource: "deployments"}},
			quota:   quota("q", amount("cpu", "1", "pods", "2", "count/deployments.apps", "1"), nil),
		},
		"what is there already is not counted again": {
			changes: []Change{{Desired: deployment, Live: deployment.DeepCopy(), Resource: "deployments"}},
			quota:   quota("q", amount("cpu", "1"), amount("cpu", "1")),
		},
		"an exceeded quota holds up nothing that does not add to it": {
			changes: []Change{{Desired: configMap, Resource: "configmaps"}},
			quota:   quota("q", amount("cpu", "1"), amount("cpu", "2")),
		},
		"surge of an update": {
			changes: []Change{{Desired: workload(t, "apps/v1", "Deployment", other), Live: deployment, Resource: "deployments"}},
			quota:   quota("q", amount("pods", "2"), amount("pods", "2")),
			want:    "ResourceQuota shop/q: pods would be 2 used + 1 of this bundle, more than 2 (most of it from Deployment web)",
		},
		"the canary of an attempt": {
			changes: []Change{{Desired: workload(t, "belay.dev/v1alpha1", "Rollout", other), Live: rollout, Resource: "rollouts"}},
			quota:   quota("q", amount("memory", "3Gi"), amount("memory", "2Gi")),
			want:    "ResourceQuota shop/q: memory would be 2Gi used + 2Gi of this bundle, more than 3Gi (most of it from Rollout web)",
		},
		"kinds by count": {
			changes: []Change{{Desired: configMap, Resource: "configmaps"}},
			quota:   quota("q", amount("count/configmaps", "3", "configmaps", "4"), amount("count/configmaps", "3", "configmaps", "3")),
			want:    "ResourceQuota shop/q: count/configmaps would be 3 used + 1 of this bundle, more than 3 (most of it from ConfigMap a)",
		},
		"storage": {
			changes: []Change{{Desired: object(t, "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d, namespace: shop}, spec: {resources: {requests: {storage: 5Gi}}}}"), Resource: "persistentvolumeclaims"}},
			quota:   quota("q", amount("requests.storage", "4Gi"), nil),
			want:    "ResourceQuota shop/q: requests.storage would be 0 used + 5Gi of this bundle, more than 4Gi (most of it from PersistentVolumeClaim d)",
		},
		"load balancers": {
			changes: []Change{{Desired: object(t, "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, spec: {type: LoadBalancer, ports: [{port: 80}]}}"), Resource: "services"}},
			quota:   quota("q", amount("services.loadbalancers", "0"), nil),
			want:    "ResourceQuota shop/q: services.loadbalancers would be 0 used + 1 of this bundle, more than 0 (most of it from Service s)",
		},
		"another namespace": {
			changes: []Change{{Desired: object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: other}}"), Resource: "configmaps"}},
			quota:   quota("q", amount("configmaps", "0"), nil),
		},
	} {
		t.Run(name, func(t *testing.T) {
			over, _ := OverQuota(test.changes, []corev1.ResourceQuota{test.quota})
			var got []string
			for _, e := range over {
				got = append(got, e.String())
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "; ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	scoped := quota("scoped", amount("pods", "0"), nil)
	scoped.Spec.Scopes = []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}
	over, skipped := OverQuota([]Change{{Desired: deployment, Resource: "deployments"}}, []corev1.ResourceQuota{scoped})
	if len(over) != 0 || cmp.Diff([]string{"shop/scoped"}, skipped) != "" {
		t.Errorf("a quota with scopes is not added up, but named: %v, %v", over, skipped)
	}
}

func TestDemandOfAPod(t *testing.T) {
	spec, _ := PodSpec(workload(t, "apps/v1", "Deployment", `{overhead: {cpu: 10m},
 initContainers: [{name: side, restartPolicy: Always, resources: {requests: {cpu: 100m}}}, {name: once, resources: {limits: {cpu: 2}}}],
 containers: [{name: a, resources: {requests: {cpu: 300m}}}, {name: b, resources: {requests: {cpu: 300m}}}]}`))
	// 100m of the sidecar beside 2 of the init container; its limit is its request.
	if got := demand(spec, requestsOf)[corev1.ResourceCPU]; got.String() != "2110m" {
		t.Errorf("requests %s, want 2110m", got.String())
	}
}

func TestImages(t *testing.T) {
	const sha = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	images := Images(workload(t, "apps/v1", "Deployment", "{initContainers: [{name: i, image: \"r/i"+sha+"\"}], containers: [{name: c, image: \"r/c:1\"}]}"))
	if len(images) != 2 || images[0].Pinned() || images[0].Field != "spec.template.spec.containers[0].image" || !images[1].Pinned() {
		t.Errorf("images %+v", images)
	}
	images = Images(workload(t, "apps/v1", "Deployment", "{containers: [{name: c, image: 7}, {name: d}], volumes: [{name: v, image: {reference: r/v}}, {name: w, emptyDir: {}}]}"))
	if len(images) != 2 || images[0] != (Image{Name: "7", Field: "spec.template.spec.containers[0].image"}) || images[1] != (Image{Name: "r/v", Field: "spec.template.spec.volumes[0].image.reference"}) {
		t.Errorf("images %+v", images)
	}
	for _, loose := range []string{"a", "a:1", "a:latest", "a@sha256:12", "a" + sha + "x", "a@sha512:" + sha[8:]} {
		if (Image{Name: loose}).Pinned() {
			t.Errorf("%s is no digest", loose)
		}
	}
}

func TestContentOfImages(t *testing.T) {
	sha := "sha256:" + strings.Repeat("a", 64)
	for name, want := range map[string][2]string{
		"nginx":                         {"docker.io/library/nginx:latest", "docker.io/library/nginx"},
		"nginx:1":                       {"docker.io/library/nginx:1", "docker.io/library/nginx"},
		"shop/web":                      {"docker.io/shop/web:latest", "docker.io/shop/web"},
		"localhost/web:2":               {"localhost/web:2", "localhost/web"},
		"registry:5000/web":             {"registry:5000/web:latest", "registry:5000/web"},
		"registry.example.com/a/b/c:v1": {"registry.example.com/a/b/c:v1", "registry.example.com/a/b/c"},
		"registry:5000/web:v1@" + sha:   {sha, "registry:5000/web"},
		"other.example.com/web@" + sha:  {sha, "other.example.com/web"},
	} {
		i := Image{Name: name}
		if got := [2]string{i.Content(), i.Repository()}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestImagesOfAnyKind: a kind that nobody told Belay of runs pods, too.
func TestImagesOfAnyKind(t *testing.T) {
	for text, want := range map[string]string{
		"{apiVersion: batch/v1, kind: CronJob, spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a}]}}}}}}":                       "spec.jobTemplate.spec.template.spec.containers[0].image",
		"{apiVersion: v1, kind: Pod, spec: {initContainers: [{image: a}]}}":                                                                        "spec.initContainers[0].image",
		"{apiVersion: v1, kind: PodTemplate, template: {spec: {containers: [{image: a}]}}}":                                                        "template.spec.containers[0].image",
		"{apiVersion: belay.dev/v1alpha1, kind: Rollout, spec: {template: {spec: {containers: [{image: a}]}}}}":                                    "spec.template.spec.containers[0].image",
		"{apiVersion: belay.dev/v1alpha1, kind: AnalysisTemplate, spec: {metrics: [{job: {template: {spec: {containers: [{image: a}]}}}}]}}":       "spec.metrics[0].job.template.spec.containers[0].image",
		"{apiVersion: serving.knative.dev/v1, kind: Service, spec: {template: {spec: {containers: [{image: a}]}}}}":                                "spec.template.spec.containers[0].image",
		"{apiVersion: example.org/v1, kind: Farm, spec: {pools: [[{pod: {ephemeralContainers: [{image: a}]}}]]}}":                                  "spec.pools[0][0].pod.ephemeralContainers[0].image",
		"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, spec: {default: {containers: [{image: a}]}}}":                       "",
		"{apiVersion: v1, kind: Pod, metadata: {annotations: {containers: '[{image: a}]'}}, status: {containers: [{image: a}]}, spec: {image: a}}": "",
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, image := range Images(u) {
			found += image.Field
		}
		if found != want {
			t.Errorf("%s: %q, want %q", text, found, want)
		}
	}
}
