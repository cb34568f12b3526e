package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/bus"
	"github.com/engram-memory/engram/pkg/client"
	"github.com/engram-memory/engram/pkg/event"
	"github.com/engram-memory/engram/pkg/wire"
)

// envServer names the server when no flag does.
const envServer = "ENGRAM_SERVER"

// connection is where the commands that ask an Engram find it.
type connection struct {
	server, context, creds string
	nkey, inbox            string
	tls                    bus.TLSConfig
	timeout                time.Duration
	json                   bool
}

// connectionFlags declares the flags that those commands have in common.
func connectionFlags(cmd *cobra.Command, timeout time.Duration) *connection {
	c := &connection{}
	fs := cmd.Flags()
	fs.StringVar(&c.server, "server", "", "address of NATS (default "+bus.DefaultURL+") ["+envServer+"]")
	fs.StringVar(&c.context, "context", "", "NATS context, by its name or the path of its .json file")
	fs.StringVar(&c.creds, "creds", "", "NATS credentials `file`")
	fs.StringVar(&c.nkey, "nkey", "", "`file` with the seed of a NATS nkey")
	fs.StringVar(&c.inbox, "inbox-prefix", "", "what begins the subjects of answers, where the NATS user has its own: _INBOX_<user>")
	fs.StringVar(&c.tls.CA, "tls-ca", "", "`file` with the certificates that sign that of the NATS server")
	fs.StringVar(&c.tls.Cert, "tls-cert", "", "`file` with the certificate to show to the NATS server")
	fs.StringVar(&c.tls.Key, "tls-key", "", "`file` with the private key of that certificate")
	fs.DurationVar(&c.timeout, "timeout", timeout, "longest wait for an answer")
	fs.BoolVar(&c.json, "json", false, "print the answer as one line of JSON")
	return c
}

// with connects, asks, and closes the connection. ctx, which ask is given, ends after the timeout and at Ctrl-C.
func (c *connection) with(cmd *cobra.Command, ask func(ctx context.Context, nc *nats.Conn) error) error {
	if c.timeout <= 0 {
		return misused(cmd, "--timeout is %v, and must be above 0", c.timeout)
	}
	return c.withoutLimit(cmd, func(ctx context.Context, nc *nats.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		return ask(ctx, nc)
	})
}

// withoutLimit is with for a command that knows itself how long it goes on.
func (c *connection) withoutLimit(cmd *cobra.Command, ask func(ctx context.Context, nc *nats.Conn) error) error {
	ctx := cmd.Context()
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	err = ask(ctx, conn.NC)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Canceled) {
		// Whatever the call says, it failed because it was stopped.
		return &interruptedError{}
	}
	return err
}

func (c *connection) connect() (*bus.Conn, error) {
	server := c.server
	if server == "" && c.context == "" { // a context has an address
		server = os.Getenv(envServer)
	}
	conn, err := bus.Connect(bus.Config{
		URL: server, Context: c.context, Credentials: c.creds, NKey: c.nkey, InboxPrefix: c.inbox, TLS: c.tls, Name: "engram-cli", FailFast: true,
		ConnectTimeout: min(max(c.timeout, time.Millisecond), bus.DefaultConnectTimeout),
	})
	if err == nil {
		return conn, nil
	}
	var unreachable *net.OpError // a name that is not known is one too
	if !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout) && !errors.As(err, &unreachable) {
		return nil, err
	}
	where := server
	switch {
	case where == "" && c.context != "":
		where = "the address of the context " + c.context
	case where == "":
		where = bus.DefaultURL
	default:
		where = redacted(where)
	}
	return nil, fmt.Errorf("no NATS server answers at %s; start one with \"engram up\", or name another with --server", where)
}

// spaceArgument refuses what is no name of a space before it becomes a part of a subject.
func spaceArgument(cmd *cobra.Command, name string) error {
	return refusedBy(cmd, wire.CheckSpace(name))
}

// positionFlag refuses what is no position; whether it is one of this Engram is for that to say.
func positionFlag(cmd *cobra.Command, field, value string) error {
	if value == "" {
		return nil
	}
	if _, err := event.ParsePosition(value); err != nil {
		return refusedBy(cmd, wire.Errorf(wire.CodeInvalidPosition, field, "%v", err))
	}
	return nil
}

// completeSpace completes the first argument with the spaces that are there.
func (c *connection) completeSpace(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	c.timeout = min(c.timeout, time.Second) // somebody waits at a prompt
	var names []string
	err := c.with(cmd, func(ctx context.Context, nc *nats.Conn) error {
		resp, err := client.New(nc).Spaces(ctx, "")
		for _, s := range resp.GetSpaces() {
			names = append(names, s.GetDefinition().GetName())
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
