package signature

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

const (
	headerSignature = "gpgsig"
	// maxHeader is how long the part of a commit before its message may be.
	maxHeader = 256 << 10
)

// Commit is a raw commit object taken apart into what was signed and by what.
type Commit struct {
	// Payload is what the signature is of: the object without its gpgsig header.
	Payload []byte
	// Signature is the armored signature, "" where there is none.
	Signature string
	// Parents are the names of the commits before, the first parent first.
	Parents []string
	// AuthorEmail and CommitterEmail are as in the object, without the angle brackets.
	AuthorEmail, CommitterEmail string
	// When is the committer's time.
	When time.Time
	// Message is all after the header.
	Message string
}

// header is one field of a commit object, with the lines that continue it.
type header struct {
	name, value string
	raw         []byte
}

// ParseCommit takes a raw commit object (the bytes after "commit <size>\0") apart. An object that two readers could
// understand differently is refused: repeated fields, NUL bytes, a second kind of signature.
func ParseCommit(raw []byte) (Commit, error) {
	head, message, found := bytes.Cut(raw, []byte("\n\n"))
	switch {
	case bytes.IndexByte(raw, 0) >= 0:
		return Commit{}, fail(Malformed, "the commit holds a NUL byte")
	case !found && !bytes.HasSuffix(raw, []byte("\n")):
		return Commit{}, fail(Malformed, "the commit has no end of its header")
	case len(head) > maxHeader:
		return Commit{}, fail(Malformed, "the commit's header has %d bytes, more than %d", len(head), maxHeader)
	}
	c := Commit{Message: string(message)}
	seen := map[string]int{}
	for _, field := range headers(head) {
		seen[field.name]++
		var err error
		switch field.name {
		case headerSignature:
			c.Signature = field.value
			continue
		case "parent":
			c.Parents = append(c.Parents, field.value)
		case "author":
			c.AuthorEmail, _, err = parsePerson(field.value)
		case "committer":
			c.CommitterEmail, c.When, err = parsePerson(field.value)
		}
		if err != nil {
			return Commit{}, err
		}
		c.Payload = append(append(c.Payload, field.raw...), '\n')
	}
	if err := checkCounts(seen); err != nil {
		return Commit{}, err
	}
	if found {
		c.Payload = append(append(c.Payload, '\n'), message...)
	}
	return c, nil
}

func checkCounts(seen map[string]int) error {
	if seen[headerSignature] > 1 {
		return fail(Multiple, "the commit holds %d signatures; exactly one is accepted", seen[headerSignature])
	}
	for name := range seen {
		if strings.HasPrefix(name, headerSignature) && name != headerSignature {
			return fail(Multiple, "the commit holds a signature %q, which is of another object format", name)
		}
	}
	for _, name := range []string{"tree", "author", "committer"} {
		if seen[name] != 1 {
			return fail(Malformed, "the commit has %d fields %q, want 1", seen[name], name)
		}
	}
	return nil
}

func headers(head []byte) []header {
	var out []header
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		if len(line) > 0 && line[0] == ' ' && len(out) > 0 {
			last := &out[len(out)-1]
			last.value += "\n" + string(line[1:])
			last.raw = append(append(last.raw, '\n'), line...)
			continue
		}
		name, value, _ := strings.Cut(string(line), " ")
		out = append(out, header{name: name, value: value, raw: bytes.Clone(line)})
	}
	return out
}

// parsePerson reads "Name <mail> seconds zone".
func parsePerson(value string) (email string, when time.Time, err error) {
	_, rest, opened := strings.Cut(value, "<")
	email, rest, closed := strings.Cut(rest, ">")
	if !opened || !closed || strings.ContainsAny(email+rest, "<>\n") {
		return "", time.Time{}, fail(Malformed, "the commit names a person that is not of the form Name <mail> time")
	}
	fields := strings.Fields(rest)
	if len(fields) != 2 {
		return "", time.Time{}, fail(Malformed, "the commit names a person without a time")
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return "", time.Time{}, fail(Malformed, "the commit names a person without a time")
	}
	return strings.TrimSpace(email), time.Unix(seconds, 0).UTC(), nil
}
