// Package sync brings what a folder of a Repository renders to into the cluster, and keeps it there.
//
// Invariants:
//   - All reads and writes of the objects are made as the Sync's ServiceAccount: a Sync can do what its namespace may.
//   - The whole bundle is tried first, as a server-side dry run. One denial, and nothing is changed.
//   - status.inventory names an object before it is created, and until it is known to be gone: whatever happens in
//     between, nothing that came through a Sync is forgotten.
//   - Only objects that carry this Sync's labels, its name and its namespace, are ever deleted, by uid, and never after a
//     failure of any kind. An object that names no namespace, because an earlier Belay wrote it last, is deleted only where no other
//     Sync of the name has it in its inventory.
//   - An object that is as Git wants it is not written. With the same commit and nothing asked for, no request is made
//     until spec.interval is over.
//   - An apply never moves traffic: Git's route or Service is combined with the live split of a Rollout, and written
//     only if the live object is still the one that was combined (its resourceVersion is part of the request).
//
// Algorithm: fetch → render → default namespaces, label → read live objects and dry-run each → MakePlan (pure) →
// write the inventory → apply stage by stage (CustomResourceDefinitions; Namespaces; classes; the rest; workloads; webhook
// configurations; what fails holds up only what needs it) → prune, unless something failed → report. What cannot be tried because its kind or namespace comes with the same bundle is
// exempt from the dry run. An object counts as different when the dry run differs from it in anything but bookkeeping,
// or when it would change which fields are ours: so a field that leaves Git is taken away although someone else
// happened to set the same value. spec.replicas that Git does not mention is never ours.
//
// A Rollout gets the annotation belay.dev/commit when it is written for another reason, never for the annotation's own
// sake: unrelated commits write nothing.
//
// Where two Syncs declare one object, the last to write it owns it, by labels; the other one no longer prunes it. That
// is how an object moves from one Sync to another without being deleted.
package sync
