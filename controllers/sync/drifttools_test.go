package sync

import (
	"net/http"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
)

func request(w *world) ctrl.Request { return ctrl.Request{NamespacedName: w.key("shop")} }

// onWrite runs something before a write of an object as the tenant, dry runs not counted.
func onWrite(method, object string, do func()) func(*http.Request) {
	return func(r *http.Request) {
		if r.Method == method && strings.HasSuffix(r.URL.Path, "/"+object) && r.URL.Query().Get("dryRun") == "" {
			do()
		}
	}
}

func cancelAt(method, object string, cancel func()) func(*http.Request) {
	return onWrite(method, object, cancel)
}
