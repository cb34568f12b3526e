package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxFile bounds the file of principals: some tens of thousands of them.
	maxFile = 8 << 20
	// maxBearer bounds what is presented as a token.
	maxBearer = 16 << 10
	hashName  = "sha256:"
)

// table is what a file says. It is not changed once it is made.
type table struct {
	// tokens are by the first bytes of their hash; whole hashes are compared in constant time.
	tokens map[[8]byte][]entry
	certs  map[string]entry
	lines  int
}

// entry is one line.
type entry struct {
	principal *Principal
	hash      [sha256.Size]byte
}

// byToken returns who presents a token.
func (t *table) byToken(token string) (entry, bool) {
	hash := sha256.Sum256([]byte(token))
	var found entry
	ok := false
	for _, e := range t.tokens[[8]byte(hash[:8])] {
		if subtle.ConstantTimeCompare(e.hash[:], hash[:]) == 1 {
			found, ok = e, true
		}
	}
	return found, ok
}

// readTable reads the file of principals.
func readTable(path string) (*table, []byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the principals of auth.file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading the principals of %s: %w", path, err)
	case len(text) > maxFile:
		return nil, nil, fmt.Errorf("%s has more than %d bytes; that is no file of principals", path, maxFile)
	}
	t, err := parseTable(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("the principals of %s: %w", path, err)
	}
	return t, text, nil
}

// parseTable reads one principal a line. Empty lines, and those that begin with #, are passed over. What is wrong is told
// with the number of its line and without its values, which may hold a token that stands in the wrong place.
func parseTable(text string) (*table, error) {
	t := &table{tokens: map[[8]byte][]entry{}, certs: map[string]entry{}}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := t.add(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		t.lines++
	}
	return t, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

func (t *table) add(line string) error {
	fields, err := split(line)
	if err != nil {
		return err
	}
	if !nameForm.MatchString(fields[0]) {
		return errors.New("it begins with no name of a principal: up to 64 letters, digits, and . _ @ -")
	}
	e := entry{principal: &Principal{Name: fields[0]}}
	var cert string
	seen := map[string]bool{}
	for _, field := range fields[1:] {
		key, value, has := strings.Cut(field, "=")
		if seen[key] {
			return errors.New("a key stands there twice; separate the spaces of a role with commas")
		}
		seen[key] = true
		if err := e.set(key, value, has, &cert); err != nil {
			return err
		}
	}
	switch {
	case seen["token"] == seen["cert"]:
		return fmt.Errorf("principal %s needs either token= or cert=", e.principal.Name)
	case seen["cert"]:
		if _, twice := t.certs[cert]; twice {
			return fmt.Errorf("the certificate of principal %s is that of another line", e.principal.Name)
		}
		t.certs[cert] = e
	default:
		key := [8]byte(e.hash[:8])
		if slices.ContainsFunc(t.tokens[key], func(o entry) bool { return o.hash == e.hash }) {
			return fmt.Errorf("the token of principal %s is that of another line", e.principal.Name)
		}
		t.tokens[key] = append(t.tokens[key], e)
	}
	return nil
}

// set takes one key of a line.
func (e *entry) set(key, value string, has bool, cert *string) error {
	if role, ok := ParseRole(key); ok {
		if value == "" {
			return fmt.Errorf("%s has no spaces; write %s=* for all of them", key, key)
		}
		for _, s := range strings.Split(value, ",") {
			p, err := parsePattern(s)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			e.principal.grants[role] = append(e.principal.grants[role], p)
		}
		return nil
	}
	switch key {
	case "token":
		sum, ok := strings.CutPrefix(value, hashName)
		if n, err := hex.Decode(e.hash[:], []byte(sum[:min(len(sum), 2*sha256.Size)])); !ok || err != nil || n != sha256.Size || len(sum) != 2*sha256.Size {
			return errors.New("token is not sha256: and 64 hexadecimal digits; the token itself does not belong into this file: engram token hash makes the line's value of it")
		}
	case "cert":
		kind, rest, _ := strings.Cut(value, ":")
		if kind != "CN" && kind != "URI" || rest == "" {
			return errors.New("cert is neither CN: and a common name nor URI: and a URI of the certificate")
		}
		*cert = value
	case "expires":
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return errors.New("expires is not a time such as 2027-01-31T00:00:00Z")
		}
		e.principal.Expires = at
	case "metrics":
		if has {
			return errors.New("metrics has no value")
		}
		e.principal.Metrics = true
	default:
		return fmt.Errorf("there is a key that is none of token, cert, expires, metrics, %s", strings.Join(roleNames[:], ", "))
	}
	return nil
}

// split cuts a line at its white space. A value that has some is quoted as in Go: cert="CN:two words".
func split(line string) (fields []string, err error) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t\r") {
		var field strings.Builder
		for line != "" && !strings.ContainsRune(" \t\r", rune(line[0])) {
			if line[0] != '"' {
				field.WriteByte(line[0])
				line = line[1:]
				continue
			}
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New("a quote is not closed")
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, errors.New("what stands in quotes cannot be read")
			}
			field.WriteString(text)
			line = line[len(quoted):]
		}
		if field.Len() > 0 {
			fields = append(fields, field.String())
		}
	}
	if len(fields) == 0 {
		return nil, errors.New("it is empty")
	}
	return fields, nil
}

// NewToken returns a token of 256 random bits. It is shown once; the file has its Hash.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails
	return "engram_" + base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash returns what stands in the file for a token. One hash is enough for what has 256 bits of chance; a password that
// somebody thought of has no place here.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hashName + hex.EncodeToString(sum[:])
}

// Line returns the line of the file for a principal, or says why there can be none. grants are the spaces of roles.
func Line(name, hash string, grants map[Role][]string, metrics bool, expires time.Time) (string, error) {
	parts := []string{name, "token=" + hash}
	for r := range roles {
		if len(grants[r]) > 0 {
			parts = append(parts, r.String()+"="+strings.Join(grants[r], ","))
		}
	}
	if metrics {
		parts = append(parts, "metrics")
	}
	if !expires.IsZero() {
		parts = append(parts, "expires="+expires.UTC().Format(time.RFC3339))
	}
	line := strings.Join(parts, " ")
	if _, err := parseTable(line); err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "line 1: "))
	}
	return line, nil
}
