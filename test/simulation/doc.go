// Package simulation runs the planner of Rollouts against a model of the world: an API server, ReplicaSets and kubelets,
// endpoints, gateways and their data plane, analysis, people, foreign writers and a bot that reverts Git. The world is
// deterministic: a list of events is all that a run depends on, so that a failing one can be replayed and shrunk.
//
// # Invariants
//
// Every write of the controller is checked against what is really there (check.go), not against what the controller saw.
// When faults stop, the world must reach a point from which neither actions nor status changes follow (L1).
//
// # The model
//
// The shell is modelled by its contract (shell.go): status first where the plan says so, then the actions in order, then
// the status again; urgent plans go on past failures. The Rollout is read live; all else comes from caches that may lag
// behind by some versions but never go back. Routes are real objects, patched by RFC 6902 with their tests, and read and
// written by traffic/gatewayapi. A gateway publishes status late, and its data plane may follow at any moment from the
// write on, but by settle after the status at the latest.
package simulation
