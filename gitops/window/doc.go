// Package window says whether changes may be made at a time, and if not, when they next may. It is pure: the time is an
// argument. Times of day are those on the clocks of the window's time zone, also on the days when these are changed.
package window
