package bus

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// resolve is for a batch that the server refused for a write id that it has seen: what it has seen is dropped and gets
// its first position, and the rest is sent again as a batch. The refusal does not say which ids these are, and a refused
// batch costs the server more than a committed one (it is staged on the disk first, about 7 ms), so they are not looked
// for by sending parts of it.
func resolve(ctx context.Context, js jetstream.JetStream, entries []Entry, out []Outcome) {
	first := make(map[string]int, len(entries)) // where each id stands first
	probes := make([]jetstream.PubAckFuture, len(entries))
	for i, e := range entries {
		if _, twice := first[e.ID]; !twice {
			first[e.ID] = i
			probes[i] = probe(js, e)
		}
	}
	var rest []int
	var again []Entry
	for i, e := range entries {
		switch sequence, seen := seen(ctx, probes[i]); {
		case first[e.ID] != i:
		case seen:
			out[i] = Outcome{Sequence: sequence, Duplicate: true}
		default:
			rest, again = append(rest, i), append(again, e)
		}
	}
	outcomes := make([]Outcome, len(again))
	switch len(again) {
	case 0:
	case len(entries):
		// The server could not be asked, or has changed its mind.
		for i, e := range again {
			outcomes[i] = publishOne(ctx, js, e)
		}
	default:
		publishBatch(ctx, js, again, outcomes)
	}
	for i, o := range outcomes {
		out[rest[i]] = o
	}
	for i, e := range entries {
		if f := first[e.ID]; f != i {
			out[i] = Outcome{Sequence: out[f].Sequence, Duplicate: out[f].Err == nil, Err: out[f].Err}
		}
	}
}

// noMessageID is none that an entry can have: write ids have more than one character.
const noMessageID = "?"

// probe asks whether the stream has seen an entry's write id, without writing anything: the server looks for duplicates
// first, and refuses what is none for not following a message with an id that no message has. It returns nil when the
// question could not be sent.
func probe(js jetstream.JetStream, e Entry) jetstream.PubAckFuture {
	future, err := js.PublishMsgAsync(&nats.Msg{Subject: e.Subject, Header: nats.Header{
		nats.MsgIdHdr: {e.ID}, nats.ExpectedLastMsgIdHdr: {noMessageID},
	}})
	if err != nil {
		return nil
	}
	return future
}

// seen waits for the answer to a probe, and returns the sequence of the message that has the id. No answer counts as no.
func seen(ctx context.Context, probe jetstream.PubAckFuture) (sequence uint64, seen bool) {
	if probe == nil {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	select {
	case ack := <-probe.Ok():
		return ack.Sequence, ack.Duplicate
	case <-probe.Err():
	case <-ctx.Done():
	}
	return 0, false
}
