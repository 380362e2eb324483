// Package drift notices that an object of a Sync has changed, without keeping the object and without a request.
//
// There is one metadata-only watch per kind that the Syncs have brought, selected by the label belay.dev/sync. Of every
// object it keeps two hashes and a resourceVersion (gitops/drift.Mark). A Sync says what it has seen to be right
// (Verified); an object is suspect once its state is a later one than that, and its mark another. Later is decided by
// resourceVersion, so the echo of our own write, and every event from before it, is nothing. What a suspect really is, is
// for the Sync to find out: with one GET and one dry run of that object alone.
//
// Where the manager may not list and watch a kind (Secrets, always, in the roles that are shipped), the watch is made as
// the Sync's own ServiceAccount, in the namespaces of its objects and selected by its name. Where that is not allowed
// either, the kind is unwatched: the Sync says so in its status, and compares in intervals as long as that is so.
//
// An object that turns suspect again and again (two others fight over it) is looked at with a delay that doubles, up to a
// minute; the delay is gone after a minute of quiet.
//
// Invariants: no write; at rest no request but the watches. What is lost with the process (what was verified) is made
// again by the first round of each Sync. A watch that expires lists again, and an object missing from the list is gone.
package drift
