package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Volume is the directory, on this machine, of a service's only writable volume.
func (c *Cluster) Volume(ctx context.Context, service string) (string, error) {
	h, err := c.Host(ctx, service)
	if err != nil {
		return "", err
	}
	for _, m := range h.Mounts {
		if !m.RW || m.Type != "volume" {
			continue
		}
		// One that is a directory of this machine is mounted at its own place only while the container runs.
		device, err := run(ctx, "docker", "volume", "inspect", "--format", `{{with .Options}}{{.device}}{{end}}`, m.Name)
		if err != nil {
			return "", err
		}
		if device = strings.TrimSpace(device); filepath.IsAbs(device) {
			return device, nil
		}
		return m.Source, nil
	}
	return "", fmt.Errorf("%s has no volume that it may write to", service)
}

// Wipe empties the volume of a service that does not run.
func (c *Cluster) Wipe(ctx context.Context, service string) error {
	dir, err := c.Volume(ctx, service)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() == "lost+found" { // of the file system
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// Backup copies the volume of a service that does not run into a new directory, and Restore puts that in the place of what
// is there.
func (c *Cluster) Backup(ctx context.Context, service, into string) error {
	dir, err := c.Volume(ctx, service)
	if err != nil {
		return err
	}
	_, err = run(ctx, "cp", "--archive", dir, into)
	return err
}

// Restore is the opposite of Backup.
func (c *Cluster) Restore(ctx context.Context, service, from string) error {
	if err := c.Wipe(ctx, service); err != nil {
		return err
	}
	dir, err := c.Volume(ctx, service)
	if err != nil {
		return err
	}
	_, err = run(ctx, "cp", "--archive", from+"/.", dir)
	return err
}

// filler is the file that takes all of a disk.
const filler = "filler"

// Fill takes all that is free of a volume's file system. The volume must have one of its own, of less than 4 GiB: else this machine's
// disk would be filled.
func (c *Cluster) Fill(ctx context.Context, service string) (err error) {
	dir, err := c.Volume(ctx, service)
	if err != nil {
		return err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("asking how much %s has: %w", dir, err)
	}
	if size := int64(st.Bsize) * int64(st.Blocks); size > 4<<30 {
		return fmt.Errorf("%s is on a file system of %d bytes, which is not the volume's own; it is not filled", dir, size)
	}
	f, err := os.Create(filepath.Join(dir, filler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // what is left has no room for a whole one
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Empty gives the disk back that Fill took, if it did.
func (c *Cluster) Empty(ctx context.Context, service string) error {
	dir, err := c.Volume(ctx, service)
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, filler))
}
