package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/engram-memory/engram/pkg/version"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Print the version, and what it was built with and for.",
		Example: "  engram version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printed(fmt.Fprintf(cmd.OutOrStdout(), "engram %s %s %s/%s\n", version.String(), runtime.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
}
