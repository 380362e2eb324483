package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// errFilling is the answer of /readyz before the caches are filled.
var errFilling = errors.New("caches are not filled yet")

// cachesFilled is ready once the manager's caches have been filled for the first time.
func cachesFilled(mgr ctrl.Manager) healthz.Checker {
	var filled atomic.Bool
	err := mgr.Add(everywhere{manager.RunnableFunc(func(ctx context.Context) error {
		filled.Store(mgr.GetCache().WaitForCacheSync(ctx))
		return nil
	})})
	return func(*http.Request) error {
		if err != nil {
			return err
		}
		if !filled.Load() {
			return errFilling
		}
		return nil
	}
}

// everywhere runs on managers that do not hold the lease too.
type everywhere struct{ manager.RunnableFunc }

// NeedLeaderElection is false.
func (everywhere) NeedLeaderElection() bool { return false }
