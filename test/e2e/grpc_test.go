package e2e

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/test/stage"
)

const callRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: checkout-calls}
spec:
  parentRefs: [{name: %s, namespace: %s}]
  hostnames: [calls.%s]
  rules:
  - backendRefs: [{name: checkout, port: 80}]
`

// calls are gRPC calls in a steady stream, and who answered them.
type calls struct {
	mu     sync.Mutex
	by     map[string]int
	failed []string
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// call sends calls to a host of the gateway's, some with metadata of the team's.
func (s *scene) call(host string) *calls {
	s.t.Helper()
	to, err := url.Parse(s.bed.GatewayURL)
	s.must(err)
	ctx, stop := context.WithCancel(s.t.Context())
	c := &calls{by: map[string]int{}, stop: stop}
	connection, err := grpc.NewClient("passthrough:///"+to.Host, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host))
	s.must(err)
	client := grpc_health_v1.NewHealthClient(connection)
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	for deadline := time.Now().Add(30 * time.Second); err != nil && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	}
	s.must(err)
	for i := range 4 {
		c.done.Go(func() {
			for tick := time.NewTicker(40 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				c.one(ctx, client, i == 0)
			}
		})
	}
	s.t.Cleanup(func() { stop(); c.done.Wait(); _ = connection.Close() })
	return c
}

func (c *calls) one(ctx context.Context, client grpc_health_v1.HealthClient, team bool) {
	who := "others"
	if team {
		who, ctx = "team", metadata.AppendToOutgoingContext(ctx, "x-team", "checkout")
	}
	var header metadata.MD
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := client.Check(limited, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch version := header.Get("x-version"); {
	case ctx.Err() != nil: // the test is over
	case err != nil:
		c.failed = append(c.failed, fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.000"), err))
	case len(version) == 1:
		c.by[who+" "+version[0]]++
	}
}

// take gives the counts since it was last called.
func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.by
	c.by = map[string]int{}
	return out
}

// collect takes counts until there are n of one and m of another, however slow the machine is.
func (c *calls) collect(t *testing.T, one string, n int, other string, m int) map[string]int {
	t.Helper()
	sum := map[string]int{}
	for end := time.Now().Add(time.Minute); sum[one] < n || sum[other] < m; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within a minute there were not %d calls of %q and %d of %q: %v", n, one, m, other, sum)
		}
		for who, count := range c.take() {
			sum[who] += count
		}
	}
	return sum
}

// behindCalls puts the GRPCRoute beside the HTTPRoute, and a match in place of the first step's weight.
func behindCalls(text string) string {
	text = strings.Replace(text, "    - {kind: HTTPRoute, name: checkout}\n", "    - {kind: HTTPRoute, name: checkout}\n    - {kind: GRPCRoute, name: checkout-calls}\n", 1)
	return strings.Replace(text, "{name: first, weight: 10,", "{name: team, match: {headers: [{name: x-team, value: checkout}]},", 1)
}

// TestCallsAreSplit: a Rollout behind an HTTPRoute and a GRPCRoute; calls with metadata of the team's reach the canary alone,
// then calls are split by weight, and none fails.
func TestCallsAreSplit(t *testing.T) {
	t.Parallel()
	s := newScene(t, plan{rate: 50, change: func(a *stage.App) { a.Judged, a.Steps[0].Approval, a.Steps[1].Approval = false, true, true }})
	s.must(s.bed.Apply(t.Context(), s.app.Namespace, map[string]string{"calls.yaml": fmt.Sprintf(callRoute, s.app.GatewayName, s.app.GatewayNamespace, s.app.Host)}))
	c := s.call("calls." + s.app.Host)
	s.release("v2", func(text string) string {
		return stage.Release("v1", "v2", "")(behindCalls(text))
	})
	s.await("the team's step", confirmedInTheDark)
	c.take()
	if got := c.collect(t, "team v2", 20, "others v1", 60); got["team v1"] > 0 || got["others v2"] > 0 {
		t.Errorf("calls in the team's step: %v", got)
	}
	s.approve()
	s.await("half", func(ro *v1alpha1.Rollout) bool {
		a := ro.Status.Attempt
		return a != nil && a.StepName == "half" && a.ConfirmedAt != nil
	})
	c.take()
	got := c.collect(t, "others v1", 100, "others v2", 100)
	if canary, stable := got["others v2"], got["others v1"]; canary < (canary+stable)*35/100 || canary > (canary+stable)*65/100 {
		t.Errorf("calls at half: %v", got)
	}
	s.approve()
	s.awaitOutcome(2, v1alpha1.OutcomePromoted)
	s.answeredBy(s.finish(""), "v2")
	c.stop()
	c.done.Wait()
	t.Logf("calls at half: %v; failed: %d", got, len(c.failed))
	if len(c.failed) > 0 {
		t.Errorf("%d calls failed, e.g. %s", len(c.failed), c.failed[0])
	}
}
