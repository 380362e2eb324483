package rollout

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/controllers/rollout/planner"
	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

func TestAsk(t *testing.T) {
	token, asked := "a1-s0-c0", 0
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if r.Host != "shop.example.com" || r.URL.Path != gatewayapi.ProbePath("shop/app") {
			t.Errorf("asked for %s %s", r.Host, r.URL.Path)
		}
		http.Redirect(w, r, "http://"+gatewayapi.ProbeHost(token)+r.URL.Path, http.StatusFound)
	}))
	defer gate.Close()
	address := strings.TrimPrefix(gate.URL, "http://")
	object := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"hostnames": []any{"shop.example.com"}}}}
	route := &planner.Route{Kind: "HTTPRoute", Name: "app", Object: object, Gateways: []planner.Gateway{{Name: "Gateway x/g", Addresses: []string{address}}}}
	r := &Reconciler{}
	if why := r.ask(t.Context(), route, "shop/app", token); why != "" || asked != probesEach {
		t.Errorf("%q after %d questions", why, asked)
	}
	if why := r.ask(t.Context(), route, "shop/app", "a1-s1-c0"); !strings.Contains(why, "does not serve this version of the route yet") {
		t.Errorf("another version: %q", why)
	}
	gate.Close()
	if why := r.ask(t.Context(), route, "shop/app", token); !strings.Contains(why, "address "+address+" of the gateway does not answer") {
		t.Errorf("nobody there: %q", why)
	}
	route.Gateways[0].Addresses = nil
	if why := r.ask(t.Context(), route, "shop/app", token); !strings.Contains(why, "level Probe cannot be used") {
		t.Errorf("no address: %q", why)
	}
}
