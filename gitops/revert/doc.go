// Package revert computes, purely, the change of files that takes one workload's
// pod template in Git back to a known-good revision, and the message, identity
// and trailers of the commit that carries it.
//
// Invariants (G1, G3 of the design): a result of kind Changes has been proved by
// rendering the head with the changes laid over it: this workload's template has
// the good revision; the ConfigMaps and Secrets that it names, and nobody else
// does, have good's content wherever bad changed it; everything else of this
// workload, every other object of the folder, and the rendering of every other
// kustomization that reads a changed file are as they were at head; a base of the folder counts as one of these where it is known
// to be applied by itself. Anything that cannot be proved is a Conflict,
// never a wrong commit. A head that no longer declares the bad revision is
// AlreadyResolved, which makes a repeated revert harmless.
//
// Algorithm. The files considered are those that determine the workload and that
// differ between good and bad. Good, bad and head are merged field by field below
// spec.template, in the fields of kustomizations (each image on its own) and in
// patch files: where good and bad differ and head still says bad, good's own
// source text is spliced into head's bytes at the positions that the YAML parser
// reports; nothing is re-encoded, so comments, quotes, line endings, flow style,
// block scalars and other documents stay, also those that changed in the bad
// commit itself. Where head says neither, that place is a conflict. All places
// are tried together, then without those whose absence makes the result better,
// then one by one. A file that the bad side added or removed
// goes or comes back whole. If no splice is proved, files untouched between bad
// and head are restored byte for byte, singly and then together. Splices come
// first because a whole file may hold unrelated edits, of comments say, that no
// rendering shows.
//
// What goes back beside the template: entries of data of ConfigMaps and Secrets
// that the good or the bad template names, written out or generated, where head
// still says bad (an entry added or edited since stays); documents and files of
// theirs that the bad side added or took away. One that others name too is left
// as it is at head. A Conflict carries a Proposal where some change makes the
// workload known-good at the price of something else, with that price in words.
//
// Values of files that are not rendered go back by a mapping: what the good and the bad template say in a place is what the
// file must say there at the good and at the bad commit, and the good commit's text is spliced into head's. The proof is that head
// then says good's in every place named, that its files are the same in every other, and that the bad template with good's
// values has the good revision. Together with a folder, the folder's revert is composed on top of the values.
package revert
