package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/belay-delivery/belay/api/v1alpha1"
)

// Budget is what all rules over one bundle may cost together, in the API server's units: a second or a few.
const Budget = 10_000_000

// checkFrequency is how many steps of a loop pass between two looks at the context.
const checkFrequency = 100

// maxCompiled is how many compiled expressions are kept.
const maxCompiled = 256

var variables = []cel.EnvOption{
	cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("bundle", cel.ListType(cel.DynType)),
	cel.Variable("commit", cel.MapType(cel.StringType, cel.StringType)), cel.Variable("environment", cel.StringType),
}

// environmentOf is made once: it declares some hundred functions.
var environmentOf = sync.OnceValues(func() (*cel.Env, error) {
	version := environment.DefaultCompatibilityVersion()
	set, err := environment.MustBaseEnvSet(version).Extend(environment.VersionedOptions{IntroducedVersion: version, EnvOptions: variables})
	if err != nil {
		return nil, fmt.Errorf("making the CEL environment: %w", err)
	}
	return set.Env(environment.NewExpressions)
})

// compiled keeps programs by expression.
var compiled = struct {
	sync.Mutex
	programs map[string]cel.Program
}{programs: map[string]cel.Program{}}

// Compile checks an expression; the error says where it is wrong.
func Compile(expression string) error {
	_, err := programOf(expression)
	return err
}

func programOf(expression string) (cel.Program, error) {
	compiled.Lock()
	defer compiled.Unlock()
	if program, ok := compiled.programs[expression]; ok {
		return program, nil
	}
	env, err := environmentOf()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("compiling the expression: %w", err)
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("compiling the expression: it gives %s, and must give bool", out)
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(checkFrequency))
	if err != nil {
		return nil, fmt.Errorf("compiling the expression: %w", err)
	}
	if len(compiled.programs) >= maxCompiled {
		clear(compiled.programs)
	}
	compiled.programs[expression] = program
	return program, nil
}

// Rule is a policy with a name for people, such as "DeliveryPolicy baseline".
type Rule struct {
	Name string
	Spec v1alpha1.DeliveryPolicySpec
}

// Object is one object of the bundle as it would be, and as it is (nil: not there).
type Object struct{ New, Old *unstructured.Unstructured }

// Bundle is everything that rules look at.
type Bundle struct {
	Objects     []Object
	Commit      map[string]string
	Environment string
}

// Finding is a rule that is broken.
type Finding struct {
	Rule string
	// Object is the index in Bundle.Objects; -1 where the bundle as a whole breaks the rule.
	Object   int
	Severity v1alpha1.PolicySeverity
	// Text is the message, why it could not be evaluated where that is so, and the rationale.
	Text string
}

// Evaluate judges a bundle by rules. An error is one of the rules themselves: it cannot be compiled, and so nothing that
// it is for may pass.
func Evaluate(ctx context.Context, bundle Bundle, rules []Rule) ([]Finding, error) {
	return evaluate(ctx, bundle, rules, Budget)
}

func evaluate(ctx context.Context, bundle Bundle, rules []Rule, budget uint64) ([]Finding, error) {
	e := evaluation{ctx: ctx, bundle: bundle, left: budget}
	for _, o := range bundle.Objects {
		e.all = append(e.all, o.New.Object)
	}
	rules = slices.Clone(rules)
	slices.SortFunc(rules, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	for _, rule := range rules {
		if !about(rule.Spec.Match.Environments, bundle.Environment) {
			continue
		}
		program, err := programOf(rule.Spec.Expression)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", rule.Name, err)
		}
		e.judge(rule, program)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", rule.Name, ctx.Err())
		}
	}
	return e.found, nil
}

// about says whether a list names a value; an empty list names all.
func about(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }

type evaluation struct {
	ctx    context.Context //nolint:containedctx // of one call of Evaluate
	bundle Bundle
	all    []any
	left   uint64
	found  []Finding
}

func (e *evaluation) judge(rule Rule, program cel.Program) {
	if rule.Spec.Target == v1alpha1.TargetBundle {
		e.ask(rule, program, -1)
		return
	}
	for i, o := range e.bundle.Objects {
		gvk := o.New.GroupVersionKind()
		if about(rule.Spec.Match.Kinds, gvk.Kind) || about(rule.Spec.Match.Kinds, gvk.GroupKind().String()) {
			e.ask(rule, program, i)
		}
	}
}

func (e *evaluation) ask(rule Rule, program cel.Program, index int) {
	why := e.broken(program, index)
	if why == nil {
		return
	}
	text := fmt.Sprintf("%s: %s", rule.Name, rule.Spec.Message)
	if !errors.Is(why, errFalse) {
		text += fmt.Sprintf(" (the expression could not be evaluated: %v)", why)
	}
	text += fmt.Sprintf(" (why: %s)", rule.Spec.Rationale)
	e.found = append(e.found, Finding{Rule: rule.Name, Object: index, Severity: cmp.Or(rule.Spec.Severity, v1alpha1.SeverityDeny), Text: text})
}

var (
	errFalse  = errors.New("false")
	errNoBool = errors.New("it does not give true or false")
	errBudget = errors.New("the policies of this Sync cost too much together")
)

// broken returns nil where the rule is kept.
func (e *evaluation) broken(program cel.Program, index int) error {
	if e.left == 0 {
		return errBudget
	}
	input := map[string]any{"object": nil, "oldObject": nil, "bundle": e.all, "commit": e.bundle.Commit, "environment": e.bundle.Environment}
	if index >= 0 {
		input["object"] = e.bundle.Objects[index].New.Object
		if old := e.bundle.Objects[index].Old; old != nil {
			input["oldObject"] = old.Object
		}
	}
	value, details, err := program.ContextEval(e.ctx, input)
	if details != nil && details.ActualCost() != nil {
		e.left -= min(e.left, *details.ActualCost())
	}
	switch {
	case err != nil:
		return err
	case value == types.True:
		return nil
	case value == types.False:
		return errFalse
	}
	return errNoBool
}
