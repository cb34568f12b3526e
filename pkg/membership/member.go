package membership

import (
	"maps"
	"slices"
	"time"
)

// Member is what a worker says of itself.
type Member struct {
	// Name is unique among the workers of a set of logs.
	Name string `json:"name"`
	// Instance is another one each time the worker is started.
	Instance string    `json:"instance"`
	Epoch    string    `json:"epoch"`
	Version  string    `json:"version,omitempty"`
	Started  time.Time `json:"started"`
	// First is the revision of the bucket at which the instance said something first, 0 in what it says first: of two with one name the
	// later one stays. Clocks of machines are not asked for it.
	First uint64 `json:"first,omitempty"`
	// Draining says that it gives up its shards, until it is told otherwise; Stopping that its process is about to end.
	Draining bool `json:"draining,omitempty"`
	Stopping bool `json:"stopping,omitempty"`
	// Pinned says that its shards are named in its configuration: none are placed on it.
	Pinned bool `json:"pinned,omitempty"`
	// Serving are the shards that it answers for, ascending.
	Serving []int `json:"serving,omitempty"`
}

// Serves tells whether the member answers for a shard.
func (m Member) Serves(shard int) bool { return slices.Contains(m.Serving, shard) }

func (m Member) equal(other Member) bool {
	return m.Name == other.Name && m.Instance == other.Instance && m.Draining == other.Draining && m.Stopping == other.Stopping &&
		slices.Equal(m.Serving, other.Serving)
}

// View is who was known at one moment.
type View struct {
	// Living are those that speak, this one among them, by name.
	Living map[string]Member
	// Gone are those that left or fell silent less than the grace ago.
	Gone map[string]Member
	// Steady is false while NATS is not heard: who lives cannot be told then, and nothing should be concluded from it.
	Steady bool
}

// Names returns those of the living, in order.
func (v View) Names() []string { return slices.Sorted(maps.Keys(v.Living)) }

// Servers returns the names of the living that answer for a shard, in order.
func (v View) Servers(shard int) []string {
	var names []string
	for _, name := range v.Names() {
		if v.Living[name].Serves(shard) {
			names = append(names, name)
		}
	}
	return names
}
