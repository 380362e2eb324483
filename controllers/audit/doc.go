// Package audit tells what Belay did, from what it wrote into the status of its objects.
//
// Every controller stores what it decides, does and finds before or as it does it; this one watches the objects (from the
// caches that are there anyway, at no request) and writes an audit line for each event that a status shows and that it has not
// told. So nothing is told that was not stored, and what was stored while nobody listened is told at the next start.
//
// EventsOf is pure, and names every event by its content. Guaranteed is: an event that stays in status (attempts, decisions,
// reverts, the last reconciliation, drift) is told at least once, in spite of any restart, if it is not older than
// Replay when the next process starts; with a file exactly once, since the file is read at the start. An event that another
// one replaced in status while no process was running is not told.
package audit
