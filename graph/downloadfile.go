package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// PartialFile is where a download to the file name is as long as it is not
// complete.
func PartialFile(name string) string { return name + ".partial" }

// DownloadFile is [Client.Download] to a file, which can be interrupted at any
// moment, also by kill -9. Called again with the same name it goes on where it
// was if the service still has the same file. There is nothing under the name,
// or what was there before, until the download is complete; then it can be read
// by its owner only.
//
// An error keeps what there is in [PartialFile], if the service gave it an ETag
// to go on with, and that ETag in a file beside it. Files of these names that
// others have put there are not written to, and not believed. A second download
// to a file that is being written is refused. A name that is no regular file,
// such as /dev/stdout, is written to as it is.
//
// d.Offset and d.ETag are not used.
func (c *Client) DownloadFile(ctx context.Context, name, address string, d Download) (File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return c.downloadInto(ctx, name, address, d)
	}
	unlock, err := lockFile(PartialFile(name)+".lock", "another download is writing "+name)
	if err != nil {
		return File{}, err
	}
	defer unlock()
	p, err := openPartial(PartialFile(name))
	if err != nil {
		return File{}, err
	}
	defer p.file.Close()
	begin := func(f File) error {
		if d.Begin != nil {
			if err := d.Begin(f); err != nil {
				return err
			}
		}
		return p.begin(f)
	}
	f := fetching{to: p.file, begin: begin, progress: d.Progress, File: File{Size: p.size, ETag: p.etag}}
	got, err := c.download(ctx, address, d.Header, &f)
	if err == nil {
		err = p.complete(name)
	}
	if err != nil && (got.Size == 0 || !isStrong(got.ETag)) {
		p.remove() // nobody could go on with it
	}
	return got, err
}

// downloadInto writes to a device or a pipe.
func (c *Client) downloadInto(ctx context.Context, name, address string, d Download) (File, error) {
	to, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return File{}, err
	}
	got, err := c.Download(ctx, address, Sequential(to), Download{Header: d.Header, Progress: d.Progress, Begin: d.Begin})
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	return got, err
}

// partial is a download that is not complete: what is there, and in a file
// beside it the ETag of the file that it is a part of. There is always the
// second if there is anything in the first.
type partial struct {
	name string
	file *os.File
	size int64
	etag string
}

func openPartial(name string) (*partial, error) {
	p := &partial{name: name}
	etag, tagErr := readTag(p.tagName())
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is in the way of the download and no regular file (%s); remove it, or choose another name", name, info.Mode())
	case info.Size() > 0 && errors.Is(tagErr, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is in the way of the download and no part of one; remove it, or choose another name", name)
	case tagErr == nil && !ownedByOther(info):
		p.size, p.etag = info.Size(), etag
		if p.file, err = os.OpenFile(name, os.O_WRONLY|noFollow, 0); err != nil {
			return nil, err
		}
		if now, err := p.file.Stat(); err != nil || !os.SameFile(info, now) {
			p.file.Close()
			return nil, fmt.Errorf("%s is being exchanged by somebody; choose another name", name)
		}
		return p, nil
	}
	// What may be there has been planted.
	if err := p.remove(); err != nil {
		return nil, err
	}
	p.file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return p, err
}

func (p *partial) tagName() string { return p.name + ".etag" }

const maxTag = 4 << 10 // bytes of an ETag

// readTag reads the ETag of a partial file. It is empty if it cannot be one.
func readTag(name string) (string, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || ownedByOther(info)) {
		err = fmt.Errorf("%s is somebody else's", name)
	}
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxTag+1))
	etag := strings.TrimSuffix(string(text), "\n")
	if err != nil || len(etag) > maxTag || clean(etag) != etag {
		return "", err
	}
	return etag, nil
}

// begin makes room for another file. Whenever it ends, there are no bytes of
// one file with the ETag of another.
func (p *partial) begin(f File) error {
	if err := p.file.Truncate(0); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	if err := removeIfThere(p.tagName()); err != nil {
		return err
	}
	tag, err := os.OpenFile(p.tagName(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = tag.WriteString(f.ETag + "\n")
	if closeErr := tag.Close(); err == nil {
		err = closeErr
	}
	return err
}

// complete gives the file its name.
func (p *partial) complete(name string) error {
	err := p.file.Sync()
	if closeErr := p.file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(p.name, name)
	}
	if err == nil {
		err = removeIfThere(p.tagName())
	}
	if err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return syncDirectory(name)
}

func (p *partial) remove() error {
	if p.file != nil {
		p.file.Close()
	}
	if err := removeIfThere(p.name); err != nil {
		return err
	}
	return removeIfThere(p.tagName())
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
