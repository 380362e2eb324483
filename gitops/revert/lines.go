package revert

import (
	"fmt"
	"slices"
	"strings"
)

// maxLines bounds what two texts may have for their lines to be compared.
const maxLines = 4000

// mergeLines takes the lines that differ between bad and good back to good's in head's text: for files that are not YAML,
// such as those that kustomize makes ConfigMaps from. Every changed run of lines must stand in head exactly once.
func mergeLines(name string, good, bad, head []byte) ([]byte, error) {
	g, b, h := lines(good), lines(bad), lines(head)
	if len(g) > maxLines || len(b) > maxLines || len(h) > maxLines {
		return nil, fmt.Errorf("%s: more than %d lines: %w", name, maxLines, errShape)
	}
	var out []string
	at := 0 // lines of head before this are written
	for _, run := range runs(b, g) {
		before, after := run.context(b)
		found := position(h[at:], before, b[run.fromBad:run.toBad], after)
		if found < 0 {
			return nil, fmt.Errorf("%s: line %d: %w", name, run.fromBad+1, errConflict)
		}
		found += at
		out = append(out, h[at:found]...)
		out = append(out, g[run.fromGood:run.toGood]...)
		at = found + run.toBad - run.fromBad
	}
	return []byte(strings.Join(append(out, h[at:]...), "")), nil
}

func lines(text []byte) []string { return strings.SplitAfter(string(text), "\n") }

// run is a run of lines of bad that good has others for.
type run struct{ fromBad, toBad, fromGood, toGood int }

// context are the lines around a run, which place a run that only inserts; -1 is the edge of the text.
func (r run) context(bad []string) (before, after *string) {
	if r.fromBad > 0 {
		before = &bad[r.fromBad-1]
	}
	if r.toBad < len(bad) {
		after = &bad[r.toBad]
	}
	return before, after
}

// position is where a run stands in head, -1 where it does not stand there exactly once. A run without lines is placed
// by the line before it or, where that is gone, after it.
func position(head []string, before *string, wanted []string, after *string) int {
	var found []int
	for i := 0; i+len(wanted) <= len(head); i++ {
		if slices.Equal(head[i:i+len(wanted)], wanted) && (len(wanted) > 0 || beside(head, i, before, after)) {
			found = append(found, i)
		}
	}
	if len(found) > 1 { // the neighbours decide
		found = slices.DeleteFunc(found, func(i int) bool { return !between(head, i, i+len(wanted), before, after) })
	}
	if len(found) != 1 {
		return -1
	}
	return found[0]
}

// beside tells whether the place before line i follows before, or precedes after.
func beside(head []string, i int, before, after *string) bool {
	if before == nil && i == 0 || before != nil && i > 0 && head[i-1] == *before {
		return true
	}
	return after != nil && i < len(head) && head[i] == *after
}

// between tells whether the lines from i to end follow before and precede after, as far as those are known.
func between(head []string, i, end int, before, after *string) bool {
	follows := before == nil || i > 0 && head[i-1] == *before
	precedes := after == nil || end < len(head) && head[end] == *after
	return follows && precedes
}

// runs compares two texts by their longest common subsequence.
func runs(bad, good []string) []run {
	start, endBad, endGood := unlike(bad, good)
	b, g := bad[start:endBad], good[start:endGood]
	common := inCommon(b, g)
	var out []run
	for i, j := 0, 0; i < len(b) || j < len(g); {
		if i < len(b) && j < len(g) && b[i] == g[j] {
			i, j = i+1, j+1
			continue
		}
		r := run{fromBad: start + i, fromGood: start + j}
		for (i < len(b) || j < len(g)) && (i == len(b) || j == len(g) || b[i] != g[j]) {
			if j == len(g) || i < len(b) && common[i+1][j] >= common[i][j+1] {
				i++
			} else {
				j++
			}
		}
		r.toBad, r.toGood = start+i, start+j
		out = append(out, r)
	}
	return out
}

// inCommon[i][j] is the length of the longest common subsequence of b from i on and g from j on.
func inCommon(b, g []string) [][]int {
	common := make([][]int, len(b)+1)
	for i := range common {
		common[i] = make([]int, len(g)+1)
	}
	for i := len(b) - 1; i >= 0; i-- {
		for j := len(g) - 1; j >= 0; j-- {
			if b[i] == g[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	return common
}

// unlike is where two texts begin to differ, and where each of them ends to.
func unlike(bad, good []string) (start, endBad, endGood int) {
	for start < len(bad) && start < len(good) && bad[start] == good[start] {
		start++
	}
	endBad, endGood = len(bad), len(good)
	for endBad > start && endGood > start && bad[endBad-1] == good[endGood-1] {
		endBad--
		endGood--
	}
	return start, endBad, endGood
}
