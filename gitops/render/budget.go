package render

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/belay-delivery/belay/gitops/tree"
)

const (
	// MaxNodes bounds all that one folder is rendered from, after aliases are expanded, and with what is used several times counted
	// each time.
	MaxNodes = 1_000_000
	// MaxBytes bounds its text in the same way, and what kustomize makes of it.
	MaxBytes = 32 << 20
	// maxNodes bounds one document.
	maxNodes = 200_000
	// maxDepth bounds nesting.
	maxDepth = 200
)

// spent is what a rendering has used of its bounds.
type spent struct{ nodes, bytes int }

func (s spent) minus(o spent) spent { return spent{s.nodes - o.nodes, s.bytes - o.bytes} }

// add counts something; name is the file that it is of.
func (s *spent) add(o spent, name string) error {
	s.nodes += o.nodes
	s.bytes += o.bytes
	if s.nodes > MaxNodes || s.bytes > MaxBytes {
		return fmt.Errorf("reading %s: with it the folder has more than %d nodes or %d MiB of text after expanding aliases and repeated bases; split it into several Syncs, or take the repetition out: %w",
			name, MaxNodes, MaxBytes>>20, tree.ErrTooLarge)
	}
	return nil
}

// document counts a document, or says what it has too much of.
func (s *spent) document(name string, index int, node *yaml.Node) error {
	one := spent{}
	if !one.count(node, maxDepth) {
		return fmt.Errorf("reading %s: document %d: more than %d nodes or %d MiB of text after expanding aliases, or nested deeper than %d: %w",
			name, index, maxNodes, MaxBytes>>20, maxDepth, tree.ErrTooLarge)
	}
	return s.add(one, name)
}

func (s *spent) count(node *yaml.Node, depth int) bool {
	s.nodes++
	s.bytes += len(node.Value) + len(node.Tag)
	if s.nodes > maxNodes || s.bytes > MaxBytes || depth == 0 {
		return false
	}
	if node.Kind == yaml.AliasNode {
		return s.count(node.Alias, depth-1)
	}
	for _, child := range node.Content {
		if !s.count(child, depth-1) {
			return false
		}
	}
	return true
}
