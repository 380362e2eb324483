package traffic

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestCanaryReplicas(t *testing.T) {
	for _, test := range []struct{ desired, weight, total, want int32 }{
		{6, 0, 100, 0}, {6, -1, 100, 0}, {6, 5, 0, 0}, {0, 5, 100, 0}, {-3, 5, 100, 0},
		{6, 1, 100, 1}, {6, 5, 100, 1}, {6, 17, 100, 2}, {6, 50, 100, 3}, {6, 51, 100, 4},
		{6, 100, 100, 6}, {6, 150, 100, 6}, {1, 1, 1000, 1}, {100, 1, 1000, 1}, {10, 333, 1000, 4},
		{math.MaxInt32, math.MaxInt32, 1, math.MaxInt32}, {math.MaxInt32, math.MaxInt32, math.MaxInt32, math.MaxInt32},
	} {
		if got := CanaryReplicas(test.desired, test.weight, test.total); got != test.want {
			t.Errorf("CanaryReplicas(%d, %d, %d) = %d, want %d", test.desired, test.weight, test.total, got, test.want)
		}
	}
}

func TestEnough(t *testing.T) {
	for _, test := range []struct{ desired, weight, total, want int32 }{
		{6, 0, 100, 1}, {6, 5, 0, 1}, {0, 5, 100, 1}, {6, 5, 100, 1}, {6, 50, 100, 3}, {4, 100, 100, 3},
		{6, 100, 100, 5}, {8, 100, 100, 6}, {100, 10, 100, 8}, {100, 50, 100, 38}, {8, 200, 100, 6},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32, 1610612736},
	} {
		if got := Enough(test.desired, test.weight, test.total); got != test.want {
			t.Errorf("Enough(%d, %d, %d) = %d, want %d", test.desired, test.weight, test.total, got, test.want)
		}
	}
}

// What is enough must be reachable with the pods that the share is given.
func TestEnoughIsReachable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired := rapid.Int32Range(1, math.MaxInt32).Draw(t, "desired")
		total := rapid.Int32Range(1, math.MaxInt32).Draw(t, "total")
		weight := rapid.Int32Range(1, total).Draw(t, "weight")
		need, given := Enough(desired, weight, total), CanaryReplicas(desired, weight, total)
		if need < 1 || given < need || given > desired {
			t.Fatalf("needs %d of %d pods, of %d", need, given, desired)
		}
		exact := new(big.Rat).SetFrac(big.NewInt(3*int64(weight)), big.NewInt(4*int64(total)))
		exact.Mul(exact, new(big.Rat).SetInt64(int64(desired)))
		got := new(big.Rat).SetInt64(int64(need))
		if got.Cmp(exact) < 0 {
			t.Fatalf("%d is less than three quarters: %s", need, exact)
		}
		if need > 1 && new(big.Rat).Sub(got, exact).Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%d is rounded up by one or more: %s", need, exact)
		}
	})
}
