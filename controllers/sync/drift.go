package sync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	stdsync "sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/drift"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
	"github.com/belay-delivery/belay/gitops/render"
)

// resync is how often objects that are watched are compared all the same.
const resync = 24 * time.Hour

// finding is an object that is not as Git declares it, and what is done about it.
type finding struct {
	item   *Item
	class  driftpkg.Class
	fields []driftpkg.Field
	// declared names what Git declares of the object; digest names that and what was found instead.
	declared, digest string
	state            v1alpha1.DriftState
	corrections      int32
	// record is the key of the overwritten value.
	record string
	// quiet: only the ownership of fields differs, or the object is as it was reported: nothing is told.
	quiet bool
}

// held says that the object is left as it is.
func (f *finding) held() bool { return f.state != v1alpha1.DriftCorrected }

// setupDrift makes the watches run with the manager.
func (r *Reconciler) setupDrift(mgr ctrl.Manager) error {
	if r.Drift == nil {
		return nil
	}
	r.Drift.Tell = func(key types.NamespacedName) { r.suspects.tell(key) }
	r.Drift.Manager = FieldManager
	if r.Drift.Mapper == nil {
		r.Drift.Mapper = r.Client.RESTMapper()
	}
	if r.Drift.As == nil {
		r.Drift.As = metadataAs(r.Config)
	}
	if r.Drift.Metadata == nil {
		own, err := metadata.NewForConfig(r.Config)
		if err != nil {
			return fmt.Errorf("making a client for metadata: %w", err)
		}
		r.Drift.Metadata = own
	}
	return mgr.Add(r.Drift)
}

func metadataAs(base *rest.Config) func(types.NamespacedName) (metadata.Interface, error) {
	return func(account types.NamespacedName) (metadata.Interface, error) {
		config := rest.CopyConfig(base)
		config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + account.Namespace + ":" + account.Name}
		as, err := metadata.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("making a client for metadata as %s: %w", config.Impersonate.UserName, err)
		}
		return as, nil
	}
}

// suspicions bring Syncs whose objects have changed into the controller's queue, which holds each of them once.
func (r *Reconciler) suspicions() source.Source {
	return source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.suspects.attach(func(key types.NamespacedName) { q.Add(reconcile.Request{NamespacedName: key}) })
		return nil
	})
}

// interval is how often all objects are compared, whatever was seen.
func (r *Reconciler) interval(sync *v1alpha1.Sync) time.Duration {
	fallback := defaultInterval
	if r.Drift != nil && len(r.Drift.Unwatched(sync.UID)) == 0 {
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(sync.UID))
		fallback = resync - time.Duration(hash.Sum32()%3600)*time.Second // not all of them at once
	}
	return sync.Spec.Interval.Or(fallback)
}

func member(sync *v1alpha1.Sync) drift.Member {
	return drift.Member{UID: sync.UID, Key: types.NamespacedName{Namespace: sync.Namespace, Name: sync.Name}, Account: sync.Spec.ServiceAccountName}
}

func (r *Reconciler) forgetDrift(uid types.UID) {
	if r.Drift != nil {
		r.Drift.Forget(uid)
	}
	forgetDriftMetrics(uid)
}

// forgetKey lets go what was kept of a Sync that is gone without a trace.
func (r *Reconciler) forgetKey(ctx context.Context, key types.NamespacedName) error {
	if r.Drift != nil {
		for _, uid := range r.Drift.Known(key) {
			r.forget(uid)
		}
	}
	if r.Bundles == nil {
		return nil
	}
	return r.Bundles.dropKey(ctx, key)
}

func ignoreRules(sync *v1alpha1.Sync) []driftpkg.Ignore {
	var rules []driftpkg.Ignore
	for _, i := range sync.Spec.Drift.Ignore {
		rules = append(rules, driftpkg.Ignore{Group: i.Group, Kind: i.Kind, Namespace: i.Namespace, Name: i.Name, Paths: i.Paths, Managers: i.Managers})
	}
	return rules
}

// verified tells the watches what the objects of a Sync were found, or made, to be.
func (r *Reconciler) verified(sync *v1alpha1.Sync, items []*Item, findings []*finding) {
	if r.Drift == nil {
		return
	}
	objects := make([]drift.Verified, 0, len(items))
	for _, item := range items {
		if item.Keeper != "" {
			continue
		}
		objects = append(objects, seen(item, findings, ""))
	}
	r.Drift.Verified(member(sync), objects)
}

