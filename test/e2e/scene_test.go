package e2e

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/test/stage"
)

const (
	name   = "checkout"
	folder = "apps/checkout"
	rate   = 220 // requests per second that are sent
	least  = 200 // and that have to be dealt with
	limit  = 3 * time.Minute

	noTraffic = -1 // of a plan: nothing is sent
)

// scene is one application in a namespace of its own, with version v1 running and traffic on it.
type scene struct {
	t        *testing.T
	bed      *stage.Bed // as it is seen from the gateway that the application is behind
	app      stage.App
	timeline *stage.Timeline
	load     *stage.Load
	least    int           // requests per second that have to be dealt with; 0: any number
	cpu      stage.CPUTime // when the load began
	fleet    *stage.Fleet  // nil without Git
	rollout  string        // the text of rollout.yaml, without Git
	route    *unstructured.Unstructured
}

// plan says what a scene consists of.
type plan struct {
	git    bool
	bed    *stage.Bed // another gateway's; nil: the testbed's own
	rate   int        // 0: the usual one
	least  int
	change func(*stage.App)
	edit   func(string) string // of rollout.yaml, before it is applied; without Git
	extra  map[string]string   // manifests applied before
	path   string              // that the load asks for
	header string              // name=value that the load sends
}

// requireBed skips the test where there is no testbed, or fails it where there has to be one.
func requireBed(t *testing.T) {
	t.Helper()
	if bed == nil {
		if os.Getenv("BELAY_TEST_REQUIRE") != "" {
			t.Fatal("BELAY_E2E_TESTBED is not set: run `make test-e2e`")
		}
		t.Skip("SKIPPED: needs a testbed: run `make test-e2e`, or set BELAY_E2E_TESTBED inside one's network")
	}
}

func newScene(t *testing.T, p plan) *scene {
	t.Helper()
	requireBed(t)
	namespace := fmt.Sprintf("e2e-%x", time.Now().UnixNano())
	s := &scene{t: t, bed: cmp.Or(p.bed, bed), least: p.least}
	s.app = s.bed.App(namespace, name)
	if p.rate == 0 {
		s.least = least
	}
	if p.git {
		s.app.Repository, s.app.Path = "fleet", folder
	}
	if p.change != nil {
		p.change(&s.app)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s.must(bed.Tenant(ctx, namespace))
	s.must(bed.Apply(ctx, namespace, p.extra))
	var err error
	s.timeline, err = bed.Watch(t.Context(), namespace, name)
	s.must(err)
	if p.git {
		s.declare(ctx, namespace)
	} else {
		files, err := s.app.Files("")
		s.must(err)
		if p.edit != nil {
			files["rollout.yaml"] = p.edit(files["rollout.yaml"])
		}
		s.rollout = files["rollout.yaml"]
		s.must(bed.Apply(ctx, namespace, files))
	}
	t.Cleanup(func() {
		if s.load != nil {
			_ = s.load.Stop()
		}
		_ = bed.Client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: objectMeta(namespace)})
	})
	s.must(s.bed.Serves(ctx, s.app.Host, p.path, "v1"))
	s.cpu, err = stage.ReadCPUTime()
	s.must(err)
	if p.rate != noTraffic {
		s.load = s.send(namespace, p) // from here on no request may fail, while the first attempt still ends
	}
	s.await("version 1 to run", stage.AtRest)
	s.route = s.readRoute()
	if s.load != nil {
		s.must(s.load.Await(ctx, "v1", s.rate(p)))
	}
	return s
}

func (s *scene) rate(p plan) int {
	if p.rate == 0 {
		return rate
	}
	return p.rate
}

func (s *scene) send(run string, p plan) *stage.Load {
	l, err := s.bed.StartLoad(stage.LoadOptions{Name: run, Host: s.app.Host, Path: p.path, Rate: s.rate(p), Header: p.header})
	s.must(err)
	return l
}

