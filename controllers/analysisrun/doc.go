// Package analysisrun measures the metrics of AnalysisRuns and writes down what they say.
//
// One reconciliation is one round: gather (the run, its arms' pods, its Secrets), plan (which metrics are due, and what
// is asked), apply (ask, all at once), report (one write of status, one event if the verdict changed, the time of the
// next look). What the answers mean is decided in package analysis.
//
// Invariants:
//   - A round writes status at most once, under an optimistic lock. Where the lock is lost to a write of something else
//     than status, the same answers are judged again on the new object; where it is lost to another status, they are
//     dropped: no measurement counts twice.
//   - Whatever cannot be asked, for want of a Secret, an address or a query that makes sense, is a provider error of
//     that metric alone. It never counts as a failed measurement, and it is tried again with back-off.
//   - A round takes no longer than the longest timeout of its queries, and hung servers hold up at most their own runs
//     as long as there are fewer of them than workers.
//   - A run that ended is neither written nor looked at again.
//   - Credentials go to the address that stands beside their secretRef, never to the default address.
//   - A Job is made at most once for each measurement: its name follows from the run and from how many measurements were
//     taken, and is found again by whoever asks next. One that runs when the run ends is removed.
package analysisrun
