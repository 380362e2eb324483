// Package gitserver serves bare Git repositories over smart HTTP, for reading and for pushing, with Git's own git-http-backend behind
// Go's CGI handler: the protocol, the hooks and the compare-and-swap of references are Git's.
//
// Every bare repository below the root folder is served as it stands, with its own hooks. Those below private/ ask for a user and
// a password; the others ask for nothing.
package gitserver
