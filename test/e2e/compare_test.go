package e2e

import (
	"testing"

	"github.com/belay-delivery/belay/test/stage"
)

// compared has one step at half the traffic.
func compared(a *stage.App) {
	a.Query, a.Bake = stage.GoldenSignals, "0s"
	a.Steps = []stage.Step{{Name: "half", Weight: 50, Hold: "1s"}}
}

// A version that is as good is proven safe, and promoted; nobody said what good is.
func TestComparePromotes(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50, change: compared})
	s.release("v2", stage.Release("v1", "v2", ""))
	s.promoted("as good")
	s.answeredBy(s.finish(""), "v2")
	s.restored()
}
