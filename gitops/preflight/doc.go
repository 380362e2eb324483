// Package preflight holds the checks of a whole bundle that need no more than the objects and what was read of the
// cluster: what pod templates refer to, what a ResourceQuota leaves, whether images are named by digest.
//
// Everything here is pure. The API server tries objects one by one, so it can neither say that a bundle forgot the
// ConfigMap that its Deployment mounts, nor that ten objects together are more than a quota allows: these are the gaps
// that this package closes.
//
// Invariants:
//   - What is not known is said to be unknown, and never counts as missing.
//   - The same bundle gives the same findings, in the same order.
package preflight
