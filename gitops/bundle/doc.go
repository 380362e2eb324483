// Package bundle packs what a folder of a repository renders to into a few blobs that fit into Secrets, and unpacks them.
//
// Invariants:
//   - A bundle is named by the digest of its objects (render.Digest). What is unpacked has that digest, or is an error.
//   - The same bundle gives the same bytes.
//   - Both ways are bounded: MaxInflated of JSON, MaxParts blobs of MaxPart bytes.
package bundle
