package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/rs/zerolog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	api "github.com/engram-memory/engram/pkg/api/engram/v1"
	"github.com/engram-memory/engram/pkg/api/engram/v1/engramv1connect"
)

// tokened sends a token with each request of a client of HTTP/2 without TLS.
type tokened struct {
	next  http.RoundTripper
	token string
}

func (t tokened) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if t.token != "" {
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(r)
}

// A call that is refused before its handler has the code that the handler would give it, by every protocol.
func TestRefusalsOfCalls(t *testing.T) {
	token := NewToken()
	guarded, _ := serve(t, Config{File: file(t, "p token="+Hash(token)+" recall=*"), Rate: RateConfig{Requests: 0.001, Burst: 1}}, zerolog.Nop())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := httptest.NewUnstartedServer(guarded)
	srv.Config.Protocols = protocols
	srv.Start()
	t.Cleanup(srv.Close)
	if w := ask(guarded, "Authorization", "Bearer "+token); w.Code != http.StatusOK {
		t.Fatalf("the request that takes the rate: %d", w.Code)
	}
	h2 := new(http.Protocols)
	h2.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: h2}
	t.Cleanup(tr.CloseIdleConnections)
	for name, opts := range map[string][]connect.ClientOption{
		"gRPC": {connect.WithGRPC()}, "gRPC-Web": {connect.WithGRPCWeb()}, "Connect": nil, "Connect JSON": {connect.WithProtoJSON()},
	} {
		client := func(token string) engramv1connect.RecallServiceClient {
			return engramv1connect.NewRecallServiceClient(&http.Client{Transport: tokened{tr, token}}, srv.URL, opts...)
		}
		for call, do := range map[string]func(context.Context, engramv1connect.RecallServiceClient) error{
			"Recall": func(ctx context.Context, c engramv1connect.RecallServiceClient) error {
				_, err := c.Recall(ctx, connect.NewRequest(&api.RecallRequest{Space: "notes"}))
				return err
			},
			"RecallStream": func(ctx context.Context, c engramv1connect.RecallServiceClient) error {
				s, err := c.RecallStream(ctx, connect.NewRequest(&api.RecallStreamRequest{}))
				if err != nil {
					return err
				}
				s.Receive()
				return s.Err()
			},
		} {
			err := do(t.Context(), client(token))
			if connect.CodeOf(err) != connect.CodeResourceExhausted || retryDelay(t, err) <= 0 {
				t.Errorf("%s of %s over the rate: %v", call, name, err)
			}
			if err := do(t.Context(), client("")); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("%s of %s of nobody: %v", call, name, err)
			}
		}
	}
}

// retryDelay returns what the RetryInfo of an error says.
func retryDelay(t *testing.T, err error) time.Duration {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) {
		return 0
	}
	for _, d := range e.Details() {
		v, err := d.Value()
		if err != nil {
			t.Fatal(err)
		}
		if info, ok := v.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
