// Package chaos breaks Engram on several hosts, in every way that docs/RELIABILITY.md lists, while clients work on it, and checks that
// nothing accepted is lost, nothing is there twice, and every answer holds what it claims. Its tests need the build tag chaos,
// Docker Engine and root; "task chaos" runs them.
package chaos
