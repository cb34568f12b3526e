package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is a store in a bucket of a server that speaks S3.
type S3 struct {
	client *minio.Client
	bucket string
	prefix string // of the names, "" or ending in a slash
	place  string
}

// s3Place is what s3://<bucket>[/<prefix>]?endpoint=<host:port>[&region=<region>][&insecure=true] says.
type s3Place struct {
	bucket, prefix, endpoint, region string
	insecure                         bool
}

func parseS3(place string) (s3Place, error) {
	u, err := url.Parse(place)
	if err != nil {
		return s3Place{}, fmt.Errorf("the store of snapshots is no URL such as s3://bucket/prefix?endpoint=host:port: %w", err)
	}
	p := s3Place{bucket: u.Host, prefix: strings.Trim(u.Path, "/"), endpoint: "s3.amazonaws.com"}
	if p.bucket == "" || u.User != nil {
		return p, fmt.Errorf("the store of snapshots is %s: it names a bucket, and no user; keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", u.Redacted())
	}
	if p.prefix != "" {
		if err := CheckName(p.prefix); err != nil {
			return p, fmt.Errorf("the prefix of the store of snapshots: %w", err)
		}
		p.prefix += "/"
	}
	for key, values := range u.Query() {
		switch value := values[len(values)-1]; key {
		case "endpoint":
			p.endpoint = value
		case "region":
			p.region = value
		case "insecure":
			if p.insecure, err = strconv.ParseBool(value); err != nil {
				return p, fmt.Errorf("insecure of the store of snapshots is %q; it can be true or false", value)
			}
		default:
			return p, fmt.Errorf("the store of snapshots has the unknown setting %q; there are endpoint, region and insecure", key)
		}
	}
	return p, nil
}

// NewS3 opens the store at a place. The keys are those of the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), of
// ~/.aws/credentials, or of the machine's role. Nothing is asked of the server before the first call.
func NewS3(place string) (*S3, error) {
	p, err := parseS3(place)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(p.endpoint, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}, &credentials.IAM{Client: http.DefaultClient},
		}),
		Secure: !p.insecure, Region: p.region,
	})
	if err != nil {
		return nil, fmt.Errorf("the store of snapshots at %s: %w", p.endpoint, err)
	}
	return &S3{client: client, bucket: p.bucket, prefix: p.prefix, place: place}, nil
}

// String returns the place.
func (s *S3) String() string { return s.place }

// Close does nothing: idle connections end by themselves.
func (s *S3) Close() error { return nil }

// failed says where an error was met, and whether it is about a blob that is not there.
func (s *S3) failed(what, name string, err error) error {
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		err = ErrNotFound
	}
	return fmt.Errorf("%s %s in %s: %w", what, name, s, err)
}

// Put stores an object with one request.
func (s *S3) Put(ctx context.Context, name string, data []byte) error {
	err := CheckName(name)
	if err == nil {
		_, err = s.client.PutObject(ctx, s.bucket, s.prefix+name, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{
			ContentType: "application/octet-stream", DisableMultipart: true,
		})
	}
	if err != nil {
		return s.failed("storing", name, err)
	}
	return nil
}

// Get returns an object.
func (s *S3) Get(ctx context.Context, name string) (data []byte, err error) {
	if err := CheckName(name); err != nil {
		return nil, s.failed("reading", name, err)
	}
	object, err := s.client.GetObject(ctx, s.bucket, s.prefix+name, minio.GetObjectOptions{})
	if err == nil {
		defer func() { err = errors.Join(err, object.Close()) }()
		data, err = io.ReadAll(io.LimitReader(object, maxManifest+1))
	}
	if err == nil && len(data) > maxManifest {
		err = fmt.Errorf("it has more than %d bytes, and no blob has", maxManifest)
	}
	if err != nil {
		return nil, s.failed("reading", name, err)
	}
	return data, nil
}

// List lists objects page by page.
func (s *S3) List(ctx context.Context, prefix string) ([]Blob, error) {
	ctx, cancel := context.WithCancel(ctx) // ends the listing when it is left early
	defer cancel()
	var all []Blob
	for info := range s.client.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
		if info.Err != nil {
			return nil, fmt.Errorf("listing %s: %w", s, info.Err)
		}
		if name := info.Key[len(s.prefix):]; CheckName(name) == nil {
			all = append(all, Blob{Name: name, Size: info.Size})
		}
	}
	slices.SortFunc(all, func(a, b Blob) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Delete removes an object.
func (s *S3) Delete(ctx context.Context, name string) error {
	err := CheckName(name)
	if err == nil {
		err = s.client.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
	}
	if err != nil {
		return s.failed("removing", name, err)
	}
	return nil
}
