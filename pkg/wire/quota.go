package wire

import (
	"math"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
)

type quotaJSON struct {
	ObservationsPerSecond *float64 `json:"observations_per_second,omitempty"`
	BytesPerSecond        *float64 `json:"bytes_per_second,omitempty"`
	StoredObservations    *uint64  `json:"stored_observations,omitempty"`
}

func (q *quotaJSON) proto() *api.Quota {
	if q == nil {
		return nil
	}
	return &api.Quota{ObservationsPerSecond: q.ObservationsPerSecond, BytesPerSecond: q.BytesPerSecond, StoredObservations: q.StoredObservations}
}

func quotaOf(q *api.Quota) *quotaJSON {
	if q == nil {
		return nil
	}
	return &quotaJSON{q.ObservationsPerSecond, q.BytesPerSecond, q.StoredObservations}
}

// MergeQuota returns what holds once a request has asked for a quota: what it leaves out stays, and 0 ends a bound. It is
// nil where nothing is bounded.
func MergeQuota(has, asked *api.Quota) *api.Quota {
	q := &api.Quota{
		ObservationsPerSecond: merged(has.GetObservationsPerSecond(), asked.GetObservationsPerSecond(), asked != nil && asked.ObservationsPerSecond != nil),
		BytesPerSecond:        merged(has.GetBytesPerSecond(), asked.GetBytesPerSecond(), asked != nil && asked.BytesPerSecond != nil),
		StoredObservations:    merged(has.GetStoredObservations(), asked.GetStoredObservations(), asked != nil && asked.StoredObservations != nil),
	}
	if q.ObservationsPerSecond == nil && q.BytesPerSecond == nil && q.StoredObservations == nil {
		return nil
	}
	return q
}

func merged[T float64 | uint64](has, asked T, given bool) *T {
	if given {
		has = asked
	}
	if has == 0 {
		return nil
	}
	return &has
}

// checkQuota refuses what bounds nothing that there is.
func checkQuota(q *api.Quota) *Error {
	for _, f := range []struct {
		name string
		rate float64
	}{{"observations_per_second", q.GetObservationsPerSecond()}, {"bytes_per_second", q.GetBytesPerSecond()}} {
		if !(f.rate >= 0) || math.IsInf(f.rate, 1) {
			return Errorf(CodeInvalidArgument, "quota."+f.name, "quota.%s is %v; it can be a number above 0, or 0 for no bound", f.name, f.rate)
		}
	}
	return nil
}
