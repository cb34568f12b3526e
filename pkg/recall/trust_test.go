package recall_test

import (
	"math"
	"slices"
	"strings"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/event"
)

func sortedStrings(all []string) []string {
	slices.Sort(all)
	return all
}

// seq is the sequence of a hit's position.
func seq(h *api.Hit) uint64 {
	p, err := event.ParsePosition(h.GetPosition())
	if err != nil {
		return 0
	}
	return p.Sequence
}

// similarity is the documented one of each metric, between 0 and 1.
func similarity(m api.Metric, score float32) float64 {
	switch x := float64(score); m {
	case api.Metric_METRIC_DOT:
		return 1 / (1 + math.Exp(-x))
	case api.Metric_METRIC_L2:
		return 1 / (1 - x)
	default:
		return (1 + x) / 2
	}
}

// spacesOf names hits by space and id.
func spacesOf(hits []*api.Hit, prefix string) string {
	var all []string
	for _, h := range hits {
		all = append(all, strings.TrimPrefix(h.GetSpace(), prefix)+h.GetId())
	}
	return strings.Join(all, " ")
}
