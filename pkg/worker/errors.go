package worker

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/engram-memory/engram/pkg/filter"
	"github.com/engram-memory/engram/pkg/vecstore"
	"github.com/engram-memory/engram/pkg/vecstore/columns"
	"github.com/engram-memory/engram/pkg/vfs"
	"github.com/engram-memory/engram/pkg/wire"
)

// storeError says in the contract's words why the store refused an event or a request.
func storeError(err error) *wire.Error {
	var filtered *filter.Error
	if errors.As(err, &filtered) {
		return filtered.Wire()
	}
	for _, c := range []struct {
		is    error
		code  wire.Code
		field string
	}{
		{vecstore.ErrUnknownSpace, wire.CodeUnknownSpace, "space"},
		{vecstore.ErrDimension, wire.CodeWrongDimension, "embedding"},
		{vecstore.ErrDefinition, wire.CodeInvalidArgument, "space"},
		{vecstore.ErrTooLarge, wire.CodeTooLarge, ""},
		{vecstore.ErrNotFound, wire.CodeNotFound, "id"},
		{vecstore.ErrUnsupported, wire.CodeUnsupported, ""},
		{vecstore.ErrClosed, wire.CodeUnavailable, ""},
		{context.DeadlineExceeded, wire.CodeDeadline, ""},
	} {
		if errors.Is(err, c.is) {
			return wire.Errorf(c.code, c.field, "%v", err)
		}
	}
	return wire.Errorf(wire.CodeInternal, "", "%v", err)
}

// diskFailed tells the failures of a disk from those of what was asked of it: full, over a quota, read-only, broken.
func diskFailed(err error) bool {
	for _, disk := range []error{vecstore.ErrFailed, columns.ErrFailed, vfs.ErrFault} {
		if errors.Is(err, disk) {
			return true
		}
	}
	var errno syscall.Errno
	var path *fs.PathError
	return errors.As(err, &errno) || errors.As(err, &path)
}

// refusal is storeError for a request. What is wrong with the files of a copy is for its log, and not for a client, who
// is told whether another copy may do better.
func (v *service) refusal(err error) *wire.Error {
	damaged := errors.Is(err, vecstore.ErrCorrupt) || errors.Is(err, columns.ErrCorrupt)
	if !damaged && !diskFailed(err) {
		return storeError(err)
	}
	v.s.log.Error().Err(err).Msg("a request failed at the files of this copy")
	if damaged {
		return wire.Errorf(wire.CodeInternal, "", "what this copy of shard %d has on its disk is damaged; the log of worker %s says more", v.s.number, v.s.w.Config.Name)
	}
	return wire.Errorf(wire.CodeUnavailable, "", "the disk of this copy of shard %d failed; send the request again, and look into the log of worker %s",
		v.s.number, v.s.w.Config.Name)
}

// unread is refusal for a request to read, which may name a position that is not kept. The store knows sequences; what a
// client has, and can compare with nothing but itself, is the position.
func (v *service) unread(space string, req reading, err error) *wire.Error {
	if !errors.Is(err, vecstore.ErrGone) {
		return v.refusal(err)
	}
	return wire.Errorf(wire.CodeGone, "as_of", "space %q cannot be read any more as of position %s: what was replaced or forgotten since is only kept for %v "+
		"(index.keep_versions of the worker); name a later position, or none to read what holds now", space, req.GetAsOf(), v.s.w.Config.Index.KeepVersions)
}
