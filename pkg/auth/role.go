package auth

import (
	"fmt"
	"strings"

	"github.com/engram-memory/engram/pkg/event"
)

// Role is what a principal may do in a space.
type Role int

// The roles. None implies another.
const (
	Observe Role = iota // write observations; the first one makes the space
	Recall              // recall, get and list observations
	Forget              // forget observations, or the space as a whole
	Admin               // define and compact spaces
	roles
)

var roleNames = [roles]string{"observe", "recall", "forget", "admin"}

func (r Role) String() string {
	if r < 0 || r >= roles {
		return fmt.Sprintf("role %d", int(r))
	}
	return roleNames[r]
}

// ParseRole returns the role of a name.
func ParseRole(name string) (Role, bool) {
	for r, n := range roleNames {
		if n == name {
			return Role(r), true
		}
	}
	return 0, false
}

// RoleNames returns the names of all roles.
func RoleNames() []string { return append([]string(nil), roleNames[:]...) }

// pattern is the name of a space, or the beginning of names.
type pattern struct {
	text   string
	prefix bool
}

// parsePattern reads "notes", "team-*" or "*".
func parsePattern(s string) (pattern, error) {
	text, prefix := strings.CutSuffix(s, "*")
	if prefix && text == "" {
		return pattern{prefix: true}, nil
	}
	// The beginning of a name is a name, too.
	if err := event.ValidateSpace(text); err != nil {
		return pattern{}, fmt.Errorf("%.80q is not the name of a space, or the beginning of one with * behind it", s)
	}
	return pattern{text, prefix}, nil
}

func (p pattern) String() string {
	if p.prefix {
		return p.text + "*"
	}
	return p.text
}

func (p pattern) covers(space string) bool {
	if p.prefix {
		return strings.HasPrefix(space, p.text)
	}
	return space == p.text
}

// coversPrefix tells that every space with this beginning is covered.
func (p pattern) coversPrefix(prefix string) bool {
	return p.prefix && strings.HasPrefix(prefix, p.text)
}
