// Package lint holds the rules of this repository that no tool checks: which
// package may import which, and what does not belong in the code. The rules are
// tests, and the package has no code of its own.
package lint
