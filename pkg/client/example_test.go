package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/rs/zerolog"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/node"
)

// exampleNode runs an Engram in this process, for the example alone.
func exampleNode() (url string, stop func()) {
	dir, err := os.MkdirTemp("", "engram-example")
	if err != nil {
		log.Fatal(err)
	}
	cfg := node.DefaultConfig(dir)
	cfg.NATS, cfg.HTTP, cfg.Metrics = "127.0.0.1:0", "", ""
	n, err := node.Start(context.Background(), cfg, zerolog.Nop())
	if err != nil {
		log.Fatal(err)
	}
	return n.NATSURL(), func() {
		if err := n.Close(); err != nil {
			log.Print(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			log.Print(err)
		}
	}
}

// A producer sends observations without waiting for each, and knows what became of every one of them.
func ExampleProducer() {
	url, stop := exampleNode()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c, err := client.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.Producer(client.ProducerConfig{Window: 1000, Acknowledgement: api.Acknowledgement_ACKNOWLEDGEMENT_SEARCHABLE})
	if err != nil {
		log.Fatal(err)
	}
	var results []*client.Pending
	for i, text := range []string{"the disk of db-3 is full", "the certificate expires on Friday", "the cache is cold after a deploy"} {
		pending, err := p.Observe(ctx, "notes", &api.Observation{Id: fmt.Sprint("n", i), Text: text}) // waits while the window is full
		if err != nil {
			log.Fatal(err)
		}
		results = append(results, pending)
	}
	for _, pending := range results {
		result, err := pending.Wait(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.GetId(), result.GetSearchable())
	}
	answer, err := c.Recall(ctx, "notes", &api.RecallRequest{Text: "certificate expires"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.GetHits()[0].GetText())
	if err := c.Close(ctx); err != nil { // after what is on its way
		log.Fatal(err)
	}
	// Output:
	// n0 true
	// n1 true
	// n2 true
	// the certificate expires on Friday
}
