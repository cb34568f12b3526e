package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Ledger is a history on its way into a file. Writes are in it before they are sent, so that one which was under way when
// the process ended is known as one of unknown outcome. The file is synced several times a second and when it is closed.
type Ledger struct {
	mu     sync.Mutex
	file   *os.File
	buffer *bufio.Writer
	enc    *json.Encoder
	err    error // the first one
	writes map[uint64]*Write
	order  []uint64
	reads  []*Answer

	stop, done chan struct{}
}

// line is what one line of the file has: either of the two.
type line struct {
	Write  *Write  `json:"write,omitempty"`
	Answer *Answer `json:"answer,omitempty"`
}

// syncEvery is how much of a ledger a crash of the whole machine may take.
const syncEvery = 200 * time.Millisecond

// Create makes a ledger in a new file. Close it.
func Create(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the ledger: %w", err)
	}
	l := &Ledger{file: f, buffer: bufio.NewWriterSize(f, 1<<16), writes: map[uint64]*Write{}, stop: make(chan struct{}), done: make(chan struct{})}
	l.enc = json.NewEncoder(l.buffer)
	go l.syncing()
	return l, nil
}

func (l *Ledger) syncing() {
	defer close(l.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.sync()
		case <-l.stop:
			l.sync()
			return
		}
	}
}

// sync holds the lock for as long as the buffer takes, and not for as long as the disk does.
func (l *Ledger) sync() {
	l.mu.Lock()
	l.note(l.buffer.Flush())
	l.mu.Unlock()
	err := l.file.Sync()
	l.mu.Lock()
	l.note(err)
	l.mu.Unlock()
}

func (l *Ledger) note(err error) {
	if l.err == nil && err != nil {
		l.err = fmt.Errorf("writing the ledger: %w", err)
	}
}

// Write puts writes down: before they are sent, and again, with the same numbers, when they have returned.
func (l *Ledger) Write(writes ...Write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range writes {
		if l.writes[w.Number] == nil {
			l.order = append(l.order, w.Number)
		}
		l.writes[w.Number] = &w
		l.note(l.enc.Encode(line{Write: &w}))
	}
}

// Answer puts a read down.
func (l *Ledger) Answer(a Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = append(l.reads, &a)
	l.note(l.enc.Encode(line{Answer: &a}))
}

// History is what the ledger has at this moment.
func (l *Ledger) History() *History {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &History{Answers: append([]*Answer(nil), l.reads...)}
	for _, n := range l.order {
		h.Writes = append(h.Writes, l.writes[n])
	}
	return h
}

// Close syncs the file and closes it, and returns the first error of all that was written.
func (l *Ledger) Close() error {
	close(l.stop)
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}

// Load reads a ledger's file. A torn last line is left out.
func Load(r io.Reader) (*History, error) {
	h, at := &History{}, map[uint64]int{}
	for dec := json.NewDecoder(r); ; {
		var l line
		switch err := dec.Decode(&l); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("reading the ledger: %w", err)
		}
		if l.Answer != nil {
			h.Answers = append(h.Answers, l.Answer)
		}
		if l.Write == nil {
			continue
		}
		if i, known := at[l.Write.Number]; known {
			h.Writes[i] = l.Write
			continue
		}
		at[l.Write.Number] = len(h.Writes)
		h.Writes = append(h.Writes, l.Write)
	}
}
