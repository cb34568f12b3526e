// Package event holds what every part of Engram must agree on: how a space is named and which shard it lives in, what
// a position in the log looks like, and the limits of an observation. It imports nothing else of this module.
package event
