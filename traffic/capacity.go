package traffic

// CanaryReplicas is the number of canary pods for a share of weight/total of
// the traffic that desired pods serve: the proportional number rounded up, at
// least 1 when the weight is above 0, and never more than desired.
// It is 0 when weight, total or desired is not positive.
func CanaryReplicas(desired, weight, total int32) int32 {
	if desired <= 0 || weight <= 0 || total <= 0 {
		return 0
	}
	return int32(min(divideUp(int64(desired)*int64(weight), int64(total)), int64(desired)))
}

// Enough is the number of ready canary endpoints below which an exposed canary
// counts as lost: three quarters of the proportional number of pods, rounded
// up, and at least 1.
func Enough(desired, weight, total int32) int32 {
	if desired <= 0 || weight <= 0 || total <= 0 {
		return 1
	}
	weight = min(weight, total)
	// Three quarters of desired*weight/total, as one division, so that the
	// result is rounded once. The quotient is at most desired.
	share := int64(desired) * int64(weight)
	whole, rest := share/int64(total), share%int64(total)
	need := divideUp(3*(whole%4*int64(total)+rest), 4*int64(total)) + 3*(whole/4)
	return int32(max(need, 1))
}

// divideUp is n/d rounded up, for n >= 0 and d > 0.
func divideUp(n, d int64) int64 {
	q := n / d
	if n%d != 0 {
		q++
	}
	return q
}
