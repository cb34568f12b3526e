// Package auth says who asks, and what they may do.
//
// An [Authenticator] reads the principals of a file, one a line, and the keys that JSON web tokens are signed with; its
// [Authenticator.Handler] stands before the handlers of one listener, for every protocol on it, and puts the [Principal] into
// the context of the request. Handlers ask [Require] and [RequirePrefix] for every space that a request names, be it in its
// path or in its body, before they do anything. A context without a principal may do nothing.
//
//	name    what presents it              roles, each with its spaces
//	ingest  token=sha256:9f86d081884c7d…  observe=team-a,logs-*
//	search  cert=CN:search                recall=*  forget=team-a
//
// The listener without authentication has [Open] in the place of the handler of an Authenticator; daemons refuse to begin
// that way where others than this machine can connect.
package auth
