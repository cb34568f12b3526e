// Command wget is as much of wget as the health checks of docker-compose.yml use, for images that are made of nothing but Go
// programs: the published images of NATS and Prometheus have wget, those that local.sh builds have this.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wget:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("wget", flag.ContinueOnError)
	quiet := flags.Bool("q", false, "print nothing but the body")
	out := flags.String("O", "-", "`file` for the body; - is standard output")
	seconds := flags.Int("T", 900, "`seconds` for all of it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("%d addresses are given, want one", flags.NArg())
	}
	resp, err := (&http.Client{Timeout: time.Duration(*seconds) * time.Second}).Get(flags.Arg(0))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !*quiet {
		fmt.Fprintln(os.Stderr, resp.Proto, resp.Status)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("server returned error: %s %s", resp.Proto, resp.Status)
	}
	to := os.Stdout
	if *out != "-" {
		if to, err = os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return err
		}
		defer to.Close()
	}
	_, err = io.Copy(to, resp.Body)
	return err
}
