package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// claimGitDir makes the folder for local copies of repositories, and claims it for this process until it ends: what an earlier
// process has left there is used again, but two at once would spoil it. Where another one has claimed it, a folder beside it
// is taken, which is not used again.
func claimGitDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making --git-dir: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", fmt.Errorf("claiming --git-dir: %w", err)
	}
	// The file stays open, and with it the claim.
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		claims = append(claims, lock)
		return filepath.Join(dir, "copies"), nil
	}
	if err := lock.Close(); err != nil {
		return "", fmt.Errorf("claiming --git-dir: %w", err)
	}
	beside, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+"-")
	if err != nil {
		return "", fmt.Errorf("making a folder beside --git-dir: %w", err)
	}
	return beside, nil
}

// claims keeps locks from being collected.
var claims []*os.File
