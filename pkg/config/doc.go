// Package config fills one struct per program from four sources. Each source
// overrules the ones before it:
//
//	default tag  →  YAML file  →  ENGRAM_* environment  →  flags
//
// The struct is the only place where a key is declared:
//
//	type Config struct {
//		NATS  string `yaml:"nats" default:"nats://127.0.0.1:4222" usage:"address of the NATS server"`
//		Queue struct {
//			Capacity int `yaml:"capacity" default:"10000" min:"1" usage:"observations a shard may hold"`
//		} `yaml:"queue"`
//	}
//
// declares the keys "nats" and "queue.capacity". The second one is
//
//	queue:
//	  capacity: 500              in the file
//	ENGRAM_QUEUE_CAPACITY=500    in the environment
//	--queue.capacity=500         as a flag
//
// An underscore in a key is a hyphen in its flag (max_batch_size is
// --max-batch-size); the flag is also accepted with underscores.
//
// # Tags
//
//	yaml     the key (required); "-" leaves the field out, ",inline" lifts the
//	         keys of a nested struct into the enclosing section
//	default  text of the default; a field that is not zero when it is bound
//	         keeps its value as the default instead
//	usage    one line for --help and --print-config
//	oneof    allowed values, separated by commas
//	min, max bounds of a number, duration or size, both included
//	secret   "true" keeps the value out of --help, --print-config and errors
//
// Field types are string, bool, the integers, float64, [time.Duration],
// [ByteSize], any type with UnmarshalText and MarshalText, and slices of those.
// In the environment and in flags the elements of a slice are separated by
// commas, and a repeated flag appends; the file has a YAML list.
//
// # Strictness
//
// A key that the struct does not have is an error, whether it comes from the
// file, from a flag, or from a variable that starts with ENGRAM_. Three kinds of
// variable are exempt: ENGRAM_CONFIG, which names the file when --config does
// not, ENGRAM_SERVER, which the engram command reads, and ENGRAM_EMBED_*, which
// belongs to the embedders, so that an API key can be in the environment of every
// program. [Options].AllowEnv adds to them; the daemons exempt the keys of each
// other, so that one file of variables serves all three.
//
// YAML anchors, aliases, tags and multiple documents are refused: a
// configuration file is read by people in a hurry.
package config
