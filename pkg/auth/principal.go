package auth

import (
	"context"
	"slices"
	"time"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/wire"
)

// Principal is somebody who was authenticated. It is not changed once it is made.
type Principal struct {
	// Name is what it is called in logs, and what owns a session: that of the file, or "jwt:" and the subject of a token.
	Name string
	// Metrics tells that it may read /metrics.
	Metrics bool
	// Expires is from when on what it was authenticated by does not hold any more, the leeway of JSON web tokens included; zero
	// for never. A request that was begun before is served; what goes on for long is not.
	Expires time.Time

	grants [roles][]pattern
}

// everyone is who asks where there is no authentication.
var everyone = &Principal{Name: "everyone", Metrics: true, grants: [roles][]pattern{{{prefix: true}}, {{prefix: true}}, {{prefix: true}}, {{prefix: true}}}}

// Everyone returns the principal with every role in every space: who asks where there is no authentication.
func Everyone() *Principal { return everyone }

// May returns nil where the principal has a role in a space, else a CodeForbidden; a nil principal, who was never
// authenticated, gets a CodeUnauthenticated.
func (p *Principal) May(role Role, space string) *wire.Error {
	if p == nil {
		return unauthenticated("the request carries no credentials; send a token as Authorization: Bearer <token>")
	}
	if !p.has(role, func(g pattern) bool { return g.covers(space) }) {
		return wire.Errorf(wire.CodeForbidden, "space", "%s has not the role %s in space %q", p.Name, role, space)
	}
	return nil
}

// MayAll is May for every space of a list. The empty name, that of a field which is not set, is passed over.
func (p *Principal) MayAll(role Role, spaces ...string) *wire.Error {
	for _, s := range spaces {
		if s == "" {
			continue
		}
		if err := p.May(role, s); err != nil {
			return err
		}
	}
	return nil
}

// MayPrefix is May for every space whose name begins with a prefix, whether it exists or not. The empty prefix is all spaces.
func (p *Principal) MayPrefix(role Role, prefix string) *wire.Error {
	if p == nil {
		return p.May(role, prefix)
	}
	if !p.has(role, func(g pattern) bool { return g.coversPrefix(prefix) }) {
		return wire.Errorf(wire.CodeForbidden, "space", "%s has not the role %s in all spaces %q; name single ones", p.Name, role, prefix+"*")
	}
	return nil
}

// Sees tells that the principal has any role in a space, and so may know that it is there.
func (p *Principal) Sees(space string) bool {
	for r := range roles {
		if p.May(r, space) == nil {
			return true
		}
	}
	return false
}

func (p *Principal) has(role Role, covers func(pattern) bool) bool {
	return role >= 0 && role < roles && slices.ContainsFunc(p.grants[role], covers)
}

func (p *Principal) expired(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

func unauthenticated(format string, args ...any) *wire.Error {
	return wire.Errorf(wire.CodeUnauthenticated, "", format, args...)
}

// asking is what a context knows of who asks.
type asking struct {
	principal *Principal
	charge    func(n int) time.Duration // nil where there are no rates
	now       func() time.Time          // nil where nothing expires
}

type contextKey struct{}

// NewContext returns a context in which a principal asks. Tests and other transports use it; HTTP has the Handler.
func NewContext(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, asking{principal: p})
}

// FromContext returns who asks; nil for nobody that was authenticated.
func FromContext(ctx context.Context) *Principal {
	a, _ := ctx.Value(contextKey{}).(asking)
	return a.principal
}

// Require returns nil where who asks has a role in every space of a list; the empty name is passed over.
func Require(ctx context.Context, role Role, spaces ...string) *wire.Error {
	p := FromContext(ctx)
	if p == nil {
		return p.May(role, "")
	}
	return p.MayAll(role, spaces...)
}

// RequirePrefix returns nil where who asks has a role in every space whose name begins with a prefix.
func RequirePrefix(ctx context.Context, role Role, prefix string) *wire.Error {
	return FromContext(ctx).MayPrefix(role, prefix)
}

// RequireRecall returns nil where who asks may recall from all spaces that a request can be answered from: the one that its
// subject or path names, if any does, those that its body names, and every one whose name begins with its prefix, be it there
// or not, since who may not see all of them is not told which there are.
func RequireRecall(ctx context.Context, subject string, req *api.RecallRequest) *wire.Error {
	if err := Require(ctx, Recall, append([]string{subject, req.GetSpace()}, req.GetSpaces()...)...); err != nil {
		return err
	}
	if req.GetPrefix() == "" {
		return nil
	}
	return RequirePrefix(ctx, Recall, req.GetPrefix())
}

// Charge takes n requests from the rate that who asks may have, or returns a CodeRateLimited that says when there is room,
// or a CodeUnauthenticated where what they were authenticated by has expired meanwhile. The Handler charges one for each
// HTTP request; a stream charges for each message that stands for a request.
func Charge(ctx context.Context, n int) *wire.Error {
	a, _ := ctx.Value(contextKey{}).(asking)
	if a.now != nil && a.principal.expired(a.now()) {
		return unauthenticated("the token or certificate of %s has expired since the request began; send the rest with a new one", a.principal.Name)
	}
	if a.charge == nil {
		return nil
	}
	if wait := a.charge(n); wait > 0 {
		return limited(a.principal.Name, wait)
	}
	return nil
}

func limited(who string, wait time.Duration) *wire.Error {
	e := wire.Errorf(wire.CodeRateLimited, "", "%s asks more often than it may; send the request again later", who)
	e.RetryAfter = max(wait, time.Millisecond)
	return e
}
