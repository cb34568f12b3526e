package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/config"
	"github.com/engram-memory/engram/pkg/simulate"
	"github.com/engram-memory/engram/pkg/simulate/calibrate"
)

const simulateLong = `Work out what workers and NATS servers would carry, and which part is full first, without starting any. Spaces go to shards and shards to
workers by the functions that Engram itself uses, so what chance and Zipf's law heap upon one of them is in it. What an observation costs
was measured (--costs prints each figure and its source); what that machine did, yours may not, and --calibrate measures the main costs here
first, which takes both time and an otherwise idle machine.

  observations/s  that are taken and made searchable for as long as it is wanted, with --use of each part
  first full      the part that allows no more: a log, a space (which one worker links), or CPU, disk or network of workers or servers
  worker          the one with the most: its share of the rows by the average, memory, disk
  nats            bytes on the disk of each server, and bytes a second in and out

With --workers 0 as few are taken as do, for --rate and --memory.`

const simulateExample = `  engram simulate
  engram simulate --workers 3 --observations 10M --spaces 40 --zipf 1.1
  engram simulate --observations 100M,1B --rate 20000 --shards 64 --memory 64GiB --cores 16
  engram simulate --calibrate --costs
  engram simulate --costs`

func simulateCommand() *cobra.Command {
	p := simulate.Plan{}
	var sizes []string
	var memory, disk, network, vectors string
	var asJSON, costs, measure bool
	var own calibrate.Config
	cmd := &cobra.Command{
		Use: "simulate", Short: "Work out what a deployment would carry", Long: simulateLong, Example: simulateExample, Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringSliceVar(&sizes, "observations", []string{"10M", "100M", "1B"}, "observations that are kept, a row of the table for each; K, M and B are thousands, millions and billions")
	f.Float64Var(&p.Rate, "rate", 0, "observations a second that come in; 0 for as many as are sustained")
	f.Float64Var(&p.Recalls, "recalls", 0, "recalls a second")
	f.IntVar(&p.Spaces, "spaces", 1000, "number of spaces")
	f.Float64Var(&p.Zipf, "zipf", 1, "exponent of Zipf's law for the shares of the spaces; 0 for equal ones")
	f.IntVar(&p.Dimension, "dim", 768, "dimension of the embeddings")
	f.StringVar(&vectors, "vectors", "f32", "what the row log keeps: f32, f16 or none")
	f.IntVar(&p.Text, "text", 200, "bytes of text and metadata of an observation")
	f.IntVar(&p.Workers, "workers", 0, "number of workers; 0 for as few as do")
	f.IntVar(&p.Copies, "copies", 2, "workers that have a copy of each shard")
	f.IntVar(&p.Shards, "shards", 64, "number of logs")
	f.IntVar(&p.Servers, "servers", 0, "number of NATS servers; 0 for as few as do")
	f.IntVar(&p.Replicas, "replicas", 3, "servers that have a copy of each log")
	f.IntVar(&p.Cores, "cores", 8, "cores of each machine")
	f.StringVar(&memory, "memory", "64GiB", "memory of each machine")
	f.StringVar(&disk, "disk", "500MB", "bytes a second that the disk of each machine writes")
	f.StringVar(&network, "network", "1.25GB", "bytes a second that the network of each machine carries")
	f.DurationVar(&p.LogKeep, "log-keep", 0, "how long the log keeps messages (snapshot.trim_keep); 0 for ever")
	f.BoolVar(&p.Snapshots, "snapshots", true, "whether there are snapshots")
	f.Float64Var(&p.Use, "use", 0.7, "part of each machine and log that is to be used")
	f.BoolVar(&measure, "calibrate", false, "measure the main costs on this machine first, with random embeddings")
	f.IntVar(&own.Observations, "calibrate-observations", 20_000, "observations to measure them with")
	f.StringVar(&own.Data, "data", "", "directory to make the temporary directory of --calibrate in")
	f.BoolVar(&costs, "costs", false, "print what is reckoned with, and where each figure is from")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON for each row of the table, or for the costs")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c := simulate.Measured()
		if measure {
			var err error
			own.Dim = p.Dimension
			if c, err = calibrated(cmd, own, c, asJSON); err != nil {
				return err
			}
		}
		if costs {
			return printCosts(cmd.OutOrStdout(), &c, asJSON)
		}
		if err := amounts(cmd, &p, memory, disk, network, vectors); err != nil {
			return err
		}
		var all []simulate.Result
		for _, size := range sizes {
			n, err := countOf(size)
			if err != nil {
				return misused(cmd, "--observations: %w", err)
			}
			q := p
			q.Observations = n
			r, err := simulate.Run(c, q)
			if err != nil {
				return misused(cmd, "%w", err)
			}
			all = append(all, r)
		}
		return printPlans(cmd.OutOrStdout(), &c, all, asJSON)
	}
	return cmd
}

func calibrated(cmd *cobra.Command, own calibrate.Config, c simulate.Costs, asJSON bool) (simulate.Costs, error) {
	if err := own.Validate(); err != nil {
		return c, misused(cmd, "%w", err)
	}
	return calibrate.Run(cmd.Context(), own, c, progressOf(cmd, asJSON))
}

