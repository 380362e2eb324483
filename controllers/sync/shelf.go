package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	stdsync "sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/bundle"
)

const (
	// BundleType is the type of the Secrets that keep bundles.
	BundleType corev1.SecretType = "belay.dev/bundle"
	// LabelBundleOf is on them: the UID of the Sync.
	LabelBundleOf = "belay.dev/bundle-of"
	// AnnotationBundle is on them: the digest of the bundle.
	AnnotationBundle = "belay.dev/bundle"

	annotationBundleSync  = "belay.dev/sync"
	annotationBundleParts = "belay.dev/parts"
	bundleKeyData         = "bundle"
	// maxKept is how many bundles of a Sync are kept.
	maxKept = 5
	// page is how many Secrets are listed at once.
	page = 500
)

// Shelf keeps the bundles of Syncs as Secrets of one namespace, so that what was applied can be applied again without Git.
// A Secret is named by the Sync's UID, the bundle's digest and its part, and never changes.
type Shelf struct {
	// Client writes Secrets; Reader reads them and Syncs past any cache.
	Client client.Client
	Reader client.Reader
	// Namespace of the Secrets: Belay's own.
	Namespace string

	mu    stdsync.Mutex
	known map[types.UID]*shelved
}

// shelved is what is known to be kept of a Sync.
type shelved struct {
	key     types.NamespacedName
	digests map[string]bool
}

func (s *Shelf) knows(uid types.UID, digest string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[uid] != nil && s.known[uid].digests[digest]
}

func (s *Shelf) note(sync *v1alpha1.Sync, digests ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[types.UID]*shelved{}
	}
	if s.known[sync.UID] == nil {
		s.known[sync.UID] = &shelved{key: client.ObjectKeyFromObject(sync), digests: map[string]bool{}}
	}
	for _, digest := range digests {
		s.known[sync.UID].digests[digest] = true
	}
}

func bundleName(uid types.UID, digest string, part int) string {
	return fmt.Sprintf("belay-bundle-%s-%.16s-%d", uid, digest, part)
}

// put keeps a bundle, and lets those go that are not in keep. It asks nothing where the bundle is known to be kept.
func (s *Shelf) put(ctx context.Context, sync *v1alpha1.Sync, digest string, b bundle.Bundle, keep []string) error {
	if s.knows(sync.UID, digest) {
		return nil
	}
	parts, err := bundle.Pack(b)
	if err != nil {
		return err
	}
	for i, part := range slices.Backward(parts) { // the first part, by which a bundle is found, comes last
		if err := s.write(ctx, sync, digest, i, part, len(parts)); err != nil {
			return fmt.Errorf("keeping bundle %s: %w", short(digest), err)
		}
	}
	s.note(sync, digest)
	if err := s.tidy(ctx, sync.UID, append(keep, digest)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Bundles that are no longer needed are left")
	}
	return nil
}

func (s *Shelf) write(ctx context.Context, sync *v1alpha1.Sync, digest string, i int, part []byte, parts int) error {
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: bundleName(sync.UID, digest, i), Labels: map[string]string{LabelBundleOf: string(sync.UID)},
			Annotations: map[string]string{AnnotationBundle: digest, annotationBundleSync: sync.Namespace + "/" + sync.Name, annotationBundleParts: strconv.Itoa(parts)},
		},
		Type: BundleType, Immutable: &immutable, Data: map[string][]byte{bundleKeyData: part},
	}
	err := s.Client.Create(ctx, secret.DeepCopy())
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	var there corev1.Secret
	if err := s.Reader.Get(ctx, client.ObjectKeyFromObject(secret), &there); err != nil {
		return err
	}
	if bytes.Equal(there.Data[bundleKeyData], part) && there.Annotations[annotationBundleParts] == strconv.Itoa(parts) && there.Type == BundleType {
		return nil
	}
	if err := s.Client.Delete(ctx, &there, client.Preconditions{UID: &there.UID}); client.IgnoreNotFound(err) != nil {
		return err
	}
	return s.Client.Create(ctx, secret)
}

