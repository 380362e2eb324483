package sync

import (
	"context"
	"fmt"
	stdsync "sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
	"github.com/belay-delivery/belay/gitops/render"
)

// suspects passes on which Syncs have something to look at, once there is a queue.
type suspects struct {
	mu    stdsync.Mutex
	queue func(types.NamespacedName)
	early []types.NamespacedName
}

func (s *suspects) tell(key types.NamespacedName) {
	s.mu.Lock()
	queue := s.queue
	if queue == nil {
		s.early = append(s.early, key)
	}
	s.mu.Unlock()
	if queue != nil {
		queue(key)
	}
}

func (s *suspects) attach(queue func(types.NamespacedName)) {
	s.mu.Lock()
	s.queue = queue
	early := s.early
	s.early = nil
	s.mu.Unlock()
	for _, key := range early {
		queue(key)
	}
}

// checkDrift looks at the objects of a Sync that have changed, and at no others.
func (r *Reconciler) checkDrift(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, done result) (result, error) {
	if r.Drift == nil {
		return done, nil
	}
	list, again := r.Drift.Suspects(sync.UID)
	done.again = sooner(done.again, again)
	list = append(list, r.letThrough(sync, list)...)
	if len(list) == 0 {
		return done, nil
	}
	objects, err := r.declared(ctx, sync, repo, done.commit)
	if err != nil {
		return done, err
	}
	cluster, err := r.tenantOf(sync)
	if err != nil {
		return done, err
	}
	items, err := prepare(sync, objects, r.namespaced)
	if err != nil {
		return done, err
	}
	for _, suspect := range list {
		for _, item := range items {
			if refOf(item.Entry) != suspect.Ref {
				continue
			}
			if err := r.look(ctx, sync, cluster, looking{item: item, suspect: suspect}, &done); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// looking is one object to look at.
type looking struct {
	item    *Item
	suspect drift.Suspect
}

// look compares one object with Git and, if that is wanted, puts it right.
func (r *Reconciler) look(ctx context.Context, sync *v1alpha1.Sync, cluster tenant, l looking, done *result) error {
	item := l.item
	item.Ignore, item.Applied, item.Keep = ignoreRules(sync), true, true
	if err := cluster.examine(ctx, item); err != nil {
		return err
	}
	if left(sync, item) != "" { // somebody else has made it since: it is left to them, and all objects are looked at
		r.checked.Delete(sync.UID)
		return nil
	}
	if item.Fault != nil {
		return refusal([]*Item{item})
	}
	done.looked = append(done.looked, item.Entry)
	var findings []*finding
	if differs(item) {
		f, err := r.weigh(sync, item, true)
		if err != nil {
			return err
		}
		if f != nil {
			findings = append(findings, f)
			done.drift = append(done.drift, f)
		}
		if f == nil || !f.held() {
			if err := r.correct(ctx, sync, cluster, item, findings); err != nil {
				return err
			}
			done.applied = append(done.applied, name(item.Entry))
		}
	}
	r.judgeOne(sync, item)
	r.Drift.Looked(member(sync), seen(item, findings, l.suspect.Version))
	return nil
}

// correct writes again what Git declares, after what is overwritten was recorded; and only over what was recorded.
func (r *Reconciler) correct(ctx context.Context, sync *v1alpha1.Sync, cluster tenant, item *Item, findings []*finding) error {
	if err := r.keep(ctx, sync, findings); err != nil {
		return err
	}
	written, err := cluster.apply(ctx, final(item.Desired, sync.Status.AppliedCommit))
	if err != nil {
		return applyFailed(item, err)
	}
	item.Written = written
	return nil
}

func bundleKey(sync *v1alpha1.Sync, repo *v1alpha1.Repository, commit string) string {
	return fmt.Sprintf("%s\x00%s\x00%s\x00%s", repo.UID, repo.Spec.URL, commit, sync.Spec.Path)
}

// declared is the rendered folder of a commit.
func (r *Reconciler) declared(ctx context.Context, sync *v1alpha1.Sync, repo *v1alpha1.Repository, commit string) ([]render.Object, error) {
	key := bundleKey(sync, repo, commit)
	if kept := r.bundles.get(key); kept != nil {
		return kept, nil
	}
	if commit == sync.Status.AppliedCommit {
		if objects, err := r.kept(ctx, sync, repo, sync.Status.AppliedDigest); err == nil && objects != nil {
			r.bundles.put(key, objects)
			return objects, nil
		}
	}
	objects, err := r.fromGit(ctx, sync, repo, commit)
	if err != nil {
		return nil, err
	}
	r.bundles.put(key, objects)
	return objects, nil
}
