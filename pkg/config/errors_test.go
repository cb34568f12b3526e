package config

import (
	"errors"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	const missing = "/nonexistent/engram.yaml"
	cases := map[string]struct {
		file string
		env  []string
		args []string
		want string // the message, with FILE for the path of the file
		is   error
	}{
		"file, unknown key": {
			file: "queue:\n  capacty: 3\n",
			want: `FILE:2: unknown key "queue.capacty"; did you mean queue.capacity?`, is: ErrUnknownKey,
		},
		"file, unknown key without a neighbour": {
			file: "zzz: 3\n", is: ErrUnknownKey,
			want: `FILE:1: unknown key "zzz"; --help and --print-config list the ones there are`,
		},
		"file, unknown section": {
			file: "session: 1\nquueue:\n  capacity: 3\n", is: ErrUnknownKey,
			want: `FILE:2: unknown key "quueue"; did you mean queue?`,
		},
		"file, wrong type": {
			file: "session: 1\nqueue:\n  capacity: many\n", is: ErrInvalid,
			want: `FILE:3: queue.capacity is "many"; it must be a whole number, at least 1`,
		},
		"file, below min":        {file: "queue: {capacity: 0}", want: `FILE:1: queue.capacity is "0"; it must be a whole number, at least 1`, is: ErrInvalid},
		"file, section as value": {file: "queue: 3\n", want: `FILE:1: queue is a section; its keys go on lines of their own, indented`},
		"file, value as section": {file: "ratio:\n  a: 1\n", want: `FILE:1: ratio is "Mapping"; it must be a number from 0 to 1`, is: ErrInvalid},
		"file, scalar as list":   {file: "shards: 3\n", want: `FILE:1: shards is "Integer"; it must be a list, [a, b], in which`, is: ErrInvalid},
		"file, list in list":     {file: "shards: [[1]]\n", want: `FILE:1: shards is "Sequence"; it must be a list`, is: ErrInvalid},
		"file, bad element":      {file: "shards: [1, -1]\n", want: `FILE:1: shards is "-1"; it must be a whole number, at least 0`, is: ErrInvalid},
		"file, empty value":      {file: "session:\n", want: `FILE:1: session is "Null"; it must be a whole number, 0 or more`, is: ErrInvalid},
		"file, list at the top":  {file: "- a\n", want: `FILE:1: the file must be a list of "key: value" lines`},
		"file, twice":            {file: "session: 1\nsession: 2\n", want: `FILE:2: this is not YAML: mapping key "session" already defined`},
		"file, twice by path":    {file: "queue:\n  capacity: 1\nqueue.capacity: 2\n", want: `FILE:3: queue.capacity is given twice`},
		"file, alias":            {file: "session: &a 1\noffset: *a\n", want: `FILE:1: "&" begins an anchor, alias, tag, merge or complex key`},
		"file, merge":            {file: "queue:\n  <<: {capacity: 3}\n", want: `FILE:2: "<<" begins an anchor, alias, tag, merge or complex key`},
		"file, two documents":    {file: "session: 1\n---\noffset: 2\n", want: `FILE:3: a second YAML document begins here`},
		"file, not YAML":         {file: "token: hush\nqueue: [\n", want: `FILE:2: this is not YAML: `},
		"file, too large":        {file: strings.Repeat("# filler\n", 40_000), want: `FILE: the configuration file that --config names is over 256 KiB`},
		"file, secret":           {file: "token: [hush]\n", want: `FILE:1: token has a value that is not shown; it must be UTF-8 text`, is: ErrInvalid},
		"file missing":           {args: []string{"--config", missing}, want: `the configuration file that --config names cannot be opened: open ` + missing},
		"file missing, by variable": {
			env:  []string{"ENGRAM_CONFIG=" + missing},
			want: `the configuration file that ENGRAM_CONFIG names cannot be opened`,
		},
		"variable, unknown": {
			env: []string{"ENGRAM_QUEUE_CAPACTY=3"}, is: ErrUnknownKey,
			want: `environment: unknown key "ENGRAM_QUEUE_CAPACTY"; did you mean ENGRAM_QUEUE_CAPACITY?`,
		},
		"variable, wrong": {
			env: []string{"ENGRAM_IDLE_SLEEP=5"}, is: ErrInvalid,
			want: `ENGRAM_IDLE_SLEEP: idle_sleep is "5"; it must be a duration such as 500ms, 2s or 1m30s, at least 0s`,
		},
		"variable, not UTF-8": {env: []string{"ENGRAM_NATS=\xff"}, want: `ENGRAM_NATS: nats is "\xff"; it must be UTF-8 text`, is: ErrInvalid},
		"flag, unknown":       {args: []string{"--queue.capacty=3"}, want: `flags: unknown key "--queue.capacty"; did you mean --queue.capacity?`, is: ErrUnknownKey},
		"flag, without value": {args: []string{"--session"}, want: `flag needs an argument: --session; --help lists the flags`},
		"flag, not allowed":   {args: []string{"--profile=slow"}, want: `--profile: profile is "slow"; it must be one of balanced, fast`, is: ErrInvalid},
		"flag, NaN":           {args: []string{"--ratio=nan"}, want: `--ratio: ratio is "nan"; it must be a number from 0 to 1`, is: ErrInvalid},
		"flag, above max":     {args: []string{"--ratio=1.01"}, want: `--ratio: ratio is "1.01"; it must be a number from 0 to 1`, is: ErrInvalid},
		"flag, small size":    {args: []string{"--limit=1000"}, want: `--limit: limit is "1000"; it must be a size such as 512KiB, 64MiB or 1GB, at least 1KiB`, is: ErrInvalid},
		"flag, bool":          {args: []string{"--pin-cpus=maybe"}, want: `--pin-cpus: pin_cpus is "maybe"; it must be true or false`, is: ErrInvalid},
		"argument":            {args: []string{"serve"}, want: `sample takes flags only, but was given "serve"; --help lists them`},
		"validate, flag": {
			args: []string{"--queue.batch.max-size=9"}, is: ErrInvalid,
			want: `--queue.batch.max-size: queue.batch.max_size is "9"; it must be at least queue.batch.min_size, which is 10`,
		},
		"validate, default": {
			args: []string{"--queue.batch.min-size=501"}, is: ErrInvalid,
			want: `default: queue.batch.max_size is "500"; it must be at least queue.batch.min_size, which is 501`,
		},
		"validate, secret": {
			env: []string{"ENGRAM_TOKEN=short"}, is: ErrInvalid,
			want: `ENGRAM_TOKEN: token has a value that is not shown; it must have 8 characters`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			args := tc.args
			path := ""
			if tc.file != "" {
				path = writeFile(t, tc.file)
				args = append([]string{"--config", path}, args...)
			}
			var cfg sample
			_, err := load(t, &cfg, "", tc.env, args...)
			if err == nil {
				t.Fatalf("no error; the configuration is %+v", cfg)
			}
			got := err.Error()
			if path != "" {
				got = strings.ReplaceAll(got, path, "FILE")
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("the message is\n\t%s\nand should begin with\n\t%s", got, tc.want)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v does not wrap %v", err, tc.is)
			}
			if strings.Contains(got, "hush") || strings.Contains(got, "\n") {
				t.Errorf("the message shows a secret, or has more than one line: %s", got)
			}
		})
	}
}
