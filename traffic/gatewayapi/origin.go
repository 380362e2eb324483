package gatewayapi

import "slices"

// original derives what the rule says without our split. e is the rule's entry
// in the record, if it has one; without an entry, ours says whose a canary
// reference is.
func original(r rule, rec record, e *entry, ours bool) entry {
	out := entry{Name: r.name, Print: r.print}
	switch {
	case e == nil && len(r.canary) == 0:
		out.Stable, out.Foreign = originsOf(r.stable), originsOf(r.foreign)
	case e == nil:
		out.Listed = !ours
		out.Stable, out.Foreign = unrecorded(r, ours), originsOf(r.foreign)
	case len(e.Stable) != len(r.stable):
		out.Listed = e.Listed && len(r.canary) > 0
		out.Stable, out.Foreign = unrecorded(r, !out.Listed), originsOf(r.foreign)
	case len(r.canary) == 0:
		out.Stable, out.Foreign = withoutCanary(r, rec.written(*e), *e)
	default:
		out.Listed = e.Listed
		out.Stable, out.Foreign = withCanary(r, rec.written(*e), *e)
	}
	return out
}

// unrecorded reads the original from the live weights alone: each stable
// reference had what it has now together with its canary.
func unrecorded(r rule, ours bool) []origin {
	out := originsOf(r.stable)
	if len(r.canary) == 0 {
		return out
	}
	if ours && len(r.stable) == 1 && len(r.foreign) == 0 {
		return []origin{{Key: out[0].Key}} // alone in its rule: any weight means everything
	}
	for i, ref := range r.canary {
		j := min(i, len(out)-1)
		if extra := ref.value(); extra > 0 {
			w := min(weightOr1(out[j].Weight)+extra, maxWeight)
			out[j].Weight = &w
		}
	}
	return out
}

// withoutCanary is for a rule whose canary reference someone has removed. If
// the other weights are what we wrote, only the reference was removed and the
// record stands; else the rule was written anew and speaks for itself.
func withoutCanary(r rule, written parts, e entry) (stable, foreign []origin) {
	if recorded, ok := recall(r.foreign, e.Foreign, written.Foreign); ok &&
		slices.Equal(liveWeights(r.stable), written.Stable) {
		return rekey(r.stable, e.Stable), recorded
	}
	stable, foreign = originsOf(r.stable), originsOf(r.foreign)
	if slices.Equal(liveWeights(r.foreign), values(e.Foreign)) && len(r.foreign) > 0 {
		return stable, foreign
	}
	for i := range stable {
		// A 0 that we wrote, at full exposure, is not the user's wish.
		if weightOr1(stable[i].Weight) == 0 && written.Stable[i] == 0 && written.pair(i) > 0 {
			w := written.pair(i)
			stable[i].Weight = &w
		}
	}
	return stable, foreign
}

// withCanary is for a rule that holds both. The record stands unless the user
// has edited the other backends: then those weights count, and the pair keeps
// the weight that it had beside them.
func withCanary(r rule, written parts, e entry) (stable, foreign []origin) {
	recorded, untouched := recall(r.foreign, e.Foreign, written.Foreign)
	had := sum(values(e.Stable)) > 0
	has := sum(liveWeights(r.stable))+sum(liveWeights(r.canary)) > 0
	switch {
	case !had && has: // not the rule that was recorded, or given weight by the user
		return unrecorded(r, !e.Listed), originsOf(r.foreign)
	case untouched:
		return rekey(r.stable, e.Stable), recorded
	}
	for i, ref := range r.stable {
		w := min(written.pair(i), maxWeight)
		stable = append(stable, origin{Key: ref.key, Weight: &w})
	}
	return stable, originsOf(r.foreign)
}

// recall finds the recorded origin of every live reference by its key and by the
// weight that we wrote last. ok is false when the references or weights are not
// those that we wrote.
func recall(live []reference, origins []origin, written []int64) (out []origin, ok bool) {
	if len(live) != len(origins) {
		return nil, false
	}
	taken := make([]bool, len(origins))
	for _, ref := range live {
		i := 0
		for i < len(origins) && (taken[i] || origins[i].Key != ref.key || written[i] != ref.value()) {
			i++
		}
		if i == len(origins) {
			return nil, false
		}
		taken[i] = true
		out = append(out, origins[i])
	}
	return out, true
}

// rekey keeps the recorded weights under the names that the references have now.
func rekey(live []reference, origins []origin) []origin {
	var out []origin
	for i, ref := range live {
		out = append(out, origin{Key: ref.key, Weight: origins[i].Weight})
	}
	return out
}
