package demo

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettle(t *testing.T) {
	lost := errors.New("nobody answers")
	type answer struct {
		n   int
		err error
	}
	const timeout = time.Second
	cases := map[string]struct {
		answers []answer // the last one for ever
		wantErr string   // empty for success
	}{
		"at once":            {answers: []answer{{n: 10}}},
		"bit by bit":         {answers: []answer{{n: 0}, {n: 3}, {n: 9}, {n: 10}}},
		"after a failure":    {answers: []answer{{err: lost}, {n: 10}}},
		"stands still":       {answers: []answer{{n: 0}, {n: 7}}, wantErr: "of 10 accepted observations 7 are searchable"},
		"nothing":            {answers: []answer{{n: 0}}, wantErr: "0 are searchable"},
		"more than accepted": {answers: []answer{{n: 4}, {n: 11}}, wantErr: "11 observations are searchable, and only 10"},
		"never answered":     {answers: []answer{{err: lost}}, wantErr: lost.Error()},
		"partial failure":    {answers: []answer{{n: 10, err: lost}}, wantErr: lost.Error()},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				began := time.Now()
				got, err := settle(t.Context(), 10, timeout, func(context.Context) (int, error) {
					a := tc.answers[min(calls, len(tc.answers)-1)]
					calls++
					return a.n, a.err
				})
				switch {
				case tc.wantErr == "" && (err != nil || got.searchable != 10 || got.at.Before(began)):
					t.Errorf("settle = %+v, %v", got, err)
				case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
					t.Errorf("settle = %+v, %v; want an error with %q", got, err, tc.wantErr)
				}
				if took := time.Since(began); took > 2*timeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// The bound is on standing still, not on the whole.
func TestSettleIsPatientWithProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		began := time.Now()
		_, err := settle(t.Context(), 50, time.Second, func(context.Context) (int, error) {
			time.Sleep(500 * time.Millisecond)
			n++
			return n, nil
		})
		if err != nil || time.Since(began) < 20*time.Second {
			t.Errorf("settle = %v after %v", err, time.Since(began))
		}
	})
}

func TestSettleInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := settle(ctx, 10, time.Hour, func(context.Context) (int, error) {
		cancel()
		return 0, context.Canceled
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("settle = %v", err)
	}
}
