// Package signature signs commits and verifies who signed them, with SSH keys (SSHSIG, namespace "git") and OpenPGP keys.
//
// Invariants: a commit counts as signed only by exactly one signature, over exactly the bytes that Git signs: the raw
// object without its gpgsig header, never a form decoded and encoded again. A key counts only for the mail addresses
// (principals) that it is bound to in Signers, as the committer's address. What is weak is refused on both sides: DSA,
// RSA under 2048 bits, MD5, SHA-1 and RIPEMD-160. The same key and the same payload give the same signature where the
// algorithm allows it (Ed25519, RSA), so that a commit composed again keeps its name. Private keys print as their kind.
//
// Times come from the commit, as they do in Git: validity of a key is checked at the committer's time (SSH) or at the time
// in the signature (OpenPGP). Whoever holds a key can choose both, so a key that was lost is taken out of Signers, not
// given an end.
package signature