func (s *scene) declare(ctx context.Context, namespace string) {
	s.t.Helper()
	files, err := s.app.Files(folder)
	s.must(err)
	files["apps/other/note.txt"] = "0\n"
	s.fleet, err = bed.NewFleet(ctx, namespace, stage.Commit{Author: "Ada", Message: "checkout: version 1", Files: files})
	s.must(err)
	s.must(bed.Follow(ctx, namespace, s.fleet, folder))
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// release changes rollout.yaml, in Git or, without, in the cluster.
func (s *scene) release(message string, edit func(string) string) {
	s.t.Helper()
	if s.fleet != nil {
		_, err := s.fleet.Commit(s.t.Context(), stage.Commit{Author: "Grace", Message: message,
			Edit: map[string]func(string) string{path.Join(folder, "rollout.yaml"): edit}})
		s.must(err)
		return
	}
	s.rollout = edit(s.rollout)
	s.must(bed.Apply(s.t.Context(), s.app.Namespace, map[string]string{"rollout.yaml": s.rollout}))
}

func (s *scene) await(what string, is func(*v1alpha1.Rollout) bool) stage.State {
	s.t.Helper()
	return s.awaitFor(limit, what, is)
}

func (s *scene) awaitFor(limit time.Duration, what string, is func(*v1alpha1.Rollout) bool) stage.State {
	s.t.Helper()
	state, err := s.timeline.Await(s.t.Context(), what, limit, is)
	s.must(err)
	return state
}

// awaitOutcome waits until an attempt is over and everything is at rest, and checks how it ended.
func (s *scene) awaitOutcome(attempt int64, want v1alpha1.Outcome) *v1alpha1.Rollout {
	s.t.Helper()
	over := s.await(fmt.Sprintf("the end of attempt %d", attempt), func(ro *v1alpha1.Rollout) bool { _, over := stage.Over(ro, attempt); return over })
	if got, _ := stage.Over(over.Rollout, attempt); got != want {
		s.t.Fatalf("attempt %d ended as %s, want %s: %s", attempt, got, want, stage.Describe(over.Rollout))
	}
	return s.await("rest", stage.AtRest).Rollout
}

// at is true once the attempt is at a step and its traffic is confirmed.
func at(attempt int64, step int32) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.Number == attempt && a.Step == step && a.ConfirmedAt != nil
	}
}

func in(stages ...v1alpha1.Stage) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		for _, one := range stages {
			if ro.Status.Attempt != nil && ro.Status.Attempt.Stage == one {
				return true
			}
		}
		return false
	}
}

// exposed is true once the attempt's traffic is on its way.
func exposed(attempt int64) func(*v1alpha1.Rollout) bool {
	return func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.Number == attempt && a.AcceptedAt != nil
	}
}

// finish ends the traffic, prints what became of it, and fails the test if a request failed that is not the version's own.
func (s *scene) finish(ownFailures string) stage.Samples {
	s.t.Helper()
	s.must(s.load.More(s.t.Context(), rate/2)) // so that the last state meets requests
	samples, err := s.load.Finish()
	s.must(err)
	s.judge(samples, ownFailures)
	return samples
}

// judge prints what became of the requests, and fails the test if one failed that is not the version's own.
func (s *scene) judge(samples stage.Samples, ownFailures string) {
	s.t.Helper()
	failed := samples.Failed()
	if ownFailures != "" {
		failed = failed.NotOf(ownFailures)
	}
	s.t.Logf("%.0f requests per second: %d failed that are not the bad version's own; %s", samples.Rate(), len(failed), samples.Describe())
	s.keptUp(samples)
	if len(failed) > 0 {
		s.t.Errorf("%d requests failed, want 0; first at %s: %s", len(failed), failed[0].Sent.Format(time.RFC3339Nano), failed.Describe())
		s.t.Logf("what Belay did around then:\n%s", belay.Around(s.app.Namespace, failed[0].Sent))
	}
}

// spare is the share of the processors' time that is left over on a machine that is not the reason why requests wait.
const spare = 0.1

