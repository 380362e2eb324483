// Package reading turns a compare metric into queries for raw samples, and the samples into the series that the engine counts.
//
// Invariant: what tells the two revisions apart stands in the query, and each series that comes back is given to exactly one
// of them or left out. The controller, `kubectl belay lint --prometheus` and the tests of presets all read by this package.
package reading
