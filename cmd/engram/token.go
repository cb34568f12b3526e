package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/auth"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make what producers and services log in with",
		Long: `Make what producers and services log in with. These commands ask no Engram: who operates it puts what they print into
the file of principals (auth.file) or into the configuration of NATS.`,
	}
	cmd.AddCommand(tokenNewCommand(), tokenHashCommand(), tokenNKeyCommand())
	return cmd
}

func tokenNewCommand() *cobra.Command {
	grants := map[auth.Role]*[]string{}
	var metrics, asJSON bool
	var file string
	var valid time.Duration
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a token for HTTP, gRPC and WebSocket, and its line for the file of principals",
		Long: `Make a token for HTTP, gRPC and WebSocket, and its line for the file of principals. The token is printed once and kept
nowhere; the line has its hash. Roles have spaces, or the beginnings of their names: --observe 'team-*' --recall notes.`,
		Example: `  engram token new ingest --observe 'team-*,notes'
  engram token new search --recall '*' --valid 2160h --file principals`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := map[auth.Role][]string{}
			for role, spaces := range grants {
				all[role] = *spaces
			}
			var expires time.Time
			if cmd.Flags().Changed("valid") {
				if valid <= 0 {
					return misused(cmd, "--valid is %v, and must be above 0", valid)
				}
				expires = time.Now().Add(valid)
			}
			token := auth.NewToken()
			line, err := auth.Line(args[0], auth.Hash(token), all, metrics, expires)
			if err != nil {
				return misused(cmd, "%v", err)
			}
			out := cmd.OutOrStdout()
			if file != "" {
				if err := appendLine(file, line); err != nil {
					return err
				}
				return printed(fmt.Fprintln(out, token))
			}
			if asJSON {
				return json.NewEncoder(out).Encode(map[string]string{"token": token, "line": line})
			}
			_, err = fmt.Fprintf(out, "The token, which is shown this once:\n\n  %s\n\nIts line for auth.file:\n\n  %s\n", token, line)
			return err
		},
	}
	for _, name := range auth.RoleNames() {
		role, _ := auth.ParseRole(name)
		spaces := new([]string)
		grants[role] = spaces
		cmd.Flags().StringSliceVar(spaces, name, nil, "`spaces` in which it may "+map[auth.Role]string{
			auth.Observe: "write observations", auth.Recall: "recall, get and list", auth.Forget: "forget", auth.Admin: "define and compact",
		}[role])
	}
	cmd.Flags().BoolVar(&metrics, "metrics", false, "it may read /metrics")
	cmd.Flags().DurationVar(&valid, "valid", 0, "how long it holds (default: until its line is removed)")
	cmd.Flags().StringVar(&file, "file", "", "`file` of principals to add the line to; then the token alone is printed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print token and line as one line of JSON")
	cmd.MarkFlagsMutuallyExclusive("file", "json")
	return cmd
}

// appendLine adds a line to a file, which is made where there is none, for its owner alone.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("adding to the file of principals: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("adding to the file of principals: %w", errors.Join(err, f.Close()))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("adding to the file of principals: %w", err)
	}
	return nil
}

// maxTokenInput bounds what is read as a token.
const maxTokenInput = 16 << 10

func tokenHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash",
		Short: "Read a token from standard input and print what stands for it in the file of principals",
		Long: `Read a token from standard input and print what stands for it in the file of principals. It must be one that chance has made,
of 128 bits or more: what somebody thought of can be guessed from its hash.`,
		Example: `  openssl rand -hex 32 | tee token | engram token hash`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxTokenInput+1))
			if err != nil {
				return fmt.Errorf("reading the token: %w", err)
			}
			token := strings.TrimRight(string(b), "\r\n")
			if len(token) < 22 || len(b) > maxTokenInput || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				return errors.New("standard input has no token: one word of at least 22 characters of ASCII")
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "token="+auth.Hash(token))
			return err
		},
	}
}

func tokenNKeyCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "nkey",
		Short: "Make an nkey for a user of NATS: its seed to a file, its public half to standard output",
		Long: `Make an nkey for a user of NATS. The seed goes to a file that only its owner can read, for --nkey and nats.nkey; the public half
goes to standard output, for the configuration of the server (deployments/nats/accounts.conf).`,
		Example: `  NATS_NKEY_PRODUCER=$(engram token nkey --out producer.nk)`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if out == "" {
				return misused(cmd, "--out is empty; name the file for the seed")
			}
			pair, err := nkeys.CreateUser()
			if err != nil {
				return fmt.Errorf("making an nkey: %w", err)
			}
			defer pair.Wipe()
			seed, err := pair.Seed()
			if err != nil {
				return fmt.Errorf("making an nkey: %w", err)
			}
			public, err := pair.PublicKey()
			if err != nil {
				return fmt.Errorf("making an nkey: %w", err)
			}
			// A seed that is there may be somebody's login.
			f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return fmt.Errorf("writing the seed: %w", err)
			}
			if _, err := f.Write(append(seed, '\n')); err != nil {
				return fmt.Errorf("writing the seed: %w", errors.Join(err, f.Close()))
			}
			if err := f.Close(); err != nil {
				return fmt.Errorf("writing the seed: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` for the seed; one that is there is not replaced")
	return cmd
}
