// Package analysis judges metrics. It is pure: no clock, no client, no goroutine; time and answers are arguments.
//
// The algorithm for a threshold metric: every interval the caller asks the provider and hands what came back to
// Observe as an Outcome, which is exactly one of a value, an answer without a value, or a provider error. A value is
// good when min <= value <= max (the infinities are values; NaN is no value). The verdict of a metric is a function of
// the counters in its status and of its spec alone, so the status that is stored is all that a restart needs:
//
//	Fail     more failed measurements than failureLimit, or consecutiveFailureLimit of them in a row, or more than
//	         providerErrorLimit provider errors in a row under onProviderError=Rollback. Final.
//	Pause    more than providerErrorLimit provider errors in a row under onProviderError=Pause.
//	Hold     the same under onProviderError=Hold.
//	Pass     the last judged measurement was good, and there were as many good ones as count asks for (at least one).
//	Pending  everything else.
//
// A run's verdict is the worst of its deciding metrics, in the order Fail, Pause, Hold, Pending, Pass.
//
// Invariants:
//   - Fail is final: no Outcome changes a failed metric.
//   - An answer without a value changes neither passed nor failed (unless onNoData says so), and a provider error never
//     does.
//   - A run that ended, by Stopped too, keeps the verdict that it had: undecided never becomes Pass.
//   - Times in a status are whole seconds, rounded down, and the query is evaluated at exactly that second: evidence
//     never looks newer than it is, and a query can be asked again for the same answer.
//   - Every function is total: whatever a status or a spec says, it neither panics nor loops.
//
// Queries are text with placeholders. Expand puts values into them so that a value stays inside the string literal in
// which its placeholder stands.
//
// # The place of the compare engine
//
// A metric that compares canary and stable (DESIGN.md, section 4.1) is judged in a package of its own below this one,
// analysis/compare, from raw counters. It meets this package in Observe alone: the kind of the metric selects the judge
// there, and what a compare metric says is a MetricStatus like any other, so that Judge, Verdict and PassedSince hold
// for it unchanged.
package analysis
