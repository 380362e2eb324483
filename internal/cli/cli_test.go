package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/belay-delivery/belay/api/v1alpha1"
	crd "github.com/belay-delivery/belay/config/crd"
	"github.com/belay-delivery/belay/internal/cli/view"
	"github.com/belay-delivery/belay/internal/testenv"
)

const rolloutYAML = `
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: c, image: i}]}}
  traffic: {stableService: shop, routes: [{kind: HTTPRoute, name: shop}]}
  strategy: {canary: {steps: [{weight: 10, hold: 1m}, {name: half, weight: 50, approval: Required}]}}
`

type harness struct {
	*testing.T
	env *testenv.Env
}

// result is what one run of the plugin gave.
type result struct {
	code     int
	out, err string
}

func newHarness(t *testing.T) *harness {
	h := &harness{T: t, env: testenv.New(t)}
	r := &v1alpha1.Rollout{}
	if err := yaml.Unmarshal([]byte(rolloutYAML), r); err != nil {
		t.Fatal(err)
	}
	r.Namespace = h.env.Namespace
	if err := h.env.Client.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) run(args ...string) result {
	h.Helper()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	args = append(args, "--kubeconfig", os.Getenv("BELAY_TEST_KUBECONFIG"), "-n", h.env.Namespace)
	ctx, cancel := context.WithTimeout(h.Context(), 60*time.Second)
	defer cancel()
	return result{Main(ctx, args, streams), out.String(), errOut.String()}
}

// complete asks for completions of the last argument.
func (h *harness) complete(args ...string) result {
	h.Helper()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	args = append([]string{"__complete", "--kubeconfig", os.Getenv("BELAY_TEST_KUBECONFIG"), "-n", h.env.Namespace}, args...)
	return result{Main(h.Context(), args, streams), out.String(), errOut.String()}
}

func (h *harness) want(r result, code int, texts ...string) {
	h.Helper()
	if r.code != code {
		h.Errorf("exit code %d, want %d\nout: %s\nerr: %s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			h.Errorf("%q is not in\nout: %s\nerr: %s", text, r.out, r.err)
		}
	}
}

// status changes the Rollout's status as the controller would.
func (h *harness) status(change func(*v1alpha1.Rollout)) {
	h.Helper()
	r := &v1alpha1.Rollout{}
	if err := h.env.Client.Get(h.Context(), client.ObjectKey{Namespace: h.env.Namespace, Name: "shop"}, r); err != nil {
		h.Fatal(err)
	}
	r.Status.ObservedGeneration = r.Generation
	change(r)
	if err := h.env.Client.Status().Update(h.Context(), r); err != nil {
		h.Fatal(err)
	}
}

func ready(status metav1.ConditionStatus) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: "Test", LastTransitionTime: metav1.Now()}}
}

func underWay(r *v1alpha1.Rollout) {
	now := metav1.Now()
	r.Status.Conditions = ready(metav1.ConditionTrue)
	r.Status.BlockedBy = "step half waits for an approval"
	r.Status.Attempt = &v1alpha1.Attempt{Number: 2, Revision: "newnewnewn", Stage: v1alpha1.StageStepping, StageSince: now, StartedAt: now, Step: 1, StepName: "half", Weight: 50}
}

func over(outcome v1alpha1.Outcome) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Status.Attempt, r.Status.BlockedBy = nil, ""
		r.Status.Conditions = ready(metav1.ConditionTrue)
		r.Status.History = []v1alpha1.AttemptRecord{{Number: 2, Revision: "newnewnewn", Outcome: outcome, StartedAt: metav1.Now(), EndedAt: metav1.Now()}}
	}
}

// answer gives every Decision of the namespace the same result, as a controller would, until the test is over.
func (h *harness) answer(res v1alpha1.DecisionResult, message string) {
	ctx, stop := context.WithCancel(h.Context())
	w, err := client.NewWithWatch(h.env.Config, client.Options{Scheme: h.env.Scheme})
	if err != nil {
		h.Fatal(err)
	}
	events, err := w.Watch(ctx, &v1alpha1.DecisionList{}, client.InNamespace(h.env.Namespace))
	if err != nil {
		h.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range events.ResultChan() {
			if d, ok := e.Object.(*v1alpha1.Decision); ok && d.Status.Result == "" {
				d.Status = v1alpha1.DecisionStatus{Result: res, Message: message}
				_ = w.Status().Update(ctx, d)
			}
		}
	}()
	h.Cleanup(func() { stop(); events.Stop(); <-done })
}

