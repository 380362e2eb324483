package stage

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// CPUTime is how the processors of this machine have spent their time since it started, in clock ticks.
type CPUTime struct{ Idle, All float64 }

// ReadCPUTime reads it from /proc/stat. Waiting for a disk is idle; time taken by the hypervisor is not.
func ReadCPUTime() (CPUTime, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return CPUTime{}, fmt.Errorf("reading the processors' times: %w", err)
	}
	return parseCPUTime(string(text))
}

func parseCPUTime(text string) (t CPUTime, err error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, fmt.Errorf("reading the processors' times: the first line is %q", line)
	}
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return t, fmt.Errorf("reading the processors' times: %w", err)
		}
		t.All += n
		if i == 3 || i == 4 {
			t.Idle += n
		}
	}
	return t, nil
}

// IdleSince is the share of the time since then in which a processor had nothing to do, from 0 to 1.
func (t CPUTime) IdleSince(then CPUTime) float64 {
	if t.All <= then.All {
		return 0
	}
	return (t.Idle - then.Idle) / (t.All - then.All)
}
