package revert

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"regexp"
	"slices"
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
	// TrailerRetry names the revert of an earlier attempt of the same revision, which was then tried again on purpose.
	TrailerRetry       = "Retry-Of"
	TrailerEnvironment = "Environment"
	// TrailerPolicy names the policy of the cluster that refused the pods.
	TrailerPolicy = "Policy"
	// TrailerSignOff is the last one, as a Developer Certificate of Origin asks for it.
	TrailerSignOff = "Signed-off-by"
)

const (
	maxTrailer = 200
	// maxSignOff has room for the longest author.
	maxSignOff = 400
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
	// RetryOf is the id of the revert of an earlier attempt of the same revision.
	RetryOf string
	// Environment is that of the Sync which applied the workload.
	Environment string
	// Policy that refused, kind/name.
	Policy string
	// SignOff is who certifies the origin: Name <address>.
	SignOff string
}

// Message builds the commit message: subject, body, trailers. Every value is put
// on one line and cut to a bound, so that no value can forge a trailer.
func Message(m MessageInput) string {
	var out strings.Builder
	out.WriteString(oneLine(takesBack(m.Workload, m.BadRevision)+m.GoodRevision, maxSubject))
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
		{TrailerRetry, m.RetryOf},
		{TrailerWorkload, m.Workload.Trailer()},
		{TrailerEnvironment, m.Environment},
		{TrailerReason, m.Reason},
		{TrailerPolicy, m.Policy},
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
	if value := oneLine(m.SignOff, maxSignOff); value != "" {
		fmt.Fprintf(&out, "%s: %s\n", TrailerSignOff, value)
	}
	return out.String()
}

// policyOf are the words in which the API server says that a policy refused.
var policyOf = regexp.MustCompile(`(ValidatingAdmissionPolicy) '([a-z0-9][a-z0-9.-]{0,252})' with binding '[^']{1,253}' denied request|admission (webhook) "([a-z0-9][a-z0-9.-]{0,252})" denied the request`)

// PolicyIn finds the policy that a failure was of, kind/name: "" where it was of none.
func PolicyIn(failure string) string {
	found := policyOf.FindStringSubmatch(failure)
	switch {
	case found == nil:
		return ""
	case found[1] != "":
		return found[1] + "/" + found[2]
	}
	return "Webhook/" + found[4]
}

// takesBack is how the subject of every revert of a revision begins.
func takesBack(w Workload, bad string) string {
	return fmt.Sprintf("revert(%s/%s): %s -> ", w.Namespace, w.Name, bad)
}

// EarlierID is the id of a revert of the same revision of a workload in a commit message, "" where it is none.
func EarlierID(message string, w Workload, bad string) string {
	trailers := ParseTrailers(message)
	if !strings.HasPrefix(message, takesBack(w, bad)) || len(trailers[TrailerID]) != 1 || !slices.Equal(trailers[TrailerWorkload], []string{w.Trailer()}) {
		return ""
	}
	return trailers[TrailerID][0]
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
