package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"
)

// maxContextFile bounds what is read of a context: a real one has a few hundred bytes.
const maxContextFile = 1 << 20

// contextFile is a context of the nats command, as it keeps them in ~/.config/nats/context/<name>.json. The package that
// the command reads them with brings in the whole server, so the fields are read here.
type contextFile struct {
	URL       string `json:"url"`
	User      string `json:"user"`
	Password  string `json:"password"`
	Token     string `json:"token"`
	Creds     string `json:"creds"`
	NKey      string `json:"nkey"`
	UserJWT   string `json:"user_jwt"`
	UserSeed  string `json:"user_seed"`
	Cert      string `json:"cert"`
	Key       string `json:"key"`
	CA        string `json:"ca"`
	TLSFirst  bool   `json:"tls_first"`
	Inbox     string `json:"inbox_prefix"`
	Domain    string `json:"jetstream_domain"`
	APIPrefix string `json:"jetstream_api_prefix"`

	// These are refused, since to leave them out would be to connect in another way than the context says.
	NSC       string `json:"nsc"`
	Socks     string `json:"socks_proxy"`
	CertStore string `json:"windows_cert_store"`
}

// loadContext reads a context by its name or by the path of its file.
func loadContext(nameOrPath string) (contextFile, error) {
	path, err := contextPath(nameOrPath)
	if err != nil {
		return contextFile{}, err
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return contextFile{}, fmt.Errorf("NATS context %q does not exist: there is no file %s; `nats context ls` lists those that do",
			nameOrPath, path)
	}
	if err != nil {
		return contextFile{}, fmt.Errorf("NATS context %q: %w", nameOrPath, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxContextFile+1))
	if err != nil {
		return contextFile{}, fmt.Errorf("NATS context %q: reading %s: %w", nameOrPath, path, err)
	}
	if len(text) > maxContextFile {
		return contextFile{}, fmt.Errorf("NATS context %q: %s is larger than %d bytes; that is not a context", nameOrPath, path, maxContextFile)
	}
	var c contextFile
	if err := json.Unmarshal(text, &c); err != nil {
		return contextFile{}, fmt.Errorf("NATS context %q: %s is not a context's JSON: %w", nameOrPath, path, err)
	}
	return c, nil
}

func contextPath(nameOrPath string) (string, error) {
	if strings.ContainsAny(nameOrPath, `/\`) || strings.HasSuffix(nameOrPath, ".json") {
		return expand(nameOrPath)
	}
	root := os.Getenv("XDG_CONFIG_HOME")
	if root == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("NATS context %q: cannot tell where contexts are kept: %w; give the path of its file", nameOrPath, err)
		}
		root = filepath.Join(home, ".config")
	}
	return filepath.Join(root, "nats", "context", nameOrPath+".json"), nil
}

// options returns what the context asks of a connection; its login is left out when withLogin is false. The order in
// which one login beats another is the nats command's.
func (c *contextFile) options(withLogin bool) ([]nats.Option, error) {
	for _, f := range []struct{ field, value string }{{"nsc", c.NSC}, {"socks_proxy", c.Socks}, {"windows_cert_store", c.CertStore}} {
		if f.value != "" {
			return nil, fmt.Errorf("its field %q is not supported here; make a context without it", f.field)
		}
	}
	for _, f := range []struct {
		field string
		value *string
	}{{"creds", &c.Creds}, {"nkey", &c.NKey}, {"cert", &c.Cert}, {"key", &c.Key}, {"ca", &c.CA}} {
		if err := resolveFile(f.field, f.value); err != nil {
			return nil, err
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New(`of its fields "cert" and "key" only one is set; a client certificate needs both`)
	}
	if (c.UserJWT == "") != (c.UserSeed == "") {
		return nil, errors.New(`of its fields "user_jwt" and "user_seed" only one is set; that login needs both`)
	}
	if c.Domain != "" && c.APIPrefix != "" {
		return nil, errors.New(`its fields "jetstream_domain" and "jetstream_api_prefix" exclude each other; remove one`)
	}
	var opts []nats.Option
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if c.Inbox != "" {
		if err := checkInbox(c.Inbox); err != nil {
			return nil, fmt.Errorf(`its field "inbox_prefix": %w`, err)
		}
		opts = append(opts, nats.CustomInboxPrefix(c.Inbox))
	}
	if c.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	if c.Cert != "" {
		opts = append(opts, nats.ClientCert(c.Cert, c.Key))
	}
	if !withLogin {
		return opts, nil
	}
	login, err := c.login()
	return append(opts, login...), err
}

func (c *contextFile) login() ([]nats.Option, error) {
	for _, f := range []struct{ field, value string }{
		{"password", c.Password}, {"token", c.Token}, {"user_jwt", c.UserJWT}, {"user_seed", c.UserSeed},
	} {
		if err := refuseReference(f.field, f.value); err != nil {
			return nil, err
		}
	}
	var opts []nats.Option
	switch {
	case c.User != "":
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	case c.Creds != "":
		opts = append(opts, nats.UserCredentials(c.Creds))
	case c.NKey != "":
		opt, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("its nkey: %w", err)
		}
		opts = append(opts, opt)
	case c.UserJWT != "":
		opts = append(opts, nats.UserJWTAndSeed(c.UserJWT, c.UserSeed))
	}
	if c.Token != "" {
		opts = append(opts, nats.Token(c.Token))
	}
	return opts, nil
}

// resolveFile replaces a field that names a file by its path, and checks that the file can be read: the client library
// would find out at the first connection, and a daemon would then try again for ever.
func resolveFile(field string, value *string) error {
	if *value == "" {
		return nil
	}
	if err := refuseReference(field, *value); err != nil {
		return err
	}
	path, err := expand(strings.TrimPrefix(*value, "file://"))
	if err != nil {
		return fmt.Errorf("its field %q: %w", field, err)
	}
	if err := readable(path); err != nil {
		return fmt.Errorf("its field %q: %w", field, err)
	}
	*value = path
	return nil
}

// refuseReference refuses a value that the nats command would ask a secret store for. Taken literally, it would be sent to
// the server as a password.
func refuseReference(field, value string) error {
	for _, scheme := range []string{"op://", "env://", "nsc://", "data:"} {
		if strings.HasPrefix(value, scheme) {
			return fmt.Errorf("its field %q refers to a secret by %s, which is not supported here; give the value, or the path of a file",
				field, scheme)
		}
	}
	return nil
}

// expand replaces variables of the environment and a leading ~ in a path, as the nats command does.
func expand(path string) (string, error) {
	path = os.ExpandEnv(path)
	if path != "~" && !strings.HasPrefix(path, "~/") {
		return path, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("expanding ~ in %s: %w", path, err)
	}
	return filepath.Join(home, path[1:]), nil
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
