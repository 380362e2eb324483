package sync

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/belay-delivery/belay/api/v1alpha1"
	driftpkg "github.com/belay-delivery/belay/gitops/drift"
)

// Reasons of the conditions Drifted and DriftFight, and of Events.
const (
	ReasonDriftDetected  = "DriftDetected"
	ReasonDriftCorrected = "DriftCorrected"
	ReasonDriftFight     = "DriftFight"
	ReasonAsDeclared     = "AsDeclared"
	// ReasonDriftTooLarge: what would be overwritten is too large to be kept, so that it is not overwritten.
	ReasonDriftTooLarge = "DriftTooLarge"
)

const (
	maxDrifted       = 32
	maxDriftedFields = 8
	// fullFields is for how many objects all of these fields are shown; the others show one: status stays below 64 KiB.
	fullFields = 8
	pathBytes  = 512
)

// reported is what status says of an object; nil: nothing.
func reported(status *v1alpha1.SyncDriftStatus, e v1alpha1.InventoryEntry) *v1alpha1.DriftedObject {
	if status == nil {
		return nil
	}
	for i := range status.Objects {
		if o := &status.Objects[i]; o.Group == e.Group && o.Kind == e.Kind && o.Namespace == e.Namespace && o.Name == e.Name {
			return o
		}
	}
	return nil
}

// reportDrift puts what was found into the next status, and tells of what is new.
func (r *Reconciler) reportDrift(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus, done result, failed error) {
	var unwatched []string
	if r.Drift != nil {
		unwatched = r.Drift.Unwatched(sync.UID)
		unwatched = unwatched[:min(len(unwatched), maxDrifted)]
	}
	if sync.Status.Drift == nil && len(done.drift) == 0 && len(unwatched) == 0 {
		return
	}
	before := sync.Status.Drift
	objects := map[v1alpha1.InventoryEntry]v1alpha1.DriftedObject{}
	if before != nil {
		for _, o := range before.Objects {
			if e := entryOfDrifted(o); o.State == v1alpha1.DriftCorrected || !done.lookedAt(e) {
				objects[e] = o
			}
		}
	}
	for _, f := range done.drift {
		if f.quiet {
			continue
		}
		e := f.item.Entry
		e.Version = ""
		o := r.drifted(sync, f, reported(before, f.item.Entry))
		if failed != nil && !f.held() && f.item.Written == nil {
			o.State = v1alpha1.DriftFailed
		}
		objects[e] = o
		r.tellDrift(sync, f, reported(before, f.item.Entry), o)
	}
	next.Drift = bounded(objects)
	next.Drift.Unwatched = unwatched
	if len(next.Drift.Objects)+len(unwatched) == 0 {
		next.Drift = nil
	}
	r.driftConditions(sync, next)
	setDriftMetrics(sync, next.Drift)
}

// lookedAt says that the round has looked at an object, so that what it did not find is no longer so.
func (r result) lookedAt(e v1alpha1.InventoryEntry) bool {
	return r.checked || slices.ContainsFunc(r.looked, func(l v1alpha1.InventoryEntry) bool { return refOf(l) == refOf(e) })
}

