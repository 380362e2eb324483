package gatewayapi

// parts are the weights of one rule, in the order of its stable and its foreign
// references. Canary and Stable have the same length.
type parts struct {
	Canary, Stable, Foreign []int64
}

// divide gives the canary c of total of what the stable references have. The
// foreign references keep their ratio to each pair exactly; the canary's part is
// rounded down when the scale would exceed the limit of the API.
// The weights are between 0 and maxWeight, 0 <= c <= total, 0 < total <= maxWeight.
func divide(stable, foreign []int64, c, total int64) parts {
	if len(stable) == 1 && len(foreign) == 0 {
		if stable[0] == 0 {
			return parts{Canary: []int64{0}, Stable: []int64{0}}
		}
		return parts{Canary: []int64{c}, Stable: []int64{total - c}}
	}
	if c == 0 {
		return parts{Canary: make([]int64, len(stable)), Stable: stable, Foreign: foreign}
	}
	unit := greatestCommonDivisor(stable, foreign)
	if unit == 0 { // the user gave no weight to anything
		return parts{Canary: make([]int64, len(stable)), Stable: stable, Foreign: foreign}
	}
	exact := scale(stable, foreign, ratio{total, unit}, ratio{c, total})
	reduced := exact.reduced()
	if reduced.largest() <= maxWeight {
		return reduced
	}
	factor := maxWeight / (parts{Stable: stable, Foreign: foreign}.largest() / unit)
	return scale(stable, foreign, ratio{factor, unit}, ratio{c, total})
}

// ratio is n/d with d > 0.
type ratio struct{ n, d int64 }

func (r ratio) of(x int64) int64 { return x * r.n / r.d }

// scale multiplies all weights by factor, which must leave integers, and gives
// the canary its share of every stable weight, rounded down.
func scale(stable, foreign []int64, factor, share ratio) parts {
	var p parts
	for _, w := range stable {
		canary := share.of(factor.of(w))
		p.Canary = append(p.Canary, canary)
		p.Stable = append(p.Stable, factor.of(w)-canary)
	}
	for _, w := range foreign {
		p.Foreign = append(p.Foreign, factor.of(w))
	}
	return p
}

func (p parts) reduced() parts {
	unit := greatestCommonDivisor(p.Canary, p.Stable, p.Foreign)
	if unit <= 1 {
		return p
	}
	return parts{Canary: dividedBy(p.Canary, unit), Stable: dividedBy(p.Stable, unit), Foreign: dividedBy(p.Foreign, unit)}
}

func (p parts) largest() int64 {
	var most int64
	for _, list := range [][]int64{p.Canary, p.Stable, p.Foreign} {
		for _, w := range list {
			most = max(most, w)
		}
	}
	return most
}

// pair is the weight of the i-th stable reference and its canary together.
func (p parts) pair(i int) int64 { return p.Canary[i] + p.Stable[i] }

func dividedBy(list []int64, unit int64) []int64 {
	out := make([]int64, len(list))
	for i, w := range list {
		out[i] = w / unit
	}
	return out
}

// greatestCommonDivisor is 0 when every weight is 0.
func greatestCommonDivisor(lists ...[]int64) int64 {
	var unit int64
	for _, list := range lists {
		for _, w := range list {
			for w != 0 {
				unit, w = w, unit%w
			}
		}
	}
	return unit
}

func sum(list []int64) int64 {
	var total int64
	for _, w := range list {
		total += w
	}
	return total
}
