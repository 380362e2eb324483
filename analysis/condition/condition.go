package condition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
)

const (
	// maxCost bounds one evaluation. A million is what the Kubernetes API server allows one expression: about 0.1 s.
	maxCost = 1_000_000
	// checkEvery is how many iterations of a comprehension pass between two looks at the context.
	checkEvery = 100
	maxText    = 300
)

// Variables of expressions.
const (
	varValue, varArgs                       = "value", "args"
	varJSON, varBody, varStatus, varHeaders = "json", "body", "status", "headers"
)

// Input is what an expression sees.
type Input struct {
	// Value that was measured; it is there for expressions that were compiled with it.
	Value float64
	Args  map[string]string
	// Answer of a server; nil where there is none.
	Answer *Answer
}

// Answer is what a server said.
type Answer struct {
	Status int
	// Headers by name in lower case.
	Headers map[string]string
	Body    []byte
}

// Program is a compiled expression. It is safe for use by several goroutines.
type Program struct {
	program cel.Program
	json    bool // it asks for the answer as JSON
}

// OfValue compiles a condition on a value: value and args.
func OfValue(expression string) (*Program, error) {
	return compile(expression, thresholdEnv, cel.BoolType)
}

// OfAnswer compiles a condition on an answer: json, body, status, headers, args, and value where there is one.
func OfAnswer(expression string, value bool) (*Program, error) {
	if value {
		return compile(expression, valuedEnv, cel.BoolType)
	}
	return compile(expression, answerEnv, cel.BoolType)
}

// Reading compiles an expression that reads a number, or null, out of an answer: json, body, status, headers and args.
func Reading(expression string) (*Program, error) {
	return compile(expression, answerEnv, cel.DoubleType, cel.IntType, cel.UintType, cel.NullType)
}

var (
	answerVariables = []cel.EnvOption{cel.Variable(varJSON, cel.DynType), cel.Variable(varBody, cel.StringType),
		cel.Variable(varStatus, cel.IntType), cel.Variable(varHeaders, cel.MapType(cel.StringType, cel.StringType))}
	value = cel.Variable(varValue, cel.DoubleType)

	thresholdEnv = sync.OnceValues(func() (*cel.Env, error) { return environment(value) })
	answerEnv    = sync.OnceValues(func() (*cel.Env, error) { return environment(answerVariables...) })
	valuedEnv    = sync.OnceValues(func() (*cel.Env, error) { return environment(append([]cel.EnvOption{value}, answerVariables...)...) })
)

// environment has the standard functions, optional values, and math. The functions on strings that make new ones are left
// out: their cost is not that of a call.
func environment(more ...cel.EnvOption) (*cel.Env, error) {
	return cel.NewEnv(append([]cel.EnvOption{cel.Variable(varArgs, cel.MapType(cel.StringType, cel.StringType)), cel.OptionalTypes(), ext.Math(),
		cel.CrossTypeNumericComparisons(true), cel.ParserRecursionLimit(50), cel.ParserExpressionSizeLimit(4096)}, more...)...)
}

func compile(expression string, env func() (*cel.Env, error), results ...*cel.Type) (*Program, error) {
	e, err := env()
	if err != nil {
		return nil, fmt.Errorf("making a CEL environment: %w", err)
	}
	ast, issues := e.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, errors.New(firstOf(issues))
	}
	if !isOneOf(ast.OutputType(), results) {
		return nil, fmt.Errorf("the expression gives %s, and must give %s", ast.OutputType(), names(results))
	}
	program, err := e.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkEvery), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("making a program of the expression: %w", err)
	}
	p := &Program{program: program}
	for _, ref := range ast.NativeRep().ReferenceMap() {
		p.json = p.json || ref.Name == varJSON
	}
	return p, nil
}

// firstOf is the first issue in one line, without the picture of where it is.
func firstOf(issues *cel.Issues) string {
	first := issues.Errors()[0]
	return clip(fmt.Sprintf("%s (at character %d)", strings.ReplaceAll(first.Message, " (in container '')", ""), first.Location.Column()+1))
}

func isOneOf(t *cel.Type, results []*cel.Type) bool {
	if t.IsExactType(cel.DynType) {
		return true // known when it is evaluated
	}
	for _, r := range results {
		if t.IsExactType(r) || t.IsAssignableType(r) {
			return true
		}
	}
	return false
}

func names(results []*cel.Type) string {
	if len(results) == 1 {
		return results[0].String()
	}
	return "a number or null"
}

// True evaluates a condition.
func (p *Program) True(ctx context.Context, in Input) (bool, error) {
	out, err := p.eval(ctx, in)
	if err != nil {
		return false, err
	}
	v, ok := out.(bool)
	if !ok {
		return false, fmt.Errorf("the expression gives %s, and must give bool", kindOf(out))
	}
	return v, nil
}

// Number evaluates a reading. It says whether there is a value: null is none.
func (p *Program) Number(ctx context.Context, in Input) (v float64, there bool, err error) {
	out, err := p.eval(ctx, in)
	if err != nil {
		return 0, false, err
	}
	switch x := out.(type) {
	case float64:
		return x, true, nil
	case int64:
		return float64(x), true, nil
	case uint64:
		return float64(x), true, nil
	}
	if kindOf(out) == "null" {
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("the expression gives %s, and must give a number or null", kindOf(out))
}

func (p *Program) eval(ctx context.Context, in Input) (any, error) {
	vars, err := p.variables(in)
	if err != nil {
		return nil, err
	}
	out, _, err := p.program.ContextEval(ctx, vars)
	switch {
	case err == nil:
		return out.Value(), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("evaluating the expression: %w", ctx.Err())
	case strings.Contains(err.Error(), "cost limit exceeded"):
		return nil, errors.New("evaluating the expression costs too much: make it simpler, or the answer smaller")
	}
	return nil, errors.New("evaluating the expression: " + clip(err.Error()))
}

func (p *Program) variables(in Input) (map[string]any, error) {
	args := in.Args
	if args == nil {
		args = map[string]string{}
	}
	vars := map[string]any{varArgs: args, varValue: in.Value}
	if in.Answer == nil {
		return vars, nil
	}
	vars[varStatus], vars[varHeaders], vars[varBody] = int64(in.Answer.Status), in.Answer.Headers, strings.ToValidUTF8(string(in.Answer.Body), "?")
	if !p.json {
		return vars, nil
	}
	var decoded any
	if err := json.Unmarshal(in.Answer.Body, &decoded); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	vars[varJSON] = decoded
	return vars, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "a string"
	case float64, int64, uint64:
		return "a number"
	}
	if t, ok := v.(interface{ String() string }); ok && t.String() == types.NullType.TypeName() || fmt.Sprintf("%T", v) == "structpb.NullValue" {
		return "null"
	}
	return "a list, a map, or the like"
}

func clip(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if r := []rune(s); len(r) > maxText {
		return string(r[:maxText-1]) + "…"
	}
	return s
}