// get returns a bundle, or nil where it is not kept.
func (s *Shelf) get(ctx context.Context, sync *v1alpha1.Sync, digest string) (*bundle.Bundle, error) {
	var parts [][]byte
	for i, n := 0, 1; i < n; i++ {
		var secret corev1.Secret
		err := s.Reader.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: bundleName(sync.UID, digest, i)}, &secret)
		switch {
		case apierrors.IsNotFound(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("reading bundle %s: %w", short(digest), err)
		case secret.Type != BundleType:
			return nil, fmt.Errorf("reading bundle %s: Secret %s has type %q, want %q", short(digest), secret.Name, secret.Type, BundleType)
		}
		if n, err = strconv.Atoi(secret.Annotations[annotationBundleParts]); err != nil || n < 1 || n > bundle.MaxParts {
			return nil, fmt.Errorf("reading bundle %s: Secret %s: annotation %s is %q, want a number from 1 to %d", short(digest), secret.Name,
				annotationBundleParts, secret.Annotations[annotationBundleParts], bundle.MaxParts)
		}
		parts = append(parts, secret.Data[bundleKeyData])
	}
	b, err := bundle.Unpack(parts, digest)
	if err != nil {
		return nil, err
	}
	s.note(sync, digest)
	return &b, nil
}

// tidy deletes the bundles of a Sync but those to keep.
func (s *Shelf) tidy(ctx context.Context, uid types.UID, keep []string) error {
	list, err := s.list(ctx, client.MatchingLabels{LabelBundleOf: string(uid)})
	if err != nil {
		return err
	}
	var failed []error
	for i := range list {
		if digest := list[i].Annotations[AnnotationBundle]; !slices.Contains(keep, digest) {
			failed = append(failed, s.remove(ctx, &list[i]))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.known[uid]; known != nil {
		for digest := range known.digests {
			if !slices.Contains(keep, digest) {
				delete(known.digests, digest)
			}
		}
	}
	return errors.Join(failed...)
}

func (s *Shelf) remove(ctx context.Context, secret *metav1.PartialObjectMetadata) error {
	err := s.Client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing Secret %s: %w", secret.Name, err)
	}
	return nil
}

// list returns the Secrets that keep bundles, without what they hold.
func (s *Shelf) list(ctx context.Context, by client.ListOption) ([]metav1.PartialObjectMetadata, error) {
	var out []metav1.PartialObjectMetadata
	for next := ""; ; {
		found := &metav1.PartialObjectMetadataList{}
		found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
		err := s.Reader.List(ctx, found, client.InNamespace(s.Namespace), by, client.Limit(page), client.Continue(next))
		if err != nil {
			return nil, fmt.Errorf("listing bundles: %w", err)
		}
		for _, secret := range found.Items {
			secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
			out = append(out, secret)
		}
		if next = found.Continue; next == "" {
			return out, nil
		}
	}
}

// drop deletes the bundles of a Sync that is gone.
func (s *Shelf) drop(ctx context.Context, uid types.UID) error {
	if err := s.tidy(ctx, uid, nil); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, uid)
	return nil
}

// dropKey deletes the bundles of Syncs of this name that are gone, as far as they are known.
func (s *Shelf) dropKey(ctx context.Context, key types.NamespacedName) error {
	s.mu.Lock()
	var gone []types.UID
	for uid, known := range s.known {
		if known.key == key {
			gone = append(gone, uid)
		}
	}
	s.mu.Unlock()
	for _, uid := range gone {
		if err := s.drop(ctx, uid); err != nil {
			return err
		}
	}
	return nil
}

// NeedLeaderElection: only who acts tidies up.
func (s *Shelf) NeedLeaderElection() bool { return true }

// Start lets the bundles of Syncs go that were deleted while nobody looked, once.
func (s *Shelf) Start(ctx context.Context) error {
	if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
		ctrl.LoggerFrom(ctx).Error(err, "Bundles of Syncs that are gone may be left")
	}
	return nil
}

func (s *Shelf) sweep(ctx context.Context) error {
	list, err := s.list(ctx, client.HasLabels{LabelBundleOf})
	if err != nil {
		return err
	}
	lives := map[string]bool{} // by UID
	for i := range list {
		uid := list[i].Labels[LabelBundleOf]
		alive, seen := lives[uid]
		if !seen {
			if alive, err = s.alive(ctx, &list[i]); err != nil {
				return err
			}
			lives[uid] = alive
		}
		if alive {
			continue
		}
		if err := s.remove(ctx, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// alive says whether the Sync of a Secret is there. What cannot be told, because the manager is limited to other namespaces,
// counts as alive.
func (s *Shelf) alive(ctx context.Context, secret *metav1.PartialObjectMetadata) (bool, error) {
	namespace, name, named := strings.Cut(secret.Annotations[annotationBundleSync], "/")
	if !named {
		return true, nil // not one of ours
	}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	var cached v1alpha1.Sync
	if s.Client.Get(ctx, key, &cached) == nil && string(cached.UID) == secret.Labels[LabelBundleOf] {
		return true, nil
	}
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Sync"))
	err := s.Reader.Get(ctx, key, found)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading Sync %s: %w", key, err)
	}
	return string(found.UID) == secret.Labels[LabelBundleOf], nil
}
