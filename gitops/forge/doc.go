// Package forge opens pull requests on GitHub, GitLab and Gitea (Forgejo too),
// with the few REST calls that takes.
//
// Invariants: at most one pull request per branch, also across crashes and lost
// answers, because Propose looks before it creates, and an answer that says
// "exists" is looked at again. What a person has decided stands: one that was
// merged or closed is returned as it is, never opened again. Every answer is
// bounded in size and every call by its context. A token goes only to the host
// that was configured, in a header, and never into an error or a log line.
//
// The three APIs differ in names only: GitHub lists pulls by head, GitLab merge
// requests by source branch, Gitea has no such filter and is read page by page.
package forge
