package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// burn uses that much processor time, however long it takes on a busy machine.
func burn(amount time.Duration) {
	if amount <= 0 {
		return
	}
	runtime.LockOSThread() // the clock is the thread's
	defer runtime.UnlockOSThread()
	for end := threadTime() + amount; threadTime() < end; {
		for range 1000 {
		}
	}
}

// threadTime is the processor time that this thread has used.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(ts.Nano())
}
