// Package revert brings a failed Rollout's way back to Git, and notes which commit a good one came from.
//
// Invariants: G1, at most one revert commit per failed attempt, also across crashes; never a force push; never a revert
// of a revert. G2, the cluster is safe before Git is touched: work begins only once the Rollout controller has written
// status.revert.state Pending, and happens in this controller's own workers. G3, a commit changes only what belongs to
// this workload, proved by rendering before it is pushed (package gitops/revert). Of a Rollout's status only revert, the
// condition Reverted and stable.commit are written, and only onto the very object that was read.
//
// Algorithm, for a Pending revert, by one writer per repository and branch, which makes those that came in meanwhile
// together (one fetch, a commit each, one push):
//
//  1. Fetch the branch. If one of its commits carries this revert's id and attempt in its trailers, that is the revert,
//     pushed before a crash or before a lost answer: Pushed.
//  2. If the head does not declare the bad revision: NotNeeded.
//  3. Find the commit that brought the bad revision, and the newest commit before it that declares the good one; look
//     further back if the history fetched is too short. The newest is preferred to the commit noted in status, since
//     edits that changed no object (comments) were made after that one. A bad commit that is itself a revert: Conflict.
//  4. Compose the change on the head, commit it with the time of the verdict, and push with compare-and-swap. The branch
//     has moved, or the answer was lost: from the beginning. The server says no (a protected branch), or the change needs
//     a person's look: the commit goes to rollback/<id> and a pull request asks for it, once: Proposed. What people decide
//     about that stands: Pushed, or Declined. Where no pull request is possible: Rejected, or Conflict.
//  5. After spec.write.maxRevertsPerHour reverts of a workload, counted in Git: Suspended until the hour is over.
//
// The history looked through goes back over that hour; where the bad revision came in after the revert was asked for, perhaps on
// top of it, to that time too. Where 2,000 commits do not reach that far, people decide.
//
// Where nothing in the repository renders to the Rollout, its ReplicaSets say which values belong to which revision.
//
// Anything else that goes wrong (Git down, Secret missing) leaves it Pending with a sentence in status, tried again with
// a back-off. Conflict, Rejected, Proposed and Declined are for a person; the head is looked at every few minutes and whenever the branch
// moves, and once it no longer says bad the revert is NotNeeded. Conflict and Rejected are tried again when the Rollout's spec, the
// Repository's or one of its Secrets changes, Rejected also by the clock, ever more rarely: when is stored.
package revert
