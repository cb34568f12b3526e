package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The parts that can be full first.
const (
	BoundLog           = "log"
	BoundSpace         = "space"
	BoundWorkerCPU     = "worker cpu"
	BoundWorkerDisk    = "worker disk"
	BoundWorkerNetwork = "worker network"
	BoundServerCPU     = "nats cpu"
	BoundServerDisk    = "nats disk"
	BoundServerNetwork = "nats network"
)

// Bound is a rate that one part does not let the whole exceed.
type Bound struct {
	Part string `json:"part"`
	// Where names the log, space, worker or servers.
	Where string `json:"where"`
	// PerSecond is observations a second of the whole deployment.
	PerSecond float64 `json:"observations_per_second"`
}

// Worker is what one of them would hold and do, at the rate of the Result.
type Worker struct {
	Name   string  `json:"name"`
	Shards int     `json:"shards"`
	Spaces int     `json:"spaces"`
	Rows   float64 `json:"rows"`
	// CPU is cores that are busy.
	CPU float64 `json:"cpu_cores"`
	// Memory is heap and what is mapped, with the columns as if all of them were searched; DiskBytes the row log and columns.
	Memory    float64 `json:"memory_bytes"`
	DiskBytes float64 `json:"disk_bytes"`
	// Network is bytes a second that come from NATS, Written those of the row log and columns that go to the disk.
	Network float64 `json:"network_bytes_per_second"`
	Written float64 `json:"written_bytes_per_second"`
}

// Result is what a plan comes to.
type Result struct {
	Plan Plan `json:"plan"`
	// Sustained is observations a second that the deployment takes and makes searchable, Bounds what limits it, the lowest
	// first. Rate is the plan's, or Sustained where it has none.
	Sustained float64  `json:"sustained_per_second"`
	Rate      float64  `json:"rate_per_second"`
	Bounds    []Bound  `json:"bounds"`
	Workers   []Worker `json:"workers"`
	// Servers is how many NATS servers there are, ServerDisk and ServerNetwork what each has on average.
	Servers       int     `json:"servers"`
	ServerDisk    float64 `json:"server_disk_bytes"`
	ServerNetwork float64 `json:"server_network_bytes_per_second"`
	// GatewayCores is of all gateways, SnapshotBytes of all snapshots.
	GatewayCores  float64 `json:"gateway_cores"`
	SnapshotBytes float64 `json:"snapshot_bytes"`
	// HottestSpace, HottestShard and HottestWorker are their parts of all observations, the worker's of all copies.
	HottestSpace  float64 `json:"hottest_space"`
	HottestShard  float64 `json:"hottest_shard"`
	HottestWorker float64 `json:"hottest_worker"`
	// Short says what the plan wants and does not get; empty where it gets all.
	Short []string `json:"short,omitempty"`
}

// Run works out a plan.
func Run(c Costs, p Plan) (Result, error) {
	if err := errors.Join(c.Validate(), p.Validate()); err != nil {
		return Result{}, err
	}
	if p.Workers == 0 {
		return fit(&c, &p), nil
	}
	return run(&c, &p), nil
}

// fit takes the fewest workers that do, beyond 16 in steps of an eighth. What no number of workers changes does not count, and
// neither does memory that one shard takes alone, and a quarter of that; the result says that it is short.
func fit(c *Costs, p *Plan) Result {
	most := float64(p.Memory)
	if alone := p.largestShard(c); alone > most {
		most = alone * 5 / 4
	}
	for n := p.Copies; ; n = max(n+1, n*9/8) {
		q := *p
		q.Workers = min(n, p.Shards*p.Copies)
		if r := run(c, &q); q.Workers < n || r.memory() <= most && !r.wantsWorkers() {
			return r
		}
	}
}

// largestShard is the memory of a worker that holds nothing but the shard that needs most.
func (p *Plan) largestShard(c *Costs) (most float64) {
	shards, _, _ := spread(c, p, p.Copies)
	for _, l := range shards {
		most = max(most, p.worker(c, "", 1, l, 0).Memory)
	}
	return most
}

