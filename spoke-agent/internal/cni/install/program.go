// Copyright The Tombolo Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// chunk is how much of a program is in memory at a time.
const chunk = 64 << 10

// program is a file of many megabytes: it is never held in memory, and not read again as long as nobody has touched it.
type program struct {
	// source and target are what two files were that had the same content; nil: unknown.
	source, target fs.FileInfo
}

// put copies source to dir/name, at once, unless that is so already.
func (p *program) put(source *os.File, dir, name string, mode fs.FileMode) error {
	have, err := source.Stat()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, name)
	if there, err := os.Stat(path); err == nil && there.Mode().Perm() == mode {
		if untouched(p.source, have) && untouched(p.target, there) {
			return nil
		}
		if same, err := sameContent(source, path); err == nil && same {
			p.source, p.target = settled(have), settled(there)
			return nil
		}
		if _, err := source.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	return write(dir, name, source, mode)
}

// settled is nil of a file that is young: it may change once more without another time, as clocks of file systems are coarse.
func settled(f fs.FileInfo) fs.FileInfo {
	if time.Since(f.ModTime()) < 2*look {
		return nil
	}
	return f
}

// untouched says that a file is what it was.
func untouched(then, now fs.FileInfo) bool {
	return then != nil && os.SameFile(then, now) && then.Size() == now.Size() && then.ModTime().Equal(now.ModTime())
}

func sameContent(a io.Reader, path string) (bool, error) {
	b, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer b.Close()
	bufferA, bufferB := make([]byte, chunk), make([]byte, chunk)
	for {
		nA, errA := io.ReadFull(a, bufferA)
		nB, errB := io.ReadFull(b, bufferB)
		if !bytes.Equal(bufferA[:nA], bufferB[:nB]) {
			return false, nil
		}
		endA, endB := ended(errA), ended(errB)
		switch {
		case endA && endB:
			return true, nil
		case errA != nil && !endA, errB != nil && !endB:
			return false, errors.Join(errA, errB)
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// write writes a file at once: whoever opens it sees the old one or the new one, and a program that runs goes on.
func write(dir, name string, content io.Reader, mode fs.FileMode) error {
	temp, err := os.CreateTemp(dir, tempPrefix+"*"+tempSuffix)
	if err != nil {
		return err
	}
	_, err = io.Copy(temp, content)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