// seen is what was seen of an object; as of is the version at which one that is not there was missed.
func seen(item *Item, findings []*finding, asOf string) drift.Verified {
	v := drift.Verified{Ref: refOf(item.Entry), Watchful: unowned(item.Declared), Lively: lively(item.Entry)}
	for _, f := range findings {
		v.Watchful = v.Watchful || f.item == item && f.held()
	}
	object := item.now()
	if object == nil {
		v.State = drift.State{Gone: true, Version: asOf}
		return v
	}
	v.State = drift.StateOf(object, FieldManager)
	return v
}

// unowned says that the API server does not enter what is declared under our name: stringData becomes data, which is nobody's.
func unowned(declared *unstructured.Unstructured) bool {
	_, has := declared.Object["stringData"]
	return has && declared.GetKind() == "Secret"
}

func refOf(e v1alpha1.InventoryEntry) drift.Ref {
	return drift.Ref{Kind: schema.GroupKind{Group: e.Group, Kind: e.Kind}, Namespace: e.Namespace, Name: e.Name}
}

// settle finds out, for a whole bundle, which of the objects that differ do so although Git has not changed, and what is to
// be done about them. What is left as it is leaves the plan; what is overwritten is recorded.
func (r *Reconciler) settle(ctx context.Context, sync *v1alpha1.Sync, plan *Plan, done *result) error {
	same := done.digest == sync.Status.AppliedDigest && !begun(&sync.Status) // else another bundle was begun, and given up
	for level, items := range plan.Apply {
		plan.Apply[level] = nil
		for _, item := range items {
			f, err := r.weigh(sync, item, same)
			if err != nil {
				return err
			}
			if f != nil {
				done.drift = append(done.drift, f)
			}
			if f == nil || !f.held() {
				plan.Apply[level] = append(plan.Apply[level], item)
			}
		}
	}
	return r.keep(ctx, sync, done.drift)
}

func corrects(sync *v1alpha1.Sync) bool {
	return sync.Spec.Drift.Mode == v1alpha1.DriftCorrect || sync.Spec.Drift.Mode == ""
}

// weigh decides about one object that differs; nil: Git has changed, and nothing is lost by applying it. same: the whole bundle is
// the one that was applied last.
func (r *Reconciler) weigh(sync *v1alpha1.Sync, item *Item, same bool) (*finding, error) {
	f := &finding{item: item, declared: digestOf(item.Declared)}
	ours := slices.ContainsFunc(sync.Status.Inventory, func(e v1alpha1.InventoryEntry) bool { return refOf(e) == refOf(item.Entry) })
	switch {
	case !ours || item.Live == nil && !item.Applied:
		return nil, nil // it is new to this Sync
	case item.Live == nil:
		f.class = driftpkg.Deleted
	case item.Dry == nil:
		return nil, nil // it could not be tried
	default:
		fields, err := driftpkg.Compare(driftpkg.Observed{Manager: FieldManager, Desired: item.Desired, Live: item.Live, Dry: item.Dry, Same: item.Applied})
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", name(item.Entry), err)
		}
		f.take(fields, same)
		if len(f.fields) == 0 {
			if !same || corrects(sync) && !borrowed(item.Live) || !marked(item.Live) {
				return nil, nil // Git has changed; or only the ownership is to be taken back, or the object to be marked
			}
			f.quiet, f.state = true, v1alpha1.DriftOpen
			return f, nil
		}
	}
	f.digest = f.name()
	before := reported(sync.Status.Drift, item.Entry)
	asked := sync.Annotations[v1alpha1.AnnotationReconcile] != sync.Status.Reconciled
	f.state, f.corrections = decide(sync.Spec.Drift, situation{same: item.Applied, before: before, declared: f.declared, digest: f.digest, asked: asked,
		approved: r.isApproved(sync.UID, f.digest), now: r.now()})
	return f, nil
}

// borrowed says that Belay itself has written the object, a route or a Service of a Rollout: taking the fields back, although
// nothing else would change, would be a write for each step of an attempt.
func borrowed(live *unstructured.Unstructured) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == v1alpha1.FieldManager && e.Subresource == ""
	})
}

