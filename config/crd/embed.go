// Package crd holds the CustomResourceDefinitions of Belay, generated from api/v1alpha1, so that a program can check an
// object against them without a cluster.
package crd

import "embed"

// Files are the generated CustomResourceDefinitions, one per file.
//
//go:embed belay.dev_*.yaml
var Files embed.FS
