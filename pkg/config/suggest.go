package config

import "fmt"

// maxUnknown bounds the work on a name that somebody made up, in bytes.
const maxUnknown = 256

// suggest completes the message about an unknown name: the nearest known one if
// it is near enough to be what was meant, or else where the list is.
func suggest(name string, known []string, prefix string) string {
	name = name[:min(len(name), maxUnknown)]
	best, bestDistance := "", len(name)/3+1
	for _, candidate := range known {
		if d := editDistance(name, candidate); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	if best == "" {
		return "--help and --print-config list the ones there are"
	}
	return fmt.Sprintf("did you mean %s?", prefix+best)
}

// editDistance is the Levenshtein distance in bytes (Wagner and Fischer, 1974).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
