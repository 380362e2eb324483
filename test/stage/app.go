package stage

import (
	"embed"
	"fmt"
	"path"
	"strings"
	"text/template"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

//go:embed manifests/*.yaml
var manifests embed.FS

var templates = template.Must(template.New("").Delims("[[", "]]").ParseFS(manifests, "manifests/*.yaml"))

// App is an application as a team declares it: a Rollout, its Service, its HTTPRoute, its AnalysisTemplate.
type App struct {
	Name, Namespace                string
	Image, Version                 string
	Replicas                       int // 0: somebody else says how many
	CPU                            int // milliseconds of processor time for every answer, and 100m are requested; 0: neither
	Settle, Bake, ScaleDownDelay   string
	Steps                          []Step // of a canary
	BlueGreen                      bool   // instead: all of the traffic at once
	Judged                         bool   // by the share of errors
	Prometheus                     string // address; empty: Belay's default
	Repository, Path               string // where reverts go; empty: nowhere
	Host                           string
	GatewayName, GatewayNamespace  string
	Rollout, Route, Service, Query string // files instead of the ready-made ones; empty: those
}

// Step of a Rollout.
type Step struct {
	Name     string
	Weight   int
	Hold     string
	Approval bool
}

// GoldenSignals compares errors and latency with those of the stable version: nobody has to know what is good.
const GoldenSignals = `# The new version beside the old one: more errors, or slower answers, take it back.
apiVersion: belay.dev/v1alpha1
kind: AnalysisTemplate
metadata:
  name: checkout-errors
spec:
  metrics:
  - name: errors
    compare: {preset: http-server, errors: {}}
  - name: latency
    compare: {preset: http-server, latency: {}}
`

// App returns an application with short steps, judged by its errors.
func (b *Bed) App(namespace, name string) App {
	return App{Name: name, Namespace: namespace, Image: "sample:v1", Version: "v1", Replicas: 3,
		Settle: "2s", Bake: "5s", ScaleDownDelay: "3s", Judged: true,
		Steps: []Step{{"first", 10, "5s", false}, {"half", 50, "3s", false}, {"all", 100, "3s", false}},
		Host:  name + "." + namespace + ".example.com", GatewayName: b.GatewayName, GatewayNamespace: b.GatewayNS}
}

// Files are the application's files, below a folder.
func (a App) Files(folder string) (map[string]string, error) {
	files := map[string]string{}
	for name, own := range map[string]string{"rollout.yaml": a.Rollout, "service.yaml": a.Service, "httproute.yaml": a.Route,
		"analysistemplate.yaml": a.Query} {
		if name == "analysistemplate.yaml" && !a.Judged {
			continue
		}
		if own == "" {
			var out strings.Builder
			if err := templates.ExecuteTemplate(&out, name, a); err != nil {
				return nil, fmt.Errorf("writing %s: %w", name, err)
			}
			own = out.String()
		}
		files[path.Join(folder, name)] = own
	}
	return files, nil
}

// Release is the edit of rollout.yaml that brings another version, as a person or a bot makes it.
func Release(from, to, errorRate string) func(string) string {
	return func(text string) string {
		text = strings.ReplaceAll(text, "image: sample:"+from, "image: sample:"+to)
		text = strings.ReplaceAll(text, "{name: VERSION, value: "+from+"}", "{name: VERSION, value: "+to+"}")
		if errorRate != "" {
			text = strings.ReplaceAll(text, `{name: ERROR_RATE, value: "0"}`, fmt.Sprintf(`{name: ERROR_RATE, value: %q}`, errorRate))
		}
		return text
	}
}

// Condition says what a condition of a Rollout says: its status, reason and message.
func Condition(ro *v1alpha1.Rollout, kind string) (status, reason, message string) {
	c := v1alpha1.FindCondition(ro.Status.Conditions, kind)
	if c == nil {
		return "", "", ""
	}
	return string(c.Status), c.Reason, c.Message
}
