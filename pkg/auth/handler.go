package auth

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/engram-memory/engram/pkg/wire"
)

// Handler authenticates every request before next sees it, and charges it to its principal's rate. Who cannot be
// authenticated gets a 401 in the format of the contract, before anything of the body is read.
func (a *Authenticator) Handler(next http.Handler) http.Handler {
	return sameSite(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, refused := a.Authenticate(r)
		if refused != nil {
			if refused.Code == wire.CodeUnauthenticated {
				refused = a.failed(r, refused)
			}
			refuse(w, r, refused)
			return
		}
		who := asking{principal: p, now: a.now}
		if a.rates != nil {
			who.charge = func(n int) time.Duration { return a.rates.take(a.now(), p.Name, n) }
			if wait := who.charge(1); wait > 0 {
				refuse(w, r, limited(p.Name, wait))
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, who)))
	}))
}

// Open lets everybody do everything: the listener of a node on loopback, or one that was told to be insecure. Where only
// this machine can connect, a page in a browser on it could too, so what a browser sends for another site is refused; and so
// is, with loopback, a name in Host that such a page's owner could have led here.
func Open(loopback bool, next http.Handler) http.Handler {
	return sameSite(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback && !localHost(r.Host) {
			refuse(w, r, wire.Errorf(wire.CodeForbidden, "", "the request was sent to %.100q, and without authentication only an address or localhost is answered", r.Host))
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), everyone)))
	}))
}

// OnlyMetrics lets only those pass who may read /metrics; paths that say no more than whether the process lives pass
// always.
func (a *Authenticator) OnlyMetrics(next http.Handler) http.Handler {
	guarded := a.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := FromContext(r.Context()); !p.Metrics {
			refuse(w, r, wire.Errorf(wire.CodeForbidden, "", "%s may not read the metrics; its line in auth.file, or the scope of its token, needs metrics", p.Name))
			return
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// sameSite refuses what a browser sends for a page of another site. Other clients send none of the headers it goes by.
func sameSite(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if guard.Check(r) != nil {
			refuse(w, r, wire.Errorf(wire.CodeForbidden, "", "a browser sends this for a page of another site"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localHost tells that the name a request was sent to is an address, or localhost.
func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return host == "" || strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil
}

// rpcErrors writes what gRPC, gRPC-Web and Connect understand: a status of HTTP would be another code to gRPC.
var rpcErrors = connect.NewErrorWriter()

// isRPC tells a call of gRPC or Connect, whose path is /<package>.<Service>/<Method>, from the other paths of the port.
func isRPC(r *http.Request) bool {
	service, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	return ok && strings.Contains(service, ".") && rpcErrors.IsSupported(r)
}

// refuse answers in the format of the request, as every handler does.
func refuse(w http.ResponseWriter, r *http.Request, e *wire.Error) {
	if e.Code == wire.CodeUnauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if isRPC(r) {
		_ = rpcErrors.Write(w, r, e.Connect()) // a client that is gone does not need it
		return
	}
	f, unknown := wire.FormatOf(r.Header.Get("Content-Type"), []byte("{"))
	if unknown != nil {
		f = wire.JSON
	}
	wire.WriteError(w, f, e)
}