func entryOfDrifted(o v1alpha1.DriftedObject) v1alpha1.InventoryEntry {
	return v1alpha1.InventoryEntry{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// bounded orders and bounds a report: what differs now comes first, then what was corrected last.
func bounded(objects map[v1alpha1.InventoryEntry]v1alpha1.DriftedObject) *v1alpha1.SyncDriftStatus {
	out := &v1alpha1.SyncDriftStatus{}
	for _, o := range objects {
		out.Objects = append(out.Objects, o)
		if o.State != v1alpha1.DriftCorrected {
			out.Drifted++
		}
	}
	slices.SortFunc(out.Objects, func(a, b v1alpha1.DriftedObject) int {
		if x, y := a.State == v1alpha1.DriftCorrected, b.State == v1alpha1.DriftCorrected; x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		if order := b.LastSeen.Compare(a.LastSeen.Time); order != 0 {
			return order
		}
		return strings.Compare(name(entryOfDrifted(a)), name(entryOfDrifted(b)))
	})
	out.Objects = out.Objects[:min(len(out.Objects), maxDrifted)]
	for i := range out.Objects {
		if o := &out.Objects[i]; i >= fullFields && len(o.Fields) > 1 {
			o.MoreFields += int32(len(o.Fields) - 1)
			o.Fields = o.Fields[:1]
		}
	}
	return out
}

// drifted is a finding as status says it.
func (r *Reconciler) drifted(sync *v1alpha1.Sync, f *finding, before *v1alpha1.DriftedObject) v1alpha1.DriftedObject {
	kind := refOf(f.item.Entry).Kind
	now := metav1.NewTime(r.now())
	remedy := driftpkg.RemedyOf(kind, f.class, f.fields, r.now())
	o := v1alpha1.DriftedObject{
		Group: f.item.Entry.Group, Kind: f.item.Entry.Kind, Namespace: f.item.Entry.Namespace, Name: f.item.Entry.Name,
		State: f.state, Class: v1alpha1.DriftClass(f.class), Digest: f.digest, DeclaredDigest: f.declared, Writer: f.writer(),
		FirstSeen: now, LastSeen: now, Corrections: f.corrections, Commit: sync.Status.AppliedCommit, File: f.item.File, Record: f.record,
		Remedy: v1alpha1.DriftRemedy{Action: string(remedy.Action), Risk: string(remedy.Risk), Reason: remedy.Reason},
	}
	if before != nil && before.Digest == f.digest && before.State == f.state && f.held() {
		o.FirstSeen, o.LastSeen = before.FirstSeen, before.LastSeen // nothing new: nothing to write
	}
	if before != nil && before.Digest == f.digest {
		o.DeclaredBy = before.DeclaredBy
	}
	for _, field := range f.fields {
		if len(o.Fields) == maxDriftedFields {
			o.MoreFields++
			continue
		}
		shown := v1alpha1.DriftedField{Path: cut(field.Path.String(), pathBytes),
			Declared: driftpkg.Shown(kind, field.Path, field.Declared), Live: driftpkg.Shown(kind, field.Path, field.Live)}
		if before != nil && before.Digest == f.digest {
			for _, b := range before.Fields {
				if b.Path == shown.Path {
					shown.DeclaredBy = b.DeclaredBy
				}
			}
		}
		if field.Class != f.class {
			shown.Class = v1alpha1.DriftClass(field.Class)
		}
		o.Fields = append(o.Fields, shown)
	}
	return o
}

// writer is who is behind the field that gives the finding its class.
func (f *finding) writer() *v1alpha1.DriftWriter {
	for _, field := range f.fields {
		if field.Class != f.class || field.Owner == nil {
			continue
		}
		w := &v1alpha1.DriftWriter{Manager: field.Owner.Manager, Operation: string(field.Owner.Operation), Subresource: field.Owner.Subresource,
			User: driftpkg.StampOf(f.item.Live, *field.Owner), Certainty: "Owner"}
		if field.Guess {
			w.Certainty = "Latest"
		}
		if !field.Owner.Time.IsZero() {
			at := metav1.NewTime(field.Owner.Time)
			w.At = &at
		}
		return w
	}
	return nil
}

// tellDrift makes an Event and a count of a finding that is new.
func (r *Reconciler) tellDrift(sync *v1alpha1.Sync, f *finding, before *v1alpha1.DriftedObject, o v1alpha1.DriftedObject) {
	if before != nil && before.Digest == o.Digest && before.State == o.State && o.State != v1alpha1.DriftCorrected {
		return
	}
	countDrift(sync, o)
	reason := ReasonDriftDetected
	switch o.State {
	case v1alpha1.DriftCorrected:
		reason = ReasonDriftCorrected
	case v1alpha1.DriftFighting:
		reason = ReasonDriftFight
	}
	var related runtime.Object
	if f.item.Live != nil {
		related = f.item.Live
	}
	r.Recorder.Eventf(sync, related, corev1.EventTypeWarning, reason, "Drift", "%s", cut(sentence(o), noteBytes))
}

// sentence tells of a drifted object in one line.
func sentence(o v1alpha1.DriftedObject) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s", name(entryOfDrifted(o)), o.Class)
	for i, field := range o.Fields {
		if i == 3 {
			break
		}
		fmt.Fprintf(&out, "; %s is %s, Git declares %s", field.Path, field.Live, field.Declared)
	}
	if more := len(o.Fields) + int(o.MoreFields) - 3; more > 0 {
		fmt.Fprintf(&out, "; and %d more", more)
	}
	if w := o.Writer; w != nil {
		by := map[string]string{"Owner": "by", "Latest": "most likely by"}[w.Certainty]
		fmt.Fprintf(&out, "; %s %s", by, w.Manager)
		if w.User != "" {
			fmt.Fprintf(&out, " (user %s)", w.User)
		}
		if w.At != nil {
			fmt.Fprintf(&out, " at %s", w.At.UTC().Format("15:04:05"))
		}
	}
	if o.File != "" {
		fmt.Fprintf(&out, "; declared in %s", o.File)
	}
	switch o.State {
	case v1alpha1.DriftCorrected:
		out.WriteString("; corrected")
		if o.Record != "" {
			fmt.Fprintf(&out, ", what was there is record %s", o.Record)
		}
	case v1alpha1.DriftFighting:
		fmt.Fprintf(&out, "; corrected %d times in a row, it is not any more: %s and %s write the same fields", o.Corrections, FieldManager, writerName(o))
	default:
		fmt.Fprintf(&out, "; proposed: %s (risk %s): %s", o.Remedy.Action, o.Remedy.Risk, o.Remedy.Reason)
	}
	return out.String()
}

func writerName(o v1alpha1.DriftedObject) string {
	if o.Writer == nil {
		return "an unknown writer"
	}
	return o.Writer.Manager
}

// driftConditions set Drifted and DriftFight, once there was a drift to speak of.
func (r *Reconciler) driftConditions(sync *v1alpha1.Sync, next *v1alpha1.SyncStatus) {
	var open, fights []string
	if next.Drift != nil {
		for _, o := range next.Drift.Objects {
			switch o.State {
			case v1alpha1.DriftCorrected:
				continue
			case v1alpha1.DriftFighting:
				fights = append(fights, fmt.Sprintf("%s: %s and %s", name(entryOfDrifted(o)), FieldManager, writerName(o)))
			}
			open = append(open, fmt.Sprintf("%s (%s)", name(entryOfDrifted(o)), o.Class))
		}
	}
	set := func(kind string, found []string, reason, message string) {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: ReasonAsDeclared, Message: "no object is known to differ from Git",
			ObservedGeneration: sync.Generation, LastTransitionTime: metav1.NewTime(r.now())}
		if kind == v1alpha1.ConditionDriftFight {
			c.Message = "no writer is known that writes what is corrected again and again"
		}
		if len(found) > 0 {
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, reason, cut(message+list(found), messageBytes)
		}
		meta.SetStatusCondition(&next.Conditions, c)
	}
	set(v1alpha1.ConditionDrifted, open, ReasonDriftDetected, "not as Git declares: ")
	set(v1alpha1.ConditionDriftFight, fights, ReasonDriftFight, "no longer corrected, since two write it: ")
}
