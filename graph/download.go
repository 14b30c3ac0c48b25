package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Download says how a file is fetched. The zero value fetches all of it.
type Download struct {
	// Header goes along with the request.
	Header http.Header
	// Offset is how much of the file is there already, from an earlier
	// download that ended with an error.
	Offset int64
	// ETag is the one of what is there. If the file has changed since, it is
	// fetched from its beginning.
	ETag string
	// Progress, if set, is told how much is there; size is 0 if the service
	// does not tell it.
	Progress func(done, size int64)
}

// File is what a download brought.
type File struct {
	Size int64  // in bytes. What lies behind it in the target is older: cut it off
	Type string // the media type, as the service calls it
	ETag string // of this content; may be empty
}

// Download fetches a file into to, which is usually an [*os.File] with a
// temporary name: rename it when there was no error. Redirects to storage
// hosts are followed without a token. After a break the rest is asked for, at
// the original address, because those of storage are short-lived, and only
// while it is still the same file. The length is checked against what the
// service announced.
//
// With an error the File says what is there: Size and ETag are the Offset and
// ETag to go on with.
func (c *Client) Download(ctx context.Context, address string, to io.WriterAt, d Download) (File, error) {
	home, err := c.Resolve(address)
	if err != nil {
		return File{}, err
	}
	how := call{home: home, answers: []int{http.StatusRequestedRangeNotSatisfiable}}
	tries := c.attempts(http.MethodGet, how)
	f := fetching{to: to, progress: d.Progress, size: -1, File: File{Size: d.Offset, ETag: d.ETag}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, home.String(), nil)
		if err != nil {
			return f.File, err
		}
		if d.Header != nil {
			req.Header = d.Header.Clone()
		}
		// Lengths and ranges are those of the bytes that travel.
		req.Header.Set("Accept-Encoding", "identity")
		if f.Size > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.Size))
			if f.ETag != "" && !strings.HasPrefix(f.ETag, "W/") {
				req.Header.Set("If-Range", f.ETag)
			}
		}
		resp, err := c.send(req, how)
		if err != nil {
			return f.File, err
		}
		before := f.Size
		err = f.take(resp)
		resp.Body.Close()
		var lost *unreachable
		switch {
		case err == nil:
			return f.File, nil
		case err == errChanged:
			err = &unreachable{errChanged}
		case !errors.As(err, &lost):
			return f.File, fmt.Errorf("GET %s: %w", how.place(), err)
		case f.Size > before:
			tries = c.attempts(http.MethodGet, how)
		}
		if !tries.again(ctx, nil, err) {
			return f.File, fmt.Errorf("GET %s: %w", how.place(), orEnd(ctx, err))
		}
	}
}

// errChanged says that what is there and what comes are not the same file.
var errChanged = errors.New("the file changes while it is fetched")

type fetching struct {
	File
	to       io.WriterAt
	size     int64 // of the whole file; -1 until it is known
	progress func(done, size int64)
}

// take writes one answer to where it belongs.
func (f *fetching) take(resp *http.Response) error {
	etag := resp.Header.Get("ETag")
	if resp.Header.Get("Content-Encoding") != "" {
		return fmt.Errorf("the file comes in the encoding %q, which was not asked for", shown(resp.Header.Get("Content-Encoding")))
	}
	switch resp.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		_, _, total, ok := contentRange(resp.Header)
		if ok && total == f.Size && (etag == "" || f.ETag == "" || etag == f.ETag) {
			return nil // there was nothing left
		}
		f.Size = 0
		return errChanged
	case http.StatusPartialContent:
		start, _, total, ok := contentRange(resp.Header)
		if !ok || start != f.Size {
			return fmt.Errorf("another part of the file than was asked for (%q)", shown(resp.Header.Get("Content-Range")))
		}
		if f.size >= 0 && total != f.size || etag != "" && f.ETag != "" && etag != f.ETag {
			f.Size, f.size, f.ETag = 0, -1, ""
			return errChanged
		}
		f.size = total
	case http.StatusOK:
		f.Size, f.size = 0, resp.ContentLength
	default:
		return fmt.Errorf("the answer holds no file (HTTP %d)", resp.StatusCode)
	}
	f.ETag, f.Type = etag, clean(resp.Header.Get("Content-Type"))

	buffer := make([]byte, 256<<10)
	for {
		n, err := resp.Body.Read(buffer)
		if n > 0 {
			if _, err := f.to.WriteAt(buffer[:n], f.Size); err != nil {
				return fmt.Errorf("writing the file: %w", err)
			}
			f.Size += int64(n)
			if f.progress != nil {
				f.progress(f.Size, max(f.size, 0))
			}
		}
		switch {
		case err == io.EOF && f.size >= 0 && f.Size < f.size:
			return &unreachable{io.ErrUnexpectedEOF}
		case err == io.EOF && f.size >= 0 && f.Size > f.size:
			return fmt.Errorf("more of the file than the %d bytes that were announced", f.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// contentRange reads "bytes 2-5/10" and "bytes */10".
func contentRange(h http.Header) (start, end, total int64, ok bool) {
	part, whole, found := strings.Cut(strings.TrimPrefix(h.Get("Content-Range"), "bytes "), "/")
	if !found {
		return 0, 0, 0, false
	}
	total, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || total < 0 {
		return 0, 0, 0, false
	}
	if part == "*" {
		return 0, 0, total, true
	}
	from, to, _ := strings.Cut(part, "-")
	start, err1 := strconv.ParseInt(from, 10, 64)
	end, err2 := strconv.ParseInt(to, 10, 64)
	return start, end, total, err1 == nil && err2 == nil && 0 <= start && start <= end && end < total
}

// Sequential makes a writer, such as standard output, a target for
// [Client.Download]. A download that would have to write anywhere but at the
// end of what it wrote before fails.
func Sequential(w io.Writer) io.WriterAt { return &sequential{w: w} }

type sequential struct {
	w  io.Writer
	at int64
}

func (s *sequential) WriteAt(p []byte, at int64) (int, error) {
	if at != s.at {
		return 0, errors.New("the download has to begin again, which is not possible into a stream; write to a file instead")
	}
	n, err := s.w.Write(p)
	s.at += int64(n)
	return n, err
}
