package embed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// StatusError reports an answer of the embedding service other than 200.
type StatusError struct {
	Status  int    // of HTTP
	Message string // what the service said, one line of at most a few hundred bytes; may be empty
}

func (e *StatusError) Error() string {
	text := strings.TrimSpace(strconv.Itoa(e.Status) + " " + http.StatusText(e.Status))
	if e.Message == "" {
		return "the embedding service answered " + text
	}
	return fmt.Sprintf("the embedding service answered %s: %s", text, e.Message)
}

const (
	longestRefusal = 64 << 10 // bytes read of an answer other than 200
	longestMessage = 300      // bytes shown of it
)

// post sends a request once and returns the body of the answer, of at most limit bytes. What may pass is a transient.
func (h *HTTP) post(ctx context.Context, body []byte, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if h.cfg.Key != "" {
		req.Header.Set("Authorization", "Bearer "+h.cfg.Key)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, &transient{err: h.redacted(err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, h.refusal(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, &transient{err: fmt.Errorf("reading the answer of the embedding service: %w", h.redacted(err))}
	}
	if int64(len(answer)) > limit {
		return nil, fmt.Errorf("the answer of the embedding service is longer than %d bytes, more than its vectors can take", limit)
	}
	return answer, nil
}

// refusal turns an answer other than 200 into an error, a transient one for 429 and 5xx.
func (h *HTTP) refusal(resp *http.Response) error {
	// A body that breaks off still has its beginning; the status decides.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, longestRefusal))
	err := &StatusError{Status: resp.StatusCode, Message: h.message(body)}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500 {
		return &transient{err: err, after: retryAfter(resp.Header.Get("Retry-After"), h.now())}
	}
	return err
}

// message finds what an error body says, in the shapes that services use, and makes it fit for a line of a log.
func (h *HTTP) message(body []byte) string {
	var shapes struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
		Detail  json.RawMessage `json:"detail"`
	}
	text := string(body)
	if json.Unmarshal(body, &shapes) == nil {
		var inner struct {
			Message string `json:"message"`
		}
		var plain string
		switch {
		case json.Unmarshal(shapes.Error, &inner) == nil && inner.Message != "":
			text = inner.Message
		case json.Unmarshal(shapes.Error, &plain) == nil && plain != "":
			text = plain
		case shapes.Message != "":
			text = shapes.Message
		case json.Unmarshal(shapes.Detail, &plain) == nil && plain != "":
			text = plain
		}
	}
	return oneLine(h.withoutKey(text))
}

// withoutKey takes the key out of a text: services like to repeat the key that they refuse.
func (h *HTTP) withoutKey(text string) string {
	if h.cfg.Key == "" {
		return text
	}
	return strings.ReplaceAll(text, h.cfg.Key, "[key]")
}

// redacted returns err, or one with the same text but for the key, if the key is in it.
func (h *HTTP) redacted(err error) error {
	if text := h.withoutKey(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// oneLine makes text printable, on one line, and at most longestMessage bytes and an ellipsis long.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longestMessage {
		text = strings.ToValidUTF8(text[:longestMessage], "") + "…"
	}
	return text
}

// retryAfter reads a Retry-After header, seconds or a date (RFC 9110, 10.2.3). 0 means that it says nothing of use.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
