package e2e

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

// echo is a server that refuses everybody, and says back what it was sent: nothing of it may go further.
type echo struct {
	*httptest.Server
	mu     sync.Mutex
	heard  bytes.Buffer // credentials
	bodies bytes.Buffer
}

func newEcho(t *testing.T) *echo {
	e := &echo{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		user, password, _ := r.BasicAuth()
		said := fmt.Sprintf("%s refused: %v, which is %s:%s", r.URL.Path, r.Header, user, password)
		e.mu.Lock()
		fmt.Fprintln(&e.heard, said)
		fmt.Fprintln(&e.bodies, r.Method, r.URL, string(body))
		e.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": said, "status": "error", "errorType": "forbidden", "error": said})
	}))
	t.Cleanup(e.Close)
	return e
}

// secret is a value that nothing else is like.
func secret(t *testing.T, what string) string {
	raw := make([]byte, 18)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	return what + "/" + hex.EncodeToString(raw)
}

// sshKey is a private key as ssh-keygen writes it, and its seed.
func sshKey(t *testing.T) (text, seed string) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), string(private.Seed())
}

// TestSecretsStayInside plants a secret wherever Belay takes one, lets it be used and refused by servers that echo it, has a version
// taken back in Git meanwhile, and searches all that Belay says for each of them.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{git: true, extra: map[string]string{"secrets.yaml": secretsRole}})
	e := newEcho(t)
	planted := s.plant(e)
	s.refused()
	s.hook(planted["webhook token"])
	s.drifted(planted)
	s.release("checkout: version 3", bad)
	s.await("version 3 to be exposed", exposed(2))
	s.awaitOutcome(2, v1alpha1.OutcomeRolledBack)
	history := s.reverted()
	s.release("checkout: version 4", stage.Release("v1", "v4", "0.05"))
	s.await("version 4 to be exposed", exposed(3))
	s.must(s.fleet.Protect())
	s.awaitOutcome(3, v1alpha1.OutcomeRolledBack)
	s.await("the forge to refuse", func(ro *v1alpha1.Rollout) bool {
		r := ro.Status.Revert
		return r != nil && r.Attempt == 3 && strings.Contains(r.Message, "403")
	})
	s.finishAny()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, used := range []string{"Git bearer token", "Git password", "Prometheus bearer token", "Prometheus password", "header of a Prometheus", "forge token"} {
		if len(stage.Planted{used: planted[used]}.Leaks(e.heard.Bytes())) == 0 {
			t.Errorf("the %s was never used: nothing was shown", used)
		}
	}
	outputs := s.outputs(history)
	outputs["bodies of requests to the forge"] = e.bodies.Bytes()
	for where, text := range outputs {
		if len(text) == 0 {
			t.Errorf("%s: there is nothing to search", where)
		}
		for _, leak := range planted.Leaks(text) {
			t.Errorf("%s: %s", where, leak)
		}
	}
	t.Logf("%d outputs were searched for %d secrets", len(outputs), len(planted))
	// The search can find them: they are in the Secrets, as the API server shows them.
	stored := s.list(&corev1.SecretList{})
	for name, value := range planted {
		if !strings.HasPrefix(name, "seed of") && name != "value edited by hand" && len(stage.Planted{name: value}.Leaks(stored)) == 0 {
			t.Errorf("the %s is not found where it is", name)
		}
	}
}