// wantsWorkers tells whether the rate is too low and more workers change that.
func (r *Result) wantsWorkers() bool {
	part := r.Bounds[0].Part
	return r.Plan.Rate > r.Sustained && (part == BoundWorkerCPU || part == BoundWorkerDisk || part == BoundWorkerNetwork)
}

// memory is that of the worker with the most.
func (r *Result) memory() (most float64) {
	for _, w := range r.Workers {
		most = max(most, w.Memory)
	}
	return most
}

func run(c *Costs, p *Plan) Result {
	shards, workers, held := spread(c, p, p.Workers)
	shares := Shares(p.Spaces, p.Zipf)
	r := Result{Plan: *p, HottestSpace: shares[0], Servers: p.Servers}
	hot := hottest(shards)
	r.HottestShard, r.HottestWorker = shards[hot].share, workers[hottest(workers)].share/float64(p.Copies)

	r.Bounds = append(r.Bounds, p.logBound(c, hot, shards[hot].share), p.spaceBound(c, shares[0]))
	r.Bounds = append(r.Bounds, p.workerBounds(c, workers)...)
	if p.Servers == 0 {
		r.Servers = p.servers(c, slices.MinFunc(r.Bounds, byRate).PerSecond)
	}
	r.Bounds = append(r.Bounds, p.serverBounds(c, r.Servers)...)
	slices.SortStableFunc(r.Bounds, byRate)
	r.Sustained = r.Bounds[0].PerSecond
	r.Rate = cmp.Or(p.Rate, r.Sustained)
	for i, l := range workers {
		r.Workers = append(r.Workers, p.worker(c, WorkerName(i), held[i], l, r.Rate))
	}
	messages := float64(p.Observations)
	if p.LogKeep > 0 {
		messages = min(messages, r.Rate*p.LogKeep.Seconds())
	}
	r.ServerDisk = messages * p.message(c) * float64(p.Replicas) / float64(r.Servers)
	r.ServerNetwork = r.Rate * p.serverTraffic(c) / float64(r.Servers)
	r.GatewayCores = r.Rate * c.Gateway.Value / 1e6
	if p.Snapshots {
		r.SnapshotBytes = float64(p.Observations) * p.record(c)
	}
	r.Short = r.short(p.largestShard(c))
	return r
}

func byRate(a, b Bound) int { return cmp.Compare(a.PerSecond, b.PerSecond) }

func hottest(all []load) int {
	at := 0
	for i := range all {
		if all[i].share > all[at].share {
			at = i
		}
	}
	return at
}

// short compares what is wanted with what there is. A worker with the largest shard alone needs so much memory.
func (r *Result) short(alone float64) (all []string) {
	if r.Rate > r.Sustained {
		all = append(all, fmt.Sprintf("%.0f observations/s are wanted, and the %s of %s allows %.0f", r.Rate, r.Bounds[0].Part, r.Bounds[0].Where, r.Sustained))
	}
	if most := r.memory(); most > float64(r.Plan.Memory) {
		text := fmt.Sprintf("a worker needs %.1f GB of memory, and has %.1f", most/1e9, float64(r.Plan.Memory)/1e9)
		if alone > float64(r.Plan.Memory) {
			text += fmt.Sprintf("; one shard alone takes %.1f, however many workers there are", alone/1e9)
		}
		all = append(all, text)
	}
	return all
}

// vector is the bytes of one as a producer sends it, which is how it is in the log.
func (p *Plan) vector() float64 { return float64(4*p.Dimension + p.Text) }

func (p *Plan) message(c *Costs) float64  { return p.vector() + c.Message.Value }
func (p *Plan) delivery(c *Costs) float64 { return p.vector() + c.Delivery.Value }

// record is the bytes of one in the row log and its index.
func (p *Plan) record(c *Costs) float64 {
	return float64(p.Component*p.Dimension+p.Text) + c.RowDisk.Value
}

// serverTraffic is the bytes that the servers send and take for one observation: in from its gateway, out to and in at the
// followers, out to the workers.
func (p *Plan) serverTraffic(c *Costs) float64 {
	return p.delivery(c) * float64(1+2*(p.Replicas-1)+p.Copies)
}

func (p *Plan) serverCPU(c *Costs) float64 {
	return c.Log.Value + float64(p.Replicas-1)*c.Follower.Value
}

