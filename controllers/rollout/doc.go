// Package rollout is the shell around the planner: Gather reads, planner.Make decides, Apply carries out, Report writes
// the status once.
//
// The Rollout itself is read from the API server, not from the cache: its status is the memory of what is intended, and
// a stale view of it could raise a weight after an abort (T7). So are routes while an attempt runs. Everything else comes
// from caches that show what was written here. Before a patch raises a weight, the Rollout is read once more.
//
// Storing the intent comes before acting on it, except that taking traffic back does not wait for the API server to
// accept the status (T8): those actions are carried out even when storing failed, and each even if another fails.
package rollout
