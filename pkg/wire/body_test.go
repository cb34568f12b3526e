package wire_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/engram-memory/engram/pkg/wire"
)

func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReadBody(t *testing.T) {
	const most = 1000
	for _, tc := range []struct {
		name, encoding, body, want string
		code                       wire.Code
	}{
		{"plain", "", "text", "text", ""}, {"identity", "identity", "text", "text", ""}, {"packed", "gzip", packed(t, "text"), "text", ""},
		{"just so", "", strings.Repeat("x", most), strings.Repeat("x", most), ""}, {"just so, packed", "GZIP", packed(t, strings.Repeat("x", most)), strings.Repeat("x", most), ""},
		{"large", "", strings.Repeat("x", most+1), "", wire.CodeTooLarge}, {"large once it is unpacked", "gzip", packed(t, strings.Repeat("x", most+1)), "", wire.CodeTooLarge},
		{"a bomb", "gzip", packed(t, strings.Repeat("x", 600_000)), "", wire.CodeTooLarge},
		{"not packed", "gzip", "text", "", wire.CodeMalformed}, {"cut off", "gzip", packed(t, "text")[:15], "", wire.CodeMalformed},
		{"another one", "br", "text", "", wire.CodeUnsupported}, {"twice", "gzip, gzip", "text", "", wire.CodeUnsupported},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(tc.body))
		r.Header.Set("Content-Encoding", tc.encoding)
		body, err := wire.ReadBody(httptest.NewRecorder(), r, most)
		switch {
		case tc.code == "" && (err != nil || string(body) != tc.want):
			t.Errorf("%s: %.20q, %v", tc.name, body, err)
		case tc.code != "" && (err == nil || err.Code != tc.code):
			t.Errorf("%s: %v, want %s", tc.name, err, tc.code)
		}
	}
}
