package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/revert"
	"github.com/belay-delivery/belay/internal/revision"
	"github.com/belay-delivery/belay/test/stage"
)

// measure computes the report from what the clients saw, what the objects said, and Git.
func (s *story) measure() error {
	s.report.Rate = s.samples.Rate()
	good := s.samples.Between(s.goodFrom, s.goodTo)
	g := &s.report.Good
	g.TotalRequests, g.FailedRequests = len(good), len(good.Failed())
	g.Seconds, g.Steps = seconds(s.goodTo.Sub(s.goodFrom)), s.steps(2, "v2")
	last := s.samples.Where(func(one stage.Sample) bool { return one.Sent.After(s.badTo.Add(-time.Second)) })
	s.report.Git.AnswersV2 = len(last) > 0 && len(last.NotOf("v2")) == 0
	if err := s.retell(); err != nil {
		return err
	}
	return s.measureBad()
}

// retell has the audit stream alone tell the story.
func (s *story) retell() error {
	stream, err := s.bed.ReadAudit()
	if err != nil {
		return err
	}
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: namespace, Name: name} }
	s.report.Audit, err = stream.Retell(stage.Place{Rollout: key(name), Sync: key("shop"), Repository: key("fleet")})
	if err != nil {
		return fmt.Errorf("the audit does not tell the whole story: %w", err)
	}
	return nil
}

func (s *story) measureBad() error {
	b, all := &s.report.Bad, s.samples.Between(s.badFrom, s.badTo)
	own := all.Of("v3")
	b.TotalRequests, b.ExposedRequests, b.ExposedErrors = len(all), len(own), len(own.Failed())
	b.OtherFailedRequests, b.Steps = len(all.NotOf("v3").Failed()), s.steps(3, "v3")
	if len(own.Failed()) == 0 {
		return fmt.Errorf("version 3 gave no bad answer: %s", all.Describe())
	}
	zero, err := s.zeroWeight()
	if err != nil {
		return err
	}
	first, lastAnswer := own.Failed()[0].Answered(), time.Time{}
	for _, one := range own {
		if one.Failed() && one.Answered().Before(first) {
			first = one.Answered()
		}
		if one.Answered().After(lastAnswer) {
			lastAnswer = one.Answered()
		}
	}
	b.SecondsToZeroWeight, b.SecondsToLastBadAnswer = seconds(zero.Sub(first)), seconds(lastAnswer.Sub(first))
	after, settled := all.Between(zero, s.badTo), zero.Add(settle)
	b.FailedRequestsAfterZeroWeight = len(after.Failed().Where(func(one stage.Sample) bool {
		return one.Version != "v3" || one.Sent.After(settled)
	}))
	b.ExposedAfterSettle = len(own.Where(func(one stage.Sample) bool { return one.Sent.After(settled) }))
	for _, h := range s.timeline.Last().Status.History {
		if h.Number == 3 {
			b.Reason, b.Metric, b.Message = h.Reason, h.Metric, h.Message
		}
	}
	return nil
}

// zeroWeight is when the route stopped sending anything to version 3.
func (s *story) zeroWeight() (time.Time, error) {
	exposed := false
	for _, w := range s.timeline.Weights() {
		if w.At.Before(s.badFrom) {
			continue
		}
		if exposed && w.Percent == 0 {
			return w.At, nil
		}
		exposed = exposed || w.Percent > 0
	}
	return time.Time{}, fmt.Errorf("the route was not seen to go back to weight 0: %v", s.timeline.Weights())
}

// steps are the steps of an attempt as they were seen.
func (s *story) steps(attempt int64, version string) []Step {
	var steps []Step
	var entered, left time.Time
	states := s.timeline.States(time.Time{})
	for i, state := range states {
		a := state.Rollout.Status.Attempt
		if a == nil || a.Number != attempt || a.Stage != v1alpha1.StageStepping || a.Weight == 0 {
			continue
		}
		if verdict := a.Verdict; verdict != nil {
			continue
		}
		left = state.At
		if i+1 < len(states) {
			left = states[i+1].At
		}
		if n := len(steps); n == 0 || steps[n-1].Name != a.StepName {
			steps, entered = append(steps, Step{Name: a.StepName, Weight: a.Weight}), state.At
		}
		s.fill(&steps[len(steps)-1], entered, left, version)
		steps[len(steps)-1].Evidence = s.evidence(attempt, left)
	}
	return steps
}

func (s *story) fill(step *Step, from, to time.Time, version string) {
	answered := s.samples.Between(from, to).Of(version)
	step.Seconds, step.Requests = seconds(to.Sub(from)), len(answered)
	step.Errors, step.ErrorRatio = len(answered.Failed()), answered.ErrorRatio()
}

