// Package simulate says what a deployment that nobody has here would carry: from costs that were measured, each with what
// measured it, and the placement that workers use, it works out which part is full first.
//
// It is arithmetic. It knows of no queueing, no cache that is too small, and no latency; what it says of a rate is a ceiling
// that a real deployment stays below.
package simulate
