package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	stdsync "sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/gitops/cosign"
	"github.com/belay-delivery/belay/gitops/preflight"
	"github.com/belay-delivery/belay/gitops/registry"
)

const (
	// maxSigned is what fits into status.signedImages.
	maxSigned = 256
	// registryTimeout is how long registries may take in one round, and imageTimeout for one image.
	registryTimeout = 60 * time.Second
	imageTimeout    = 20 * time.Second
	maxInspections  = 4
)

// Reasons of the condition ImagesVerified.
const (
	ReasonSigned              = "Signed"
	ReasonNotSigned           = "NotSigned"
	ReasonRegistryUnavailable = "RegistryUnavailable"
	ReasonSignaturesInvalid   = "SignaturesInvalid"
)

// signatures is what came of looking at the images of a bundle.
type signatures struct {
	signed    []v1alpha1.SignedImage
	condition metav1.Condition
}

// verdict is what is known of one image.
type verdict struct {
	// why it may not run; empty: it may.
	why string
	// unknown: its registry could not be asked.
	unknown bool
	// free: it need not be signed.
	free   bool
	signed *v1alpha1.SignedImage
}

func signaturesOf(sync *v1alpha1.Sync) (*v1alpha1.ImageSignatures, v1alpha1.CheckMode) {
	spec := sync.Spec.Images.Signatures
	if spec == nil {
		return nil, v1alpha1.CheckOff
	}
	return spec, mode(spec.Mode, v1alpha1.CheckDeny)
}

// checkSignatures asks that every image is signed as images.signatures says. What is denied, or not known, becomes the fault of
// an item. What was verified before is not asked for again.
func (r *Reconciler) checkSignatures(ctx context.Context, sync *v1alpha1.Sync, items []*Item, w *warnings) (*signatures, error) {
	spec, m := signaturesOf(sync)
	if m == v1alpha1.CheckOff {
		return nil, nil
	}
	keys, err := r.keysOf(ctx, sync, spec)
	if err != nil {
		return invalid(err), err
	}
	verdicts := map[string]verdict{}
	asked := map[string]cosign.Image{}
	for _, item := range items {
		for _, image := range preflight.Images(item.object()) {
			if _, seen := verdicts[image.Name]; seen {
				continue
			}
			parsed, v := judgeImage(spec, keys, sync.Status.SignedImages, image.Name)
			if verdicts[image.Name] = v; v == (verdict{}) {
				asked[image.Name] = parsed
			}
		}
	}
	if len(verdicts) > maxSigned {
		err := &failure{reason: ReasonTooLarge, stalled: true,
			message: fmt.Sprintf("nothing was changed: %d images are more than the %d whose signatures a Sync can keep account of", len(verdicts), maxSigned)}
		return invalid(err), err
	}
	if len(asked) > 0 {
		if err := r.askRegistries(ctx, sync, spec, keys, asked, verdicts); err != nil {
			return invalid(err), err
		}
	}
	for _, item := range items {
		item.blame(m, verdicts, w)
	}
	return summed(verdicts), nil
}

func invalid(err error) *signatures {
	return &signatures{condition: metav1.Condition{Status: metav1.ConditionUnknown, Reason: ReasonSignaturesInvalid, Message: err.Error()}}
}

// judgeImage says what is known without a request; no verdict at all means that the registry must be asked.
func judgeImage(spec *v1alpha1.ImageSignatures, keys map[string]cosign.Keys, before []v1alpha1.SignedImage, text string) (cosign.Image, verdict) {
	image, err := cosign.ParseImage(text)
	if err != nil && image.Repository == "" {
		return image, verdict{why: err.Error()}
	}
	i := cosign.RuleFor(spec.Rules, image.Repository)
	switch {
	case i < 0:
		return image, verdict{why: fmt.Sprintf("no rule names %s: add one with keys, or with unsigned: Allowed", image.Repository)}
	case spec.Rules[i].Unsigned == v1alpha1.UnsignedAllowed:
		return image, verdict{free: true}
	case errors.Is(err, cosign.ErrNoDigest):
		return image, verdict{why: "it is not named by digest, and a signature is of a digest: write it as name@sha256:…"}
	case err != nil:
		return image, verdict{why: err.Error()}
	}
	rule := spec.Rules[i]
	for n := range before {
		if b := &before[n]; b.Image == image.String() && keys[rule.Keys.Name].Has(b.Key) && cosign.SignedAs(b.SignedAs, image.Repository, rule.SignedAs) {
			return image, verdict{signed: b}
		}
	}
	return image, verdict{}
}

