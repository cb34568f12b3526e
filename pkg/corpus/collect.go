package corpus

import (
	"errors"
	"fmt"
)

// collector passes documents on, and remembers what the walk's own error depends on.
type collector struct {
	emit    func(Document) error
	where   string // what was read, for the error
	emitted int
	skipped SkippedError
}

func (c *collector) send(d Document) error {
	c.emitted++
	return c.emit(d)
}

// note counts a file that could not be read; it returns nil, so that the walk goes on.
func (c *collector) note(err error) error {
	if err != nil {
		c.skipped.add(err)
	}
	return nil
}

// result is the error of a walk that reached its end.
func (c *collector) result() error {
	var errs []error
	if c.emitted == 0 {
		errs = append(errs, fmt.Errorf("%w in %s", ErrNothing, c.where))
	}
	if c.skipped.Files > 0 {
		errs = append(errs, &c.skipped)
	}
	return errors.Join(errs...)
}
