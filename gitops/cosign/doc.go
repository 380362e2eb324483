// Package cosign verifies signatures of container images that were made by cosign with a key.
//
// Two forms are known. The older is a payload ("simple signing") that names the digest and the repository, with the signature in
// an annotation of the layer that holds it (dev.cosignproject.cosign/signature). The newer is a Sigstore bundle: a DSSE
// envelope around an in-toto statement with the predicate type https://sigstore.dev/cosign/sign/v1, whose subject is the
// digest; it names no repository. Certificates, transparency logs and timestamps are not looked at: a key that was lost is
// taken out of the list.
//
// Everything here is pure; gitops/registry fetches.
//
// Invariants:
//   - Nothing of what was fetched is believed before a trusted key is known to have signed it.
//   - What is not named by digest has no signature.
//
// Formats: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md,
// https://github.com/secure-systems-lab/dsse/blob/master/protocol.md, https://github.com/in-toto/attestation.
package cosign