// blame says of an item's images what is to be said.
func (i *Item) blame(m v1alpha1.CheckMode, verdicts map[string]verdict, w *warnings) {
	for _, image := range preflight.Images(i.object()) {
		v := verdicts[image.Name]
		if v.free || m == v1alpha1.CheckWarn {
			i.Unsigned = append(i.Unsigned, image.Name)
		}
		if v.why == "" {
			continue
		}
		text := fmt.Sprintf("%s: image %q, which images.signatures asks for: %s", image.Field, cut(image.Name, reasonBytes), v.why)
		switch {
		case v.unknown && m == v1alpha1.CheckDeny:
			i.hold(text)
		case v.unknown:
			w.add(fmt.Sprintf("PolicyUnknown: %s (%s): %s", name(i.Entry), i.File, text))
		default:
			i.say(m, text, w)
		}
	}
}

// hold keeps the item from being applied until what is not known is known.
func (i *Item) hold(text string) {
	if i.Fault != nil && i.Fault.Final {
		i.Fault.Message += "; " + text
		return
	}
	i.Fault = &Fault{Message: text, Final: true}
}

// summed is the condition, which names the first image that is not signed, or else the first that could not be asked for.
func summed(verdicts map[string]verdict) *signatures {
	out := &signatures{}
	var refused, unknown []string
	for image, v := range verdicts {
		line := fmt.Sprintf("image %q: %s", cut(image, reasonBytes), v.why)
		switch {
		case v.unknown:
			unknown = append(unknown, line)
		case v.why != "":
			refused = append(refused, line)
		case v.signed != nil:
			out.signed = append(out.signed, *v.signed)
		}
	}
	slices.SortFunc(out.signed, func(a, b v1alpha1.SignedImage) int { return strings.Compare(a.Image, b.Image) })
	out.signed = slices.CompactFunc(out.signed, sameSignature)
	c := metav1.Condition{Status: metav1.ConditionTrue, Reason: ReasonSigned, Message: fmt.Sprintf("%d images are signed by trusted keys", len(out.signed))}
	if len(unknown) > 0 {
		c.Status, c.Reason = metav1.ConditionUnknown, ReasonRegistryUnavailable
	}
	if len(refused) > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, ReasonNotSigned
	}
	if lines := len(refused) + len(unknown); lines > 0 {
		slices.Sort(refused)
		slices.Sort(unknown)
		all := slices.Concat(refused, unknown)
		c.Message = strings.Join(all[:min(lines, maxNamed)], "; ")
		if lines > maxNamed {
			c.Message += fmt.Sprintf("; and %d more", lines-maxNamed)
		}
	}
	out.condition = c
	return out
}

func sameSignature(a, b v1alpha1.SignedImage) bool { return a.Image == b.Image && a.Key == b.Key }

// remembered are the images of this round and, as long as there is room, those of earlier ones.
func remembered(before, now []v1alpha1.SignedImage) []v1alpha1.SignedImage {
	out := slices.Clone(now)
	for _, b := range before {
		if !slices.ContainsFunc(now, func(n v1alpha1.SignedImage) bool { return sameSignature(n, b) }) {
			out = append(out, b)
		}
	}
	return out[:min(len(out), maxSigned)]
}

// reportSignatures puts into status what came of looking at images.
func (r *Reconciler) reportSignatures(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, found *signatures) {
	if _, m := signaturesOf(sync); m == v1alpha1.CheckOff {
		meta.RemoveStatusCondition(&next.Conditions, v1alpha1.ConditionImagesVerified)
		next.SignedImages = nil
		return
	}
	if found == nil {
		return
	}
	next.SignedImages = remembered(next.SignedImages, found.signed)
	c := found.condition
	c.Type, c.ObservedGeneration, c.LastTransitionTime = v1alpha1.ConditionImagesVerified, sync.Generation, metav1.NewTime(r.now())
	c.Message = cut(c.Message, messageBytes)
	meta.SetStatusCondition(&next.Conditions, c)
}

// keysOf reads the keys of all rules, by the name of their Secret.
func (r *Reconciler) keysOf(ctx context.Context, sync *v1alpha1.Sync, spec *v1alpha1.ImageSignatures) (map[string]cosign.Keys, error) {
	out := map[string]cosign.Keys{}
	for i, rule := range spec.Rules {
		if rule.Keys == nil {
			continue
		}
		if _, done := out[rule.Keys.Name]; done {
			continue
		}
		field := fmt.Sprintf("images.signatures.rules[%d].keys", i)
		data, err := r.secretOf(ctx, sync, rule.Keys.Name, field)
		if err != nil {
			return nil, err
		}
		if out[rule.Keys.Name], err = cosign.ParseKeys(data); err != nil {
			return nil, unusable(field, rule.Keys.Name, err.Error())
		}
	}
	return out, nil
}

