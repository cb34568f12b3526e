//go:build !linux

package bench

// dropPages does nothing: there is no way to ask for it.
func dropPages(string) (bool, error) { return false, nil }
