// Package importer loads a file into a space: JSON lines, an .npy file of embeddings, or text a line each.
//
// # Resuming
//
// Every record has an id that depends on the file alone: its own, `<session>:<sequence>`, or the file's name with the
// number of its line or row. Before a batch is sent, its ids are asked for, and what is there already is left out, so a
// second run of the same file adds nothing, and a run that was stopped in the middle goes on where it stopped. What is
// there is not compared: a file whose lines have changed adds what is new, and changes nothing. The same holds within one
// file, where the first record of an id counts.
//
// # Failures
//
// A record that is refused is reported with its number and left out; the rest goes on. Backpressure is waited out for as
// long as it is said; silence is borne for [Config].Patience, and ends the run then.
//
// Batches travel several at once. The first one of a new space travels alone, since it defines the space: were it to race
// with others, chance would pick the dimension.
package importer
