package revert

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"unicode"
)

// Names of the trailers of a revert commit.
const (
	TrailerID         = "Rollback-Id"
	TrailerOf         = "Rollback-Of"
	TrailerRestores   = "Restores"
	TrailerWorkload   = "Workload"
	TrailerReason     = "Reason"
	TrailerMetric     = "Metric"
	TrailerRun        = "Analysis-Run"
	TrailerAttempt    = "Attempt"
	TrailerActor      = "Actor"
	TrailerController = "Controller-Version"
)

const (
	maxTrailer = 200
	maxSubject = 120
	maxBody    = 2000
	bodyWidth  = 72
)

// MessageInput is what a revert commit says. Empty fields are left out.
type MessageInput struct {
	Workload                  Workload
	BadRevision, GoodRevision string
	// Explanation is the reason in plain language, for the body.
	Explanation string
	ID          string
	// BadCommit and GoodCommit are object names.
	BadCommit, GoodCommit string
	// Reason is one word: AnalysisFailed, HealthFailed, Manual, …
	Reason string
	// Metrics are lines such as "errors=0.052 threshold=0.01".
	Metrics []string
	// Run is the AnalysisRun with the evidence, namespace/name.
	Run               string
	Attempt           int64
	Actor             string
	ControllerVersion string
}

// Message builds the commit message: subject, body, trailers. Every value is put
// on one line and cut to a bound, so that no value can forge a trailer.
func Message(m MessageInput) string {
	var out strings.Builder
	subject := fmt.Sprintf("revert(%s/%s): %s -> %s", m.Workload.Namespace, m.Workload.Name, m.BadRevision, m.GoodRevision)
	out.WriteString(oneLine(subject, maxSubject))
	out.WriteString("\n\n")
	if body := wrap(oneLine(m.Explanation, maxBody)); body != "" {
		out.WriteString(body)
		out.WriteString("\n\n")
	}
	attempt := ""
	if m.Attempt > 0 {
		attempt = fmt.Sprint(m.Attempt)
	}
	trailers := [][2]string{
		{TrailerID, m.ID},
		{TrailerOf, m.BadCommit},
		{TrailerRestores, m.GoodCommit},
		{TrailerWorkload, m.Workload.Trailer()},
		{TrailerReason, m.Reason},
	}
	for i, metric := range m.Metrics {
		if i == 10 {
			break
		}
		trailers = append(trailers, [2]string{TrailerMetric, metric})
	}
	trailers = append(trailers, [2]string{TrailerRun, m.Run}, [2]string{TrailerAttempt, attempt}, [2]string{TrailerActor, m.Actor},
		[2]string{TrailerController, m.ControllerVersion})
	for _, trailer := range trailers {
		if value := oneLine(trailer[1], maxTrailer); value != "" {
			fmt.Fprintf(&out, "%s: %s\n", trailer[0], value)
		}
	}
	return out.String()
}

// oneLine drops what could break a line or a terminal, and cuts.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || r == '\u0085':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit-len("…")], "") + "…"
	}
	return text
}

// Subject is the first line of a message.
func Subject(message string) string {
	subject, _, _ := strings.Cut(message, "\n")
	return subject
}

// wrap folds a line; a line of the body that would read as a trailer or as a
// comment cannot come about, because each is preceded by a word of prose or
// indented.
func wrap(text string) string {
	var out strings.Builder
	width := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case width+1+len(word) > bodyWidth && !strings.HasSuffix(word, ":") && !strings.HasPrefix(word, "#"):
			out.WriteByte('\n')
			width = 0
		default:
			out.WriteByte(' ')
			width++
		}
		out.WriteString(word)
		width += len(word)
	}
	return out.String()
}

// Failure is what a revert answers: one failed attempt of one workload.
type Failure struct {
	RepositoryURL, Branch, WorkloadUID string
	Attempt                            int64
	Bad, Good                          string
}

// ID names a revert: the same failure always gives the same one.
func ID(f Failure) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %d %q %q", f.RepositoryURL, f.Branch, f.WorkloadUID, f.Attempt, f.Bad, f.Good))
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:10]))
}

// ParseTrailers reads the trailers of a commit message: the lines of its last
// paragraph when all of them have the form "Name: value". A name that comes
// more than once has several values.
func ParseTrailers(message string) map[string][]string {
	message = strings.TrimSpace(strings.ReplaceAll(message, "\r\n", "\n"))
	cut := strings.LastIndex(message, "\n\n")
	if cut < 0 {
		return map[string][]string{}
	}
	trailers := map[string][]string{}
	for line := range strings.SplitSeq(message[cut+2:], "\n") {
		name, value, found := strings.Cut(line, ": ")
		if !found || !isToken(name) {
			return map[string][]string{}
		}
		trailers[name] = append(trailers[name], strings.TrimSpace(value))
	}
	return trailers
}

func isToken(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return r != '-' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) < 0
}
