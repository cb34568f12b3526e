package recall

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/registry"
	"github.com/engram-memory/engram/pkg/wire"
)

// shardTimeout bounds the wait for one shard's word on its spaces.
const shardTimeout = 2 * time.Second

// spaces answers a spaces request: every living space, with what a copy of its shard holds of it. A shard that nobody
// holds leaves the numbers of its spaces at zero and their position empty.
func (r *Router) spaces(ctx context.Context, f wire.Format, body []byte) ([]byte, *wire.Error) {
	req, err := wire.DecodeSpaces(f, body)
	if err != nil {
		return nil, err
	}
	resp, err := r.Spaces(ctx, req.GetSpace())
	if err != nil {
		return nil, err
	}
	return wire.EncodeSpaces(f, resp, false)
}

// Spaces returns one space, or all of them by name.
func (r *Router) Spaces(ctx context.Context, only string) (*api.SpacesResponse, *wire.Error) {
	found := map[string]*api.SpaceInfo{}
	shards := map[int]bool{}
	add := func(e *registry.Entry) bool {
		shard := event.ShardOf(e.GetName(), r.Topology.Shards)
		shards[shard] = true
		found[e.GetName()] = &api.SpaceInfo{Definition: e.SpaceDefinition, Shard: uint32(shard)}
		return true
	}
	if only != "" {
		e, err := r.entry(ctx, only)
		if err != nil {
			return nil, err
		}
		add(e)
	} else {
		r.Registry.All(add)
	}
	r.ask(ctx, shards, only, found)
	resp := &api.SpacesResponse{}
	for _, s := range found {
		resp.Spaces = append(resp.Spaces, s)
	}
	slices.SortFunc(resp.Spaces, func(a, b *api.SpaceInfo) int {
		return strings.Compare(a.GetDefinition().GetName(), b.GetDefinition().GetName())
	})
	return resp, nil
}

// ask fills in what the shards hold.
func (r *Router) ask(ctx context.Context, shards map[int]bool, only string, found map[string]*api.SpaceInfo) {
	body, err := proto.Marshal(&api.ShardSpacesRequest{Space: only})
	if err != nil {
		return // a name that was checked is UTF-8
	}
	ctx, cancel := context.WithTimeout(ctx, shardTimeout)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for shard := range shards {
		all.Go(func() {
			resp := new(api.SpacesResponse)
			m, err := r.Conn.RequestWithContext(ctx, bus.ShardSubject(shard, bus.VerbSpaces), body)
			if err != nil || proto.Unmarshal(m.Data, resp) != nil {
				r.Logger.Debug().Err(err).Int("shard", shard).Msg("no word from a shard on its spaces")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, s := range resp.GetSpaces() {
				if e, ok := found[s.GetDefinition().GetName()]; ok && e.GetDefinition().GetGeneration() == s.GetDefinition().GetGeneration() {
					s.Definition = e.GetDefinition()
					found[s.GetDefinition().GetName()] = s
				}
			}
		})
	}
	all.Wait()
}
