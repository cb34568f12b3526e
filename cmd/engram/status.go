package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/wire"
)

const statusLong = `Show the spaces, and how far each copy of each shard is: what is searchable, what is durable, what is still to come. The
figures of the shards are those that the workers broadcast within about half a second, with what each copy does and why it is
where it is. The exit code is 1 when no worker or no gateway answers, or nobody for one of the shards.`

const statusExample = `  engram status
  engram status --json | jq '.shards[] | select(.lag > 0)'`

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show spaces, shards and workers", Long: statusLong, Example: statusExample, Args: cobra.NoArgs,
	}
	c := connectionFlags(cmd, defaultTimeout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
			s, err := askStatus(ctx, nc)
			if err != nil {
				return err
			}
			if c.json {
				err = s.printJSON(cmd.OutOrStdout())
			} else {
				err = s.print(cmd.OutOrStdout())
			}
			if err != nil {
				return err
			}
			return s.trouble()
		})
	}
	return cmd
}

// status is what is known of a running Engram.
type status struct {
	server, url string
	*round
	spaces    *api.SpacesResponse
	spacesErr error
}

func askStatus(ctx context.Context, nc *nats.Conn) (*status, error) {
	s := &status{server: nc.ConnectedServerName(), url: nc.ConnectedUrlRedacted()}
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		s.spaces, s.spacesErr = client.New(nc).Spaces(ctx, "")
	}()
	var err error
	s.round, err = listen(ctx, nc)
	<-asked
	if err == nil && ctx.Err() != nil {
		err = wire.Errorf(wire.CodeDeadline, "", "the time was too short to hear a worker; give a longer --timeout")
	}
	return s, err
}

// trouble is the error of an Engram that cannot do its work.
func (s *status) trouble() error {
	var silent []string
	if len(s.workers) == 0 {
		silent = append(silent, "no space-worker sends heartbeats")
	}
	if s.gateways == 0 {
		silent = append(silent, "no ingest-gateway answers")
	}
	if len(silent) > 0 {
		return fmt.Errorf("%s on the NATS at %s; is Engram running there?", strings.Join(silent, ", and "), s.url)
	}
	if s.spacesErr != nil {
		return fmt.Errorf("the spaces cannot be told: %w", s.spacesErr)
	}
	if none := s.unserved(); len(none) > 0 {
		return fmt.Errorf("no worker answers recalls of the shards %v at this moment; the copies above say why, and where there is none, workers are missing", none)
	}
	return nil
}

