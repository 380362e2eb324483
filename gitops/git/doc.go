// Package git is Belay's only door to a Git server: ask for a branch's head,
// fetch it bare into memory, write a commit without a worktree, and push it with
// compare-and-swap.
//
// Invariants: a push never forces. It sends one command {old: base, new: commit}
// with exactly the new objects, and the new commit's first parent is base, so
// the update is a fast-forward by construction or is refused by the server. A
// commit's name is a function of its base, its changes and its options. Every
// exchange is bounded in time by its context and in size by Limits. Credentials
// never appear in an error, a log line or a marshalled value.
//
// Errors a caller branches on: ErrBranchNotFound, ErrRepositoryNotFound,
// ErrAuth, ErrUnreachable, ErrStale (the branch has moved: fetch and compose
// again), *RejectedError (the server said no, and why), ErrOutcomeUnknown (the
// answer was lost after sending: fetch and look), ErrTooLarge.
//
// HTTP is go-git's transport over a client of ours with limits and no downgrade
// to plain text. SSH and file speak the same protocol over a pipe (stream.go),
// because go-git's own dialling is not bounded by a context. A file URL runs the
// git binary. SSH needs a writable temporary directory for known_hosts.
package git
