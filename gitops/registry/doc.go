// Package registry fetches the signatures of images from OCI registries.
//
// A registry is not trusted, and neither is who may push to it: what is read is bounded in size, number and time, digests are
// checked, and nothing is asked but the registries of the images, with the credentials given for them, over TLS, at addresses
// that others than the manager may reach too. Redirects are followed (blobs often lie elsewhere), under the same rules and without
// credentials.
//
// Signatures are looked for in two places: under the tag sha256-<hex>.sig, and among the referrers of the digest (OCI 1.1, or
// the tag sha256-<hex> where a registry has no such API).
package registry
