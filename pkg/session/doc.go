// Package session is what a stream of observations is, whatever carries it: a session with numbered observations, a
// window of those that are not acknowledged yet, and a state in the bucket ENGRAM_SESSIONS with which any gateway can go
// on. A transport is a Conn; Manager.Serve runs a stream on it from the first frame to the last.
//
// # What holds
//
//   - Sequences begin at 1, and the next one expected is the only new one that is taken. It moves on when an observation is
//     handed to the log, and back to the first that the log did not take, at once: everything from there on is refused, and
//     what is not in the log yet is kept from getting there, so that the observations of a session are in the log of their shard
//     in the order of their sequences.
//   - Acks are sent in the order of the sequences. So everything up to the last one that was acked is durable.
//   - The log knows an observation as `<space>#stream/<session>:<sequence>`, which nobody can write under but a stream. So what
//     is sent again, to this gateway or another one, adds nothing, and gets its first position.
//   - An observation takes a place in the window until its last ack was written to the connection. While the window is full
//     the connection is not read.
//
// # What the bucket knows
//
// A state is exact or not. It becomes inexact before a session takes its first observation, is written anew every
// save_interval while the session takes more, and becomes exact when it has been quiet for twice as long or the stream ends.
// So a gateway that is killed leaves either an exact state, or one that is not much older than its death. What it took
// beyond the saved sequence is found out by sending it again; the log knows the write ids again for as long as its
// duplicate window, and a session with an inexact state older than that cannot be resumed.
package session
