package auth

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limits has a limiter for each name, for at most so many names: where there are more, the one that was not asked for
// longest is forgotten, and begins anew with a full burst.
type limits struct {
	rate  rate.Limit
	burst int
	most  int

	mu     sync.Mutex
	byName map[string]*list.Element // of limiter
	recent *list.List               // the front was asked for last
}

type limiter struct {
	name string
	*rate.Limiter
}

func newLimits(perSecond float64, burst, most int) *limits {
	return &limits{rate: rate.Limit(perSecond), burst: burst, most: most, byName: map[string]*list.Element{}, recent: list.New()}
}

// take takes n from a name's rate and returns 0, or takes nothing and returns for how long there is no room. More than a
// burst at once is as much as a burst.
func (l *limits) take(now time.Time, name string, n int) time.Duration {
	r := l.of(name).ReserveN(now, min(n, l.burst))
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (l *limits) of(name string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byName[name]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(limiter).Limiter
	}
	for len(l.byName) >= l.most {
		oldest := l.recent.Back()
		delete(l.byName, oldest.Value.(limiter).name)
		l.recent.Remove(oldest)
	}
	one := limiter{name, rate.NewLimiter(l.rate, l.burst)}
	l.byName[name] = l.recent.PushFront(one)
	return one.Limiter
}
