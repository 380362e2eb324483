// Package history answers which commit last changed a place: a field of a document of a YAML file of a branch.
//
// Algorithm. For every commit the Index keeps its parents and, for each file that differs from the first parent's, the name
// of the file's content at every parent. It is made by comparing trees, where equal folders are passed over by their name
// alone, so that a commit costs what it changes, once. A question walks from the head towards the parents: to a parent that
// has the same content, else to one where the place has the same value, and where there is none the commit at hand is the
// one that changed it. That is what `git blame` does with lines, but a move of lines, a comment or a changed indentation is
// no change, and no history is read while somebody waits. Side branches are followed through their merges.
//
// Invariants: history is only ever read through a Source, whose content is not trusted; the number of commits, the files of
// one commit, and the documents kept are bounded. An answer that is not proven says so (Exact is false): the history
// that is known ends there. An Index that was lost is built again and gives the same answers.
//
// The Index is pure: time, disk and network are others'. It may be used by several goroutines.
package history
