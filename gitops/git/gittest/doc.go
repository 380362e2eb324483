// Package gittest gives tests a real Git server on loopback: bare repositories
// behind git http-backend (smart HTTP), behind an SSH server, and as files, with
// basic authentication, protected branches (a real pre-receive hook) and lost
// answers. Commits are made with the git binary, so that what Belay reads was
// not written by Belay. It needs git on the PATH.
package gittest
