// Package verdicts measures rules that judge a canary: how often a good revision is aborted, how often a bad one is promoted,
// and how long either takes. Every rule sees the same seeded courses of events. `make bench-verdicts` writes the table of
// docs/verdicts.md; the package's test runs a small fixed set of seeds with bounds that can fail.
//
// The rules of other tools are written from their documentation, with the settings that their guides recommend; they are not
// those tools. A service has nine stable pods and one canary pod, 0.2 % errors and durations of a log-normal distribution
// (median 50 ms, p99 202 ms). Traffic, errors and durations of all pods swing together (AR(1)); what a scenario adds stands in
// its name. Blocks are of 15 seconds, and there are 20 minutes of the stable revision before the canary begins.
//
// On the fixed schedule the canary has 5, 10, 25 and 50 % for five minutes each, and is promoted unless the rule aborts it. In
// the closed loop the rule itself opens each step, and has an hour for it.
package verdicts