const secretsRole = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: secrets}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, create, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: secrets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}
subjects:
- {kind: ServiceAccount, name: shop-deployer}
`

// plant makes the Secrets, and what uses them.
func (s *scene) plant(e *echo) stage.Planted {
	s.t.Helper()
	p := stage.Planted{"password of the Git server": bed.GitPassword}
	for _, what := range []string{"Git bearer token", "Git password", "Prometheus bearer token", "Prometheus password", "header of a Prometheus", "forge token",
		"web token", "webhook token", "value in the repository", "value edited by hand"} {
		p[what] = secret(s.t, strings.ReplaceAll(what, " ", "-"))
	}
	p["signing key"], p["seed of the signing key"] = sshKey(s.t)
	p["ssh key"], p["seed of the ssh key"] = sshKey(s.t)
	_, host, err := ed25519.GenerateKey(rand.Reader)
	s.must(err)
	signer, err := ssh.NewSignerFromKey(host)
	s.must(err)
	closed := closedAddress(s.t)
	for name, data := range map[string]map[string]string{
		"git-bearer": {"bearerToken": p["Git bearer token"]}, "git-basic": {"username": "belay", "password": p["Git password"]},
		"git-ssh":     {"identity": p["ssh key"], "known_hosts": "[127.0.0.1]:" + closed + " " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))},
		"prom-bearer": {"bearerToken": p["Prometheus bearer token"], "tenant": p["header of a Prometheus"]},
		"prom-basic":  {"username": "belay", "password": p["Prometheus password"]},
		"forge":       {"token": p["forge token"]}, "web": {"bearerToken": p["web token"]}, "hook": {"token": p["webhook token"]}, "signing": {"key": p["signing key"]},
	} {
		s.must(bed.Secret(s.t.Context(), s.app.Namespace, name, data))
	}
	s.must(bed.Apply(s.t.Context(), s.app.Namespace, map[string]string{"users.yaml": fmt.Sprintf(secretUsers, e.URL, closed)}))
	s.patch(&v1alpha1.Repository{}, "fleet", fmt.Sprintf(`{"spec":{"webhook":{"secretRef":{"name":"hook"}},"write":{"signingKeyRef":{"name":"signing"},
		"forge":{"type":"Gitea","apiURL":"%s/forge","secretRef":{"name":"forge"}}}}}`, e.URL))
	_, err = s.fleet.Commit(s.t.Context(), stage.Commit{Author: "Ada", Message: "checkout: a password", Files: map[string]string{path.Join(folder, "secret.yaml"): "apiVersion: v1\nkind: Secret\nmetadata: {name: password}\nstringData: {password: " + p["value in the repository"] + "}\n"}})
	s.must(err)
	return p
}

const secretUsers = `
apiVersion: belay.dev/v1alpha1
kind: Repository
metadata: {name: bearer}
spec: {url: %[1]s/git/bearer, ref: {branch: main}, interval: 1s, secretRef: {name: git-bearer}}
---
apiVersion: belay.dev/v1alpha1
kind: Repository
metadata: {name: basic}
spec: {url: %[1]s/git/basic, ref: {branch: main}, interval: 1s, secretRef: {name: git-basic}}
---
apiVersion: belay.dev/v1alpha1
kind: Repository
metadata: {name: ssh}
spec: {url: "ssh://git@127.0.0.1:%[2]s/fleet.git", ref: {branch: main}, interval: 1s, secretRef: {name: git-ssh}}
---
apiVersion: belay.dev/v1alpha1
kind: AnalysisRun
metadata: {name: asks}
spec:
  metrics:
  - name: bearer
    threshold: {prometheus: {query: up, address: %[1]s/prom, secretRef: {name: prom-bearer}, headers: [{name: X-Scope-OrgID, secretKey: tenant}]}, max: "1", interval: 1s}
  - name: basic
    threshold: {prometheus: {query: up, address: %[1]s/prom, secretRef: {name: prom-basic}}, max: "1", interval: 1s}
  - name: web
    web: {url: %[1]s/web, secretRef: {name: web}, interval: 1s}
