package daemon

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/config"
)

// One file of variables serves all daemons: what is only another one's is passed over, what is nobody's is refused.
func TestVariablesOfOtherDaemons(t *testing.T) {
	shared := []string{"ENGRAM_BATCH_MAX_SIZE=7", "ENGRAM_QUEUE_CAPACITY=77", "ENGRAM_HTTP=127.0.0.1:1"}
	for name, run := range map[string]func(env []string, stdout io.Writer) error{
		"ingest-gateway": func(env []string, stdout io.Writer) error {
			return Program[GatewayConfig]{}.run(t.Context(), []string{"--print-config"}, env, stdout, io.Discard)
		},
		"space-worker": func(env []string, stdout io.Writer) error {
			return Program[WorkerConfig]{}.run(t.Context(), []string{"--print-config"}, env, stdout, io.Discard)
		},
		"recall-api": func(env []string, stdout io.Writer) error {
			return Program[RecallConfig]{}.run(t.Context(), []string{"--print-config"}, env, stdout, io.Discard)
		},
	} {
		var out strings.Builder
		if err := run(shared, &out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := strings.Count(out.String(), "  # ENGRAM_"); n == 0 || n == len(shared) {
			t.Errorf("%s takes %d of the variables:\n%s", name, n, out.String())
		}
		err := run(append(shared, "ENGRAM_QUEUE_CAPACTY=1"), io.Discard)
		if !errors.Is(err, config.ErrUnknownKey) || !errors.Is(err, errUsage) {
			t.Errorf("%s, of what none of them knows: %v", name, err)
		}
	}
}

// What is no address is not said to be in use.
func TestListeningOnNoAddress(t *testing.T) {
	for _, addr := range []string{"nonsense", "127.0.0.1:99999"} {
		s, err := ServeHTTP(addr)
		if err == nil {
			t.Fatal(s.Close(t.Context()))
		}
		if text := err.Error(); strings.Contains(text, "in use") || !strings.HasSuffix(text, "; choose a free host:port") {
			t.Errorf("%s: %s", addr, text)
		}
	}
}