// amounts reads the flags that are bytes.
func amounts(cmd *cobra.Command, p *simulate.Plan, memory, disk, network, vectors string) error {
	var ok bool
	if p.Component, ok = map[string]int{"f32": 4, "f16": 2, "none": 1}[vectors]; !ok {
		return misused(cmd, "--vectors is %q; it can be f32, f16 or none", vectors)
	}
	var bytes [3]config.ByteSize
	for i, flag := range []struct{ name, text string }{{"memory", memory}, {"disk", disk}, {"network", network}} {
		if err := bytes[i].UnmarshalText([]byte(flag.text)); err != nil {
			return misused(cmd, "--%s is %q: %w", flag.name, flag.text, err)
		}
	}
	p.Memory, p.Disk, p.Network = int64(bytes[0]), float64(bytes[1]), float64(bytes[2])
	return nil
}

// countOf reads a number with K, M or B behind it.
func countOf(text string) (int64, error) {
	digits, factor := text, 1.0
	for unit, x := range map[string]float64{"K": 1e3, "M": 1e6, "B": 1e9} {
		if rest, ok := strings.CutSuffix(strings.ToUpper(text), unit); ok {
			digits, factor = rest, x
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n*factor >= 1 && n*factor <= 1e15) {
		return 0, fmt.Errorf("%q is no number of observations; it can be 1 to 1000000B, such as 250000, 10M or 1.5B", text)
	}
	return int64(n * factor), nil
}

func printCosts(w io.Writer, c *simulate.Costs, asJSON bool) error {
	if asJSON {
		return printReport(w, c, true)
	}
	if err := printed(fmt.Fprintf(w, "%s; %d components\n\n", c.Machine, c.Dimension)); err != nil {
		return err
	}
	var rows [][]string
	for _, f := range c.List() {
		rows = append(rows, []string{f.Name, costText(f.Value), f.Unit, f.Source})
	}
	return printTable(w, []string{"COST", "VALUE", "UNIT", "SOURCE"}, rows)
}

// costText has no more digits than were measured.
func costText(x float64) string {
	if x >= 1000 {
		return grouped(int64(x))
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func printPlans(w io.Writer, c *simulate.Costs, all []simulate.Result, asJSON bool) error {
	if asJSON {
		for _, r := range all {
			if err := printReport(w, r, true); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, 0, len(all))
	for i := range all {
		rows = append(rows, planRow(&all[i]))
	}
	heading := []string{"OBSERVATIONS", "WORKERS", "OBSERVATIONS/S", "FIRST FULL", "MOST ROWS/AVERAGE", "MEMORY/WORKER", "DISK/WORKER", "NETWORK/WORKER", "NATS", "DISK/NATS", "NETWORK/NATS", "SNAPSHOTS", "GATEWAY CORES"}
	if err := printTable(w, heading, rows); err != nil {
		return err
	}
	return printNotes(w, c, all)
}

func planRow(r *simulate.Result) []string {
	var most simulate.Worker
	average := 0.0
	for _, x := range r.Workers {
		most.Rows, most.Memory, most.DiskBytes = max(most.Rows, x.Rows), max(most.Memory, x.Memory), max(most.DiskBytes, x.DiskBytes)
		most.Network = max(most.Network, x.Network)
		average += x.Rows / float64(len(r.Workers))
	}
	first := r.Bounds[0]
	return []string{
		grouped(r.Plan.Observations), grouped(len(r.Workers)), grouped(int64(r.Rate)), first.Part + " of " + first.Where, fmt.Sprintf("%.2f", most.Rows/average),
		bytesText(most.Memory), bytesText(most.DiskBytes), bytesText(most.Network) + "/s", grouped(r.Servers), bytesText(r.ServerDisk), bytesText(r.ServerNetwork) + "/s",
		bytesText(r.SnapshotBytes), fmt.Sprintf("%.1f", r.GatewayCores),
	}
}

// printNotes says what the table does not show.
func printNotes(w io.Writer, c *simulate.Costs, all []simulate.Result) error {
	var notes []string
	p := all[0].Plan
	notes = append(notes, fmt.Sprintf("The largest of %s has %.1f %% of the observations, the fullest of %s %.1f %%; %.0f %% of each part is used.",
		plural(p.Spaces, "space"), 100*all[0].HottestSpace, plural(p.Shards, "shard"), 100*all[0].HottestShard, 100*p.Use))
	for _, r := range all {
		for _, s := range r.Short {
			notes = append(notes, fmt.Sprintf("Short at %s observations: %s.", grouped(r.Plan.Observations), s))
		}
	}
	if p.Dimension != c.Dimension {
		notes = append(notes, fmt.Sprintf("CPU is that of %d components, which is not what the plan has.", c.Dimension))
	}
	return printed(fmt.Fprintf(w, "\n%s\n", strings.Join(notes, "\n")))
}

// bytesText is a number of bytes in decimal units, with three digits.
func bytesText(n float64) string {
	for _, u := range []struct {
		unit  string
		bytes float64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}} {
		if n >= u.bytes {
			return strconv.FormatFloat(n/u.bytes, 'g', 3, 64) + " " + u.unit
		}
	}
	return strconv.FormatFloat(n/1e3, 'f', 0, 64) + " kB"
}
