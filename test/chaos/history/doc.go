// Package history records what clients asked of an Engram and what they were told, and finds what contradicts its promises:
// something accepted that is not there, something twice, a read that is older than the position it waited for, something
// forgotten that came back, an older version in the place of a newer one.
//
// It is a checker of tests, and has tests of its own: for each kind of violation a history that has it.
package history