// evidence is what Belay knew of each metric of an attempt at a time.
func (s *story) evidence(attempt int64, at time.Time) []Evidence {
	var out []Evidence
	for _, m := range s.timeline.Metrics(fmt.Sprintf("%s-%d", name, attempt), at) {
		if c := m.Comparison; c != nil {
			out = append(out, Evidence{Metric: m.Name, Verdict: string(m.Verdict), CanaryRequests: c.CanaryRequests, CanaryBad: c.CanaryBad,
				StableRequests: c.StableRequests, StableBad: c.StableBad, Ratio: c.Ratio, Harm: c.Harm, Safety: c.Safety, Dispersion: c.Dispersion, Message: m.Message})
		}
	}
	return out
}

// agreed compares Git's head with the cluster; it returns nil once all is one revision.
func (s *story) agreed(ctx context.Context) error {
	history, err := s.fleet.History(ctx)
	if err != nil {
		return err
	}
	if err := s.measureRevert(history); err != nil {
		return err
	}
	s.report.Git, err = s.compare(ctx, history, delivered{folder: folder, namespace: namespace, sync: client.ObjectKey{Namespace: namespace, Name: "shop"}})
	return err
}

// delivered is where the application comes from and runs.
type delivered struct {
	folder, namespace string
	sync              client.ObjectKey
}

// compare renders Git's head and compares it with the cluster; the error is nil if all is one revision.
func (s *cast) compare(ctx context.Context, history stage.History, d delivered) (g Git, err error) {
	g.Head = history.Commits[0].SHA
	if g.Declared, err = history.Revision(d.folder, revert.Workload{Kind: "Rollout", Name: name}); err != nil {
		return g, err
	}
	ro, sync, pods := &v1alpha1.Rollout{}, &v1alpha1.Sync{}, &corev1.PodList{}
	if err := s.bed.Client.Get(ctx, client.ObjectKey{Namespace: d.namespace, Name: name}, ro); err != nil {
		return g, fmt.Errorf("reading the Rollout: %w", err)
	}
	if err := s.bed.Client.Get(ctx, d.sync, sync); err != nil {
		return g, fmt.Errorf("reading the Sync: %w", err)
	}
	if err := s.bed.Client.List(ctx, pods, client.InNamespace(d.namespace), client.MatchingLabels{"app": name}); err != nil {
		return g, fmt.Errorf("listing pods: %w", err)
	}
	if g.Spec, err = revision.Hash(&ro.Spec.Template); err != nil {
		return g, fmt.Errorf("naming the Rollout's template: %w", err)
	}
	g.AppliedRevision, g.Pods = sync.Status.AppliedCommit, podRevisions(pods.Items)
	if ro.Status.Stable != nil {
		g.Stable = ro.Status.Stable.Revision
	}
	g.EqualsCluster = g.Declared == g.Spec && g.Spec == g.Stable && g.Stable == g.Pods && g.AppliedRevision == g.Head && stage.AtRest(ro)
	if !g.EqualsCluster {
		return g, fmt.Errorf("Git %s declares %s, the Sync applied %s, the Rollout's template is %s, stable %s, pods are %s; %s",
			g.Head, g.Declared, g.AppliedRevision, g.Spec, g.Stable, g.Pods, stage.Describe(ro))
	}
	return g, nil
}

// podRevisions are the revisions of the pods that are not ending, joined.
func podRevisions(pods []corev1.Pod) string {
	var found []string
	for i := range pods {
		if r := pods[i].Labels[v1alpha1.LabelRevision]; pods[i].DeletionTimestamp == nil && !slices.Contains(found, r) {
			found = append(found, r)
		}
	}
	slices.Sort(found)
	return strings.Join(found, "+")
}

func (s *story) measureRevert(history stage.History) error {
	status := s.timeline.Last().Status.Revert
	commit, found := history.Find(status.Commit)
	if !found {
		return fmt.Errorf("commit %q of the Rollout's status is not on the branch", status.Commit)
	}
	r := &s.report.Revert
	r.Commit, r.Author, r.Message, r.FilesChanged = commit.SHA, commit.Author, commit.Message, commit.Files
	r.Restores = strings.Join(revert.ParseTrailers(commit.Message)[revert.TrailerRestores], " ")
	r.Commits = len(history.Reverts())
	r.UnrelatedCommitSurvived = strings.Contains(history.Files["apps/catalog/configmap.yaml"], "GBP")
	for _, sha := range s.unrelated {
		_, there := history.Find(sha)
		r.UnrelatedCommitSurvived = r.UnrelatedCommitSurvived && there
	}
	r.CommentsSurvived = history.Files[path.Join(folder, "rollout.yaml")] == s.original
	if status.FinishedAt != nil {
		r.SecondsToPush = seconds(status.FinishedAt.Sub(status.RequestedAt.Time))
	}
	return nil
}
