// Package presets knows the series of well-known sources of metrics: which of them count requests, errors and durations, and
// how the two revisions are told apart in them. It is data and one function that fills it into a metric.
//
// Invariant: Fill writes only into what a metric leaves open, so that a metric is filled in once, whoever does it and how often.
package presets
