// Package trust decides whether a commit may come into force, from the signatures of the commits that lead to it.
//
// Invariants: nothing is trusted that was not read from the raw objects. In mode Range every commit of the branch itself since
// the one in force is verified, so an unsigned commit beneath a signed one is refused; who signs a merge answers for what is
// merged. History that is not known, or longer than the limit, is refused, never assumed. A bot's key is good only for
// bringing back what was there: its commit has one parent and a Rollback-Id, changes only files that the folders of the
// Repository are rendered from, and every value that it changes in a rendered object is the value of the commit that its
// trailer Restores names, which must be one of the branch. That is asked of these folders, of every other kustomization that
// reads a changed file, and of the objects of the file as they stand. Folders of Rollouts elsewhere
// count as far as Git declares them. So a stolen bot's key can roll back, and nothing else.
package trust