func (r *Reconciler) secretOf(ctx context.Context, sync *v1alpha1.Sync, name, field string) (map[string][]byte, error) {
	var secret corev1.Secret
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: sync.Namespace, Name: name}, &secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, unusable(field, name, "it does not exist")
	case err != nil:
		return nil, fmt.Errorf("reading Secret %q of %s: %w", name, field, err)
	}
	return secret.Data, nil
}

func unusable(field, name, why string) error {
	return &failure{reason: ReasonSignaturesInvalid, stalled: true, message: fmt.Sprintf("nothing was changed: Secret %q of %s: %s", name, field, why)}
}

// askRegistries gives a verdict on every image asked for, some at a time.
func (r *Reconciler) askRegistries(ctx context.Context, sync *v1alpha1.Sync, spec *v1alpha1.ImageSignatures, keys map[string]cosign.Keys, asked map[string]cosign.Image, into map[string]verdict) error {
	var credentials registry.Credentials
	for i, reference := range spec.PullSecrets {
		field := fmt.Sprintf("images.signatures.pullSecrets[%d]", i)
		data, err := r.secretOf(ctx, sync, reference.Name, field)
		if err != nil {
			return err
		}
		if err := credentials.Add(data); err != nil {
			return unusable(field, reference.Name, err.Error())
		}
	}
	session := r.Registries.Open(credentials)
	defer session.Close()
	limited, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	var mu stdsync.Mutex
	var group stdsync.WaitGroup
	slots := make(chan struct{}, maxInspections)
	for text, image := range asked {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			rule := spec.Rules[cosign.RuleFor(spec.Rules, image.Repository)]
			v := inspect(limited, session, keys[rule.Keys.Name], rule, image)
			if v.signed != nil {
				v.signed.At = metav1.NewTime(r.now().Truncate(time.Second))
			}
			mu.Lock()
			defer mu.Unlock()
			into[text] = v
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("asking registries: %w", ctx.Err())
	}
	return nil
}

// inspect looks for a signature that counts, and otherwise tells what comes closest to one.
func inspect(ctx context.Context, session *registry.Session, keys cosign.Keys, rule v1alpha1.ImageRule, image cosign.Image) verdict {
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	var found *v1alpha1.SignedImage
	var claim, other error
	seen := 0
	left, err := session.Signatures(ctx, image, func(c registry.Candidate) bool {
		seen++
		signed, err := verifyCandidate(keys, c, image.Digest)
		if err == nil && !cosign.SignedAs(signed.As, image.Repository, rule.SignedAs) {
			err = cosign.ClaimedAs(signed.As)
		}
		if err == nil {
			found = &v1alpha1.SignedImage{Image: image.String(), Key: signed.Key.Fingerprint, SignedAs: signed.As}
			return true
		}
		if wrong := (*cosign.ClaimError)(nil); errors.As(err, &wrong) {
			claim = cmp.Or(claim, err)
		} else if !errors.Is(err, cosign.ErrUntrusted) {
			other = cmp.Or(other, err)
		}
		return false
	})
	why := fmt.Sprintf("none of its %d signatures is by a key of Secret %q", seen, rule.Keys.Name)
	switch {
	case found != nil:
		return verdict{signed: found}
	case err != nil:
		return verdict{why: err.Error(), unknown: true}
	case seen == 0:
		return verdict{why: fmt.Sprintf("it is not signed: sign it with cosign and a key of Secret %q", rule.Keys.Name)}
	case claim != nil:
		why = claim.Error()
	case other != nil:
		why += fmt.Sprintf(" (of one: %v)", other)
	}
	if left > 0 {
		why += fmt.Sprintf("; %d more were not looked at", left)
	}
	return verdict{why: why}
}

func verifyCandidate(keys cosign.Keys, c registry.Candidate, digest string) (cosign.Signed, error) {
	switch {
	case c.Problem != nil:
		return cosign.Signed{}, c.Problem
	case c.Bundle != nil:
		return keys.Bundle(c.Bundle, digest)
	}
	return keys.Simple(c.Payload, c.Signature, digest)
}