// keptUp fails the test if fewer requests than wanted were dealt with in a second although the machine had time to spare. Requests
// are sent at their rate whatever becomes of them, so that a machine that others keep busy only makes them late.
func (s *scene) keptUp(samples stage.Samples) {
	s.t.Helper()
	if s.least == 0 || samples.Rate() >= float64(s.least) {
		return
	}
	now, err := stage.ReadCPUTime()
	s.must(err)
	if idle := now.IdleSince(s.cpu); idle >= spare {
		s.t.Errorf("traffic was %.1f requests per second, want at least %d: the processors were idle for %.0f %% of the time", samples.Rate(), s.least, 100*idle)
	} else {
		s.t.Logf("traffic was %.1f requests per second, short of %d: the processors were idle for %.0f %% of the time only", samples.Rate(), s.least, 100*idle)
	}
}

// answeredBy fails the test unless the last requests were all answered by the version.
func (s *scene) answeredBy(samples stage.Samples, version string) {
	s.t.Helper()
	last := samples[max(0, len(samples)-rate/4):]
	if others := last.NotOf(version); len(others) > 0 {
		s.t.Errorf("at the end %d of %d requests were not answered by %s: %s", len(others), len(last), version, others.Describe())
	}
}

func (s *scene) readRoute() *unstructured.Unstructured {
	s.t.Helper()
	route := &unstructured.Unstructured{}
	route.SetGroupVersionKind(stage.RouteKind)
	s.must(bed.Client.Get(s.t.Context(), client.ObjectKey{Namespace: s.app.Namespace, Name: name}, route))
	return route
}

// restored fails the test unless the route says what it said before.
func (s *scene) restored() {
	s.t.Helper()
	now := s.readRoute()
	if diff := gocmp.Diff(s.route.Object["spec"], now.Object["spec"]); diff != "" {
		s.t.Errorf("the route is not as it was (-before +after):\n%s", diff)
	}
	if diff := gocmp.Diff(s.route.GetAnnotations(), now.GetAnnotations()); diff != "" {
		s.t.Errorf("the route's annotations are not as they were (-before +after):\n%s", diff)
	}
}

// approve waits until a step wants it, and approves.
func (s *scene) approve(args ...string) {
	s.t.Helper()
	s.await("the need for approval", func(ro *v1alpha1.Rollout) bool { return strings.Contains(ro.Status.BlockedBy, "kubectl belay approve") })
	s.plugin(append([]string{"approve"}, args...)...)
}

// plugin runs kubectl belay on the scene's Rollout, and fails the test unless it exits with 0.
func (s *scene) plugin(args ...string) string {
	s.t.Helper()
	out, code, err := bed.Plugin(s.t.Context(), append(args, name, "-n", s.app.Namespace)...)
	s.must(err)
	if code != 0 {
		s.t.Fatalf("kubectl belay %v: exit code %d: %s", args, code, out)
	}
	return out
}

// reverted fails the test unless there is exactly one revert, and Git declares what the cluster runs.
func (s *scene) reverted() stage.History {
	s.t.Helper()
	state := s.await("the revert to be finished", func(ro *v1alpha1.Rollout) bool {
		return ro.Status.Revert != nil && ro.Status.Revert.FinishedAt != nil && ro.Status.Attempt == nil
	})
	if r := state.Rollout.Status.Revert; r.State != v1alpha1.RevertPushed {
		s.t.Fatalf("the revert is %s, want Pushed: %s", r.State, r.Message)
	}
	var history stage.History
	s.must(stage.Poll(s.t.Context(), "Git and cluster to agree", limit, func(ctx context.Context) (err error) {
		if history, err = s.fleet.History(ctx); err != nil {
			return err
		}
		declared, err := history.Revision(folder, revert.Workload{Kind: "Rollout", Name: name})
		if err != nil {
			return err
		}
		ro := s.timeline.Last()
		if !stage.AtRest(ro) || ro.Status.Stable.Revision != declared || ro.Status.BlockedBy != "" {
			return fmt.Errorf("Git declares %s, stable is %s; %s", declared, ro.Status.Stable.Revision, stage.Describe(ro))
		}
		return nil
	}))
	if reverts := history.Reverts(); len(reverts) != 1 {
		s.t.Errorf("there are %d revert commits, want exactly 1: %v", len(reverts), reverts)
	}
	return history
}
