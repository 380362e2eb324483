// Package render turns a folder of a commit into Kubernetes objects, purely: the
// same tree gives the same objects in the same order, and nothing outside the
// tree is read.
//
// A folder with a kustomization file is built by kustomize over an in-memory
// file system that holds only files of the tree which the kustomization
// reaches. Before the build every kustomization reached is checked: remote
// bases and remote files, helm charts, exec and container functions are refused
// with the file's name, and kustomize's own plugins are off and its load
// restriction on. kustomize keeps its schema in a global variable, so builds
// run one at a time. Any other folder is read recursively as plain YAML: several
// documents per file, List kinds taken apart, other files passed over, names
// that begin with a dot passed over.
//
// Every object knows the file and the document it came from; two objects of the
// same identity are an error that names both. What a folder is rendered from is
// bounded with its aliases expanded and its bases as often as they are used, so
// that a small folder cannot become a large one.
package render
