package simulation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/belay-delivery/belay/traffic/gatewayapi"
)

// memory is what gatewayapi.Inspect has said in one world: worlds make a hundred plans on the same few routes, which are never
// changed in place. Every so often it is asked again all the same.
type memory struct {
	views map[asked]gatewayapi.View
	hits  int
}

// asked is a route, by identity, and what of a Split differs within a world.
type asked struct {
	route         *unstructured.Unstructured
	rules, insert string
	total, canary int32
	probe         string
	present, ours bool
	services      [2]string
}

// checkEvery is which share of the answers that are remembered is compared with a fresh one.
const checkEvery = 64

// most is how many answers are remembered.
const most = 10_000

func (m *memory) inspect(route *unstructured.Unstructured, s gatewayapi.Split) gatewayapi.View {
	q := asked{route: route, rules: strings.Join(s.Rules, "\x00"), total: s.Total, canary: s.Canary, probe: s.Probe,
		present: s.Present, ours: s.Ours, services: [2]string{s.StableService, s.CanaryService}}
	if s.Match != nil || s.Mirror != nil {
		insert, err := json.Marshal([]any{s.Match, s.Mirror})
		if err != nil {
			panic(fmt.Sprintf("encoding a match or mirror: %v", err))
		}
		q.insert = string(insert)
	}
	v, known := m.views[q]
	if !known {
		v = gatewayapi.Inspect(route, s)
		if len(m.views) >= most {
			clear(m.views)
		}
		m.views[q] = v
		return v
	}
	if m.hits++; m.hits%checkEvery == 0 {
		if now := gatewayapi.Inspect(route, s); !reflect.DeepEqual(now, v) {
			panic(fmt.Sprintf("a route was changed in place: %+v was said of it, and now %+v", v, now))
		}
	}
	return v
}