func (h *harness) decisions() []v1alpha1.Decision {
	h.Helper()
	list := &v1alpha1.DecisionList{}
	if err := h.env.Client.List(h.Context(), list, client.InNamespace(h.env.Namespace)); err != nil {
		h.Fatal(err)
	}
	return list.Items
}

func TestListAndStatus(t *testing.T) {
	h := newHarness(t)
	h.want(h.run("status", "shop"), ExitOK, "the controller has not seen the latest change yet")
	h.status(underWay)
	h.want(h.run("list"), ExitOK, "shop", "2/2", "newnewnewn", "step half waits for an approval")
	h.want(h.run("list", "-o", "name"), ExitOK, "rollout.belay.dev/shop\n")
	h.want(h.run("list", "-A", "-o", "wide"), ExitOK, h.env.Namespace, "ATTEMPT")
	h.want(h.run("status", "shop"), ExitOK, "2/2 half", "BLOCKED BY", "50 wanted, 0 confirmed, of 100")
	v := view.View{}
	if err := json.Unmarshal([]byte(h.run("status", "shop", "-o", "json").out), &v); err != nil || v.Kind != view.KindRollout || v.Attempt.Step != 2 {
		t.Errorf("%v: %+v", err, v)
	}
	h.status(func(r *v1alpha1.Rollout) {
		over(v1alpha1.OutcomeRolledBack)(r)
		r.Status.Conditions = ready(metav1.ConditionFalse)
	})
	h.want(h.run("status", "shop"), ExitDegraded, "Degraded", "RolledBack")
	h.want(h.run("status", "none"), ExitError, "not found")
	h.want(h.run("status", "rollout/shop"), ExitDegraded, "RolledBack")
	h.want(h.run("history", "rollout/shop"), ExitOK, "RolledBack")
	for _, bad := range []string{"rollout/", "", "deployment/shop"} {
		h.want(h.run("status", bad), ExitError, "is no name of a Rollout: it is given as NAME or rollout/NAME")
	}
	h.want(h.run("status", "sync/"), ExitError, `"" is no name of a Sync: it is given as NAME or sync/NAME`)
	h.want(h.run("status", "shop", "-o", "xml"), ExitError, "use one of json, yaml")
	h.want(h.run("list", "--color", "pink"), ExitError, "use auto, always or never")
	h.want(h.run("list", "--color", "always"), ExitOK, "\x1b[31mDegraded")
}

func TestWatchEndsAsTheAttemptDoes(t *testing.T) {
	for outcome, code := range map[v1alpha1.Outcome]int{v1alpha1.OutcomePromoted: ExitOK, v1alpha1.OutcomeRolledBack: ExitDegraded} {
		t.Run(string(outcome), func(t *testing.T) {
			h := newHarness(t)
			h.status(underWay)
			h.want(h.run("status", "shop", "-w", "--timeout", "1s"), ExitTimeout, "blocked by: step half waits for an approval")
			pr, pw, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer pr.Close() // a pipe that nobody refers to any more is closed by the garbage collector
			finished, problems := make(chan int, 1), &bytes.Buffer{}
			go func() {
				code := Main(t.Context(), []string{"status", "shop", "-w", "--timeout", "60s", "--kubeconfig", os.Getenv("BELAY_TEST_KUBECONFIG"), "-n", h.env.Namespace},
					genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: pw, ErrOut: problems})
				pw.Close()
				finished <- code
			}()
			first := make([]byte, 4096)
			n, err := pr.Read(first)
			if err != nil || !strings.Contains(string(first[:n]), "attempt 2 (newnewnewn) Stepping") {
				t.Fatalf("%v: %s", err, first[:n])
			}
			h.status(over(outcome))
			if got := <-finished; got != code {
				t.Errorf("exit code %d, want %d: %s", got, code, problems)
			}
		})
	}
}

