// Package repository follows the branch of every Repository, and is the one way from a Repository to its content.
//
// Invariants: the content of a Secret is read from the API server when it is needed and never kept. status.commit is
// only ever replaced by another commit that the server named: an outage leaves it as it was. Status is written only when
// it says something new. The controller's own disk is never read through a file:// URL unless the operator allows it.
//
// Algorithm: ask the server for the branch's head (one request, no download) every spec.interval, give or take a tenth
// so that many Repositories of one server do not ask at once, at once when spec or the belay.dev/reconcile annotation
// change, and after a failure with a back-off that grows with the age of the failure up to spec.interval. So a Secret
// that appears is noticed without a watch: watching Secrets, even their metadata only, needs the right to list all of
// them, and Belay asks only for get.
//
// Source fetches. What it fetches for reading is kept for all Syncs by URL, branch, commit, and the Secret it was read
// with (whoever may not read a repository does not get it from the cache either); only the newest commit of each, and
// a bounded number of them.
package repository
