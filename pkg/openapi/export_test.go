package openapi

import "maps"

// UnusedWords returns what is said of no field of these routes.
func UnusedWords(routes ...Route) ([]string, error) {
	b, err := build("test", routes)
	if err != nil {
		return nil, err
	}
	var unused []string
	for key := range maps.Keys(b.schemas.words) {
		if !b.schemas.used[key] {
			unused = append(unused, key)
		}
	}
	return unused, nil
}
