package npy

import (
	"fmt"
	"math"
	"strings"
)

// dict is the Python literal of a header, uninterpreted. NumPy's own reader asks for exactly these three keys too.
type dict struct {
	descr   string
	fortran bool
	shape   []uint64
}

// maxDims is the most dimensions that NumPy allows; more in a header is damage.
const maxDims = 64

// parser reads the subset of Python's literals that a header is made of: a dict of strings, booleans and a tuple of
// integers. It never backs up, and every step consumes input, so the time is linear in the length.
type parser struct {
	s   string
	pos int
}

func parseDict(s string) (dict, error) {
	p := &parser{s: s}
	var d dict
	seen := map[string]bool{}
	if err := p.expect('{'); err != nil {
		return dict{}, err
	}
	for !p.accept('}') {
		key, err := p.str()
		if err != nil {
			return dict{}, err
		}
		if seen[key] {
			return dict{}, p.errorf("the key %q stands there twice", key)
		}
		seen[key] = true
		if err := p.expect(':'); err != nil {
			return dict{}, err
		}
		switch key {
		case "descr":
			if p.peek() == '[' {
				return dict{}, fmt.Errorf("the array is structured (records with named fields); save one field of it: %w",
					ErrUnsupported)
			}
			d.descr, err = p.str()
		case "fortran_order":
			d.fortran, err = p.boolean()
		case "shape":
			d.shape, err = p.tuple()
		default:
			err = p.errorf("the key %q is unknown", key)
		}
		if err != nil {
			return dict{}, err
		}
		if !p.accept(',') {
			if err := p.expect('}'); err != nil {
				return dict{}, err
			}
			break
		}
	}
	if p.peek() != 0 || p.pos != len(p.s) {
		return dict{}, p.errorf("there is more after the closing brace")
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !seen[key] {
			return dict{}, p.errorf("the key %q is missing", key)
		}
	}
	return d, nil
}

// errorf is an error at the place that the parser has reached.
func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("the header does not parse at byte %d: %s: %w", p.pos, fmt.Sprintf(format, args...), ErrFormat)
}

// peek skips white space and returns the next byte, or 0 at the end.
func (p *parser) peek() byte {
	for p.pos < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.pos]) >= 0 {
		p.pos++
	}
	if p.pos == len(p.s) {
		return 0
	}
	return p.s[p.pos]
}

func (p *parser) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) expect(c byte) error {
	if p.accept(c) {
		return nil
	}
	if p.pos == len(p.s) {
		return p.errorf("it ends where %q should be", c)
	}
	return p.errorf("%q stands where %q should be", p.s[p.pos], c)
}

// str reads a quoted string. NumPy never writes an escape into one, so a backslash is an error rather than a guess.
func (p *parser) str() (string, error) {
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		return "", p.errorf("a quoted string should be here")
	}
	rest := p.s[p.pos+1:]
	end := strings.IndexByte(rest, quote)
	if end < 0 {
		return "", p.errorf("a quoted string does not end")
	}
	if strings.ContainsAny(rest[:end], "\\\n\x00") {
		return "", p.errorf("a quoted string has an escape or a control character in it")
	}
	p.pos += end + 2
	return rest[:end], nil
}

func (p *parser) boolean() (bool, error) {
	p.peek()
	for _, v := range []bool{true, false} {
		word := "False"
		if v {
			word = "True"
		}
		if strings.HasPrefix(p.s[p.pos:], word) {
			p.pos += len(word)
			return v, nil
		}
	}
	return false, p.errorf("True or False should be here")
}

// tuple reads "()", "(1,)", "(1, 2)" or "(1, 2,)". Python reads "(1)" as a number, so that is refused.
func (p *parser) tuple() ([]uint64, error) {
	if err := p.expect('('); err != nil {
		return nil, err
	}
	var t []uint64
	for comma := true; !p.accept(')'); {
		if !comma {
			return nil, p.errorf("a comma or a closing parenthesis should be here")
		}
		v, err := p.integer()
		if err != nil {
			return nil, err
		}
		if t = append(t, v); len(t) > maxDims {
			return nil, p.errorf("the shape has more than %d dimensions", maxDims)
		}
		comma = p.accept(',')
		if len(t) == 1 && !comma {
			return nil, p.errorf("a shape of one dimension needs a comma, as in (5,)")
		}
	}
	return t, nil
}

// integer reads a decimal number without a sign; Python 2 wrote an L after some.
func (p *parser) integer() (uint64, error) {
	p.peek()
	start, v := p.pos, uint64(0)
	for ; p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9'; p.pos++ {
		digit := uint64(p.s[p.pos] - '0')
		if v > (math.MaxUint64-digit)/10 {
			return 0, p.errorf("a dimension is larger than 64 bits hold")
		}
		v = v*10 + digit
	}
	if p.pos == start {
		return 0, p.errorf("a whole number should be here")
	}
	if p.pos < len(p.s) && p.s[p.pos] == 'L' {
		p.pos++
	}
	return v, nil
}
