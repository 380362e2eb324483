// Package forge runs the revert against a real forge: Gitea, as a process on loopback, with a repository, a protected branch, pull
// requests and webhooks of its own. It is skipped where $BELAY_TEST_GITEA does not name the folder that test/testbed/gitea/build.sh
// makes; `make test-forge` builds that once and sets it.
package forge