// logBound: a shard has one log, and a log one leader.
func (p *Plan) logBound(c *Costs, shard int, share float64) Bound {
	rate := c.OneLog.Value
	if p.Replicas > 1 {
		rate *= c.LogReplicated.Value
	}
	return Bound{BoundLog, fmt.Sprintf("shard %d", shard), p.Use * rate / share}
}

// spaceBound: a space is in one shard, and every copy of that is in one worker, which links it alone.
func (p *Plan) spaceBound(c *Costs, share float64) Bound {
	l := ofSpace(c, p, share)
	return Bound{BoundSpace, SpaceName(0), p.cpu(l.share*c.Apply.Value + l.link)}
}

// cpu is the rate at which a machine is used, of what one observation takes of it in µs.
func (p *Plan) cpu(us float64) float64 {
	if us == 0 {
		return math.MaxFloat64
	}
	return p.Use * float64(p.Cores) * 1e6 / us
}

// recalls is CPU of a worker for recalls, in cores; the copies of a shard share them.
func (p *Plan) recalls(c *Costs, l load) float64 {
	return p.Recalls * l.share / float64(p.Copies) * c.Recall.Value / 1e6
}

func (p *Plan) workerBounds(c *Costs, workers []load) []Bound {
	all := make([]Bound, 0, 3)
	least := func(part string, rate func(load) float64) {
		b := Bound{Part: part, PerSecond: math.MaxFloat64}
		for i, l := range workers {
			if l.share == 0 {
				continue
			}
			if x := rate(l); x < b.PerSecond {
				b.Where, b.PerSecond = WorkerName(i), x
			}
		}
		all = append(all, b)
	}
	least(BoundWorkerCPU, func(l load) float64 {
		left := max(0, p.Use*float64(p.Cores)-p.recalls(c, l))
		return left * 1e6 / (l.share*c.Apply.Value + l.link)
	})
	least(BoundWorkerDisk, func(l load) float64 { return p.Use * p.Disk / p.written(c, l) })
	least(BoundWorkerNetwork, func(l load) float64 { return p.Use * p.Network / (l.share * p.delivery(c)) })
	return all
}

// written is the bytes that a worker writes for one observation of all. Columns are written as often as they are new: what
// linking changes in older rows again is not reckoned.
func (p *Plan) written(c *Costs, l load) float64 {
	columns := 0.0
	if l.rows > 0 {
		columns = l.graph / l.rows
	}
	return l.share * (p.record(c) + columns)
}

// servers is the fewest that carry a rate, or the plan's.
func (p *Plan) servers(c *Costs, rate float64) int {
	if p.Rate > 0 {
		rate = min(rate, p.Rate)
	}
	n := p.Replicas
	for _, b := range p.serverBounds(c, 1) {
		n = max(n, int(math.Ceil(rate/b.PerSecond)))
	}
	return n
}

// serverBounds takes the leaders of the logs for evenly spread; n servers carry n times what one does.
func (p *Plan) serverBounds(c *Costs, n int) []Bound {
	where, each := "all servers", float64(n)*p.Use
	return []Bound{
		{BoundServerCPU, where, each * float64(p.Cores) * 1e6 / p.serverCPU(c)},
		{BoundServerDisk, where, each * p.Disk / (float64(p.Replicas) * p.message(c))},
		{BoundServerNetwork, where, each * p.Network / p.serverTraffic(c)},
	}
}

func (p *Plan) worker(c *Costs, name string, shards int, l load, rate float64) Worker {
	record := l.rows * p.record(c)
	codes := min(c.CodesMemory.Value, l.plain*float64(p.Dimension))
	return Worker{
		Name: name, Shards: shards, Spaces: l.spaces, Rows: l.rows,
		CPU:       rate*(l.share*c.Apply.Value+l.link)/1e6 + p.recalls(c, l),
		Memory:    c.ProcessMemory.Value + float64(l.spaces)*c.SpaceMemory.Value + l.rows*c.RowMemory.Value + codes + min(c.MapMemory.Value, record) + l.graph,
		DiskBytes: record + l.graph, Network: rate * l.share * p.delivery(c), Written: rate * p.written(c, l),
	}
}
