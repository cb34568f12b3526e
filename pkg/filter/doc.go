// Package filter decides which observations a request means, by an expression in CEL, the Common Expression Language
// (cel.dev), over what an observation carries beside its embedding and its text:
//
//	metadata    map(string, dyn)  strings, doubles and booleans
//	time        timestamp         when it was observed; observed_at is the same
//	importance  double            0 to 1, 0 where none was given
//	priority    string            "normal" or "high"
//	id          string
//	session     string            empty where there is none
//	sequence    int               within its session, 0 where there is none
//
// An expression is compiled once and kept, as long as it is among those used last. There is no clock in it: what it says of
// an observation never changes, so that answers may be remembered, and that a forget by filter means the same to every copy
// that replays it.
//
// A row for which an expression has no value does not match: one without the key that is asked for, or with a value of
// another type. So `metadata.n > 3` and `!(metadata.n > 3)` both leave out rows without n, and has(metadata.n) tells.
//
// What an expression may cost is bounded twice: one that must cost more than MaxCost is refused when it is compiled, and one
// that can is watched while it runs. Costs are those of CEL: about one for each step, and one for ten bytes of text that are
// looked at.
package filter

// An expression may name a time zone (time.getHours("Europe/Berlin")): all copies know the same ones, whatever their machines have.
import _ "time/tzdata"
