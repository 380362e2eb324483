// Package tree is the pure view of one commit's files that rendering and
// reverting work on: reading, listing, laying changes over it.
//
// Invariant: nothing is read that is not a regular file of the tree itself.
// Paths are relative, slash-separated and clean; a path that would leave the
// tree, a symbolic link, a submodule or a file above the size limit is an error
// that names the path.
package tree
