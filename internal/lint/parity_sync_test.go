package lint

// syncRows are rows of Sync, and of what a Sync is told by.
func syncRows() []row {
	return []row{
		{kind: "Sync", name: "references", patch: `{spec: {checks: {references: Maybe}}}`, field: "spec.checks.references"},
		{kind: "Sync", name: "quota", patch: `{spec: {checks: {quota: Maybe}}}`, field: "spec.checks.quota"},
		{kind: "Sync", name: "digests", patch: `{spec: {images: {requireDigest: Always}}}`, field: "spec.images.requireDigest"},
	}
}
