// Package audit writes what Belay did as one JSON line per event.
//
// The schema is documented in docs/audit.md and named in every line (Version). A line has an ID made of what it tells, so that
// the same event has the same ID wherever and whenever it is written. A file is rotated by size, the old ones kept up to a
// number; what stands in the present and the last one is read before the first event, so that none of these is written twice. A line is written with one
// write: a crash or a full disk cuts off the last line at most, and that line is ended before another is written.
package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Version of the schema. A field is only ever added within a version.
const Version = "audit.belay.dev/v1"

// Kinds of events.
const (
	KindReconciliation = "Reconciliation"
	KindDrift          = "Drift"
	KindDecision       = "Decision"
	KindAttempt        = "Attempt"
	KindRevert         = "Revert"
	KindRepository     = "Repository"
	KindHealth         = "Health"
)

// maxText bounds every text of a line.
const maxText = 2048

// Event is one line.
type Event struct {
	Version string    `json:"version"`
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Subject Subject   `json:"subject"`
	// Object is what of the subject it is about: "Deployment.apps shop/checkout", "attempt 7".
	Object  string `json:"object,omitempty"`
	Actor   string `json:"actor"`
	Trigger string `json:"trigger,omitempty"`
	Commit  string `json:"commit,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	Links   []Link `json:"links,omitempty"`
}

// Subject is the object of Belay's that the event is of.
type Subject struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Link leads to more.
type Link struct {
	Rel    string `json:"rel"`
	Target string `json:"target"`
}

// Seal completes an event: version, bounded texts, and the ID, from the subject and the parts that make it one event.
func (e Event) Seal(parts ...any) Event {
	e.Version, e.Time = Version, e.Time.UTC()
	for _, text := range []*string{&e.Object, &e.Actor, &e.Trigger, &e.Commit, &e.Digest, &e.Outcome, &e.Reason, &e.Message} {
		*text = bounded(*text)
	}
	for i := range e.Links {
		e.Links[i].Target = bounded(e.Links[i].Target)
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\x00%s\x00%s", e.Kind, e.Subject.UID, e.Object)
	for _, part := range parts {
		fmt.Fprintf(hash, "\x00%v", part)
	}
	e.ID = hex.EncodeToString(hash.Sum(nil)[:12])
	return e
}

func bounded(text string) string {
	if len(text) <= maxText {
		return text
	}
	cut := text[:maxText-3]
	for !utf8.ValidString(cut) && len(cut) > maxText-8 {
		cut = cut[:len(cut)-1]
	}
	return strings.ToValidUTF8(cut, "") + "…"
}

// Log takes events. It may be used by several goroutines.
type Log interface {
	// Write writes an event, unless it is known to have been written before.
	Write(Event) error
}

// Stream is a Log on a stream that cannot be read again.
type Stream struct {
	mu sync.Mutex
	to io.Writer
}

// NewStream writes to a stream, for example standard output.
func NewStream(to io.Writer) *Stream { return &Stream{to: to} }

// Write implements Log.
func (s *Stream) Write(e Event) error {
	line, err := lineOf(e)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.to.Write(line); err != nil {
		return fmt.Errorf("writing audit line: %w", err)
	}
	return nil
}

// Line is the line of an event, without its end.
func Line(e Event) ([]byte, error) {
	line, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding audit line: %w", err)
	}
	return line, nil
}

func lineOf(e Event) ([]byte, error) {
	line, err := Line(e)
	return append(line, '\n'), err
}

// File is a Log in a file that is rotated. It is opened by the first event: until then another process may be writing to it.
type File struct {
	mu    sync.Mutex
	path  string
	limit int64
	keep  int
	file  *os.File // nil: to be opened
	size  int64
	known map[string]bool // nil: to be learnt
}

// OpenFile says whether an audit file can be written to, and makes it. When it is larger than limit bytes it is renamed to path.1,
// that one to path.2 and so on; keep of them are kept.
func OpenFile(path string, limit int64, keep int) (*File, error) {
	f := &File{path: path, limit: limit, keep: keep}
	file, err := f.handle()
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	return f, nil
}

func (f *File) handle() (*os.File, error) {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	return file, nil
}

// maxLine is more than a line may have.
const maxLine = 1 << 20

// learn reads the IDs of a file.
func (f *File) learn(name string) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading audit file: %w", err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, maxLine)
	for whole := true; ; {
		line, err := lines.ReadSlice('\n')
		var e struct {
			ID string `json:"id"`
		}
		if whole && json.Unmarshal(line, &e) == nil && e.ID != "" { // a line that was cut off is none, nor is one that is too long
			f.known[e.ID] = true
		}
		switch whole = !errors.Is(err, bufio.ErrBufferFull); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && whole:
			return fmt.Errorf("reading audit file %s: %w", name, err)
		}
	}
}

// ready opens the file where it is not open, and ends a line in which it was left.
func (f *File) ready() error {
	if f.file != nil {
		return nil
	}
	if f.known == nil {
		f.known = map[string]bool{}
		for _, name := range []string{f.name(1), f.path} {
			if err := f.learn(name); err != nil {
				f.known = nil
				return err
			}
		}
	}
	file, err := f.handle()
	if err != nil {
		return err
	}
	if f.size, err = endLine(file); err != nil {
		return fmt.Errorf("opening audit file: %w", errors.Join(err, file.Close()))
	}
	f.file = file
	return nil
}

// endLine ends the last line of a file, in which a process died or the disk was full, and returns the file's size.
func endLine(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, info.Size()-1); err != nil {
		return 0, err
	}
	if bytes.Equal(last, []byte("\n")) {
		return info.Size(), nil
	}
	n, err := file.Write([]byte("\n"))
	return info.Size() + int64(n), err
}

// Write implements Log. Where the file cannot be rotated, the event is written to it all the same, and that is the error.
func (f *File) Write(e Event) error {
	line, err := lineOf(e)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(); err != nil {
		return err
	}
	if f.known[e.ID] {
		return nil
	}
	var rotating error
	if f.size > 0 && f.size+int64(len(line)) > f.limit {
		rotating = f.rotate()
		if err := f.ready(); err != nil {
			return errors.Join(rotating, err)
		}
	}
	n, err := f.file.Write(line)
	f.size += int64(n)
	if err != nil {
		closing := f.file.Close()
		f.file = nil // what stands there of the line is ended before the next
		return fmt.Errorf("writing audit line: %w", errors.Join(err, closing))
	}
	f.known[e.ID] = true
	return rotating
}

// rotate closes the file and makes room for the next one. One that stopped half way is gone on with: no old file makes room twice.
func (f *File) rotate() error {
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return fmt.Errorf("rotating audit file: %w", err)
	}
	room := 1
	for ; room < f.keep; room++ {
		if _, err := os.Lstat(f.name(room)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	for i := room; i > 0; i-- { // what stands at the end goes
		if err := os.Rename(f.name(i-1), f.name(i)); err != nil {
			return fmt.Errorf("rotating audit file: %w", err)
		}
	}
	f.known = nil
	return nil
}

func (f *File) name(i int) string {
	if i == 0 {
		return f.path
	}
	return fmt.Sprintf("%s.%d", f.path, i)
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}
