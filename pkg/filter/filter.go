package filter

import (
	"container/list"
	"errors"
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

const (
	// MaxCost is what deciding about one observation may cost.
	MaxCost = 20_000
	// cached is how many expressions a Compiler keeps.
	cached = 256
	// maxDepth is how deeply an expression may be nested.
	maxDepth = 64
	// maxRegex is the largest program of a regular expression.
	maxRegex = 1000
)

// Error is why an expression is refused, or could not be decided.
type Error struct {
	// Line and Column are where in the source it is, from 1; 0 where it is about all of it.
	Line, Column int
	// Costly tells that it is about what the expression costs, not about what it says.
	Costly  bool
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return "the filter " + e.Message
	}
	return fmt.Sprintf("the filter is wrong at line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Wire returns the error as the contract says it.
func (e *Error) Wire() *wire.Error {
	code := wire.CodeFilterInvalid
	if e.Costly {
		code = wire.CodeFilterCostly
	}
	return wire.Errorf(code, "filter", "%v", e)
}

// Compiler compiles expressions and keeps those used last. It may be used by any number of goroutines.
type Compiler struct {
	env *cel.Env

	mu    sync.Mutex
	known map[string]*list.Element // of *Filter
	used  list.List                // the one used last comes first
}

// NewCompiler returns a compiler that keeps nothing yet.
func NewCompiler() (*Compiler, error) {
	env, err := cel.NewEnv(
		cel.Variable("metadata", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("time", cel.TimestampType), cel.Variable("observed_at", cel.TimestampType),
		cel.Variable("importance", cel.DoubleType), cel.Variable("priority", cel.StringType),
		cel.Variable("id", cel.StringType), cel.Variable("session", cel.StringType), cel.Variable("sequence", cel.IntType),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(event.MaxFilter), cel.RegexProgramSizeLimit(maxRegex),
	)
	if err != nil {
		return nil, fmt.Errorf("preparing for filters: %w", err)
	}
	return &Compiler{env: env, known: map[string]*list.Element{}}, nil
}

// Compile returns the filter of an expression. The error is an *Error.
func (c *Compiler) Compile(source string) (*Filter, error) {
	c.mu.Lock()
	if e, ok := c.known[source]; ok {
		c.used.MoveToFront(e)
		f, _ := e.Value.(*Filter)
		c.mu.Unlock()
		return f, nil
	}
	c.mu.Unlock()
	f, err := c.compile(source)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[source]; ok { // another one was faster
		f, _ = e.Value.(*Filter)
		return f, nil
	}
	c.known[source] = c.used.PushFront(f)
	if c.used.Len() > cached {
		if oldest, ok := c.used.Remove(c.used.Back()).(*Filter); ok {
			delete(c.known, oldest.source)
		}
	}
	return f, nil
}

// Len returns how many expressions are kept.
func (c *Compiler) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used.Len()
}

func (c *Compiler) compile(source string) (_ *Filter, err error) {
	if len(source) > event.MaxFilter {
		return nil, &Error{Message: fmt.Sprintf("has %d bytes; it can have up to %d", len(source), event.MaxFilter)}
	}
	ast, issues := c.env.Compile(source)
	if issues != nil && issues.Err() != nil {
		all := issues.Errors()
		if len(all) == 0 {
			return nil, &Error{Message: "cannot be compiled: " + issues.Err().Error()}
		}
		return nil, &Error{Line: max(all[0].Location.Line(), 1), Column: max(all[0].Location.Column()+1, 1), Message: all[0].Message}
	}
	if t := ast.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return nil, &Error{Message: fmt.Sprintf("is a %s; it must be true or false of an observation", t)}
	}
	cost, err := c.env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("cannot be estimated: %v", err)}
	}
	if cost.Min > MaxCost {
		return nil, &Error{Costly: true, Message: fmt.Sprintf("costs %d or more for an observation, and may cost %d; look at less of it", cost.Min, MaxCost)}
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if cost.Max > MaxCost {
		opts = append(opts, cel.CostLimit(MaxCost))
	}
	program, err := c.env.Program(ast, opts...)
	if err != nil {
		return nil, &Error{Message: fmt.Sprintf("cannot be compiled: %v", err)}
	}
	return &Filter{source: source, program: program}, nil
}

// sizes says how large things can be, for the estimate of the cost.
type sizes struct{}

func (sizes) EstimateSize(e checker.AstNode) *checker.SizeEstimate {
	path := e.Path()
	if len(path) == 0 {
		return nil
	}
	most := map[string]uint64{"metadata": event.MaxMetadataKeys, "id": event.MaxID, "session": event.MaxSession, "priority": 6}[path[0]]
	if path[0] == "metadata" && len(path) > 1 {
		most = event.MaxMetadata
	}
	if most == 0 {
		return nil
	}
	return &checker.SizeEstimate{Max: most}
}

func (sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// Filter is a compiled expression. It may be used by any number of goroutines.
type Filter struct {
	source  string
	program cel.Program
}

// Source returns the expression.
func (f *Filter) Source() string { return f.source }

// rows are those that are being looked at.
var rows = sync.Pool{New: func() any { return new(row) }}

// Match tells whether an observation is meant: its id, and the rest of it as the store keeps it, the protobuf of an
// api.Observation of which only what the expression asks for is read. The error is an *Error.
func (f *Filter) Match(id string, body []byte) (bool, error) {
	r, _ := rows.Get().(*row)
	r.id, r.body = id, body
	v, _, err := f.program.Eval(r)
	r.id, r.body = "", nil
	rows.Put(r)
	if err != nil {
		var ended interpreter.EvalCancelledError
		if errors.As(err, &ended) && ended.Cause == interpreter.CostLimitExceeded {
			return false, &Error{Costly: true, Message: fmt.Sprintf("costs more than %d for observation %q; look at less of it", MaxCost, id)}
		}
		return false, nil // it has no value for this one
	}
	return v == types.True, nil
}
