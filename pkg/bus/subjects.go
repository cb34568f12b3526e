package bus

import (
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/streams"
)

// Headers of messages.
const (
	// HeaderMsgID carries the write id in the log, and the position in the quarantine: what the server knows a
	// duplicate by.
	HeaderMsgID = jetstream.MsgIDHeader // Nats-Msg-Id
	// HeaderContentType says how a body is encoded; absent means protobuf.
	HeaderContentType = "Content-Type"
	// HeaderSpace names the space where the subject has none: on a request that was forwarded to a shard.
	HeaderSpace = "Engram-Space"
	// HeaderPosition is the position in the log of a quarantined event.
	HeaderPosition = "Engram-Position"
	// HeaderReason is why an event is in the quarantine, as a label of the metric of quarantined events.
	HeaderReason = "Engram-Reason"
)

// Values of HeaderContentType.
const (
	ContentProtobuf = "application/protobuf"
	ContentJSON     = "application/json"
)

// Names of the buckets, as jetstream.KeyValue takes them, and of the stream of events that could not be applied.
const (
	SpacesBucket     = "ENGRAM_SPACES"
	SessionsBucket   = "ENGRAM_SESSIONS"
	MetaBucket       = "ENGRAM_META"
	MembersBucket    = "ENGRAM_MEMBERS"
	SnapshotsBucket  = "ENGRAM_SNAPSHOTS"
	SnapshotsStream  = "OBJ_" + SnapshotsBucket
	QuarantineStream = "ENGRAM_QUARANTINE"
)

// What a worker answers for a shard that it holds: the last token of ShardSubject.
const (
	VerbRecall = "recall"
	VerbGet    = "get"
	VerbList   = "list"
	VerbSpaces = "spaces"
	VerbAwait  = "await"
	// VerbCompact is answered by every copy of a shard, each for itself.
	VerbCompact = "compact"
	// VerbLook searches every copy of a shard for what was forgotten.
	VerbLook = "look"
	// VerbSnapshot is answered by one copy of a shard, which takes a snapshot of it.
	VerbSnapshot = "snapshot"
)

// Any stands for every space, or every worker, in a subject to subscribe to.
const Any = "*"

const root = "engram."

// LogStream returns the name of the stream of one shard, ENGRAM_LOG_<n>.
func LogStream(shard int) string { return "ENGRAM_LOG_" + strconv.Itoa(shard) }

// LogSubject returns the subject of a space's entries in the log of its shard, engram.log.<shard>.<space>.
func LogSubject(shard int, space string) string {
	return root + "log." + strconv.Itoa(shard) + "." + space
}

// QuarantineSubject returns the subject of a shard's events that could not be applied, engram.quarantine.<shard>.
func QuarantineSubject(shard int) string { return root + "quarantine." + strconv.Itoa(shard) }

// ObserveSubject returns the subject that takes observations of a space, engram.observe.<space>; Any subscribes to all.
func ObserveSubject(space string) string { return root + "observe." + space }

// RecallSubject returns the subject that answers recalls of a space, engram.recall.<space>; Any subscribes to all.
func RecallSubject(space string) string { return root + "recall." + space }

// GetSubject returns the subject that answers gets by id in a space, engram.get.<space>; Any subscribes to all.
func GetSubject(space string) string { return root + "get." + space }

// ListSubject returns the subject that lists the observations of a space, engram.list.<space>; Any subscribes to all.
func ListSubject(space string) string { return root + "list." + space }

// ForgetSubject returns the subject that takes forgets in a space, engram.forget.<space>; Any subscribes to all.
func ForgetSubject(space string) string { return root + "forget." + space }

// DefineSubject returns the subject that makes a space, engram.define.<space>; Any subscribes to all.
func DefineSubject(space string) string { return root + "define." + space }

// CompactSubject returns the subject that compacts a space, engram.compact.<space>; Any subscribes to all.
func CompactSubject(space string) string { return root + "compact." + space }

// PressureSubject returns the subject on which gateways say that they refuse observations of a space, and that they take
// them again, engram.pressure.<space>; Any subscribes to all.
func PressureSubject(space string) string { return root + "pressure." + space }

// RecallManySubject is the subject that answers recalls from several spaces, which the request names.
const RecallManySubject = root + "recall"

// ProveSubject returns the subject that looks for what was forgotten of a space, engram.prove.<space>; Any subscribes to all.
func ProveSubject(space string) string { return root + "prove." + space }

// SpacesSubject is the subject that lists the spaces.
const SpacesSubject = root + "spaces"

// ShardSubject returns the subject that the workers of a shard serve, engram.shard.<n>.<verb>.
func ShardSubject(shard int, verb string) string {
	return root + "shard." + strconv.Itoa(shard) + "." + verb
}

// DrainSubject returns the subject on which a worker is told to give up its shards, engram.worker.<worker>.drain; Any subscribes to
// all.
func DrainSubject(worker string) string { return root + "worker." + worker + ".drain" }

// HeartbeatSubject returns the subject that a worker broadcasts its state on, engram.heartbeat.<worker>; Any subscribes
// to all.
func HeartbeatSubject(worker string) string { return root + "heartbeat." + worker }

// SpaceOf returns the space that a subject names: the last token of the subjects of observe, recall, get, list, forget,
// define, compact, prove, pressure and log. It is false for every other subject, and where the last token is not the legal name of a space.
func SpaceOf(subject string) (space string, ok bool) {
	kind, rest, ok := split(subject)
	if !ok {
		return "", false
	}
	switch kind {
	case "observe", "recall", "get", "list", "forget", "define", "compact", "prove", "pressure":
		space = rest
	case "log":
		var shard string
		if shard, space, ok = strings.Cut(rest, "."); !ok {
			return "", false
		}
		if _, ok := shardNumber(shard); !ok {
			return "", false
		}
	}
	if event.ValidateSpace(space) != nil {
		return "", false
	}
	return space, true
}

// ShardOf returns the shard that a subject names: that of log, shard and quarantine. It is false for every other subject.
func ShardOf(subject string) (shard int, ok bool) {
	kind, rest, ok := split(subject)
	if !ok {
		return 0, false
	}
	number, tail, more := strings.Cut(rest, ".")
	switch kind {
	case "log", "shard":
		if !more || tail == "" {
			return 0, false
		}
	case "quarantine":
		if more {
			return 0, false
		}
	default:
		return 0, false
	}
	return shardNumber(number)
}

// WorkerOf returns the worker that a heartbeat's subject names; it is false for every other subject.
func WorkerOf(subject string) (worker string, ok bool) {
	kind, worker, ok := split(subject)
	if !ok || kind != "heartbeat" || worker == "" || strings.Contains(worker, ".") {
		return "", false
	}
	return worker, true
}

// ValidWorker tells whether a name can be that of a worker: it is a token of subjects.
func ValidWorker(name string) bool {
	_, err := streams.Worker(name)
	return err == nil
}

// split cuts engram.<kind>.<rest>.
func split(subject string) (kind, rest string, ok bool) {
	tail, ok := strings.CutPrefix(subject, root)
	if !ok {
		return "", "", false
	}
	return strings.Cut(tail, ".")
}

// shardNumber accepts a shard as LogSubject writes it, and in no other spelling: "07" is another subject.
func shardNumber(token string) (int, bool) {
	n, err := strconv.Atoi(token)
	if err != nil || n < 0 || n >= event.MaxShards || strconv.Itoa(n) != token {
		return 0, false
	}
	return n, true
}
