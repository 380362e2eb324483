package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/belay-delivery/belay/internal/testenv"
)

// TestDocsNameEveryCommandAndFlag holds docs/reference/plugin.md in step with the code.
func TestDocsNameEveryCommandAndFlag(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "reference", "plugin.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	root := NewCommand(genericiooptions.NewTestIOStreamsDiscard())
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) { wantFlag(t, page, "kubectl belay", f) })
	for _, c := range root.Commands() {
		section := sectionOf(page, c)
		if section == "" {
			t.Errorf("the page has no heading for %s", c.Name())
			continue
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) { wantFlag(t, section, c.Name(), f) })
	}
}

// sectionOf is the part of the page under the heading that names the command.
func sectionOf(page string, c *cobra.Command) string {
	for _, section := range strings.Split(page, "\n## ")[1:] {
		heading, _, _ := strings.Cut(section, "\n")
		if strings.Contains(heading, "`"+c.Name()+"`") {
			return section
		}
	}
	return ""
}

func wantFlag(t *testing.T, text, command string, f *pflag.Flag) {
	t.Helper()
	if f.Name != "help" && !strings.Contains(text, "`--"+f.Name+"`") {
		t.Errorf("%s: flag --%s is not on the page", command, f.Name)
	}
	if f.Shorthand != "" && f.Name != "help" && !strings.Contains(text, "`-"+f.Shorthand+"`") {
		t.Errorf("%s: flag -%s is not on the page", command, f.Shorthand)
	}
}
