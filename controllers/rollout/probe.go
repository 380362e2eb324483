package rollout

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/belay-delivery/belay/api/v1alpha1"
	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

const (
	// probeTimeout bounds one look at all gateways.
	probeTimeout = 2 * time.Second
	// probesEach is how often an address is asked, each time over a new connection: several replicas may stand behind it.
	probesEach = 5
	// probesAtOnce is how many requests are under way.
	probesAtOnce = 15
	// maxAddresses of one route's gateways.
	maxAddresses = 32
)

// gatherProbes asks gateways which version of a route they serve, where traffic.confirm says so and it is time to know.
func (r *Reconciler) gatherProbes(ctx context.Context, ro *v1alpha1.Rollout, o *planner.Observed) error {
	for _, p := range planner.Probes(*o) {
		route := &o.Routes[p.Route]
		owner := ro.Namespace + "/" + ro.Name
		if why := r.ask(ctx, route, owner, p.Token); why != "" {
			route.ProbeTrouble = bounded(why)
		} else {
			route.Probed = p.Token
		}
	}
	return nil
}

func (r *Reconciler) ask(ctx context.Context, route *planner.Route, owner, token string) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var addresses []string
	for _, g := range route.Gateways {
		if len(g.Addresses) == 0 {
			return fmt.Sprintf("%s has no address with an HTTP listener in its status: level Probe cannot be used with it", g.Name)
		}
		addresses = append(addresses, g.Addresses...)
	}
	if len(addresses) > maxAddresses {
		return fmt.Sprintf("its gateways have %d addresses: %d can be probed", len(addresses), maxAddresses)
	}
	host := gatewayapi.ProbeHostname(route.Object)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(probesAtOnce)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: probeTimeout, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, address := range addresses {
		for range probesEach {
			group.Go(func() error { return askOne(ctx, client, address, host, owner, token) })
		}
	}
	if err := group.Wait(); err != nil {
		return err.Error()
	}
	return ""
}

// askOne asks one address once. What it answers is compared, and never followed or shown.
func askOne(ctx context.Context, client *http.Client, address, host, owner, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+gatewayapi.ProbePath(owner), nil)
	if err != nil {
		return fmt.Errorf("address %s of the gateway cannot be asked: %w", address, err)
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("address %s of the gateway does not answer", address)
	}
	defer func() { _ = response.Body.Close() }()
	to, err := url.Parse(response.Header.Get("Location"))
	if err != nil || response.StatusCode != http.StatusFound || to.Hostname() != gatewayapi.ProbeHost(token) {
		return fmt.Errorf("address %s of the gateway does not serve this version of the route yet", address)
	}
	return nil
}
