package openapi

import "maps"

// UnusedWords returns what is said of no field of these routes, and of none of the shapes that go over NATS alone.
func UnusedWords(overNATS []string, routes ...Route) ([]string, error) {
	b, err := build("test", routes)
	if err != nil {
		return nil, err
	}
	for _, name := range overNATS {
		if _, err := b.schemas.of(name); err != nil {
			return nil, err
		}
	}
	b.schemas.describe()
	var unused []string
	for key := range maps.Keys(b.schemas.words) {
		if !b.schemas.used[key] {
			unused = append(unused, key)
		}
	}
	return unused, nil
}