`

// closedAddress is a port that nobody listens on.
func closedAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (s *scene) patch(o client.Object, name, patch string) {
	s.t.Helper()
	o.SetNamespace(s.app.Namespace)
	o.SetName(name)
	s.must(bed.Client.Patch(s.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner("kubectl-edit")))
}

// refused waits until every server has refused, and Belay has said so.
func (s *scene) refused() {
	s.t.Helper()
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: s.app.Namespace, Name: name} }
	s.must(stage.Poll(s.t.Context(), "all servers to refuse", limit, func(ctx context.Context) error {
		for _, name := range []string{"bearer", "basic", "ssh"} {
			var repo v1alpha1.Repository
			if err := bed.Client.Get(ctx, key(name), &repo); err != nil {
				return err
			}
			if c := v1alpha1.FindCondition(repo.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != "False" {
				return fmt.Errorf("Repository %s is not refused yet: %+v", name, c)
			}
		}
		var run v1alpha1.AnalysisRun
		if err := bed.Client.Get(ctx, key("asks"), &run); err != nil {
			return err
		}
		for _, m := range run.Status.Metrics {
			if m.Message == "" {
				return fmt.Errorf("metric %s says nothing yet", m.Name)
			}
		}
		if len(run.Status.Metrics) < 3 {
			return fmt.Errorf("%d metrics are told of", len(run.Status.Metrics))
		}
		return nil
	}))
}

// hook tells of pushes, once with the token, once with a wrong proof and the token where it does not belong.
func (s *scene) hook(token string) {
	s.t.Helper()
	body := []byte(`{"ref":"refs/heads/main"}`)
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write(body)
	for name, value := range map[string]string{"X-Signature": "sha256=" + hex.EncodeToString(mac.Sum(nil)), "X-Gitlab-Token": token, "X-Gitea-Signature": "wrong, it is " + token} {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, belay.Webhook+s.app.Namespace+"/fleet", bytes.NewReader(body))
		s.must(err)
		request.Header.Set(name, value)
		response, err := http.DefaultClient.Do(request)
		s.must(err)
		_ = response.Body.Close()
	}
}

// drifted edits a Secret that comes from Git, and waits until the edit was put right and told of.
func (s *scene) drifted(p stage.Planted) {
	s.t.Helper()
	value := func(ctx context.Context) (string, error) {
		var live corev1.Secret
		err := bed.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: "password"}, &live)
		return string(live.Data["password"]), err
	}
	await := func(what string) {
		s.must(stage.Poll(s.t.Context(), what, limit, func(ctx context.Context) error {
			got, err := value(ctx)
			if err == nil && got != p["value in the repository"] {
				err = fmt.Errorf("it is another one")
			}
			return err
		}))
	}
	await("the Secret to come from Git")
	s.patch(&corev1.Secret{}, "password", fmt.Sprintf(`{"stringData":{"password":%q}}`, p["value edited by hand"]))
	s.must(stage.Poll(s.t.Context(), "the edit to be told of", limit, func(ctx context.Context) error {
		var sync v1alpha1.Sync
		if err := bed.Client.Get(ctx, client.ObjectKey{Namespace: s.app.Namespace, Name: "shop"}, &sync); err != nil {
			return err
		}
		if sync.Status.Drift == nil || len(sync.Status.Drift.Objects) == 0 {
			return fmt.Errorf("nothing is told of")
		}
		return nil
	}))
	await("the edit to be put right")
}

// finishAny ends the traffic; two bad versions have answered.
func (s *scene) finishAny() {
	s.t.Helper()
	_, err := s.load.Finish()
	s.must(err)
}

// outputs are all that Belay says to anybody.
func (s *scene) outputs(history stage.History) map[string][]byte {
	s.t.Helper()
	out := map[string][]byte{}
	for where, file := range map[string]string{"log": belay.Log, "audit": bed.AuditFile()} {
		text, err := os.ReadFile(file)
		s.must(err)
		out[where] = text
	}
	response, err := http.Get(belay.Metrics)
	s.must(err)
	out["metrics"], err = io.ReadAll(response.Body)
	s.must(err)
	_ = response.Body.Close()
	for where, list := range map[string]client.ObjectList{"events": &eventsv1.EventList{}, "events of the core": &corev1.EventList{}, "Rollouts": &v1alpha1.RolloutList{},
		"Syncs": &v1alpha1.SyncList{}, "Repositories": &v1alpha1.RepositoryList{}, "AnalysisRuns": &v1alpha1.AnalysisRunList{},
		"AnalysisTemplates": &v1alpha1.AnalysisTemplateList{}, "Services": &corev1.ServiceList{}, "ConfigMaps": &corev1.ConfigMapList{}, "pods": &corev1.PodList{}} {
		out[where] = s.list(list)
	}
	for _, commit := range history.Reverts() {
		raw, err := exec.CommandContext(s.t.Context(), "git", "-c", "safe.directory=*", "--git-dir", s.fleet.Bare, "cat-file", "commit", commit.SHA).Output()
		s.must(err)
		out["revert commit"] = append(out["revert commit"], raw...)
	}
	if !bytes.Contains(out["revert commit"], []byte("-----BEGIN SSH SIGNATURE-----")) {
		s.t.Error("the revert is not signed: the key was not used")
	}
	for _, args := range [][]string{{"status", name}, {"status", name, "-o", "yaml"}, {"status", "sync/shop"}, {"status", "sync/shop", "-o", "json"}, {"list"}, {"list", "--syncs"},
		{"drift"}, {"drift", "-o", "yaml"}, {"history", name}, {"explain", "asks"}, {"explain", name + "-2"}, {"changelog", "--repository", "fleet"}} {
		text, _, err := bed.Plugin(s.t.Context(), append(args, "-n", s.app.Namespace)...)
		s.must(err)
		out["kubectl belay "+strings.Join(args, " ")] = []byte(text)
	}
	return out
}

// list are the objects of a kind in the scene's namespace, as JSON.
func (s *scene) list(list client.ObjectList) []byte {
	s.t.Helper()
	s.must(bed.Client.List(s.t.Context(), list, client.InNamespace(s.app.Namespace)))
	text, err := json.Marshal(list)
	s.must(err)
	return text
}