func (s *status) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "NATS %s at %s\n%s, %s, %s\n", s.server, s.url,
		plural(s.gateways, "gateway"), plural(s.recalls, "recall API"), plural(len(s.workers), "worker"))
	if err != nil {
		return printed(0, err)
	}
	if spaces := s.spaces.GetSpaces(); len(spaces) > 0 {
		rows := make([][]string, 0, len(spaces))
		for _, sp := range spaces {
			d := sp.GetDefinition()
			rows = append(rows, []string{d.GetName(), grouped(sp.GetObservations()), grouped(d.GetDimension()), wire.MetricName(d.GetMetric()),
				wire.EngineName(d.GetEngine()), wire.VectorsName(d.GetVectors()), quotaText(d.GetQuota()), grouped(sp.GetShard()), milliseconds(sp.GetStalenessMs())})
		}
		if err := section(w, []string{"SPACE", "OBSERVATIONS", "DIMENSION", "METRIC", "ENGINE", "VECTORS", "QUOTA", "SHARD", "STALENESS"}, rows); err != nil {
			return err
		}
	}
	copies := s.copies()
	if len(copies) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(copies))
	for _, c := range copies {
		rows = append(rows, []string{grouped(c.GetShard()), c.worker, grouped(c.GetApplied()), grouped(c.lag()), grouped(c.GetDepth()),
			strconv.FormatFloat(c.GetDrainRate(), 'f', 0, 64) + "/s", milliseconds(c.GetStalenessMs()), stateName(c.GetState()), c.GetReason()})
	}
	if err := section(w, []string{"SHARD", "WORKER", "APPLIED", "LAG", "DEPTH", "DRAINED", "STALENESS", "STATE", "WHY"}, rows); err != nil {
		return err
	}
	for _, name := range s.names() {
		if s.workers[name].GetDraining() {
			if err := printed(fmt.Fprintf(w, "\n%s gives up its shards\n", name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// stateName says what a copy of a shard does.
func stateName(state api.CopyState) string {
	switch state {
	case api.CopyState_COPY_STATE_OPENING:
		return "opening"
	case api.CopyState_COPY_STATE_CATCHING_UP:
		return "catching up"
	case api.CopyState_COPY_STATE_JOINING:
		return "joining"
	}
	return "serving"
}

// unserved are the shards that no worker answers for.
func (s *status) unserved() []int {
	served := map[uint32]bool{}
	count := 0
	for _, hb := range s.workers {
		count = max(count, int(hb.GetShardCount()))
		for _, c := range hb.GetShards() {
			served[c.GetShard()] = served[c.GetShard()] || stateName(c.GetState()) == "serving"
		}
	}
	var none []int
	for shard := range count {
		if !served[uint32(shard)] {
			none = append(none, shard)
		}
	}
	return none
}

// section is a table below a blank line.
func section(w io.Writer, heading []string, rows [][]string) error {
	if err := printed(fmt.Fprintln(w)); err != nil {
		return err
	}
	return printTable(w, heading, rows)
}

// statusJSON is the status for programs.
type statusJSON struct {
	NATS struct {
		Server string `json:"server"`
		URL    string `json:"url"`
	} `json:"nats"`
	Gateways   int             `json:"gateways"`
	RecallAPIs int             `json:"recall_apis"`
	Workers    []string        `json:"workers"`
	Draining   []string        `json:"draining"`
	Unserved   []int           `json:"unserved"`
	Spaces     json.RawMessage `json:"spaces"`
	Shards     []shardJSON     `json:"shards"`
}

type shardJSON struct {
	Shard       uint32  `json:"shard"`
	Worker      string  `json:"worker"`
	Applied     uint64  `json:"applied"`
	Durable     uint64  `json:"durable"`
	Lag         uint64  `json:"lag"`
	Depth       uint64  `json:"depth"`
	Capacity    uint64  `json:"capacity"`
	DrainRate   float64 `json:"drain_rate"`
	StalenessMS float64 `json:"staleness_ms"`
	Quarantined uint64  `json:"quarantined"`
	State       string  `json:"state"`
	Reason      string  `json:"reason"`
}

func (s *status) printJSON(w io.Writer) error {
	body, refused := wire.EncodeSpaces(wire.JSON, s.spaces, false)
	if refused != nil {
		return refused
	}
	out := statusJSON{Gateways: s.gateways, RecallAPIs: s.recalls, Workers: s.names(), Draining: []string{}, Unserved: append([]int{}, s.unserved()...), Shards: []shardJSON{}}
	for _, name := range s.names() {
		if s.workers[name].GetDraining() {
			out.Draining = append(out.Draining, name)
		}
	}
	out.NATS.Server, out.NATS.URL = s.server, s.url
	// The spaces as wire writes them, without the object around.
	var spaces struct {
		Spaces json.RawMessage `json:"spaces"`
	}
	if err := json.Unmarshal(body, &spaces); err != nil {
		return errors.Join(errors.New("encoding the spaces"), err)
	}
	out.Spaces = spaces.Spaces
	for _, c := range s.copies() {
		out.Shards = append(out.Shards, shardJSON{
			Shard: c.GetShard(), Worker: c.worker, Applied: c.GetApplied(), Durable: c.GetDurable(), Lag: c.lag(), Depth: c.GetDepth(),
			Capacity: c.GetCapacity(), DrainRate: c.GetDrainRate(), StalenessMS: c.GetStalenessMs(), Quarantined: c.GetQuarantined(),
			State: stateName(c.GetState()), Reason: c.GetReason(),
		})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	return printJSON(w, text, nil)
}
