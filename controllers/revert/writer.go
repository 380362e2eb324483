package revert

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/git"
)

// place is what one writer writes to. Repositories of several namespaces may be of one branch, with credentials of their
// own: they do not share a push, and the compare-and-swap keeps them apart.
type place struct{ url, branch, repository string }

// job is one revert on its way to a branch.
type job struct {
	ctx   context.Context
	way   access
	due   request
	found finding
	err   error
	done  chan struct{}
}

// writers has one goroutine at a time write to each place. Reverts that come in meanwhile are made together: one fetch,
// a commit each, one push.
type writers struct {
	mu      sync.Mutex
	waiting map[place][]*job
}

// add queues a job; first says that nobody is writing there, and the caller must see to it.
func (w *writers) add(at place, j *job) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[place][]*job{}
	}
	queue, busy := w.waiting[at]
	w.waiting[at] = append(queue, j)
	return !busy
}

// take returns what has come in; nothing means that the writer has to end.
func (w *writers) take(at place) []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := w.waiting[at]
	if len(jobs) == 0 {
		delete(w.waiting, at)
		return nil
	}
	w.waiting[at] = []*job{}
	return jobs
}

// write carries a revert to its branch, together with others that are for the same one.
func (r *Reconciler) write(ctx context.Context, at place, way access, due request) (finding, error) {
	j := &job{ctx: ctx, way: way, due: due, done: make(chan struct{})}
	if r.writers.add(at, j) {
		go func() {
			for jobs := r.writers.take(at); jobs != nil; jobs = r.writers.take(at) {
				r.race(jobs[0].ctx, jobs)
				for _, j := range jobs {
					close(j.done)
				}
			}
		}()
	}
	<-j.done // a race is bounded by its tries, and each of them by time-outs
	return j.found, j.err
}

// race tries until the push is decided. After a lost race, or a lost answer, all is looked at and computed again.
func (r *Reconciler) race(ctx context.Context, jobs []*job) {
	for try := 1; len(jobs) > 0; try++ {
		again, err := together(ctx, jobs)
		if len(again) == 0 {
			return
		}
		if try == tries || ctx.Err() != nil {
			for _, j := range again {
				j.err = err
			}
			return
		}
		log.FromContext(ctx).V(1).Info("push is tried again on the branch as it is now", "try", try, "reverts", len(again), "error", err.Error())
		r.pause(ctx, try)
		jobs = again
	}
}

// transient says that another try is due at once.
func transient(err error) bool {
	return errors.Is(err, git.ErrStale) || errors.Is(err, git.ErrOutcomeUnknown)
}

// together makes one try at all jobs, and returns those to try again. Every revert is composed on top of the one before,
// and proved there; what cannot simply be pushed is carried on by itself.
func together(ctx context.Context, jobs []*job) (again []*job, cause error) {
	if len(jobs) == 1 {
		return alone(ctx, jobs)
	}
	way := jobs[0].way
	b, err := way.overHour(ctx, jobs[0].due.now)
	if err != nil {
		fail(jobs, err)
		return nil, nil
	}
	base := b.head
	b, stacked, single := b.stack(jobs)
	if len(stacked) > 0 {
		err := way.accepted(ctx, base)
		if err == nil {
			err = way.pushBranch(ctx, b, proposal{base: base, commit: b.head})
		}
		var rejected *git.RejectedError
		switch {
		case errors.As(err, &rejected):
			single = append(single, stacked...) // each asks for a pull request, on the branch as it is
		case transient(err):
			again, cause = append(again, stacked...), err
		case err != nil:
			fail(stacked, err)
		}
	}
	for i := range single {
		more, err := alone(ctx, single[i:i+1])
		if len(more) > 0 {
			again, cause = append(again, more...), err
		}
	}
	return again, cause
}

func fail(jobs []*job, err error) {
	for _, j := range jobs {
		j.err = err
	}
}

// stack commits one revert on top of the other, and returns the branch with them, those that are on it, and those that have to
// be carried on by themselves.
func (b branch) stack(jobs []*job) (on branch, stacked, single []*job) {
	for _, j := range jobs {
		f, changes, err := b.compose(j.due)
		switch {
		case errors.Is(err, errDeeper) || f.doubt != "" || changes != nil && j.way.strategy == v1alpha1.StrategyPullRequest:
			single = append(single, j)
		case err != nil || changes == nil:
			j.found, j.err = f, err
		default:
			p, err := j.way.commit(b, j.due, f, changes)
			if err != nil {
				j.found = conflict(f, err.Error())
				continue
			}
			more, err := b.with(p.commit)
			if err != nil {
				j.err = err
				continue
			}
			b, j.found = more, j.due.pushed(f, p.commit)
			stacked = append(stacked, j)
		}
	}
	return b, stacked, single
}

// alone makes one try at one job.
func alone(ctx context.Context, jobs []*job) (again []*job, cause error) {
	j := jobs[0]
	if j.found, j.err = j.way.try(ctx, j.due); transient(j.err) {
		return jobs, j.err
	}
	return nil, nil
}

// with is the branch as it will be with a commit of ours on top.
func (b branch) with(commit string) (branch, error) {
	made, err := b.repo.Commit(commit)
	if err != nil {
		return b, fmt.Errorf("reading the revert: %w", err)
	}
	b.head = commit
	b.log = append([]git.Commit{made}, b.log...)
	return b, nil
}
