// Package parts makes the third-party programs of the testbed available: the control plane, the gateway, Prometheus, the Gateway
// API's definitions, and the sample application.
//
// A part is identified by a key: the SHA-256 of its module's go.mod and go.sum, of its own and its stand-ins' sources, of the Go
// version and of the build flags. It is looked for, in this order, in the cache ($XDG_CACHE_HOME/belay, under that key), in what
// the user provides (the folder $BELAY_TESTBED_BIN; a program of exactly the right version on PATH), and is built from source
// otherwise. A program counts as there only if it runs and reports the version wanted.
//
// A part is installed by renaming a finished folder, under a file lock: two builders do not disturb each other, and one that dies
// leaves nothing that looks finished. Parts are built one after the other, as linking one takes 2 to 3 GB of memory.
package parts