// take keeps the fields that are not as Git declared them before. With another bundle a value that is ours alone may come from one
// that was begun and given up: nobody loses anything by overwriting it.
func (f *finding) take(fields []driftpkg.Field, same bool) {
	for _, field := range fields {
		own := field.Class == driftpkg.AdmissionMutation || field.Class == driftpkg.VersionSkew
		if field.Class == driftpkg.NewCommit || own && !same || isMark(field) {
			continue
		}
		f.fields = append(f.fields, field)
		if field.Class.Rank() > f.class.Rank() {
			f.class = field.Class
		}
	}
}

// situation is what a decision about an object depends on.
type situation struct {
	// same: Git declares the object as it did when it was applied last.
	same bool
	// before is what status says of the object; nil: nothing.
	before *v1alpha1.DriftedObject
	// declared and digest are the finding's.
	declared, digest string
	// asked: somebody has asked for a reconciliation.
	asked bool
	// approved: somebody has approved this digest.
	approved bool
	now      time.Time
}

// decide says what becomes of a finding, and how many corrections in a row that makes.
func decide(policy v1alpha1.SyncDrift, s situation) (v1alpha1.DriftState, int32) {
	unchanged := s.before != nil && s.before.State != v1alpha1.DriftCorrected && s.before.DeclaredDigest == s.declared
	if !s.same && !unchanged {
		return v1alpha1.DriftCorrected, 0 // Git declares the object anew
	}
	switch policy.Mode {
	case v1alpha1.DriftDetect:
		return v1alpha1.DriftOpen, 0
	case v1alpha1.DriftRequireApproval:
		if !s.approved {
			return v1alpha1.DriftAwaitingApproval, 0
		}
		return v1alpha1.DriftCorrected, 0
	}
	if s.asked || s.before == nil || s.before.DeclaredDigest != s.declared {
		return v1alpha1.DriftCorrected, 1
	}
	if s.before.State == v1alpha1.DriftFighting {
		return v1alpha1.DriftFighting, s.before.Corrections
	}
	if s.now.Sub(s.before.LastSeen.Time) > policy.Fight.Within.Or(defaultFightWithin) {
		return v1alpha1.DriftCorrected, 1
	}
	limit := policy.Fight.Corrections
	if limit == 0 {
		limit = defaultFightCorrections
	}
	if s.before.Corrections >= limit {
		return v1alpha1.DriftFighting, s.before.Corrections
	}
	return v1alpha1.DriftCorrected, s.before.Corrections + 1
}

const (
	defaultFightWithin      = 10 * time.Minute
	defaultFightCorrections = 5
)

// digestOf names an object as Git declares it. What status says was named before objects were marked.
func digestOf(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "metadata", "labels", v1alpha1.LabelSyncNamespace)
	raw, err := json.Marshal(u.Object)
	if err != nil {
		raw = []byte(err.Error()) // rendered objects always encode
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// name names a finding. What must not be shown goes in by the version of the object that holds it: a digest of a short
// secret would tell it.
func (f *finding) name() string {
	kind := refOf(f.item.Entry).Kind
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\x00%s\x00%s\x00", name(f.item.Entry), f.declared, f.class)
	for _, field := range f.fields {
		fmt.Fprintf(hash, "%s\x00", field.Path)
		if driftpkg.Hidden(kind, field.Path, field.Live) {
			fmt.Fprintf(hash, "%s\x00", f.item.Live.GetResourceVersion())
			continue
		}
		raw, err := json.Marshal(field.Live)
		fmt.Fprintf(hash, "%s%v\x00", raw, err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// bundles keeps what was rendered last, so that an event needs neither Git nor kustomize.
type bundles struct {
	mu   stdsync.Mutex
	kept []keptBundle // the last one was used last
}

type keptBundle struct {
	key     string
	objects []render.Object
}

// maxBundles is how many rendered folders are kept.
const maxBundles = 32

func (b *bundles) get(key string) []render.Object {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.kept, func(k keptBundle) bool { return k.key == key })
	if i < 0 {
		return nil
	}
	found := b.kept[i]
	b.kept = append(slices.Delete(b.kept, i, i+1), found)
	return found.objects
}

func (b *bundles) put(key string, objects []render.Object) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept = slices.DeleteFunc(b.kept, func(k keptBundle) bool { return k.key == key })
	if len(b.kept) >= maxBundles {
		b.kept = slices.Delete(b.kept, 0, 1)
	}
	b.kept = append(b.kept, keptBundle{key: key, objects: objects})
}