func TestDecisions(t *testing.T) {
	h := newHarness(t)
	h.status(over(v1alpha1.OutcomePromoted))
	h.want(h.run("promote", "shop"), ExitError, "has no attempt under way: there is nothing to promote")
	h.want(h.run("retry", "shop"), ExitError, "no revision in quarantine")
	h.status(underWay)
	h.want(h.run("approve", "shop", "--dry-run", "client"), ExitOK, "action: Approve", "step: 1", "attempt: 2", "actor: ")
	h.want(h.run("approve", "shop", "--dry-run", "server", "-o", "json"), ExitOK, `"action": "Approve"`)
	if got := h.decisions(); len(got) != 0 {
		t.Fatalf("a dry run made %d Decisions", len(got))
	}
	h.want(h.run("abort", "shop", "--timeout", "200ms"), ExitTimeout, "nothing came of it")
	h.answer(v1alpha1.DecisionApplied, "done")
	for command, action := range map[string]v1alpha1.DecisionAction{"promote": "Promote", "approve": "Approve", "abort": "Abort", "reject": "Reject", "pause": "Pause", "resume": "Resume", "promote --full": "PromoteFull"} {
		r := h.run(append(strings.Fields(command), "shop", "--reason", "because "+command, "-o", "json")...)
		h.want(r, ExitOK, `"result": "Applied"`)
		d := &v1alpha1.Decision{}
		if err := json.Unmarshal([]byte(r.out), d); err != nil {
			t.Fatal(err)
		}
		stepped := action == "Promote" || action == "Approve"
		if d.Spec.Action != action || d.Spec.Actor == "" || *d.Spec.Attempt != 2 || (d.Spec.Step != nil) != stepped || d.Spec.Reason != "because "+command {
			t.Errorf("%s: %+v", command, d.Spec)
		}
	}
	h.want(h.run("pause", "shop", "--wait=false"), ExitOK, ": created")
	h.status(func(r *v1alpha1.Rollout) {
		r.Status.Quarantine = []v1alpha1.Quarantined{{Revision: "badbadbadb", Attempt: 1, Reason: "AnalysisFailed", At: metav1.Now()}}
	})
	h.want(h.run("retry", "shop", "--revision", "other"), ExitError, "use --revision with one of badbadbadb")
	h.want(h.run("retry", "shop"), ExitOK, "Applied: done")
	h.want(h.run("history", "shop"), ExitOK, "Promoted", "Retry", "because promote --full")
	h.want(h.run("history", "shop", "-o", "yaml"), ExitOK, "kind: RolloutHistory", "result: Applied")
	h.want(h.complete("retry", "shop", "--revision", ""), ExitOK, "badbadbadb\tAnalysisFailed")
}

func TestRefusedDecision(t *testing.T) {
	h := newHarness(t)
	h.status(underWay)
	h.answer(v1alpha1.DecisionRefused, "the step was left")
	h.want(h.run("approve", "shop"), ExitError, "was refused: the step was left")
}

func TestVersionAndCompletion(t *testing.T) {
	h := newHarness(t)
	files, err := fs.Glob(crd.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	h.want(h.run("version"), ExitOK, "kubectl-belay", fmt.Sprintf("installed, %d kinds", len(files)))
	h.want(h.run("completion", "bash"), ExitOK, "__complete")
	h.want(h.run("completion", "kubectl"), ExitOK, "exec kubectl belay __complete")
	h.want(h.run("completion", "perl"), ExitError, "invalid argument")
	h.want(h.run("version", "--client"), ExitOK, "kubectl-belay")
	h.want(h.complete("status", ""), ExitOK, "shop\n")
	h.want(h.complete("list", "-n", h.env.Namespace[:4]), ExitOK, h.env.Namespace)
}

func TestLintCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	bad := "apiVersion: belay.dev/v1alpha1\nkind: Sync\nmetadata: {name: x}\nspec: {repository: r, path: /x, serviceAccountName: s}\n"
	warned := "apiVersion: belay.dev/v1alpha1\nkind: Rollout\n" + rolloutYAML + "  analysis: {templates: [{name: t}]}\n"
	for _, c := range []struct {
		content, flag string
		code          int
	}{{bad, "--strict=false", ExitError}, {warned, "--strict=false", ExitOK}, {warned, "--strict", ExitError}} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		streams, _, out, _ := genericiooptions.NewTestIOStreams()
		if code := Main(t.Context(), []string{"lint", "-f", file, c.flag}, streams); code != c.code {
			t.Errorf("exit code %d, want %d: %s", code, c.code, out)
		}
		if !strings.HasPrefix(out.String(), file+":") {
			t.Errorf("no place in %q", out)
		}
	}
}
