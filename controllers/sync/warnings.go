package sync

import (
	"context"
	"slices"
	"strings"
	stdsync "sync"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

const (
	// maxWarnings of warningBytes are kept in status.
	maxWarnings  = 16
	warningBytes = 512
)

// warnings are things that nobody is held up by, and somebody should know.
type warnings struct {
	mu  stdsync.Mutex
	all []string
}

type warningsKey struct{}

// collecting makes what the API server warns of in requests with the context arrive in w.
func collecting(ctx context.Context, w *warnings) context.Context {
	return context.WithValue(ctx, warningsKey{}, w)
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, cut(text, warningBytes))
}

// keep takes over what was warned of when the objects were last written; what policies say of them, and whether images are
// signed, is asked anew.
func (w *warnings) keep(before []string) {
	for _, text := range before {
		if !strings.Contains(text, "DeliveryPolicy ") && !strings.Contains(text, "images.signatures") {
			w.add(text)
		}
	}
}

// list is bounded, sorted and without repetitions, so that the same warnings are the same status.
func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.all)
	all := slices.Compact(w.all)
	return all[:min(len(all), maxWarnings)]
}

// collector hands the API server's warnings to whoever collects them.
type collector struct{}

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (collector) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if w, ok := ctx.Value(warningsKey{}).(*warnings); ok && code == 299 && text != "" {
		w.add(text)
	}
}

// mode is a CheckMode with its default.
func mode(m, unset v1alpha1.CheckMode) v1alpha1.CheckMode {
	if m == "" {
		return unset
	}
	return m
}
